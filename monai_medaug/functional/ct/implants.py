"""Where implants sit in a CT, found from its bone, and the voxels they fill."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from monai_medaug.functional.ct.hu import BODY_HU
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.geometry.grid import VoxelGrid

_BONE_HU, _CORTICAL_HU = 300.0, 600.0  # contrast agent in vessels reaches the first, all bone has some of the second
_SAMPLE_MM, _CELL_MM = 1.5, 4.0  # voxels are thinned out to the first, cells have about the second
_BONE_SHARE, _TISSUE_SHARE = 0.25, 0.9  # of a cell from which it counts
_STEP_MM = 2.0  # along a rod
_DIRECTIONS = 16
_SUBSLICES = 8


class Anatomy:
    """Bone and tissue of an image (C, *spatial) in HU, in cells of 4 mm.

    Attributes:
        bone: whether a cell holds bone or is enclosed by it, such as marrow. What is brighter than bone's limit but has
            no cortical bone (600 HU) within a cell is contrast agent.
        room: whether a rod may fill it: tissue, out of air and lung, and within two cells of bone if there is any.
        across: the normal of the slices in the world.
        weight: of each cell as the place of an implant: thick bone first. Without bone tissue far from air; all 0
            without tissue.
        section_mm2: mean area of the tissue in the slices that show any.
    """

    def __init__(self, image: torch.Tensor, grid: VoxelGrid, bone_hu: float = _BONE_HU) -> None:
        volume = image[0].detach().reshape(grid.size)
        thin = [max(1, int(_SAMPLE_MM / s)) for s in grid.embedded_spacing]
        volume = volume[:: thin[0], :: thin[1], :: thin[2]]
        steps = [t * s for t, s in zip(thin, grid.embedded_spacing, strict=True)]
        cell = [min(max(1, round(_CELL_MM / s)), n) for s, n in zip(steps, volume.shape, strict=True)]
        bone, tissue, cortical = (
            functional.avg_pool3d((volume > hu).float()[None, None], cell).cpu()
            for hu in (bone_hu, BODY_HU, max(bone_hu, _CORTICAL_HU))
        )
        inside = tissue >= _TISSUE_SHARE
        bone = (bone >= _BONE_SHARE) & (_greatest_around(cortical) > 0)
        grown = _greatest_around(bone.float())
        closed = bone | ((-_greatest_around(-grown) > 0) & inside)
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
        axis = slice_axis(grid) or 0
        self.across = self._matrix[:3, axis] / grid.embedded_spacing[axis]
        shares = tissue[0, 0].movedim(axis, 0).flatten(1).mean(1)
        shown = shares[shares > 0]
        in_plane = [a for a in range(3) if a != axis]
        slice_mm2 = math.prod(grid.size[a] * grid.embedded_spacing[a] for a in in_plane)
        self.section_mm2 = slice_mm2 * float(shown.mean()) if len(shown) else 0.0

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


def _mean_around(cells: torch.Tensor, width: int) -> torch.Tensor:
    """Mean of a cube of so many cells, as far as it lies in the image."""
    for size in _odd_widths(cells, width):
        cells = functional.avg_pool3d(cells, size, 1, [n // 2 for n in size], count_include_pad=False)
    return cells


def _greatest_around(cells: torch.Tensor) -> torch.Tensor:
    """Maximum of a cell and its neighbours."""
    for axis in (2, 3, 4):
        n = cells.shape[axis] - 1
        near = cells.clone()
        torch.maximum(near.narrow(axis, 0, n), cells.narrow(axis, 1, n), out=near.narrow(axis, 0, n))
        torch.maximum(near.narrow(axis, 1, n), cells.narrow(axis, 0, n), out=near.narrow(axis, 1, n))
        cells = near
    return cells


def _odd_widths(cells: torch.Tensor, width: int) -> list[list[int]]:
    """Windows along one axis after another, of the width or less where there are fewer cells."""
    sizes = [min(width, n - 1 + n % 2) for n in cells.shape[2:]]
    return [[size if a == axis else 1 for a in range(3)] for axis, size in enumerate(sizes)]


def place_rod(anatomy: Anatomy, share: float, length: float, seed: int, tilt: float | None = None) -> list[float]:
    """World positions of the ends of a rod in mm, as 6 numbers; none if the image has no tissue.

    Its middle is the anatomy's `Anatomy.place`. Of 16 random directions it takes the one with most bone along the rod,
    which follows a shaft or the spine; it ends where air or lung begins, or a little beyond the bone. The directions
    are any, or lean against the normal of the slices by angles whose tangent has the deviation ``tilt``.
    """
    if not anatomy.weight.any():
        return []
    middle = anatomy.place(share)
    directions = np.random.RandomState(seed).standard_normal((_DIRECTIONS, 3))
    if tilt is not None:
        directions = anatomy.across + tilt * (directions - np.outer(directions @ anatomy.across, anatomy.across))
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


def rod_share(
    ends: list[list[float]], radii: list[float], grid: VoxelGrid, device: torch.device, thin: bool = True
) -> torch.Tensor:
    """The share of each voxel that lies in one of the rods, (1, 1, *shape).

    Args:
        ends: of each rod in mm in the world, see `place_rod`.
        radii: in mm; 0 for no rod.
        grid: of the image.
        device: of the result.
        thin: whether a rod thinner than a voxel keeps its section; in old records its edge was as wide as a voxel.

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
            _draw_rod(share, np.array(rod[:3]), np.array(rod[3:]), radius, grid, axis, pixel, thin)
    return share.reshape(1, 1, *grid.shape)


def _draw_rod(
    share: torch.Tensor,
    start: np.ndarray,
    end: np.ndarray,
    radius: float,
    grid: VoxelGrid,
    axis: int | None,
    pixel: float,
    thin: bool,
) -> None:
    """Raise the share of the voxels in one rod, each slice a mean over its thickness."""
    height = 1.0
    if thin and radius < pixel:  # the section of a disc with an edge as wide as a voxel is larger
        wide = radius + pixel / 2
        section = radius**2 + pixel**2 / 12 if radius > pixel / 2 else wide**3 / (3 * pixel)
        height = radius**2 / section
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
    filled = torch.zeros_like(box)
    for part in range(parts):
        shift = np.zeros(3)
        shift[axis or 0] = (part + 0.5) / parts - 0.5
        index = [
            torch.arange(a, b, device=share.device, dtype=torch.float64) + (s - m)
            for a, b, s, m in zip(low, high, shift, marks[:, 0], strict=True)
        ]
        mesh = torch.stack(torch.meshgrid(*index, indexing="ij"), -1)
        world = mesh @ torch.tensor(matrix.T).to(mesh)
        reach = world @ torch.from_numpy(along).to(mesh)
        square = world.square().sum(-1) - reach**2
        distance = torch.sqrt(square.clamp_min(0))
        disc = ((radius - distance) / pixel + 0.5).clamp(0, 1)
        filled += height * (disc * (torch.minimum(reach, length - reach) / pixel + 1).clamp(0, 1)).float() / parts
    torch.maximum(box, filled, out=box)
