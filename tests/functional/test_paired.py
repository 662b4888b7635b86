"""Paired statistics against enumeration and other libraries."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, rankdata, wilcoxon

from monai_medaug.functional.paired import (
    area_under_curve,
    bootstrap_draws,
    bootstrap_p,
    interval_of,
    mcnemar_p,
    percent_gain,
    wilcoxon_p,
)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = small = 0
    for trial in range(200):
        gain = random.normal(0, 2, 40)
        draws = bootstrap_draws(lambda drawn, gain=gain: gain[drawn].mean(1), 40, 200, trial)
        low, high = interval_of(draws, 0.9)
        held += low < 0 < high
        small += bootstrap_p(draws) < 0.1
    assert 165 <= held <= 193
    assert abs(small + held - 200) <= 3, "p and interval disagree"


def test_undefined_draws_do_not_count():
    draws = bootstrap_draws(lambda drawn: np.where((drawn == 0).any(1), 2.0, np.nan), 4, 50)
    assert 0 < len(draws) < 50
    assert interval_of(draws) == (2, 2)
    nothing = bootstrap_draws(lambda drawn: np.full(len(drawn), np.nan), 4, 5)
    assert np.isnan([*interval_of(nothing), bootstrap_p(nothing)]).all()


def test_area_under_the_curve_counts_pairs():
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 6, 40).astype(float), random.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs))
    both = area_under_curve(np.stack([scores, -scores]), np.stack([positive, positive]))
    assert both.sum() == pytest.approx(1)
    assert np.isnan(area_under_curve(scores, np.ones(40, bool)))


def test_mcnemar_is_a_binomial_test_of_the_cases_that_turn():
    before, after = np.zeros(12, bool), np.zeros(12, bool)
    before[:2], after[2:10] = True, True
    assert mcnemar_p(before, after) == pytest.approx(2 * binom.cdf(2, 10, 0.5))
    assert mcnemar_p(before, before) == 1


def test_wilcoxon_counts_all_signs_with_ties_too():
    random = np.random.default_rng(0)
    for differences in (random.normal(0.5, 1, 9), random.integers(-2, 4, 9).astype(float)):
        changed = differences[differences != 0]
        ranks = rankdata(np.abs(changed))
        sums = np.array([ranks[list(signs)].sum() for signs in product((False, True), repeat=len(changed))])
        seen = ranks[changed > 0].sum()
        expected = min(1, 2 * min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean()))
        assert wilcoxon_p(differences) == pytest.approx(expected)
    many = random.normal(0.2, 1, 100)
    assert wilcoxon_p(many) == pytest.approx(wilcoxon(many, method="exact").pvalue)
    assert wilcoxon_p(np.append(many, 0.1)) == pytest.approx(wilcoxon_p(many), rel=0.2)


def test_no_difference_is_no_evidence():
    assert wilcoxon_p(np.zeros(8)) == 1
    assert wilcoxon_p(np.array([0.0, 0.3])) == 1
    assert percent_gain(-2.0, 1.0) == 50
