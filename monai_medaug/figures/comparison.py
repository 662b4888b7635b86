"""What the pictures of before and after share: the two slices, the display window, the deformation grid, the PNG."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from monai_medaug.core.call import apply_record
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.tensors import affine_of, plain_tensor
from monai_medaug.core.trace import Record, is_ours
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms.ct.hu import HU_PRESETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def compared_slices(
    original: Any, result: Any, name: str, mask: Any = None
) -> tuple[DisplayPlane, np.ndarray, np.ndarray]:
    """The plane to show, and the slice through the first channel of either image.

    Args:
        original: channel-first image, (C, H, W) or (C, D, H, W).
        result: what became of it, on the same grid.
        name: of the result, for messages.
        mask: the slice that holds most of it is shown.

    Raises:
        ValueError: the images differ in shape.

    Example:
        >>> plane, before, after = compared_slices(torch.zeros(1, 9, 8, 7), torch.ones(1, 9, 8, 7), "augmented")
        >>> plane.index, before.shape
        (3, (9, 8))
    """
    before, after = plain_tensor(original, "original"), plain_tensor(result, name)
    if before.shape != after.shape:
        raise ValueError(f"{name} must have the original's shape {tuple(before.shape)}, got {tuple(after.shape)}")
    plane = DisplayPlane.through(VoxelGrid(tuple(before.shape[1:]), affine_of(original)), mask)
    first, second = (plane.cut(t[0].detach().cpu().float().numpy()) for t in (before, after))
    return plane, first, second


def display_range(picture: np.ndarray, window: str | None) -> tuple[float, float]:
    """What black and white stand for: a window of `HU_PRESETS`, or the 0.5th and 99.5th percentile where it is None.

    Example:
        >>> display_range(np.zeros((2, 2)), "soft_tissue")
        (-160.0, 240.0)
    """
    if window is None:
        low, high = np.percentile(picture, (0.5, 99.5))
        return float(low), float(high)
    centre, width = HU_PRESETS[window]
    return centre - width / 2, centre + width / 2


def geometric_record(image: Any) -> Record | None:
    """The last geometric step of ours that was applied to a MetaTensor; None where there is none.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandAffineElastic
        >>> moved = RandAffineElastic(prob=1).set_random_state(0)(MetaTensor(torch.rand(1, 32, 32)))
        >>> geometric_record(moved)["class"]
        'RandAffineElastic'
    """
    for record in reversed(list(getattr(image, "applied_operations", None) or [])):
        operation = REGISTRY.get(record["class"]) if is_ours(record) and record.get("do_transforms") else None
        if operation is not None and operation.geometric:
            return record
    return None


def draw_deformation_grid(axes: Axes, plane: DisplayPlane, record: Record | None, lines: int, **style: Any) -> None:
    """Straight lines of the original where a geometric step moved them.

    They are contours of the original's coordinates, which are moved as the image was.

    Args:
        axes: with the picture of the plane.
        plane: the slice.
        record: of the geometric step; None leaves the lines straight.
        lines: how many along the longer side.
        style: of the contours.
    """
    slab = plane.slab
    index = np.indices(slab.shape, dtype=np.float32)
    ramps = torch.from_numpy(np.stack([index[a] * plane.grid.spacing[a] for a in (plane.rows, plane.columns)]))
    step = max(float(ramps.max()), 1e-6) / lines
    moved = ramps if record is None else apply_record(record, ramps, slab, mode="bilinear", padding="border")
    for straight, bent in zip(ramps, moved, strict=True):
        levels = np.arange(step / 2, float(straight.max()), step)
        picture = plane.cut(bent.numpy())
        if len(levels) and min(picture.shape) > 1:
            axes.contour(picture, levels=levels, **style)


def save_png(figure: Figure, path: str | os.PathLike | None) -> None:
    """Write a figure as a PNG whose meta data stays empty; with None nothing is written."""
    if path is not None:
        figure.savefig(Path(path), format="png", metadata={"Software": None})
