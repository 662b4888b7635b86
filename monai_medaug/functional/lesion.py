"""A lesion in its surroundings: contrast of its parts and detectability, before and after a change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEAST_CONTRAST, _LEAST_DETECTABILITY = 0.3, 1.0  # below, nobody could see the lesion
_FEWEST = 8  # voxels of a part
_GAIN_WITHIN = 4.0  # the gain at the lesion's values against that of the whole image
_OWN_SHARE = 0.5  # a part is judged if its contrast is at least this share of the lesion's


@dataclass(frozen=True)
class LesionParts:
    """Voxels of a lesion and of its surroundings.

    Attributes:
        lesion: voxels (N, 3) of the lesion.
        ring: voxels (M, 3) around it.
        parts: names and members (N,) of parts.
        cell: of each ring voxel, (M,): cubes about as large as the lesion, of at most 6 voxels.
    """

    lesion: np.ndarray
    ring: np.ndarray
    parts: dict[str, np.ndarray]
    cell: np.ndarray


@dataclass(frozen=True)
class LesionContrast:
    """How a lesion stands out of its surroundings before and after.

    Attributes:
        contrast_to_noise: mean difference over the standard deviation of the surroundings, before and after.
        detectability: d' of an observer who averages over areas of the lesion's size: mean difference over the standard
            deviation of such averages in the surroundings, before and after.
        parts: of each part that was visible itself, its contrast after over that before, the image's gain taken out.
        gain: slope of the image's values after on those before, at the lesion's values.
    """

    contrast_to_noise: tuple[float, float]
    detectability: tuple[float, float]
    parts: dict[str, float]
    gain: float

    @property
    def was_visible(self) -> bool:
        """Whether anybody could have seen the lesion before."""
        return abs(self.contrast_to_noise[0]) >= _LEAST_CONTRAST and abs(self.detectability[0]) >= _LEAST_DETECTABILITY


def lesion_parts(lesion: np.ndarray, rim: np.ndarray, component: np.ndarray, ring: np.ndarray) -> LesionParts:
    """Divide a lesion: its components; of the largest the rim, the core and thirds along its longest axis.

    Args:
        lesion: voxels (N, 3).
        rim: which of them have a neighbour outside, (N,).
        component: number of each one's connected component, (N,).
        ring: voxels (M, 3) of the surroundings.
    """
    numbers, sizes = np.unique(component, return_counts=True)
    order = numbers[np.argsort(-sizes)]
    parts: dict[str, np.ndarray] = {}
    if len(order) > 1:
        parts |= {f"component {i + 1}": component == n for i, n in enumerate(order[:8])}
    if len(order):
        own = component == order[0]
        parts |= {"rim": own & rim, "core": own & ~rim}
        points = lesion[own] - lesion[own].mean(0)
        along = points @ np.linalg.svd(points, full_matrices=False)[2][0]
        bounds = np.quantile(along, [1 / 3, 2 / 3])
        third = np.full(len(lesion), -1)
        third[own] = np.searchsorted(bounds, along)
        parts |= {f"third {i + 1}": third == i for i in range(3)}
    side = int(np.clip(round(len(lesion) ** (1 / 3)), 2, 6))
    cells = ring // side
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    return LesionParts(lesion, ring, {k: v for k, v in parts.items() if v.sum() >= _FEWEST}, cell.ravel())


def lesion_contrast(
    parts: LesionParts,
    lesion: tuple[np.ndarray, np.ndarray],
    ring: tuple[np.ndarray, np.ndarray],
    everywhere: tuple[np.ndarray, np.ndarray],
) -> LesionContrast:
    """Compare the values at a lesion and around it before and after.

    Args:
        parts: the voxels.
        lesion: their values before, as geometry alone would show them, and after, (N,) each.
        ring: those of the surroundings, (M,) each.
        everywhere: those of voxels all over the image.
    """
    middle = [float(np.median(r)) for r in ring]
    contrast = [float(v.mean()) - m for v, m in zip(lesion, middle, strict=True)]
    spread = [float(r.std()) for r in ring]
    averages = [_cell_means(r, parts.cell) for r in ring]
    noise = [float(a.std()) for a in averages]
    gain = gain_at(everywhere, middle[0], middle[0] + contrast[0])
    changes = {}
    for name, members in parts.parts.items():
        own = [float(v[members].mean()) - m for v, m in zip(lesion, middle, strict=True)]
        if abs(own[0]) >= _OWN_SHARE * abs(contrast[0]) and own[0] * contrast[0] > 0:
            changes[name] = own[1] / (gain * own[0]) if gain else 0.0
    return LesionContrast(
        (_over(contrast[0], spread[0]), _over(contrast[1], spread[1])),
        (_over(contrast[0], noise[0]), _over(contrast[1], noise[1])),
        changes,
        gain,
    )


def gain_at(everywhere: tuple[np.ndarray, np.ndarray], low: float, high: float) -> float:
    """Slope of an image's values after on those before, around a range of values before.

    Within a factor of four of that over all values, so that a window that clips the range counts as lost contrast.
    """
    before, after = everywhere
    whole = _slope(before, after)
    width = abs(high - low)
    near = np.abs(before - (low + high) / 2) <= 1.5 * width
    own = _slope(before[near], after[near]) if near.sum() >= 100 else whole
    return float(
        np.clip(own, min(whole / _GAIN_WITHIN, whole * _GAIN_WITHIN), max(whole / _GAIN_WITHIN, whole * _GAIN_WITHIN))
    )


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    x = x - x.mean() if len(x) else x
    square = float((x**2).sum())
    return float((x * (y - y.mean())).sum() / square) if square > 0 else 0.0


def _cell_means(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    counts = np.bincount(cell)
    full = counts >= min(4, counts.max(initial=0))
    return (np.bincount(cell, values) / np.maximum(counts, 1))[full]


def _over(a: float, b: float) -> float:
    """A / b; without noise the difference in units of a thousandth of itself."""
    return a / b if b > 0 else (0.0 if a == 0 else float(np.sign(a)) * 1e3)
