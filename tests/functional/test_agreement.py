"""Kappa and VGC area against other libraries, intervals against simulated readers."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from monai_medaug.functional.agreement import two_way_draws, vgc_area, weighted_kappa
from monai_medaug.functional.paired import interval_of


@pytest.mark.parametrize("categories", [2, 3, 5])
def test_kappa_is_that_of_scikit_learn(categories):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(categories)
    first = rng.integers(0, categories, 60)
    second = np.clip(first + rng.integers(-1, 2, 60), 0, categories - 1)
    theirs = metrics.cohen_kappa_score(first, second, weights="quadratic", labels=range(categories))
    assert weighted_kappa(first.astype(float), second.astype(float), categories) == pytest.approx(theirs, abs=1e-12)


def test_kappa_of_few_answers():
    one, other = np.array([0.0, 2, np.nan, 1]), np.array([0.0, 2, 1, np.nan])
    assert weighted_kappa(one, other, 3) == 1
    assert weighted_kappa(np.array([0.0, 1]), np.array([1.0, 0]), 2) == -1
    assert np.isnan(weighted_kappa(np.ones(4), np.ones(4), 3))  # by chance too
    assert np.isnan(weighted_kappa(np.full(3, np.nan), np.ones(3), 3))


def test_vgc_area_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 40).astype(float), rng.integers(1, 6, 40).astype(float)
    theirs = mannwhitneyu(second, first).statistic / 40**2
    assert vgc_area(first, second)[0] == pytest.approx(theirs, abs=1e-12)
    assert vgc_area(np.exp(first), np.exp(second))[0] == pytest.approx(theirs, abs=1e-12)  # only the order counts
    assert vgc_area(second, first)[0] == pytest.approx(1 - theirs, abs=1e-12)


def test_vgc_area_is_that_under_the_curve_of_shares_at_each_threshold():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 5, 30), rng.integers(0, 5, 30)
    x, y = (np.array([np.mean(ratings >= t) for t in range(5, -1, -1)]) for ratings in (first, second))
    assert vgc_area(first, second)[0] == pytest.approx(np.trapezoid(y, x), abs=1e-12)


def test_vgc_area_of_drawn_cases_is_that_of_the_cases_written_out():
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 5, 12).astype(float), rng.integers(0, 5, 12).astype(float)
    first[3], second[7] = np.nan, np.nan
    counts = rng.multinomial(12, np.full(12, 1 / 12), 6)
    found = vgc_area(first, second, counts)
    for area, own in zip(found, counts, strict=True):
        one, other = (x[np.isfinite(x)] for x in (np.repeat(first, own), np.repeat(second, own)))
        assert area == pytest.approx(mannwhitneyu(other, one).statistic / len(one) / len(other), abs=1e-12)
    assert np.isnan(vgc_area(np.full(3, np.nan), np.ones(3))[0])


def test_the_bootstrap_of_one_way_has_the_known_spread():
    """One reader: the variance of a mean over cases; one case: over readers."""
    values = np.random.default_rng(3).random((1, 40))

    def mean(x):
        return lambda r, c: ((r @ x) * c).sum(1) / (r.sum(1) * c.sum(1))

    for x in (values, values.T):
        draws = two_way_draws(mean(x), *x.shape, draws=20000)
        assert draws.std() == pytest.approx(values.std() / np.sqrt(40), rel=0.03)
        assert draws.mean() == pytest.approx(values.mean(), abs=0.002)


def test_draws_that_define_nothing_do_not_count():
    draws = two_way_draws(lambda r, c: np.where(c[:, 0] > 0, c[:, 0], np.nan), 1, 4, draws=500)
    assert 300 < len(draws) < 500
    assert interval_of(draws)[0] == 1
