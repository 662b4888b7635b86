"""Intervals over runs and cases: their coverage, and the weighted figures against cases that are really repeated."""

import numpy as np
import pytest

from monai_medaug.functional.crossed import crossed_draws, weighted_areas, weighted_means
from monai_medaug.functional.paired import area_under_curve, interval_of


def simulated(rng, runs: int, cases: int, of_runs: float, of_cases: float) -> np.ndarray:
    """Gains whose true mean is 0: of the run, of the case, and of both together."""
    own = of_runs * rng.normal(size=(runs, 1)) + of_cases * rng.normal(size=(1, cases))
    return own + 0.5 * rng.normal(size=(runs, cases))


@pytest.mark.parametrize(("runs", "of_runs", "of_cases"), [(5, 1.0, 1.0), (3, 0.2, 1.0), (5, 1.0, 0.2), (3, 1.0, 0.2)])
def test_the_interval_covers(runs, of_runs, of_cases):
    rng, held = np.random.default_rng(0), []
    for trial in range(400):
        gains = simulated(rng, runs, 40, of_runs, of_cases)
        draws = crossed_draws(lambda w, g=gains: weighted_means(g, w), runs, np.arange(40), 400, trial)
        low, high = interval_of(draws)
        held.append(low <= 0 <= high)
    assert np.mean(held) >= 0.91, "the interval is too narrow"
    assert np.mean(held) < 1, "the interval is as wide as you please"


def test_the_plain_bootstrap_of_few_runs_would_not_cover():
    """Without the stretch the same simulation holds 0 too seldom: what the test above could find."""
    rng, held = np.random.default_rng(0), []
    for trial in range(400):
        gains = simulated(rng, 3, 40, 1.0, 0.2)
        drawn = np.random.default_rng(trial).integers(3, size=(400, 3))
        low, high = np.quantile(gains.mean(1)[drawn].mean(1), (0.025, 0.975))
        held.append(low <= 0 <= high)
    assert np.mean(held) < 0.85


def test_spread_of_either_part_alone():
    rng = np.random.default_rng(1)
    of_cases = np.repeat(rng.normal(size=(1, 200)), 5, 0)
    draws = crossed_draws(lambda w: weighted_means(of_cases, w), 5, np.arange(200), 4000)
    assert draws.std() == pytest.approx(of_cases[0].std() / np.sqrt(200), rel=0.05)
    of_runs = np.repeat(rng.normal(size=(5, 1)), 30, 1)
    draws = crossed_draws(lambda w: weighted_means(of_runs, w), 5, np.arange(30), 4000)
    student = 2.776 / 1.960  # 97.5 % of Student's t with 4 degrees of freedom, and of the normal distribution
    assert draws.std() == pytest.approx(student * of_runs[:, 0].std(ddof=1) / np.sqrt(5), rel=0.05)


def test_cases_of_a_patient_are_drawn_together():
    values = np.random.default_rng(0).normal(size=(1, 30))
    once = crossed_draws(lambda w: weighted_means(values, w), 1, np.arange(30))
    often = crossed_draws(lambda w: weighted_means(np.repeat(values, 4, 1), w), 1, np.repeat(np.arange(30), 4))
    alone = crossed_draws(lambda w: weighted_means(np.repeat(values, 4, 1), w), 1, np.arange(120))
    np.testing.assert_allclose(once, often)
    assert alone.std() < 0.6 * once.std()


def test_weights_are_repeats():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, (2, 25)) / 5, rng.random(25) < 0.4
    weights = rng.integers(0, 4, (3, 25)).astype(float)
    for row, own in zip(weights.astype(int), weighted_areas(scores, positive, weights), strict=True):
        index = np.repeat(np.arange(25), row)
        expected = [area_under_curve(s[index], positive[index]) for s in scores]
        np.testing.assert_allclose(own, expected)
        np.testing.assert_allclose(weighted_means(scores, row[None].astype(float))[0], scores[:, index].mean(1))


def test_draws_without_a_class_do_not_count():
    scores, positive = np.array([[0.1, 0.9, 0.8]]), np.array([False, True, True])
    draws = crossed_draws(lambda w: weighted_areas(scores, positive, w), 1, np.arange(3), 1000)
    assert 0 < len(draws) < 1000
    assert set(draws) == {1.0}
