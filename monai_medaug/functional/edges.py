"""Edges of an image across the borders of its labels, before and after a change."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from monai_medaug.functional.borders import REACH
from monai_medaug.functional.transfer import TransferCurve

_HALF = 4  # voxels of the compared profile on each side
_MIDDLE = slice(REACH - _HALF, REACH + _HALF + 1)
_SHIFTS = REACH - _HALF  # the greatest shift looked for
_VISIBLE = 3.0  # an edge's mean profile stands out of its standard error by this factor
_ALIKE = 0.7  # least correlation of an edge's profile before and after
_SHIFTED = 1.0  # voxels: an edge further away has moved
_FLOOR = 0.1  # of the edges' size
_HARDLY = 0.3  # singular value of normals, of the greatest


@dataclass(frozen=True)
class EdgesKept:
    """How the edges of an image at label borders came through.

    Attributes:
        places: compared.
        visible: of these, places whose edge stood out of the noise before.
        kept: share of the visible ones whose edge is still there: profile alike, not moved by more than a voxel.
        disturbed: shares of all places where structure appeared or vanished, see `disturbed_places`.
        steepness: slope of the edges' gradients on those before, over the border's 5 voxels; includes the image's gain.
        size: mean standard deviation of the visible edges' profiles, as expected after.
        seen: the visible places, by number.
        fits: whether the edge of each of these is still there.
        shift: by how many voxels each of these lies further out; NaN where the edge can't be found.
    """

    places: int
    visible: int
    kept: float = 0.0
    disturbed: tuple[float, float] = (0.0, 0.0)
    steepness: float = 0.0
    size: float = 0.0
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    fits: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def least_texture(self) -> float:
        """What counts as texture at least: a tenth of the edges' size after."""
        return _FLOOR * self.size


def edges_kept(
    place: np.ndarray, before: np.ndarray, after: np.ndarray, known: np.ndarray, curve: TransferCurve
) -> EdgesKept:
    """Compare profiles across borders, averaged within each place so that noise counts less.

    Args:
        place: of each line, ascending.
        before: values along the lines, (N, 2 REACH + 1), as geometry alone would show them.
        after: the same in the result.
        known: lines that lie within the image before and after, (N,).
        curve: from the image's values before to those after, so that gain, gamma or a window don't count.

    Profiles are correlated at shifts of up to 4 voxels, in steps of half a voxel: an edge counts as moved if it fits
    better by more than a voxel away.
    """
    place, before, after = place[known], before[known], after[known]
    if not len(place):
        return EdgesKept(0, 0)
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    lines = np.diff(starts, append=len(place))[:, None]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts) / lines

    around = slice(_MIDDLE.start - 1, _MIDDLE.stop - 1)
    slopes = (before[:, 2:] - before[:, :-2])[:, around] / 2
    pooled = mean(slopes)
    spread = np.maximum(mean(slopes**2) - pooled**2, 0) / lines
    strong = (pooled**2).sum(1) > _VISIBLE**2 * spread.sum(1)
    strong &= (pooled**2).sum(1) > 1e-12 * (before.std() ** 2 + 1e-30)
    strong &= lines[:, 0] >= min(3, lines.max())
    if not strong.any():
        return EdgesKept(len(starts), 0)
    shown = curve(before)
    expected, found = mean(shown), mean(after)
    size = float(expected[strong][:, _MIDDLE].std(1).mean())
    spread_after = float(after.std())
    constant = spread_after <= 1e-9 * float(np.abs(after).max())
    fits, shift = _fit(expected[strong][:, _MIDDLE] / (spread_after or 1.0), found[strong] / (spread_after or 1.0))
    fits &= not constant
    near = slice(_HALF - 2, _HALF + 3)
    first, last = pooled[strong][:, near], mean((after[:, 2:] - after[:, :-2])[:, around] / 2)[strong][:, near]
    return EdgesKept(
        len(starts),
        int(strong.sum()),
        float(fits.mean()),
        _disturbed(place, shown[:, _MIDDLE], after[:, _MIDDLE], _FLOOR * size, trend=True),
        float((first * last).sum() / (first**2).sum()),
        size,
        place[starts][strong],
        fits,
        shift,
    )


def displacement(normals: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """The translation (3,) that moves edges along their normals as seen, by least squares.

    Directions that the normals hardly show count as none.

    Args:
        normals: unit vectors (N, 3).
        shifts: by how much each edge lies further along its normal, (N,); NaN where unknown.

    Example:
        >>> displacement(np.eye(3), np.array([2.0, 0.0, -1.0])).tolist()
        [2.0, 0.0, -1.0]
    """
    known = np.isfinite(shifts)
    if not known.any():
        return np.zeros(3)
    return np.linalg.lstsq(normals[known], shifts[known], rcond=_HARDLY)[0]


def _fit(expected: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether edges are where they were, and how far off.

    Args:
        expected: mean profiles before, (N, 2 HALF + 1).
        found: the same after, (N, 2 REACH + 1).
    """
    shifts = np.arange(-2 * _SHIFTS, 2 * _SHIFTS + 1) / 2
    table = np.empty((len(found), len(shifts)))
    for first, profiles in enumerate((found, (found[:, 1:] + found[:, :-1]) / 2)):  # whole shifts, and those between
        windows = sliding_window_view(profiles, expected.shape[1], axis=1)
        table[:, first::2] = _correlation(expected[:, None], windows)
    best = shifts[table.argmax(1)]
    fits = (table[:, len(shifts) // 2] >= _ALIKE) & (np.abs(best) <= _SHIFTED)
    return fits, np.where(table.max(1) >= _ALIKE, best, np.nan)


def disturbed_places(
    place: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    curve: TransferCurve,
    floor: float = 0.0,
    trend: bool = False,
) -> tuple[float, float]:
    """The shares of places where the change has a structure stronger than the image's own texture, and than thrice it.

    Of the change along each line, after the curve, the mean over a place's lines is structure, up to the variance that
    the lines' scatter gives it; noise has none. Texture is the median over places of the lines' standard deviation
    about their place's mean before.

    Args:
        place: of each line, ascending.
        before: values along the lines, as geometry alone would show them.
        after: the same in the result.
        curve: from the image's values before to those after.
        floor: least texture.
        trend: whether a change in proportion to the position along the line counts too, as it does across an edge.
    """
    return _disturbed(place, curve(before[:, _MIDDLE]), after[:, _MIDDLE], floor, trend)


def _disturbed(
    place: np.ndarray, expected: np.ndarray, found: np.ndarray, floor: float, trend: bool
) -> tuple[float, float]:
    """`disturbed_places` from the values expected and found in the middle of the lines."""
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    lines = np.diff(starts, append=len(place))[:, None]

    def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = (np.add.reduceat(v, starts) / lines for v in (values, values**2))
        return first, np.maximum(second - first**2, 0)

    mean, variance = moments(found - expected)
    mean -= mean.mean(1, keepdims=True)
    if not trend:
        along = np.arange(-_HALF, _HALF + 1) / np.sqrt((np.arange(-_HALF, _HALF + 1) ** 2).sum())
        mean -= (mean @ along)[:, None] * along
    structure = (mean**2 - variance / np.maximum(lines - 1, 1)).mean(1)
    texture = max(float(np.median(moments(expected)[1].mean(1))), floor**2, 1e-12 * float(expected.var()))
    return float((structure > texture).mean()), float((structure > 9 * texture).mean())


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation along the last axis; 0 for constant rows."""
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    sizes = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.divide((a * b).sum(-1), sizes, out=np.zeros(sizes.shape), where=sizes > 1e-12)
