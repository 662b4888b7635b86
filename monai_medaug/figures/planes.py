"""The slice of a volume to show, and how it is turned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_medaug.core.tensors import affine_of, plain_tensor
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.labels import near_whole


@dataclass(frozen=True)
class DisplayPlane:
    """A slice through a grid and how it is turned for display.

    Attributes:
        grid: of the whole image.
        axis: array axis across the slice; None for a 2D image.
        index: of the slice on that axis.
        rows: array axis that runs down the picture.
        columns: array axis that runs to the right.
        flips: whether either is reversed.
        letters: what lies at the top and at the left, of R, A, S; unknown without an affine.
    """

    grid: VoxelGrid
    axis: int | None
    index: int
    rows: int
    columns: int
    flips: tuple[bool, bool]
    letters: tuple[str, str] = ("", "")

    @classmethod
    def through(cls, grid: VoxelGrid, mask: Any = None) -> DisplayPlane:
        """The axial slice that holds most of a mask, the middle one where there is none; a 2D image as it is."""
        axes = list(range(len(grid.shape)))
        directions = (grid.matrix[:3, :3] / np.asarray(grid.embedded_spacing))[:, 3 - len(axes) :]
        axis, index = None, 0
        if len(axes) == 3:
            axis = int(np.abs(directions[2]).argmax())
            axes.remove(axis)
            index = _fullest_slice(grid, axis, mask)
        if grid.affine is None:  # as arrays are printed
            return cls(grid, axis, index, axes[0], axes[1], (False, False))
        world = np.abs(directions).argmax(axis=0)
        # of R, A, S the later one runs down the picture, and both fall along it: A on top, R on the left
        columns, rows = sorted(axes, key=lambda a: world[a])
        flips = bool(directions[world[rows], rows] > 0), bool(directions[world[columns], columns] > 0)
        return cls(grid, axis, index, rows, columns, flips, ("RAS"[world[rows]], "RAS"[world[columns]]))

    @property
    def aspect(self) -> float:
        """Height of a pixel over its width."""
        return self.grid.spacing[self.rows] / self.grid.spacing[self.columns]

    @property
    def slab(self) -> VoxelGrid:
        """The slice as a grid of its own."""
        if self.axis is None:
            return self.grid
        matrix = self.grid.matrix.copy()
        matrix[:, 3] += self.index * matrix[:, self.axis]
        shape = tuple(1 if a == self.axis else n for a, n in enumerate(self.grid.shape))
        return VoxelGrid(shape, matrix.tolist())

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The slice of an array on the whole grid, or on the slab, as a picture."""
        if self.axis is not None:
            array = np.take(array, 0 if array.shape[self.axis] == 1 else self.index, axis=self.axis)
        if self.rows > self.columns:
            array = array.T
        return array[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]

    def resampled(self, mask: Any) -> np.ndarray:
        """The labels of a mask, on any grid, at the pixels of this slice."""
        labels = near_whole(plain_tensor(mask, "mask")[0]).cpu().numpy()
        own = VoxelGrid(
            labels.shape, affine_of(mask) or (self.grid.affine if labels.shape == self.grid.shape else None)
        )
        slab = self.slab
        to_mask = np.linalg.inv(own.matrix) @ slab.matrix
        index = np.indices(slab.size).reshape(3, -1)
        at = np.rint(to_mask[:3, :3] @ index + to_mask[:3, 3:]).astype(int)[3 - labels.ndim :]
        inside = ((at >= 0) & (at < np.reshape(labels.shape, (-1, 1)))).all(axis=0)
        found = np.zeros(index.shape[1], labels.dtype)
        found[inside] = labels[tuple(at[:, inside])]
        return self.cut(found.reshape(slab.shape))


def _fullest_slice(grid: VoxelGrid, axis: int, mask: Any) -> int:
    middle = grid.shape[axis] // 2
    if mask is None:
        return middle
    labels = near_whole(plain_tensor(mask, "mask")[0])
    own = VoxelGrid(tuple(labels.shape), affine_of(mask) or grid.affine)
    normal = grid.matrix[:3, axis] / grid.spacing[axis]
    across = int(np.abs(normal @ own.matrix[:3, :3] / np.asarray(own.spacing)).argmax())
    counts = (labels != 0).sum(dim=[a for a in range(3) if a != across])
    if not counts.any():
        return middle
    centre = np.array([(n - 1) / 2 for n in own.shape] + [1.0])
    fullest = (counts == counts.max()).nonzero().flatten()
    centre[across] = int(fullest[len(fullest) // 2])
    position = np.linalg.inv(grid.matrix) @ own.matrix @ centre
    return int(np.clip(round(position[axis]), 0, grid.shape[axis] - 1))
