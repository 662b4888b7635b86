"""Boxes that cut no lesion, and lesions as regions to paste; on the CPU, with scipy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from monai_medaug.functional.labels import near_whole

Box = tuple[tuple[int, ...], tuple[int, ...]]


class LesionPart(NamedTuple):
    """A connected component: its voxels within its bounding box, which starts at ``low`` and ends before ``high``."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    voxels: np.ndarray


def lesion_mask(mask: torch.Tensor, labels: Sequence[int], name: str) -> torch.Tensor:
    """Which voxels (*spatial) of a sample's mask (C, *spatial) are lesion.

    Args:
        mask: one channel of labels, or several of flags.
        labels: of lesions, or their channels if there are several; empty for all but 0, or all channels.
        name: for error messages.

    Raises:
        ValueError: all channels together cover the image, so that one is background; or a channel does not exist.

    Example:
        >>> lesion_mask(torch.tensor([[[0, 1, 2]]]), (2,), "mask").tolist()
        [[False, False, True]]
    """
    flags = mask > 0.5 if mask.is_floating_point() else mask != 0
    if len(mask) == 1:
        if not labels:
            return flags[0]
        values = near_whole(mask[0]) if mask.is_floating_point() else mask[0].to(torch.int64)
        return torch.isin(values, torch.tensor(list(labels), device=mask.device).to(values.dtype))
    if any(not 0 <= channel < len(mask) for channel in labels):
        raise ValueError(f"lesion_labels must name channels of {name} below {len(mask)}, got {list(labels)}")
    found = (flags[list(labels)] if labels else flags).any(0)
    if not labels and bool(found.all()):
        raise ValueError(f"lesion_labels must name the lesions' channels of {name}, got none and background")
    return found


def lesion_parts(lesion: torch.Tensor) -> list[LesionPart]:
    """The connected components of a lesion mask (*spatial); voxels that share a corner are connected.

    Example:
        >>> [(p.low, p.high) for p in lesion_parts(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]]).bool())]
        [((0, 0), (2, 2)), ((3, 0), (4, 1))]
    """
    from scipy.ndimage import find_objects, generate_binary_structure, label

    numbers, _ = label(lesion.cpu().numpy(), generate_binary_structure(lesion.ndim, lesion.ndim))
    parts = []
    for number, where in enumerate(find_objects(numbers), 1):
        low, high = tuple(s.start for s in where), tuple(s.stop for s in where)
        parts.append(LesionPart(low, high, numbers[where] == number))
    return parts


def closed_box(box: Box, parts: Iterable[LesionPart]) -> Box:
    """The smallest box around a box that holds each part wholly or not at all.

    Parts without a voxel in the box don't count, even if their bounding boxes overlap it.

    Example:
        >>> parts = lesion_parts(torch.tensor([[0, 0, 1, 1, 0, 1]]).bool())
        >>> closed_box(((0, 0), (1, 3)), parts)
        ((0, 0), (1, 4))
    """
    low, high = box
    waiting = list(parts)
    while True:
        cut = [p for p in waiting if _is_cut(low, high, p)]
        if not cut:
            return low, high
        low = tuple(min(ends) for ends in zip(low, *(p.low for p in cut), strict=True))
        high = tuple(max(ends) for ends in zip(high, *(p.high for p in cut), strict=True))


def box_sparing_lesions(boxes: Iterable[Box], parts: Sequence[LesionPart], shape: Sequence[int]) -> Box | None:
    """The first box that cuts no part, else the one that grows least to cut none.

    Args:
        boxes: candidates.
        parts: of both samples.
        shape: of the image; a box that grows to all of it is not taken.

    Returns:
        The box, or None if there is none.

    Example:
        >>> parts = lesion_parts(torch.tensor([[0, 0, 1, 1, 0, 1]]).bool())
        >>> box_sparing_lesions([((0, 0), (1, 3)), ((0, 1), (1, 4))], parts, (1, 6))
        ((0, 1), (1, 4))
    """
    best, least = None, math.inf
    for box in boxes:
        closed = closed_box(box, parts)
        if closed == box:
            return box
        growth = _volume(closed) - _volume(box)
        if growth < least and _volume(closed) < math.prod(shape):
            best, least = closed, growth
    return best


def lesion_region(lesion: torch.Tensor, growth: float, spacing: Sequence[float]) -> tuple[torch.Tensor, float]:
    """The voxels whose signed distance D to the lesion in mm is at most a threshold.

    D is negative inside. The threshold is ``growth`` times the greatest depth, max(-D); CarveMix draws ``growth`` from
    -0.5 to 1, and 0 gives the lesion itself.

    Args:
        lesion: (*spatial), bool.
        growth: at least -1.
        spacing: mm along each axis.

    Returns:
        The region (*spatial), on the CPU, and the threshold in mm.

    Example:
        >>> lesion_region(torch.tensor([[0, 0, 0, 1, 1, 1, 0, 0]]).bool(), 0.6, (1.0, 1.0))[0].int().tolist()
        [[0, 0, 1, 1, 1, 1, 1, 0]]
    """
    from scipy.ndimage import distance_transform_edt

    region = lesion.cpu()
    if growth == 0 or not bool(region.any()) or bool(region.all()):
        return region, 0.0
    parts = lesion_parts(region)  # each in its own box: lesions may lie far apart
    depths = []
    for part in parts:
        _, own = _in_surroundings(part, [1] * region.ndim, region.shape)
        depths.append(distance_transform_edt(own, sampling=spacing))
    threshold = growth * max(float(d.max()) for d in depths)
    out = np.zeros(region.shape, dtype=bool)
    for part, depth in zip(parts, depths, strict=True):
        if threshold < 0:
            near, _ = _in_surroundings(part, [1] * region.ndim, region.shape)
            out[near] |= depth >= -threshold
        else:
            near, own = _in_surroundings(part, [math.ceil(threshold / s) + 1 for s in spacing], region.shape)
            out[near] |= distance_transform_edt(~own, sampling=spacing) <= threshold
    return torch.from_numpy(out), threshold


def _is_cut(low: tuple[int, ...], high: tuple[int, ...], part: LesionPart) -> bool:
    """Whether a box holds some but not all voxels of a part."""
    axes = list(zip(low, high, part.low, part.high, strict=True))
    if all(a <= c and d <= b for a, b, c, d in axes):
        return False
    inside = tuple(slice(max(a - c, 0), max(min(b, d) - c, 0)) for a, b, c, d in axes)
    return bool(part.voxels[inside].any())


def _volume(box: Box) -> int:
    return math.prod(b - a for a, b in zip(*box, strict=True))


def _in_surroundings(
    part: LesionPart, margins: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], np.ndarray]:
    """A part's bounding box with a margin along each axis, within the image, and the part's voxels in it."""
    low = [max(a - m, 0) for a, m in zip(part.low, margins, strict=True)]
    high = [min(b + m, n) for b, m, n in zip(part.high, margins, shape, strict=True)]
    own = np.zeros([b - a for a, b in zip(low, high, strict=True)], dtype=bool)
    own[tuple(slice(a - c, b - c) for a, b, c in zip(part.low, part.high, low, strict=True))] = part.voxels
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), own
