"""A lesion in its surroundings: contrast of its border and parts, and detectability, before and after a change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_medaug.functional.borders import REACH
from monai_medaug.functional.transfer import TransferCurve

_INSIDE, _OUTSIDE = slice(REACH - 3, REACH), slice(REACH + 2, REACH + 5)  # of lines across the border
_LEAST_STEP = 0.6  # contrast at the border in units of its spread; below, nobody could see the lesion
_LEAST_CONTRAST, _LEAST_DETECTABILITY = 0.3, 1.0  # below, figures of the surroundings say nothing
_CERTAIN = 5.0  # nobody overlooks a lesion of this detectability (Rose 1948)
_FEWEST = 8  # voxels of a part
_FAINT = 0.75  # of the lesion's contrast: that of a fainter part of the largest component counts as this
_COMPONENTS = ("component", "small")  # names of parts that are others
_LEAST_GAIN = 0.25  # of that of the whole image: a window that clips the lesion counts as lost contrast


@dataclass(frozen=True)
class LesionParts:
    """Voxels of a lesion and of its surroundings.

    Attributes:
        lesion: voxels (N, 3) of the lesion.
        ring: voxels (M, 3) around it.
        beside: of each ring voxel the lesion's voxel that it lies beside, (M,).
        parts: names and members (N,) of parts.
        cell: of each ring voxel, (M,): cubes about as large as the lesion, of at most 6 voxels.
        borders: names and members (L,) of parts of the lines across the border.
    """

    lesion: np.ndarray
    ring: np.ndarray
    beside: np.ndarray
    parts: dict[str, np.ndarray]
    cell: np.ndarray
    borders: dict[str, np.ndarray]

    def within(self, lesion: np.ndarray, ring: np.ndarray, lines: np.ndarray) -> LesionParts:
        """Some of the voxels and lines, and the parts of which enough are left."""
        parts = _large({k: v[lesion] for k, v in self.parts.items()})
        borders = _large({k: v[lines] for k, v in self.borders.items()})
        place = np.cumsum(lesion) - 1  # of a voxel among those that are left
        beside = np.where(lesion[self.beside], place[self.beside], 0)[ring]
        return LesionParts(self.lesion[lesion], self.ring[ring], beside, parts, self.cell[ring], borders)


@dataclass(frozen=True)
class LesionContrast:
    """How a lesion stands out of its surroundings before and after.

    Attributes:
        border: mean step across the lesion's border over the steps' standard deviation, before and after.
        contrast_to_noise: mean difference to the surroundings over their standard deviation, before and after.
        detectability: d' of an observer who averages over areas of the lesion's size: mean difference over the standard
            deviation of such averages in the surroundings, before and after.
        parts: of each part, and of the border's, its contrast after over that before, the image's gain and a standard
            error taken out; 1 is unchanged. Before counts the lesion's, of a faint part three quarters of it at least,
            or the part's against what lies beside it, where that is more.
        steps: the mean contrast at the border before, and that expected after, in the image's unit.
    """

    border: tuple[float, float]
    contrast_to_noise: tuple[float, float]
    detectability: tuple[float, float]
    parts: dict[str, float]
    steps: tuple[float, float]

    @property
    def was_visible(self) -> bool:
        """Whether the lesion could be seen before: by its border, or beyond doubt by its contrast."""
        plain = abs(self.contrast_to_noise[0]) >= _LEAST_STEP and abs(self.detectability[0]) >= _CERTAIN
        return abs(self.border[0]) >= _LEAST_STEP or plain

    @property
    def compared(self) -> dict[str, tuple[float, float]]:
        """The figures before and after that say something about this lesion."""
        figures = {"border contrast": self.border} if abs(self.border[0]) >= _LEAST_STEP else {}
        contrast = abs(self.contrast_to_noise[0])
        if contrast >= _LEAST_CONTRAST and abs(self.detectability[0]) >= _LEAST_DETECTABILITY:
            figures |= {"contrast to noise": self.contrast_to_noise, "detectability": self.detectability}
        elif contrast >= _LEAST_STEP:  # in surroundings of coarse structure a lesion stands out at its voxels alone
            figures |= {"contrast to noise": self.contrast_to_noise}
        return figures


def divided_lesion(
    lesion: np.ndarray,
    rim: np.ndarray,
    component: np.ndarray,
    ring: np.ndarray,
    beside: np.ndarray,
    border: np.ndarray,
) -> LesionParts:
    """Divide a lesion: its components; of the largest the rim, the core and thirds along its three axes; its border.

    Args:
        lesion: voxels (N, 3).
        rim: which of them have a neighbour outside, (N,).
        component: number of each one's connected component, (N,).
        ring: voxels (M, 3) of the surroundings.
        beside: of each the lesion's voxel that it lies beside, (M,).
        border: where lines cross the border, (L, 3).
    """
    numbers, sizes = np.unique(component, return_counts=True)
    order = numbers[np.argsort(-sizes)]
    parts: dict[str, np.ndarray] = {}
    if len(order) > 1:
        parts |= {f"component {i + 1}": component == n for i, n in enumerate(order)}
        parts["small components"] = np.isin(component, numbers[sizes < _FEWEST])
    own = component == order[0]
    parts |= {"rim": own & rim, "core": own & ~rim}
    centred = lesion - lesion[own].mean(0)
    _, lengths, axes = np.linalg.svd(centred[own], full_matrices=False)
    borders: dict[str, np.ndarray] = {}
    for name, direction in zip("abc", axes[lengths > 1e-6], strict=False):
        along = centred @ direction
        bounds = np.quantile(along[own], [1 / 3, 2 / 3])
        third = np.searchsorted(bounds, along)
        of_line = np.searchsorted(bounds, (border - lesion[own].mean(0)) @ direction)
        parts |= {f"third {name}{i + 1}": own & (third == i) for i in range(3)}
        borders |= {f"border of third {name}{i + 1}": of_line == i for i in range(3)}
    side = int(np.clip(round(len(lesion) ** (1 / 3)), 2, 6))
    _, cell = np.unique(ring // side, axis=0, return_inverse=True)
    return LesionParts(lesion, ring, beside, _large(parts), cell.ravel(), _large(borders))


def _large(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: members for name, members in parts.items() if members.sum() >= _FEWEST}


def lesion_contrast(
    parts: LesionParts,
    lesion: tuple[np.ndarray, np.ndarray],
    ring: tuple[np.ndarray, np.ndarray],
    lines: tuple[np.ndarray, np.ndarray],
    curve: TransferCurve,
) -> LesionContrast:
    """Compare the values at a lesion and around it before and after.

    Args:
        parts: the voxels.
        lesion: their values before, as geometry alone would show them, and after, (N,) each.
        ring: those of the surroundings, (M,) each.
        lines: those along lines across the border, (L, 2 REACH + 1) each.
        curve: from the image's values before to those after, fitted without the lesion.
    """
    steps = [v[:, _INSIDE].mean(1) - v[:, _OUTSIDE].mean(1) for v in (*lines, curve(lines[0]))]
    middle = [float(np.median(r)) for r in ring]
    contrast = [float(v.mean()) - m for v, m in zip(lesion, middle, strict=True)]
    noise = [_cell_means(r, parts.cell).std() for r in ring]
    least = _LEAST_GAIN * max(curve.slope, 0.0) * float(steps[0].mean())
    seen = abs(_over(float(steps[0].mean()), float(steps[0].std()))) >= _LEAST_STEP
    level = float(np.median(curve(ring[0])))
    whole = float(curve(lesion[0]).mean()) - level
    step = max(float(steps[2].mean()) if seen else whole, least, key=abs)
    change, around = lesion[1] - curve(lesion[0]), ring[1] - curve(ring[0])
    changes = {}
    for name, members in parts.parts.items():
        own = around[members[parts.beside]]
        offset = np.median(own if len(own) >= _FEWEST else around)  # a bias field changes both
        value = float(curve(lesion[0][members]).mean())
        share = float(np.clip((value - level) / step, _FAINT, 1)) if step and not name.startswith(_COMPONENTS) else 1.0
        if step and len(own) >= _FEWEST:  # one that stands out more than the whole lesion has more to lose
            beside = float(np.median(curve(ring[0][members[parts.beside]])))
            share = max(share, (value - beside) / step)
        changes[name] = 1 + _over(_beyond_error(change[members] - offset), share * step)
    across = steps[1] - steps[2]
    changes |= {name: 1 + _over(_beyond_error(across[members]), step) for name, members in parts.borders.items()}
    border, ratio, detected = (
        (_over(values[0], spread[0]), _over(values[1], spread[1]))
        for values, spread in (
            ([float(s.mean()) for s in steps[:2]], [float(s.std()) for s in steps[:2]]),
            (contrast, [float(r.std()) for r in ring]),
            (contrast, [float(n) for n in noise]),
        )
    )
    return LesionContrast(border, ratio, detected, changes, (float(steps[0].mean()), step))


def _beyond_error(values: np.ndarray) -> float:
    """The mean without its standard error."""
    mean, error = float(values.mean()), float(values.std()) / len(values) ** 0.5
    return float(np.sign(mean)) * max(abs(mean) - error, 0.0)


def _cell_means(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    counts = np.bincount(cell)
    full = counts >= min(4, counts.max(initial=0))
    return (np.bincount(cell, values) / np.maximum(counts, 1))[full]


def _over(a: float, b: float) -> float:
    """The ratio; 1000 with the sign of ``a`` where ``b`` is 0 up to rounding."""
    return a / b if abs(b) > 1e-9 * abs(a) else 1e3 * float(np.sign(a))
