"""That the cases are what they say: two halves without a patient in common, a truth without metal, fixed seeds."""

import numpy as np
import pytest

from tests.metal.cases import CASES, HIGHEST, LOWEST, names, root_mean_square, scanned, simulated
from tests.metal.materials import hounsfield


def test_both_halves_hold_every_kind_and_share_no_scan():
    halves = [[c for c in CASES.values() if c.judged == judged] for judged in (False, True)]
    metal = [[c for c in half if c.kind != "control"] for half in halves]
    assert [len(half) for half in metal] == [15, 15]
    for half in metal:
        kinds = {c.kind for c in half}
        assert kinds >= {
            "one",
            "two",
            "hips",
            "shoulder",
            "dental",
            "near bone",
            "clip",
            "screws",
            "border",
            "cut field",
        }
        assert {c.scanner.fan for c in half} == {False, True}
        assert all(c.metal for c in half)
    files = [{c.real[0] for c in half if c.real} for half in halves]
    assert not files[0] & files[1]
    controls = [c for c in CASES.values() if c.kind == "control"]
    assert len(controls) == 4
    assert not any(c.metal for c in controls)


def test_the_protocol_gives_the_errors_that_it_is_known_by():
    """Steel discs of radius 12 mm in a body: 295 HU in it and 426 near the metal, by another simulator."""
    body, near = root_mean_square(scanned("protocol").image, scanned("protocol"))
    assert 250 < body < 350
    assert 400 < near < 550


@pytest.mark.parametrize("name", ["port", "nail", "clip"])
def test_a_case_is_the_truth_with_metal(name):
    given = scanned(name)
    assert root_mean_square(given.truth, given) == (0.0, 0.0)
    noise, error = root_mean_square(given.noisy, given)[1], root_mean_square(given.image, given)[1]
    assert error > 2 * noise
    assert given.image[given.mask].mean() > 1500 > given.truth[given.mask].mean()
    assert given.image.min() >= LOWEST
    assert given.image.max() <= HIGHEST
    far = given.body & ~given.near & ~given.mask
    assert 0 < given.near.sum() < far.sum()


def test_a_case_comes_out_the_same_again_and_another_draw_differs():
    first, again, other = (simulated(CASES["nail"], "nail", 128, draw=d).image for d in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert 1 < (first - other).std() < 30


def test_controls_are_dense_but_hold_no_metal():
    for name in names(False, control=True) + names(True, control=True):
        given = scanned(name, 128)
        assert not given.mask.any()
        assert given.image.max() > 1000
    assert scanned("no_enamel", 128).image.max() > 2000  # above a bare threshold
    assert hounsfield("bolus") > 1000
