"""Intervals where runs (seeds, readers) and cases are both a sample: the same cases are measured in every run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def crossed_draws(
    statistic: Callable[[np.ndarray], np.ndarray],
    runs: int,
    groups: np.ndarray,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> np.ndarray:
    """A mean over runs, when runs and groups of cases are drawn again with replacement, in ascending order.

    Few runs tell little of how much another run would differ, and the plain bootstrap says so too quietly: it divides
    by n instead of n - 1 and knows no Student's t. The deviations of the runs' shares from 1 / n are therefore
    stretched by ``sqrt(n / (n - 1)) t(n - 1) / z`` at the interval's level. A single run leaves the cases alone to
    vary.

    Args:
        statistic: from how often each case is drawn, (draws, cases), to each run's figure, (draws, runs); nan where a
            draw leaves it undefined, which then doesn't count.
        runs: how many there are.
        groups: of each case, (cases,); cases of a group (a patient) are drawn together.
        draws: how often.
        seed: of the draws.
        level: of the interval that will be read off.

    Source: T. Hesterberg, What teachers should know about the bootstrap, The American Statistician 2015 (the stretch);
    A. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007 (both factors drawn).

    Example:
        >>> from monai_medaug.functional.paired import interval_of
        >>> rng = np.random.default_rng(0)
        >>> gains = 1 + rng.normal(0, 1, (5, 1)) + rng.normal(0, 1, (1, 50))
        >>> low, high = interval_of(crossed_draws(lambda w: w @ gains.T / w.sum(1, keepdims=True), 5, np.arange(50)))
        >>> low < float(gains.mean()) < high
        True
    """
    from scipy.stats import norm, t

    rng = np.random.default_rng(seed)
    _, own = np.unique(groups, return_inverse=True)
    count = int(own.max()) + 1
    times = rng.multinomial(count, np.full(count, 1 / count), draws)
    each = np.asarray(statistic(times[:, own].astype(float)), dtype=float)
    shares = np.full((draws, runs), 1 / runs)
    if runs > 1:
        quantile = (1 + level) / 2
        stretch = np.sqrt(runs / (runs - 1)) * t.ppf(quantile, runs - 1) / norm.ppf(quantile)
        shares += stretch * (rng.multinomial(runs, shares[0], draws) / runs - shares)
    found = (each * shares).sum(1)
    return np.sort(found[np.isfinite(found)])


def weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each run's mean over cases that count as often as they were drawn.

    Args:
        values: (runs, cases).
        weights: (draws, cases).

    Returns:
        (draws, runs).

    Example:
        >>> weighted_means(np.array([[0.0, 1.0]]), np.array([[1.0, 3.0]]))
        array([[0.75]])
    """
    return weights @ values.T / weights.sum(1, keepdims=True)


def weighted_areas(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each run's area under the ROC curve over cases that count as often as they were drawn, ties counted half.

    Args:
        scores: (runs, cases).
        positive: (cases,), booleans.
        weights: (draws, cases).

    Returns:
        (draws, runs), nan where all drawn cases are of one class.

    Example:
        >>> weighted_areas(np.array([[0.1, 0.4, 0.4]]), np.array([False, True, False]), np.array([[1.0, 1, 2]]))
        array([[0.66666667]])
    """
    ups, downs = weights[:, positive], weights[:, ~positive]
    pairs = ups.sum(1) * downs.sum(1)
    areas = []
    for own in scores:
        difference = own[positive][:, None] - own[~positive][None]
        above = (difference > 0) + 0.5 * (difference == 0)
        areas.append((ups @ above * downs).sum(1))
    return np.where(pairs > 0, np.stack(areas) / np.maximum(pairs, 1e-300), np.nan).T
