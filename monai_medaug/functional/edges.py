"""Edges of an image across the borders of its labels, before and after a change."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from monai_medaug.functional.acceleration import loops
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
    if not known.all():
        place, before, after = place[known], before[known], after[known]
    if not len(place):
        return EdgesKept(0, 0)
    profiles = _profiles(place, before, curve(before), after)
    places, lines, pooled = len(profiles.lines), profiles.lines[:, None], _slopes(profiles.before)
    strong = (pooled**2).sum(1) > _VISIBLE**2 * (profiles.slope_variance / lines).sum(1)
    strong &= (pooled**2).sum(1) > 1e-12 * (before.std() ** 2 + 1e-30)
    strong &= profiles.lines >= min(3, profiles.lines.max())
    if not strong.any():
        return EdgesKept(places, 0)
    expected, found = profiles.expected[strong][:, _MIDDLE], profiles.found[strong]
    size = float(expected.std(1).mean())
    spread_after = float(after.std())
    constant = spread_after <= 1e-9 * float(np.abs(after).max())
    fits, shift = _fit(expected / (spread_after or 1.0), found / (spread_after or 1.0))
    fits &= not constant
    near = slice(_HALF - 2, _HALF + 3)
    first, last = pooled[strong][:, near], _slopes(found)[:, near]
    return EdgesKept(
        places,
        int(strong.sum()),
        float(fits.mean()),
        _disturbed(profiles, _FLOOR * size, trend=True),
        float((first * last).sum() / (first**2).sum()),
        size,
        profiles.place[strong],
        fits,
        shift,
    )


@dataclass(frozen=True)
class _Profiles:
    """Lines pooled by place.

    Attributes:
        place: number of each place.
        lines: how many it has.
        before: means of the values before, (P, 2 REACH + 1).
        expected: of the values that the curve gives for after.
        found: of the values after.
        slope_variance: of the slopes before over the lines, in the middle (P, 2 HALF + 1).
        texture: variance of the expected values.
        change_variance: variance of the values found less those expected.
    """

    place: np.ndarray
    lines: np.ndarray
    before: np.ndarray
    expected: np.ndarray
    found: np.ndarray
    slope_variance: np.ndarray
    texture: np.ndarray
    change_variance: np.ndarray


def _profiles(place: np.ndarray, before: np.ndarray, shown: np.ndarray, after: np.ndarray) -> _Profiles:
    edges = np.flatnonzero(np.concatenate([[True], place[1:] != place[:-1], [True]]))
    starts, lines = edges[:-1], edges[1:] - edges[:-1]
    if (compiled := loops("_numba_edges")) is not None:
        means = np.empty((3, len(starts), before.shape[1]))
        variances = np.empty((3, len(starts), 2 * _HALF + 1))
        compiled.place_moments(edges, before, shown, after, means, variances)
        return _Profiles(place[starts], lines, *means, *variances)

    def mean(values: np.ndarray) -> np.ndarray:
        pooled: np.ndarray = np.add.reduceat(values, starts) / lines[:, None]
        return pooled

    def variance(values: np.ndarray) -> np.ndarray:
        return np.maximum(mean(values**2) - mean(values) ** 2, 0)

    middle = shown[:, _MIDDLE]
    spreads = variance(_slopes(before)), variance(middle), variance(after[:, _MIDDLE] - middle)
    return _Profiles(place[starts], lines, mean(before), mean(shown), mean(after), *spreads)


def _slopes(values: np.ndarray) -> np.ndarray:
    """Slopes per voxel in the middle (N, 2 HALF + 1) of lines."""
    slopes: np.ndarray = (values[:, 2:] - values[:, :-2])[:, _MIDDLE.start - 1 : _MIDDLE.stop - 1] / 2
    return slopes


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
    if (compiled := loops("_numba_edges")) is not None:
        compiled.correlations(expected, found, table)
    else:
        for first, profiles in enumerate((found, (found[:, 1:] + found[:, :-1]) / 2)):  # whole shifts, those between
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
    return _disturbed(_profiles(place, before, curve(before), after), floor, trend)


def _disturbed(profiles: _Profiles, floor: float, trend: bool) -> tuple[float, float]:
    """`disturbed_places` of pooled lines."""
    expected = profiles.expected[:, _MIDDLE]
    change = profiles.found[:, _MIDDLE] - expected
    change -= change.mean(1, keepdims=True)
    if not trend:
        along = np.arange(-_HALF, _HALF + 1) / np.sqrt((np.arange(-_HALF, _HALF + 1) ** 2).sum())
        change -= (change @ along)[:, None] * along
    structure = (change**2 - profiles.change_variance / np.maximum(profiles.lines - 1, 1)[:, None]).mean(1)
    own = profiles.texture.mean(1)
    texture = max(statistics.median(own.tolist()), floor**2, 1e-12 * float(own.mean() + expected.var()))
    return float((structure > texture).mean()), float((structure > 9 * texture).mean())


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation along the last axis; 0 for constant rows."""
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    sizes = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.divide((a * b).sum(-1), sizes, out=np.zeros(sizes.shape), where=sizes > 1e-12)
