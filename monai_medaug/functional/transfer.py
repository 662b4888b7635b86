"""How an image's values after a change follow from those before: gain, gamma, window, in one monotone curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_medaug.functional.acceleration import loops

_KNOTS = 64
_EQUAL = 2.0**-16  # of the range: values no further apart are one, since resampling rounds those of a flat region


@dataclass(frozen=True)
class TransferCurve:
    """A curve that rises or stays level, from values before to values after; linear beyond its ends.

    Attributes:
        before: values at the knots, ascending.
        after: values there, not descending.
        slope: of the straight line through all values.
    """

    before: np.ndarray
    after: np.ndarray
    slope: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The expected values after."""
        if (compiled := loops("_numba_edges")) is not None:
            out = np.empty(values.shape)
            given = np.ascontiguousarray(values, float).reshape(-1)
            compiled.through_curve(given, self.before, self.after, max(self.slope, 0.0), out.reshape(-1))
            return out
        low, high = self.before[0], self.before[-1]
        beyond = np.minimum(values - low, 0) + np.maximum(values - high, 0)
        return np.interp(values, self.before, self.after) + max(self.slope, 0.0) * beyond


def transfer_curve(before: np.ndarray, after: np.ndarray) -> TransferCurve:
    """Fit the curve to values of the same places before and after a change.

    The medians of 64 groups of equal size by the value before, made monotone by pooling neighbours (isotonic
    regression). Medians, since those of both lie on any monotone curve, and a shutter or metal over a part of the image
    doesn't bend the curve of the rest.

    Example:
        >>> x = np.linspace(0, 1, 1000)
        >>> curve = transfer_curve(x, np.minimum(3 * x, 1.5))
        >>> curve(np.array([0.25, 0.75])).round(2)
        array([0.75, 1.5 ])
    """
    if not len(before):
        return TransferCurve(np.zeros(1), np.zeros(1), 1.0)
    step = float(np.ptp(before)) * _EQUAL or 1.0
    order = _sorting_order(np.round(before / step))
    groups = np.linspace(0, len(order), min(_KNOTS, len(order)) + 1).astype(int)
    knots, middles = (_medians(v[order], groups) for v in (before, after))
    centred = before - before.mean()
    square = float((centred**2).sum())
    slope = float((centred * (after - after.mean())).sum() / square) if square > 0 else 0.0
    own = np.unique(np.round(knots / step), return_inverse=True)[1]
    sizes = np.bincount(own).astype(float)
    distinct, level = (np.bincount(own, v) / sizes for v in (knots, middles))
    return TransferCurve(distinct, _rising(level, sizes), slope)


def _sorting_order(levels: np.ndarray) -> np.ndarray:
    """What sorts whole numbers, equal ones by position: in one key, since plain numbers sort fastest."""
    keys = (levels - levels.min()).astype(np.int64) << 32
    keys |= np.arange(len(keys))
    keys.sort()
    return keys & 0xFFFFFFFF


def _medians(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The median of each group of consecutive values, which begin at ``groups`` and differ by one in size at most."""
    starts, members = groups[:-1], np.diff(groups)
    longest = int(members.max())
    table = np.append(values, np.inf)[starts[:, None] + np.arange(longest)]
    table[members < longest, -1] = np.inf
    table.sort(axis=1)
    rows = np.arange(len(starts))
    return (table[rows, (members - 1) // 2] + table[rows, members // 2]) / 2


def _rising(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The closest sequence that does not fall: neighbours that do are pooled."""
    blocks: list[list[float]] = []  # mean, weight, members
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m, i), (b, n, j) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n, i + j]]
    return np.repeat([b[0] for b in blocks], [int(b[2]) for b in blocks])
