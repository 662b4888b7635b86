"""Voxel grids in the world.

A grid is a shape and the affine from voxel index to world (mm). Images of two dimensions are embedded as one plane
of a volume: their first index axis is the plane's normal, of unit spacing, so that an affine of 4×4 acts in the plane
of its columns and one code serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

import numpy as np

_ROUNDING = 1e-3  # spacings of files are rounded


@dataclass(frozen=True)
class VoxelGrid:
    """Spatial shape (2 or 3 axes) and the affine of a voxel grid.

    Args:
        shape: voxels along each spatial axis.
        affine: index to world in mm, (4, 4); (3, 3) is possible for two axes. None counts as 1 mm voxels.

    Example:
        >>> VoxelGrid((64, 64, 20), [[0, 2, 0, 5], [1, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]]).spacing
        (1.0, 2.0, 5.0)
    """

    shape: tuple[int, ...]
    affine: Sequence[Sequence[float]] | None = None

    @cached_property
    def matrix(self) -> np.ndarray:
        """Index (z, y, x) of the embedded volume to world, (4, 4)."""
        return _embedded(len(self.shape), None if self.affine is None else tuple(map(tuple, self.affine)))

    @cached_property
    def size(self) -> tuple[int, int, int]:
        """Voxels of the embedded volume."""
        return (1, *self.shape) if len(self.shape) == 2 else self.shape  # type: ignore[return-value]

    @cached_property
    def spacing(self) -> tuple[float, ...]:
        """Voxel spacing in mm along each axis of ``shape``."""
        return self.embedded_spacing[3 - len(self.shape) :]

    @cached_property
    def embedded_spacing(self) -> tuple[float, ...]:
        """Voxel spacing in mm along the three axes of the embedded volume."""
        return tuple(np.sqrt(np.square(self.matrix[:3, :3]).sum(0)).tolist())

    @cached_property
    def finest_spacing(self) -> float:
        """Least spacing in mm among the axes of more than one voxel."""
        return min((s for n, s in zip(self.size, self.embedded_spacing, strict=True) if n > 1), default=1.0)

    @cached_property
    def plane_axis(self) -> int | None:
        """The axis of the embedded volume across which there is a single slice; None for a volume.

        A single slice moves within its plane: out of it, most voxels would have no source.
        """
        single = [axis for axis, n in enumerate(self.size) if n == 1]
        if len(self.shape) == 2:
            return 0
        return single[0] if len(single) == 1 else None

    def slice_axis(self, ratio: float) -> int | None:
        """The axis of ``shape`` whose spacing is at least ``ratio`` times each other's; None if there is none.

        Of several with the widest spacing, as a ratio of 1 allows, the one nearest to the scanner's axis, the third.

        Example:
            >>> grid = VoxelGrid((64, 64, 20), np.diag([0.9, 1, 2.2, 1]).tolist())
            >>> grid.slice_axis(2), grid.slice_axis(3)
            (2, None)
        """
        *_, second, widest = sorted(self.spacing)
        if widest < ratio * second * (1 - _ROUNDING):
            return None
        widest_axes = [a for a, s in enumerate(self.spacing) if s >= widest * (1 - _ROUNDING)]
        upright = np.abs(self.matrix[2, 3 - len(self.shape) : 3]) / np.asarray(self.spacing)
        return max(widest_axes, key=lambda axis: upright[axis])

    def normal(self, axis: int) -> np.ndarray:
        """World direction (3,) across the planes of an axis of the embedded volume, of length 1.

        In a sheared grid, as of a tilted gantry, this is not the direction of the axis.
        """
        normal = np.cross(self.matrix[:3, (axis + 1) % 3], self.matrix[:3, (axis + 2) % 3])
        return normal / np.linalg.norm(normal)

    @cached_property
    def centre(self) -> np.ndarray:
        """World position of the middle of the grid."""
        middle = np.array([(n - 1) / 2 for n in self.size])
        return self.matrix[:3, :3] @ middle + self.matrix[:3, 3]

    def displaced_from(self, other: VoxelGrid) -> np.ndarray:
        """Greatest distance of a voxel from that of the same index in another grid, in voxels along each axis of this.

        Example:
            >>> VoxelGrid((4, 4), np.eye(4)).displaced_from(VoxelGrid((4, 4), np.diag([2, 1, 1, 1])))
            array([3., 0.])
        """
        corners = np.array(list(product(*((0, n - 1) for n in self.size))), dtype=np.float64).T
        there = other.matrix[:3, :3] @ corners + other.matrix[:3, 3:]
        back = np.linalg.solve(self.matrix[:3, :3], there - self.matrix[:3, 3:])
        return np.abs(back - corners).max(axis=1)[3 - len(self.shape) :]

    def resized(self, shape: Sequence[int]) -> VoxelGrid:
        """A grid of other voxels over the same field of view: the outer corners stay in place in the world.

        Example:
            >>> VoxelGrid((4, 4), [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]]).resized((8, 8)).affine[0]
            [1.0, 0.0, 0.0, -0.5]
        """
        if len(shape) != len(self.shape):
            raise ValueError(f"shape must have {len(self.shape)} axes, got {tuple(shape)}")
        affine = np.eye(4) if self.affine is None else np.array(self.affine, dtype=np.float64)
        _ = self.matrix  # refuses an affine that is none
        steps = [n / m for n, m in zip(self.shape, shape, strict=True)]
        affine[:, -1] += sum(affine[:, axis] * (step - 1) / 2 for axis, step in enumerate(steps))
        for axis, step in enumerate(steps):
            affine[:, axis] *= step
        return VoxelGrid(tuple(int(n) for n in shape), affine.tolist())


@lru_cache(maxsize=64)
def _embedded(axes: int, affine: tuple[tuple[float, ...], ...] | None) -> np.ndarray:
    """`VoxelGrid.matrix`, read-only, since the steps of a pipeline share it."""
    given = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
    # in 2D only the plane counts: the third column, made up by readers, lies in it for sagittal slices
    needed = given if axes == 3 else given[:-1, :2]
    if not np.isfinite(given).all() or np.linalg.matrix_rank(needed) < needed.shape[1]:
        raise ValueError(f"affine must be finite and invertible, got {given.tolist()}")
    if axes == 3:
        if given.shape != (4, 4):
            raise ValueError(f"affine of a 3D image must be (4, 4), got {given.shape}")
        matrix = given
    else:
        columns = np.zeros((3, 2))
        columns[: len(given) - 1] = given[:-1, :2]
        normal = np.cross(columns[:, 0], columns[:, 1])
        matrix = np.eye(4)
        matrix[:3, 0] = normal / np.linalg.norm(normal)
        matrix[:3, 1:3] = columns
        matrix[: len(given) - 1, 3] = given[:-1, -1]
    matrix.flags.writeable = False
    return matrix
