"""Statistics of paired measurements: the same cases before and after a change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float], cases: int, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic over cases, which are drawn with replacement.

    Both measurements of a case are drawn together, so that what makes a case hard doesn't widen the interval.

    Args:
        statistic: from the indices of drawn cases, (cases,), to a number; nan where a draw leaves it undefined, which
            then doesn't count.
        cases: how many there are.
        level: share of draws within the interval.
        draws: how often.
        seed: of the draws.

    Returns:
        Low and high; both nan if no draw defines the statistic.

    Example:
        >>> gain = np.random.default_rng(0).normal(1, 1, 100)
        >>> low, high = bootstrap_interval(lambda drawn: gain[drawn].mean(), 100)
        >>> bool(0.7 < low < 1 < high < 1.3)
        True
    """
    random = np.random.default_rng(seed)
    found = np.array([statistic(random.integers(0, cases, cases)) for _ in range(draws)], dtype=float)
    found = found[np.isfinite(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of the signed-rank test that differences lie symmetrically about 0; 1 where all are 0.

    Source: Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1945.

    Example:
        >>> round(wilcoxon_p(np.array([1.0, 2, 3, 4, 5])), 4)  # 2 / 2⁵
        0.0625
    """
    from scipy.stats import wilcoxon

    changed = differences[differences != 0]
    return float(wilcoxon(changed).pvalue) if len(changed) else 1.0


def mcnemar_p(before: np.ndarray, after: np.ndarray) -> float:
    """Two-sided exact p that as many cases turn right as turn wrong; 1 where none turns.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 1947.

    Example:
        >>> mcnemar_p(np.array([False] * 5 + [True] * 5), np.array([True] * 10))
        0.0625
    """
    from scipy.stats import binomtest

    right, wrong = int((after & ~before).sum()), int((before & ~after).sum())
    return float(binomtest(right, right + wrong).pvalue) if right + wrong else 1.0


def percent_gain(before: float, gain: float) -> float | None:
    """A gain in per cent of what was there before: 0 without a gain, None for a gain on 0, of which no percentage is.

    Example:
        >>> percent_gain(0.8, 0.04), percent_gain(0.0, 0.0), percent_gain(0.0, 0.2)
        (5.0, 0.0, None)
    """
    if gain == 0:
        return 0.0
    return 100 * gain / abs(before) if before else None


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive case scores above a negative one, ties counted half.

    Returns:
        nan where all cases are of one class.

    Example:
        >>> area_under_curve(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
        0.875
    """
    from scipy.stats import rankdata

    count = int(positive.sum())
    others = len(positive) - count
    if not count or not others:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - count * (count + 1) / 2) / (count * others))
