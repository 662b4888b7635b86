"""Lines across the borders of labels, and inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.preservation import spread, spread_each
from monai_medaug.functional.voxels import compilable, equal_at, values_at

_BLOCK = 8  # voxels of a place along each axis
_BLOCKS, _PLACES, _INNER, _LINES, _FEWEST, _OF_LABEL = 160, 96, 48, 12, 4, 4
REACH = 8
"""Voxels of a line on each side of the border."""
MARGIN = 3
"""Voxels at the ends of a line that may lie outside the image, where its border repeats."""
_ON_GRID = 0.02  # voxels
_MEMBER = np.array([0.0, 1.0, 0.5, 0.5])  # of what `equal_at` finds: beyond the image nobody knows
_OFFSETS = np.array([(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) != (0, 0, 0)])


@dataclass(frozen=True)
class BorderLines:
    """Lines across the borders of labels, from inside to outside.

    Attributes:
        place: of each line, (N,), ascending: a piece of one label's border of about 8 voxels.
        label: of each place.
        index: positions along the lines, one voxel apart, (N, 2 REACH + 1, 3) in voxels (z, y, x); the border's inner
            voxel is in the middle.
    """

    place: np.ndarray
    label: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class LabelBlocks:
    """Where a label map holds borders, and where it is one label.

    Attributes:
        mixed: first voxels (N, 3) of the blocks that hold more than one label.
        inner: the same of those that hold one other than 0.
        size: of the blocks, 8 voxels along each axis or the map's.
    """

    mixed: np.ndarray
    inner: np.ndarray
    size: list[int]


def label_blocks(labels: np.ndarray) -> LabelBlocks:
    """Divide a label map (*spatial) into blocks; the last along an axis may reach beyond it."""
    volume = _as_volume(labels)
    size = [min(_BLOCK, n) for n in volume.shape]
    counts = [-(-n // s) for n, s in zip(volume.shape, size, strict=True)]
    if (array := compilable(volume)) is not None and (compiled := loops("_numba_borders")):
        kinds = np.empty(counts, np.uint8)
        each = 8 // array.itemsize
        if array.dtype.kind in "ui" and array.shape[2] % each == 0 and size[2] == 8 and array.flags.c_contiguous:
            words = array.view(np.int64)  # several labels at once, which may differ within a word
            compiled.block_kinds(words, np.array([*size[:2], size[2] // each]), kinds)
            first = array[:: size[0], :: size[1], :: size[2]]
            found = words[:: size[0], :: size[1], :: size[2] // each]
            kinds[(kinds == 1) & (np.repeat(first, each, axis=2).view(np.int64) != found)] = 2
        else:
            compiled.block_kinds(array, np.array(size), kinds)
        return LabelBlocks(np.argwhere(kinds == 2) * size, np.argwhere(kinds == 1) * size, size)
    beyond = [(0, count * s - n) for count, s, n in zip(counts, size, volume.shape, strict=True)]
    volume = np.pad(volume, beyond, mode="edge") if any(b for _, b in beyond) else volume
    if volume.dtype.kind == "u" and volume.dtype.itemsize > 1:
        volume = volume.astype(np.int64)  # torch can't compare these
    split = torch.from_numpy(volume).reshape([n for pair in zip(counts, size, strict=True) for n in pair])
    high, low = split.amax(5).amax(3).amax(1).numpy(), split.amin(5).amin(3).amin(1).numpy()
    return LabelBlocks(np.argwhere(high != low) * size, np.argwhere((high == low) & (high != 0)) * size, size)


def _as_volume(labels: np.ndarray) -> np.ndarray:
    return labels.reshape((1,) * (3 - labels.ndim) + labels.shape)


def border_lines(labels: np.ndarray, grid: VoxelGrid, blocks: LabelBlocks | None = None) -> BorderLines | None:
    """Choose lines across the borders of a label map (*spatial), spread over the image; None without a border.

    Up to 96 places with 12 lines each, up to 192 of many labels, and about as many of each label. A line runs along the
    border's normal in the world, from the voxels of the same label among the 52 nearest of every direction.

    Args:
        labels: label map.
        grid: its grid.
        blocks: its `label_blocks`, if they are known.
    """
    volume, blocks = _as_volume(labels), blocks or label_blocks(labels)
    mixed = blocks.mixed[spread(len(blocks.mixed), _BLOCKS)]
    if not len(mixed):
        return None
    block, points = _border_voxels(volume, mixed, blocks.size)
    if not len(points):
        return None
    own = volume[tuple(points.T)]
    new = np.ones(len(points) + 1, bool)
    new[1:-1] = (own[1:] != own[:-1]) | (block[1:] != block[:-1])
    ends = np.flatnonzero(new)
    starts, sizes = ends[:-1], ends[1:] - ends[:-1]
    large = np.flatnonzero(sizes >= min(_FEWEST, sizes.max()))
    large = large[_of_each_label(own[starts[large]])]
    place, member = spread_each(sizes[large], _LINES)
    chosen = starts[large][place] + member
    normals = _outward(volume, points[chosen], own[chosen], grid)
    return BorderLines(place, own[starts[large]], _borders_along(points[chosen], normals))


def _borders_along(points: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Positions (N, 2 REACH + 1, 3) on both sides of points (N, 3)."""
    numbers = np.arange(-REACH, REACH + 1.0)
    index = np.empty((len(points), len(numbers), 3))
    for axis in range(3):  # the last axis is too short for loops along it
        index[:, :, axis] = points[:, axis, None] + numbers * steps[:, axis, None]
    return index


def _border_voxels(volume: np.ndarray, blocks: np.ndarray, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of blocks beside another label: block (N,) and position (N, 3), ordered by block and label."""
    if (array := compilable(volume)) is not None and (compiled := loops("_numba_borders")):
        found = np.empty((len(blocks) * int(np.prod(size)), 4), np.int64)
        found = found[: compiled.border_voxels(array, blocks, np.array(size), found)]
        return found[:, 0], found[:, 1:]
    patches = _patches(volume, blocks)
    own = patches[:, 1:-1, 1:-1, 1:-1]
    edge = np.zeros(own.shape, bool)
    for axis in (1, 2, 3):
        for side in (slice(None, -2), slice(2, None)):
            edge |= patches[tuple(side if a == axis else slice(1, -1) if a else slice(None) for a in range(4))] != own
    where = np.argwhere(edge & (own != 0))
    where = where[np.all(blocks[where[:, 0]] + where[:, 1:] < volume.shape, axis=1)]
    where = where[np.lexsort((own[tuple(where.T)], where[:, 0]))]
    return where[:, 0], blocks[where[:, 0]] + where[:, 1:]


def _of_each_label(label: np.ndarray) -> np.ndarray:
    """Some of the groups of border voxels with these labels, in their order: about as many of each, at least four."""
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.diff(label[order], prepend=np.nan) != 0)
    wanted = max(_OF_LABEL, -(-_PLACES // len(starts)))
    which, member = spread_each(np.diff(starts, append=len(order)), wanted)
    some = np.sort(order[starts[which] + member])
    return some[spread(len(some), max(_PLACES, 2 * _PLACES if wanted == _OF_LABEL else 0))]


def inner_lines(labels: np.ndarray, blocks: LabelBlocks | None = None) -> BorderLines | None:
    """Lines inside the labels of a map (*spatial), spread over the image; None where all blocks hold a border.

    Up to 48 places of one label, with 12 lines each along one of the axes, side by side.
    """
    blocks = blocks or label_blocks(labels)
    inner, size = blocks.inner[spread(len(blocks.inner), _INNER)], blocks.size
    if not len(inner):
        return None
    volume = _as_volume(labels)
    long = [axis for axis, n in enumerate(volume.shape) if n > 2 * REACH] or [2]
    place = np.repeat(np.arange(len(inner)), _LINES)
    steps = np.eye(3)[np.array(long)[place % len(long)]]
    starts = _anywhere()[: len(place)] * (np.array(size) - 1)
    points = np.repeat(inner, _LINES, axis=0) + np.where(steps > 0, np.array(size) / 2, starts)
    own = volume[tuple(inner.T)]
    return BorderLines(place, own, _borders_along(points, steps))


@cache
def _anywhere() -> np.ndarray:
    """Positions (N, 3) at random in a cube of side 1, the same in each call."""
    return np.random.RandomState(0).uniform(0, 1, (_INNER * _LINES, 3))


def _patches(volume: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """The voxels of blocks and of the layer around them, (N, z, y, x); beyond the volume its border repeats."""
    last = np.array(volume.shape) - 1
    axes = [
        np.clip(blocks[:, axis, None] + np.arange(-1, min(_BLOCK, n) + 1), 0, last[axis])
        for axis, n in enumerate(volume.shape)
    ]
    index = (axes[0][:, :, None, None], axes[1][:, None, :, None], axes[2][:, None, None, :])
    return volume[index]


@cache
def _around(*long: bool) -> np.ndarray:
    """The 52 steps to the nearest voxels of every direction, without those along an axis of one voxel."""
    offsets = np.concatenate([_OFFSETS, 2 * _OFFSETS])
    return offsets[np.all((offsets == 0) | np.array(long), axis=1)]


def _outward(volume: np.ndarray, points: np.ndarray, own: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """Steps (N, 3) of one voxel along the outward normals, in voxel index."""
    offsets = _around(*(n > 1 for n in volume.shape))
    member = _MEMBER[equal_at(volume, points, offsets, own)]
    to_index = np.linalg.inv(grid.matrix[:3, :3])
    normal = (0.5 - member) @ offsets @ to_index  # a gradient: differences per voxel become differences per mm
    flat = np.abs(normal).max(1) < 1e-9  # a thin structure has two sides
    normal[flat] = grid.matrix[:3, 2]
    step = normal @ to_index.T
    return step / np.abs(step).max(1, keepdims=True)


def borders_in_place(
    lines: BorderLines, result: np.ndarray, source: np.ndarray, before: np.ndarray
) -> tuple[float, float]:
    """The share of lines on both sides of whose border the map before has the labels of the result; and of one label.

    Two voxels off the border, since resampling moves it; where no position lies between voxels, at the border itself.
    The second share is that of the label with the least, of those with at least 24 lines; 1 where maps were resampled.

    Args:
        lines: across the borders of ``result``.
        result: label map (*spatial).
        source: label map before.
        before: the positions of the lines there, (N, 2 REACH + 1, 3).
    """
    moved = before[:, REACH] - np.rint(before[:, REACH])
    on_grid = len(moved) > 0 and np.abs(moved).max() < _ON_GRID
    beside = [REACH, REACH + 1] if on_grid else [REACH - 2, REACH + 2]
    was, known = values_at(source, before[:, beside], linear=False)
    is_now, inside = values_at(result, lines.index[:, beside], linear=False)
    known &= inside
    same = np.all((was == is_now) | ~known, axis=1)
    _, own = np.unique(lines.label[lines.place], return_inverse=True)
    counts, shares = np.bincount(own), np.bincount(own, same) / np.bincount(own)
    return float(same.mean()), float(shares[counts >= 2 * _LINES].min(initial=1.0)) if on_grid else 1.0
