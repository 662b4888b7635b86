"""Statistics of paired measurements: the same cases before and after a change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_EXACT = 100  # differences


def bootstrap_draws(
    statistic: Callable[[np.ndarray], np.ndarray], cases: int, draws: int = 2000, seed: int = 0
) -> np.ndarray:
    """A statistic of cases that are drawn with replacement, many times, in ascending order.

    Both measurements of a case are drawn together, so that what makes a case hard doesn't widen the interval.

    Args:
        statistic: from the indices of drawn cases, (draws, cases), to numbers (draws,); nan where a draw leaves it
            undefined, which then doesn't count.
        cases: how many there are.
        draws: how often.
        seed: of the draws.

    Example:
        >>> gain = np.random.default_rng(0).normal(1, 1, 100)
        >>> low, high = interval_of(bootstrap_draws(lambda drawn: gain[drawn].mean(1), 100))
        >>> 0.7 < low < 1 < high < 1.3
        True
    """
    drawn = np.random.default_rng(seed).integers(0, cases, (draws, cases))
    found = np.asarray(statistic(drawn), dtype=float)
    return np.sort(found[np.isfinite(found)])


def interval_of(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval that holds a share of the draws; both ends nan without draws.

    Example:
        >>> interval_of(np.arange(101.0), 0.5)
        (25.0, 75.0)
    """
    if not len(draws):
        return float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_p(draws: np.ndarray) -> float:
    """Two-sided p that a gain is 0: twice the share of draws on the other side, at least 2 / draws; nan without draws.

    Example:
        >>> bootstrap_p(np.arange(100.0) - 4.5)
        0.1
    """
    if not len(draws):
        return float("nan")
    share = min((draws <= 0).mean(), (draws >= 0).mean())
    return float(min(1.0, max(2 * share, 2 / len(draws))))


def wilcoxon_p(differences: np.ndarray) -> float:
    """Two-sided p of the signed-rank test that differences lie symmetrically about 0; 1 where all are 0.

    Zeros don't count, equal sizes share their mean rank. Exact up to 100 differences: the distribution of the rank sum
    over all choices of signs, which scipy leaves for a normal one, or slow sampling, where sizes are equal.

    Source: Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1945.

    Example:
        >>> round(wilcoxon_p(np.array([1.0, 2, 3, 4, 5])), 4)  # 2 / 2⁵
        0.0625
    """
    from scipy.stats import rankdata, wilcoxon

    changed = differences[differences != 0]
    if not len(changed):
        return 1.0
    if len(changed) > _EXACT:
        return float(wilcoxon(changed, method="asymptotic").pvalue)
    ranks = np.rint(2 * rankdata(np.abs(changed))).astype(int)  # whole numbers
    chance = np.ones(1)
    for rank in ranks:
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    seen = int(ranks[changed > 0].sum())
    return float(min(1.0, 2 * min(chance[: seen + 1].sum(), chance[seen:].sum())))


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


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the chance that a positive case scores above a negative one, ties counted half.

    Args:
        scores: (…, cases).
        positive: of the same shape, booleans.

    Returns:
        (…), nan where all cases are of one class.

    Example:
        >>> area_under_curve(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])).item()
        0.875
    """
    from scipy.stats import rankdata

    count = positive.sum(-1)
    pairs = count * (positive.shape[-1] - count)
    above = (rankdata(scores, axis=-1) * positive).sum(-1) - count * (count + 1) / 2
    return np.where(pairs > 0, above / np.maximum(pairs, 1), np.nan)
