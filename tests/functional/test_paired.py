"""Paired statistics against enumeration and other libraries."""

import numpy as np
import pytest
from scipy.stats import binom

from monai_medaug.functional.paired import (
    area_under_curve,
    bootstrap_interval,
    mcnemar_p,
    percent_gain,
    wilcoxon_p,
)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for trial in range(60):
        gain = random.normal(1, 2, 40)
        low, high = bootstrap_interval(lambda drawn, gain=gain: gain[drawn].mean(), 40, 0.9, 200, trial)
        held += low < 1 < high
    assert 46 <= held <= 59


def test_undefined_draws_do_not_count():
    low, high = bootstrap_interval(lambda drawn: 2.0 if 0 in drawn else float("nan"), 4, draws=50)
    assert low == high == 2
    assert np.isnan(bootstrap_interval(lambda drawn: float("nan"), 4, draws=5)).all()


def test_area_under_the_curve_counts_pairs():
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 6, 40).astype(float), random.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs))
    assert np.isnan(area_under_curve(scores, np.ones(40, bool)))


def test_mcnemar_is_a_binomial_test_of_the_cases_that_turn():
    before, after = np.zeros(12, bool), np.zeros(12, bool)
    before[:2], after[2:10] = True, True
    assert mcnemar_p(before, after) == pytest.approx(2 * binom.cdf(2, 10, 0.5))
    assert mcnemar_p(before, before) == 1


def test_no_difference_is_no_evidence():
    assert wilcoxon_p(np.zeros(8)) == 1
    assert wilcoxon_p(np.array([0.0, 0.3])) == 1
    assert percent_gain(-2.0, 1.0) == 50
