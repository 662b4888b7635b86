"""The eight figures: 0 for the truth, 4 for the uncorrected slice, and known changes in between."""

from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests.metal.cases import CASES, scanned
from tests.metal.challenge import NAMES, Challenge, with_metal

CASE = "screws_ti"  # of the choosing half


@lru_cache(maxsize=1)
def challenge() -> Challenge:
    return Challenge(scanned(CASE))


def test_the_truth_with_its_metal_has_zero_in_all():
    assert not CASES[CASE].judged
    assert challenge().scores(with_metal(challenge().given)) == dict.fromkeys((*NAMES, "mean"), 0.0)
    assert len(challenge().edges) == 2


def test_the_uncorrected_slice_has_four():
    scores = challenge().scores(challenge().given.image)
    assert {n: scores[n] for n in ("rmse", "streaks", "ssim", "bone", "metal")} == dict.fromkeys(
        ("rmse", "streaks", "ssim", "bone", "metal"), 4.0
    )
    assert scores["range"] > 0.5
    assert scores["mean"] == pytest.approx(np.mean([scores[n] for n in NAMES]))


def test_half_the_error_is_two():
    given = challenge().given
    scores = challenge().scores(np.where(given.mask, given.image, (given.image + given.truth) / 2))
    assert scores["rmse"] == pytest.approx(2)
    assert scores["streaks"] == pytest.approx(2)
    assert 0 < scores["ssim"] < 2  # of squares
    assert 0 < scores["bone"] < 4


@pytest.mark.parametrize(("sigma", "score"), [(0.4, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_a_blur_has_the_score_that_the_organisers_gave_it(sigma, score):
    blurred = gaussian_filter(challenge().given.truth, sigma)
    assert challenge().scores(blurred)["sharpness"] == pytest.approx(score, abs=1e-6)


def test_noise_counts_from_that_of_the_dose_to_twice_it():
    given = challenge().given
    sigma = given.noisy[challenge().quiet].std()
    for factor, score in ((0.5, 0), (1.0, 0), (1.5, 2), (2.0, 4), (3.0, 4)):
        change = (given.noisy - given.noisy[challenge().quiet].mean()) * factor
        assert change[challenge().quiet].std() == pytest.approx(factor * sigma)
        assert challenge().scores(change)["noise"] == pytest.approx(score, abs=1e-6)


def test_metal_that_is_gone_or_has_grown_counts():
    given = challenge().given
    gone = challenge().scores(given.truth)
    assert gone["metal"] == pytest.approx(4)
    raw = challenge().raw(given.truth)
    assert raw["metal volume"] == 1
    assert raw["metal dice"] == 1
    grown = np.where(challenge().distance <= 1, 9000.0, given.truth)
    assert challenge().raw(grown)["metal volume"] == pytest.approx(
        (challenge().distance <= 1).sum() / given.mask.sum() - 1
    )


def test_lost_bone_counts_by_volume_and_overlap():
    given = challenge().given
    bone = np.flatnonzero((given.truth > 150) & ~given.mask & given.body)
    lost = given.truth.copy()
    lost.flat[bone[: len(bone) // 2]] = 0
    raw = challenge().raw(lost)
    assert raw["bone volume"] == pytest.approx(0.5, abs=0.01)
    assert raw["bone dice"] == pytest.approx(1 - 2 / 3, abs=0.01)


def test_a_streak_has_its_amplitude():
    given, region = challenge().given, np.argwhere(challenge().streaky)
    streaked = given.truth.copy()
    streaked[tuple(region[: len(region) // 10].T)] += 70
    streaked[tuple(region[-len(region) // 10 :].T)] -= 30
    assert challenge().raw(streaked)["streaks"] == pytest.approx(100)


def test_denser_tissue_shortens_a_protons_range():
    """By 5 HU everywhere, some 0.3 % of each path; the score is 4 from 2 % of the longest path on."""
    given = challenge().given
    dense = np.where(given.body, given.truth + 5.0, given.truth)
    shift = challenge().raw(dense)["range"]
    assert 0.001 < shift < 0.006
    assert challenge().scores(dense)["range"] == pytest.approx(4 * shift / 0.02)
    assert challenge().scores(given.truth + 200)["range"] == 4
