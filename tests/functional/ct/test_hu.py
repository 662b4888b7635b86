"""The CT kernels against formulas written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.hu import (
    BODY_HU,
    body_mask,
    hu_contrast,
    hu_stretch,
    hu_window,
)


def test_window_clips_and_maps_per_sample():
    image = torch.tensor([-1000.0, -160.0, 40.0, 240.0, 3000.0]).expand(2, 1, 1, 5)
    column = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    out = hu_window(image, 40 + 160 * column, 400 - 320 * column, -column, 1 + column)
    np.testing.assert_allclose(out[0].flatten(), [0, 0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(out[1].flatten(), [-1, -1, -1, 2, 2], atol=1e-6)
    assert image[0, 0, 0, 0] == -1000


def test_contrast_leaves_padding():
    image = torch.tensor([[-3024.0, -2048.0, -1400.0, -1399.0, -1000.0, -600.0, 0.0, 100.0]])
    scaled = hu_contrast(image, torch.tensor(2.0), torch.tensor(50.0))
    np.testing.assert_allclose(scaled[0], [-3024, -2048, -1400, -1399, -1000, -600, 0, 112.5])
    stretched = hu_stretch(image, torch.tensor(2.0), torch.tensor(50.0))
    np.testing.assert_allclose(stretched[0], [-3024, -2048, -1400, -1399, -1000, -925, -50, 150])


@pytest.mark.parametrize("shape", [(30, 26), (30, 26, 5)])
def test_the_body_is_the_largest_piece_without_holes(shape: tuple[int, ...]) -> None:
    image = torch.full(shape, -1000.0)
    image[4:20, 5:22] = 40.0
    image[24:28, 2:24] = 200.0  # the table
    body = image.clone()
    image[8:12, 9:14, ...] = -850.0  # a lung
    if len(shape) == 3:
        image[8:12, 9:14, [0, -1]] = 40.0  # closed, so a hole
    found = body_mask(image)
    assert found.dtype == torch.bool
    expected = body > BODY_HU
    expected[24:28] = False
    assert torch.equal(found, expected)


def test_no_body_in_air() -> None:
    assert not body_mask(torch.full((4, 5), -1000.0)).any()
    assert not body_mask(torch.full((4, 5), BODY_HU)).any()
