"""Landmarks and boxes that follow a geometric operation."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch

from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.entry import grid_of
from monai_medaug.core.surroundings import undisturbed
from monai_medaug.functional.geometry.grid import VoxelGrid

_BOX_SAMPLES = 25  # per side: the deformed faces bound the image of a box, its eight corners do not


@undisturbed
def move_companions(record: dict[str, Any], data: Any, name: str, boxes: bool, space: str, inverse: bool) -> Any:
    """Points (N, D) or boxes (N, 2 D) moved with the anatomy by a record's operation.

    Args:
        record: an applied record of a geometric operation.
        data: numpy array or tensor; the result has the same kind and floating type. None at all, (0,) or (0, D), is
            returned as it is.
        name: key for error messages.
        boxes: whether ``data`` are boxes, lower corner then upper; the result bounds the deformed box.
        space: ``"world"`` (mm) or ``"voxel"`` (index of the reference grid).
        inverse: move back.
    """
    values = np.asarray(data.detach().cpu() if isinstance(data, torch.Tensor) else data, dtype=np.float64)
    if values.shape == (0,):  # none at all, as numpy reads an empty list
        return data
    extra = record["extra_info"]
    grid = grid_of(extra["grid"])
    axes = len(grid.shape)
    widths = [axes * (1 + boxes)] + ([3 * (1 + boxes)] if space == "world" else [])
    if values.ndim != 2 or values.shape[1] not in widths:
        raise ValueError(f"{name} must have shape (N, {widths[0]}), got {values.shape}")
    if not len(values):
        return data
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or Inf")
    dims = values.shape[1] // (1 + boxes)
    corners = values.reshape(len(values), 1 + boxes, dims)
    if boxes:
        share = np.array(list(product(np.linspace(0, 1, _BOX_SAMPLES), repeat=dims)))
        share = share[((share == 0) | (share == 1)).any(axis=1)]
        points = corners[:, :1] + share * (corners[:, 1:] - corners[:, :1])
    else:
        points = corners
    moved = _move(record, points.reshape(-1, dims), grid, space, inverse).reshape(points.shape)
    result = np.concatenate([moved.min(1), moved.max(1)], axis=1) if boxes else moved[:, 0]
    if isinstance(data, torch.Tensor):
        kind = data.dtype if data.dtype.is_floating_point else torch.float32
        return torch.from_numpy(result).to(data.device, kind)
    kept = np.asarray(data).dtype
    return result.astype(kept if kept.kind == "f" else np.float32)


def _move(record: dict[str, Any], points: np.ndarray, grid: VoxelGrid, space: str, inverse: bool) -> np.ndarray:
    cls, dims = REGISTRY[record["class"]], points.shape[1]
    extra = record["extra_info"]
    grids = [grid.matrix, cls.out_grid(grid, extra["params"]).matrix]
    matrix, target = grids[::-1] if inverse else grids
    if space == "voxel":
        index = np.zeros((len(points), 3))
        index[:, 3 - dims :] = points
        world = index @ matrix[:3, :3].T + matrix[:3, 3]
    else:
        world = np.tile(matrix[:3, 3], (len(points), 1))
        world[:, :dims] = points
    moved = cls.point_map(extra["params"], extra.get("figures", {}), grid, inverse)(world)
    if space == "voxel":
        back = np.linalg.inv(target)
        return (moved @ back[:3, :3].T + back[:3, 3])[:, 3 - dims :]
    return moved[:, :dims]
