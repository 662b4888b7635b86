"""Metal in CT volumes, found by its CT numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

_SEED = 1.5  # times the threshold: enamel and contrast agent stay below it, metal thicker than a voxel does not
_PART, _MOST_HU = 0.2, 8000.0  # of the greatest value of its piece a voxel has at least, unless it has the second
_EDGE, _REACH = 0.5, 3  # of the metal's value at its edge; pixels over which an edge is blurred at most
_ROUND = 0.75  # of the pixels next to metal are blurred edge in a soft image; up to .6 are in a sharp one
_PLATEAU = 8  # voxels that share the greatest value of a clipped image
_SURE = 2.0  # times the seed: no contrast agent is as dense
_GENTLE = 1.1  # times the threshold is the mean beside the core of contrast agent; metal ends within a pixel or two


@dataclass(frozen=True)
class MetalPieces:
    """Metal in a volume.

    Attributes:
        voxels: True in metal, of the volume's shape.
        edges: True in its blurred edges in slices where they are a pixel wide or more.
        count: number of pieces.
        seed_hu: from where on a piece counts as metal.
        clipped: whether the volume's values end at a limit of storage.
        gentle: number of pieces left out because their edges are too gentle.
    """

    voxels: torch.Tensor
    edges: torch.Tensor
    count: int
    seed_hu: float
    clipped: bool
    gentle: int = 0


def find_metal(volume: torch.Tensor, threshold_hu: float = 2000.0) -> MetalPieces:
    """Pieces above a threshold that hold values of metal, by hysteresis.

    A piece is connected above ``threshold_hu`` and reaches 1.5 times that, 3000 HU: titanium reads 7,500 HU and more,
    12 bits end at 3071, enamel at 2,500 to 3,000, bone at 2,000. So dense contrast agent, enamel and bone stay.
    Contrast agent of 3000 to 6000 HU is told by its gentle edge: the pixels beside what exceeds 3000 HU in a piece read
    more than 2200 HU on the mean, where beside metal the values have dropped further, or most of the piece is not even
    next to such pixels. Beyond 6000 HU all is metal.

    Within a piece, metal is what exceeds a fifth of the greatest value, at most 8000 HU, and half of the greatest value
    within 3 pixels, where the blurred edge of metal lies; less dense metal that touches denser one counts from half of
    its own value. So neither blur nor the streaks beside it count, and several materials do. In an image clipped at the
    limit of 12 bits it is what reaches 3000 HU, blur too. What metal encloses within a slice, which starved rays may
    show dark, counts. Between fillings of gold or amalgam and screws of steel, streaks are as bright as other metal and
    count too, and a shaft that starved rays show darker than a fifth is missed: a mask drawn by hand is better there.

    For an image clipped below 3000 HU, lower the threshold to less than two thirds of that.

    Args:
        volume: in HU, (rows, columns) or (slices, rows, columns).
        threshold_hu: where the rim begins.

    Example:
        >>> volume = torch.zeros(1, 24, 24)
        >>> volume[:, 4:8, 4:8], volume[:, 14:18, 4:8], volume[:, 8, 4:8] = 9000.0, 2600.0, 1900.0
        >>> found = find_metal(volume)
        >>> int(found.voxels.sum()), found.count
        (16, 1)
    """
    most = float(volume.max()) if volume.numel() else 0.0
    seed = _SEED * threshold_hu
    masks = torch.zeros((2, *volume.shape), dtype=torch.bool, device=volume.device)
    if most < seed:
        return MetalPieces(masks[0], masks[1], 0, seed, False)
    above = volume > threshold_hu
    box = _box(above)
    values = volume[box].detach().float().cpu().numpy()
    pieces, count = ndimage.label(above[box].cpu().numpy(), np.ones((3,) * values.ndim))
    peaks = ndimage.maximum(values, pieces, np.arange(1, count + 1))
    reached = np.flatnonzero(peaks >= seed) + 1
    core = values >= seed
    gentle = (_mean_beside(core, values, pieces, reached) > _GENTLE * threshold_hu) | _broad(core, pieces, reached)
    metal = reached[~gentle | (peaks[reached - 1] > _SURE * seed)]
    limit = np.full(count + 1, np.inf)
    limit[metal] = np.clip(_PART * peaks[metal - 1], seed, _MOST_HU)
    bright = values >= limit[pieces]
    inside, edges = bright.copy(), np.zeros_like(bright)
    for k in np.ndindex(inside.shape[:-2]):
        if bright[k].any():
            inside[k] = ndimage.binary_fill_holes(_without_blur(bright[k], values[k]))
            edges[k] = _wide_edges(inside[k], bright[k], values[k])
    clipped = int((volume == most).sum()) >= _PLATEAU
    for mask, part in zip(masks, (inside, edges), strict=True):
        mask[box] = torch.from_numpy(part).to(volume.device)
    return MetalPieces(masks[0], masks[1], len(metal), seed, clipped, len(reached) - len(metal))


def _without_blur(inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A slice's metal without the blurred edge of what is denser.

    Within reach of denser metal that is other metal which goes on beyond, at least 3 pixels wide.
    """
    near = _near()
    plateau = ndimage.maximum_filter(values, footprint=near)
    kept = inside & (values >= _EDGE * plateau)
    solid = ndimage.binary_opening(kept, np.ones((3, 3)))
    least = ndimage.minimum_filter(np.where(solid, plateau, np.inf), footprint=near)
    return kept | (inside & (values >= _EDGE * least))


def _wide_edges(metal: np.ndarray, bright: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The blurred edge of a slice's metal where it is what most of the metal is next to: a pixel wide or more."""
    edges = bright & ~metal & (values >= _PART * ndimage.maximum_filter(values, footprint=_near()))
    beside = ndimage.binary_dilation(metal) & ~metal
    return edges & (edges[beside].sum() > _ROUND * beside.sum())


def _near() -> np.ndarray:
    """The pixels within reach of one."""
    y, x = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    return np.hypot(y, x) <= _REACH


def _broad(core: np.ndarray, pieces: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Of some pieces, whether more voxels than their cores have are not next to these."""
    beyond = ~ndimage.binary_dilation(core, np.ones((1,) * (core.ndim - 2) + (3, 3)))
    inner, outer = (np.bincount(pieces[part], minlength=pieces.max() + 1)[which] for part in (core, beyond))
    return outer > inner


def _mean_beside(core: np.ndarray, values: np.ndarray, pieces: np.ndarray, which: np.ndarray) -> np.ndarray:
    """For some pieces the mean of the voxels that are next to their cores within a slice; -inf where there are none."""
    near = ndimage.generate_binary_structure(2, 1).reshape((1,) * (core.ndim - 2) + (3, 3))
    padded = [(0, 0)] * (core.ndim - 2) + [(1, 1)] * 2
    own = np.pad(np.where(core & np.isin(pieces, which), pieces, 0), padded)
    labels = ndimage.grey_dilation(own, footprint=near)
    labels[own > 0] = 0
    ring = np.pad(values, padded, constant_values=-1000.0)
    size = np.bincount(labels.ravel(), minlength=pieces.max() + 1)[which]
    total = np.bincount(labels.ravel(), ring.ravel(), minlength=pieces.max() + 1)[which]
    return np.where(size > 0, total / np.maximum(size, 1), -np.inf)


def _box(mask: torch.Tensor) -> tuple[slice, ...]:
    """The part of the volume that holds all of a mask, which is not empty, and what is next to it."""
    spans = []
    for axis in range(mask.ndim):
        others = [a for a in range(mask.ndim) if a != axis]
        index = torch.nonzero(mask.any(dim=others) if others else mask)[:, 0]
        spans.append(slice(max(0, int(index[0]) - 1), int(index[-1]) + 2))
    return tuple(spans)


def grown(mask: torch.Tensor, spacing: tuple[float, float], radius_mm: float) -> torch.Tensor:
    """Slices (N, 1, rows, columns) of bool with all pixels within a distance, at least the eight neighbours.

    Example:
        >>> mask = torch.zeros(1, 1, 5, 7, dtype=torch.bool)
        >>> mask[..., 2, 3] = True
        >>> grown(mask, (1.0, 1.0), 2.0)[0, 0].sum(1)
        tensor([1, 3, 5, 3, 1])
    """
    half = [max(1, int(radius_mm / s)) for s in spacing]
    y, x = (torch.arange(-h, h + 1, dtype=torch.float64) * s for h, s in zip(half, spacing, strict=True))
    disc = torch.hypot(y[:, None], x) <= max(radius_mm, 1.001 * float(np.hypot(*spacing))) * (1 + 1e-9)
    out = mask.clone()
    rows, columns = mask.shape[-2:]
    padded = torch.nn.functional.pad(mask, (half[1], half[1], half[0], half[0]))
    for i, j in torch.nonzero(disc).tolist():
        out |= padded[..., i : i + rows, j : j + columns]
    return out
