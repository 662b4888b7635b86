"""Where implants sit in a CT, found from its bone, and the voxels they fill."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from monai_medaug.functional.acceleration import elements_at_once, sent
from monai_medaug.functional.ct.hu import BODY_HU
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.geometry.grid import VoxelGrid

_BONE_HU = 300.0  # cortical and dense cancellous bone; contrast agent seldom reaches it
_SAMPLE_MM, _CELL_MM = 1.5, 4.0  # voxels are thinned out to the first, cells have about the second
_BONE_SHARE, _TISSUE_SHARE = 0.25, 0.9  # of a cell from which it counts
_STEP_MM = 2.0  # along a rod
_DIRECTIONS = 16
_SUBSLICES = 8


class Anatomy:
    """Bone and tissue of an image in HU, in cells of 4 mm.

    Args:
        cells: shares of bone and of tissue in each cell, see `bone_and_tissue`.
        grid: of the image.

    Attributes:
        bone: whether a cell holds bone or is enclosed by it, such as marrow.
        room: whether a rod may fill it: tissue, out of air and lung, and within two cells of bone if there is any.
        weight: of each cell as the place of an implant: thick bone first. Without bone tissue far from air; all 0
            without tissue.
    """

    def __init__(self, cells: torch.Tensor, grid: VoxelGrid) -> None:
        thin, cell = _layout(grid)
        bone, tissue = cells[:, None, None]
        inside = tissue >= _TISSUE_SHARE
        grown = _greatest_around((bone >= _BONE_SHARE).float())
        closed = (bone >= _BONE_SHARE) | ((-_greatest_around(-grown) > 0) & inside)
        deep = _mean_around(inside.float(), 5) ** 4
        weight = closed * _mean_around(closed.float(), 3) ** 2 * deep
        room = inside | closed
        if weight.any():
            room &= _greatest_around(_greatest_around(closed.float())) > 0
        else:
            weight = inside * deep**2
        self.bone, self.room, self.weight = (x[0, 0].numpy() for x in (closed, room, weight))
        self._stride = np.array([t * c for t, c in zip(thin, cell, strict=True)])
        self._first = np.array([t * (c - 1) / 2 for t, c in zip(thin, cell, strict=True)])
        self._matrix = grid.matrix

    def place(self, share: float) -> np.ndarray:
        """World position in mm of the cell up to which the given share of all weight lies."""
        total = np.cumsum(self.weight.ravel(), dtype=np.float64)
        flat = min(int(np.searchsorted(total, share * total[-1], side="right")), total.size - 1)
        index = self._first + self._stride * np.array(np.unravel_index(flat, self.weight.shape))
        return self._matrix[:3, :3] @ index + self._matrix[:3, 3]

    def at(self, cells: np.ndarray, positions: np.ndarray, beyond: float) -> np.ndarray:
        """Values of cells at world positions (N, 3), or ``beyond`` outside the image."""
        index = np.linalg.solve(self._matrix[:3, :3], (positions - self._matrix[:3, 3]).T).T
        cell = np.floor((index - self._first) / self._stride + 0.5).astype(int)
        within = ((cell >= 0) & (cell < cells.shape)).all(1)
        return np.where(within, cells[tuple(np.where(within[:, None], cell, 0).T)], beyond)


def bone_and_tissue(images: Sequence[torch.Tensor], grids: Sequence[VoxelGrid]) -> list[torch.Tensor]:
    """Shares of bone and of tissue in the cells of images (C, *spatial), (2, *cells) each; read from a GPU at once."""
    shares = []
    for image, grid in zip(images, grids, strict=True):
        thin, cell = _layout(grid)
        volume = image[0].detach().reshape(grid.size)[:: thin[0], :: thin[1], :: thin[2]]
        masks = torch.stack([volume > hu for hu in (_BONE_HU, BODY_HU)])
        shares.append(functional.avg_pool3d(masks.float()[:, None], cell)[:, 0])
    if not shares:
        return []
    flat = torch.cat([s.flatten() for s in shares]).cpu()
    return [part.reshape(s.shape) for part, s in zip(flat.split([s.numel() for s in shares]), shares, strict=True)]


def _layout(grid: VoxelGrid) -> tuple[list[int], list[int]]:
    """Step of the voxels that are looked at along each axis, and how many of these make a cell."""
    thin = [max(1, int(_SAMPLE_MM / s)) for s in grid.embedded_spacing]
    steps = zip(thin, grid.embedded_spacing, grid.size, strict=True)
    return thin, [min(max(1, round(_CELL_MM / (t * s))), -(-n // t)) for t, s, n in steps]


def _mean_around(cells: torch.Tensor, width: int) -> torch.Tensor:
    """Mean of a cube of so many cells, as far as it lies in the image."""
    size = _odd_width(cells, width)
    return functional.avg_pool3d(cells, size, 1, [n // 2 for n in size], count_include_pad=False)


def _greatest_around(cells: torch.Tensor) -> torch.Tensor:
    """Maximum of a cell and its neighbours."""
    size = _odd_width(cells, 3)
    return functional.max_pool3d(cells, size, 1, [n // 2 for n in size])


def _odd_width(cells: torch.Tensor, width: int) -> list[int]:
    """The width along each axis, less where there are fewer cells."""
    return [min(width, n - 1 + n % 2) for n in cells.shape[2:]]


def place_rod(anatomy: Anatomy, share: float, length: float, seed: int) -> list[float]:
    """World positions of the ends of a rod in mm, as 6 numbers; none if the image has no tissue.

    Its middle is the anatomy's `Anatomy.place`. Of 16 random directions it takes the one with most bone along the rod,
    which follows a shaft or the spine but may point anywhere; it ends where air or lung begins, or a
    little beyond the bone.
    """
    if not anatomy.weight.any():
        return []
    middle = anatomy.place(share)
    directions = np.random.RandomState(seed).standard_normal((_DIRECTIONS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    count = max(1, math.ceil(length / 2 / _STEP_MM))
    along = np.linspace(-length / 2, length / 2, 2 * count + 1)
    lines = [middle + along[:, None] * d for d in directions]
    found = [anatomy.at(anatomy.bone, p, 0.5).mean() + anatomy.at(anatomy.room, p, 1.0).mean() for p in lines]
    line = lines[int(np.argmax(found))]
    outside = np.flatnonzero(anatomy.at(anatomy.room, line, 1.0) < 1)
    first = max(outside[outside < count] + 1, default=0)
    last = min(outside[outside > count] - 1, default=2 * count)
    return [float(v) for end in (first, last) for v in line[end]]


def rod_share(ends: list[list[float]], radii: list[float], grid: VoxelGrid, device: torch.device) -> torch.Tensor:
    """The share of each voxel that lies in one of the rods, (1, 1, *shape).

    Args:
        ends: of each rod in mm in the world, see `place_rod`.
        radii: in mm; 0 for no rod.
        grid: of the image.
        device: of the result.

    Example:
        >>> share = rod_share([[8.0, 8.0, -5.0, 8.0, 8.0, 5.0]], [3.0], VoxelGrid((17, 17)), torch.device("cpu"))
        >>> bool((share.sum() - 28.3).abs() < 2)
        True
    """
    share = torch.zeros(grid.size, device=device)
    axis = slice_axis(grid)
    pixel = max(s for a, s in enumerate(grid.spacing) if a != axis)
    for rod, radius in zip(ends, radii, strict=False):
        if rod and radius > 0:
            _draw_rod(share, np.array(rod[:3]), np.array(rod[3:]), radius, grid, axis, pixel)
    return share.reshape(1, 1, *grid.shape)


def _draw_rod(
    share: torch.Tensor,
    start: np.ndarray,
    end: np.ndarray,
    radius: float,
    grid: VoxelGrid,
    axis: int | None,
    pixel: float,
) -> None:
    """Raise the share of the voxels in one rod, each slice a mean over its thickness."""
    matrix, spacing = grid.matrix[:3, :3], np.array(grid.embedded_spacing)
    marks = np.linalg.solve(matrix, np.stack([start, end], 1) - grid.matrix[:3, 3:])
    margin = radius / spacing + 1
    low = np.maximum(np.floor(marks.min(1) - margin), 0).astype(int)
    high = np.minimum(np.ceil(marks.max(1) + margin) + 1, grid.size).astype(int)
    if (low >= high).any():
        return
    length = float(np.linalg.norm(end - start))
    # a rod of no length is a disc in its slice
    along = (end - start) / length if length else matrix[:, axis or 0] / spacing[axis or 0]
    parts = 1 if axis is None else min(_SUBSLICES, math.ceil(spacing[axis] / pixel))
    box = share[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    shifts = np.zeros((parts, 3))
    shifts[:, axis or 0] = (np.arange(parts) + 0.5) / parts - 0.5
    # mm in the world and along the rod, as sums of what each index axis adds: (parts, 4, n) for each of the three
    mixed = np.concatenate([matrix, along[None] @ matrix])
    terms = []
    for a, first, last in zip(range(3), low, high, strict=True):
        index = np.arange(first, last) + shifts[:, a, None] - marks[a, 0]
        table = mixed[None, :, a, None] * index[:, None]
        terms.append(sent(table, share.device).reshape(parts, 4, *[-1 if b == a else 1 for b in range(3)]))
    filled = torch.zeros_like(box)
    step = max(1, elements_at_once(share.device) // (4 * box.numel()))
    for first in range(0, parts, step):
        z, y, x = (t[first : first + step] for t in terms)
        place = z + y + x
        reach = place[:, 3]
        distance = torch.sqrt((place[:, :3].square().sum(1) - reach**2).clamp_min(0))
        disc = ((radius - distance) / pixel + 0.5).clamp(0, 1)
        ends = (torch.minimum(reach, length - reach) / pixel + 1).clamp(0, 1)
        filled += (disc * ends).sum(0).float() / parts
    torch.maximum(box, filled, out=box)
