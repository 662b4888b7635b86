"""Statistics of readers: agreement on an ordinal scale, visual grading, and intervals over readers and cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def weighted_kappa(first: np.ndarray, second: np.ndarray, categories: int) -> float:
    """Agreement of two series of ordinal answers beyond chance, Cohen's kappa with quadratic weights.

    ``1 - sum(w observed) / sum(w expected)`` with ``w = (i - j)²``: 1 for equal answers, 0 for what chance gives.

    Args:
        first: answers (n,), whole numbers from 0 to ``categories`` - 1; nan where there is none.
        second: the other answers to the same questions; a pair with a nan doesn't count.
        categories: how many there are.

    Returns:
        From -1 to 1; nan without pairs, or where all answers of both are the same one, so that chance agrees too.

    Source: Cohen, Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit,
    Psychological Bulletin 1968.

    Example:
        >>> weighted_kappa(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1]), 3)
        0.8
    """
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        return float("nan")
    one, other = (np.asarray(x)[both].astype(int) for x in (first, second))
    observed = np.zeros((categories, categories))
    np.add.at(observed, (one, other), 1 / len(one))
    steps = np.arange(categories)
    weights = (steps[:, None] - steps) ** 2
    by_chance = float((weights * np.outer(observed.sum(1), observed.sum(0))).sum())
    return round(1 - float((weights * observed).sum()) / by_chance, 12) + 0.0 if by_chance else float("nan")


def vgc_area(first: np.ndarray, second: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Area under the curve of visual grading characteristics: the chance that the second version is rated higher.

    The curve shows, for each threshold, the share of the second version's ratings at or above it over that of the
    first's; the trapezoids below it add up to the Mann-Whitney statistic ``P(second > first) + P(equal) / 2`` over all
    pairs of images. Only the order of the scale counts. 0.5: no difference.

    Args:
        first: ratings of the first version (cases,); nan where there is none.
        second: of the second version.
        counts: how often each case is drawn, (draws, cases); None for once.

    Returns:
        (draws,), or (1,) without counts; nan where a version has no rating.

    Source: Båth and Månsson, Visual grading characteristics (VGC) analysis: a non-parametric rank-invariant statistical
    method for image quality evaluation, British Journal of Radiology 2007.

    Example:
        >>> vgc_area(np.array([1, 2, 2]), np.array([2, 3, 3]))
        array([0.88888889])
    """
    drawn = np.ones((1, len(first))) if counts is None else np.asarray(counts, float)
    above = (second[None, :] > first[:, None]) + 0.5 * (second[None, :] == first[:, None])  # nan is neither
    one, other = (drawn * np.isfinite(x) for x in (first, second))
    pairs = one.sum(1) * other.sum(1)
    return np.where(pairs > 0, ((one @ above) * other).sum(1) / np.maximum(pairs, 1), np.nan)


def two_way_draws(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    readers: int,
    cases: int,
    draws: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """A statistic of readers and cases that are both drawn with replacement, many times, in ascending order.

    Its spread says how the statistic would change with other readers and other cases; of a single reader, with other
    cases alone.

    Args:
        statistic: from how often each reader is drawn, (draws, readers), and each case, (draws, cases), to (draws,);
            nan where a draw leaves it undefined, which then doesn't count.
        readers: how many there are.
        cases: how many there are.
        draws: how often.
        seed: of the draws.

    Source: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007.

    Example:
        >>> chosen = np.random.default_rng(0).random((4, 50)) < 0.7
        >>> found = two_way_draws(lambda r, c: ((r @ chosen) * c).sum(1) / (r.sum(1) * c.sum(1)), 4, 50)
        >>> bool(0.5 < found[50] < 0.7 < found[1950] < 0.9)
        True
    """
    rng = np.random.default_rng(seed)
    counts = [rng.multinomial(n, np.full(n, 1 / n), draws).astype(float) for n in (readers, cases)]
    found = np.asarray(statistic(*counts), dtype=float)
    return np.sort(found[np.isfinite(found)])
