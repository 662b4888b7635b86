"""Mirrored anatomy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from monai.utils import ensure_tuple

from monai_medaug.core.arguments import interpolation, number, whole_number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.maps import moved_affinely

_ALIKE = 0.02  # voxels


class RandMirror(RandomOperation):
    """The anatomy mirrored along axes of the grid; no value is interpolated.

    Voxel i along an axis of n takes the value of voxel n - 1 - i. The grid and its affine stay, and the anatomy moves,
    as in `RandAffineElastic`: masks, points and boxes follow, and the inverse is exact. (MONAI's `RandFlip` turns the
    affine over too, so that in the world nothing moves.) For patches whose lie says nothing; where left and right
    differ, as with most organs, a mirrored image is another anatomy.

    Args:
        prob: probability of applying it; then at least one axis is mirrored, all choices alike.
        axes: spatial axes that may be mirrored; None for all of the image.
        mode: ``"nearest"`` marks a mask, which keeps its type; both only copy.

    Raises:
        ValueError: an argument is out of its range, the image lacks an axis or is not finite, or a key's grid is not
            its own mirror image where the first key's is.

    Example:
        >>> image = torch.arange(6.0).reshape(1, 2, 3)
        >>> RandMirror(prob=1.0, axes=1)(image)
        tensor([[[2., 1., 0.],
                 [5., 4., 3.]]])
    """

    gallery = GalleryEntry(({"axes": 1},))
    phrases = {"mirrored": "mirrored along the axes {}"}
    geometric = True
    permutes = True

    def __init__(
        self, prob: float = 0.5, axes: int | Sequence[int] | None = None, mode: str | int = "bilinear"
    ) -> None:
        super().__init__(number("prob", prob, 0, 1))
        given = () if axes is None else ensure_tuple(axes)
        self.axes = sorted({whole_number("axes", axis, 0, 2) for axis in given})
        if axes is not None and not self.axes:
            raise ValueError(f"axes must name at least one axis, got {axes!r}")
        self.mode = interpolation("mode", mode)

    def draw(self) -> Params:
        return {"choice": self.R.uniform()}

    def settings(self) -> Params:
        return {"axes": self.axes}

    @classmethod
    def plan(cls, call: Call) -> list[tuple[list[int], np.ndarray]]:
        """The axes of each sample's reference grid, and the mirror in the world."""
        pairs = zip(call.draws, call.grids, strict=True)
        return [(axes := _chosen({**draw, **call.settings}, g), _reflection(g, axes)) for draw, g in pairs]

    @classmethod
    def figures(cls, plan: list[tuple[list[int], np.ndarray]]) -> list[Params]:
        return [{"mirrored": axes} for axes, _ in plan]

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        each = [_own_axes(mirror, grid, call.name) for (_, mirror), grid in zip(call.plan, call.grids, strict=True)]
        out = image.view(torch.int16) if image.dtype == torch.uint16 else image  # the other has no flip
        for axis in range(image.ndim - 2):
            turned = [axis in axes for axes in each]
            if all(turned):
                out = out.flip(2 + axis)
            elif any(turned):
                out = torch.where(call.spread(turned).bool(), out.flip(2 + axis), out)
        return (out.clone() if out.data_ptr() == image.data_ptr() else out).view(image.dtype)

    @classmethod
    def point_map(
        cls, params: Params, known: Params, grid: VoxelGrid, inverse: bool = False
    ) -> Callable[[np.ndarray], np.ndarray]:
        return partial(moved_affinely, _reflection(grid, _chosen(params, grid)))


def _chosen(params: Params, grid: VoxelGrid) -> list[int]:
    """One of the sets of axes, none left out but the empty one, by a number in [0, 1)."""
    there = len(grid.shape)
    allowed = params["axes"] or list(range(there))
    if allowed[-1] >= there:
        raise ValueError(f"axes must be axes of the image, below {there}, got {allowed}")
    number = 1 + int(params["choice"] * (2 ** len(allowed) - 1))
    return [axis for place, axis in enumerate(allowed) if number >> place & 1]


def _reflection(grid: VoxelGrid, axes: Sequence[int]) -> np.ndarray:
    """The matrix (4, 4) that mirrors the world as voxels along some axes of a grid."""
    turned = np.eye(4)
    for axis in (a + 3 - len(grid.shape) for a in axes):
        turned[axis, axis], turned[axis, 3] = -1, grid.size[axis] - 1
    return grid.matrix @ turned @ np.linalg.inv(grid.matrix)


def _own_axes(reflection: np.ndarray, grid: VoxelGrid, name: str) -> list[int]:
    """The axes along which a grid's voxels are mirrored; a ValueError if its voxels don't fall on one another."""
    own = np.linalg.inv(grid.matrix) @ reflection @ grid.matrix
    axes = [a for a in range(3) if own[a, a] < 0]
    turned = _reflection(VoxelGrid(grid.size), axes)
    corners = np.array(list(product(*((0, n - 1) for n in grid.size), (1,)))).T
    if np.abs((own - turned) @ corners).max() > _ALIKE:
        raise ValueError(f"{name} must lie on a grid over the field of view of the first key, to be mirrored with it")
    return [a - 3 + len(grid.shape) for a in axes if grid.size[a] > 1 or len(grid.shape) == 3]


RandMirrord = dictionary_twin(RandMirror)
RandMirrorD = RandMirrorDict = RandMirrord
