"""The plain baseline does what its sources describe."""

import numpy as np
import pytest

from tests.metal.cases import root_mean_square, scanned
from tests.metal.reference import interpolated, prior_of, reduced


def test_lines_bridge_the_trace_along_the_detector():
    lines = np.add.outer(np.arange(4.0), np.arange(20) * 0.5)
    trace = np.zeros((4, 20), bool)
    trace[:3, 5:9] = True
    trace[2, :5] = True  # up to the border: the nearest ray goes on
    spoilt = np.where(trace, 99.0, lines)
    bridged = interpolated(spoilt, trace)
    np.testing.assert_allclose(bridged[[0, 1, 3]], lines[[0, 1, 3]])
    np.testing.assert_allclose(bridged[2, :9], lines[2, 9])


def test_the_prior_has_three_classes_and_no_metal():
    image, mask = np.full((40, 40), -1000.0), np.zeros((40, 40), bool)
    image[8:32, 8:32], image[20:28, 12:20] = 30.0, 900.0
    mask[12:15, 12:15] = True
    image[mask] = 3071
    prior = prior_of(image, mask)
    assert prior[2, 2] == -1000
    assert prior[13, 13] == prior[10, 26] == 40
    assert prior[24, 16] == pytest.approx(900, abs=5)


@pytest.mark.parametrize("method", ["li", "nmar"])
def test_heavy_metal_is_reduced_and_the_metal_kept(method):
    given = scanned("protocol", 128)
    result = reduced(given.image, given.mask, given.pixel_mm, method)
    before, after = root_mean_square(given.image, given), root_mean_square(result, given)
    assert after[0] < 0.5 * before[0]
    assert after[1] < 0.5 * before[1]
    np.testing.assert_array_equal(result[given.mask], given.image[given.mask])
    none = reduced(given.image, np.zeros_like(given.mask), given.pixel_mm, method)
    np.testing.assert_array_equal(none, given.image)
