"""Where a pasted lesion may lie: in surroundings like its own, inside the body, across none of its borders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate

from monai_medaug.functional.mixing.lesion_blend import SoftSeam
from monai_medaug.functional.mixing.lesion_paste import lesion_region
from monai_medaug.functional.mixing.mix import Paste

_BLEND_VOXELS = 2.5
"""A patch fades into its new surroundings over this many of the finest voxels: two are in between."""
_RING_MM, _RING_VOXELS = 3.0, 2.0
"""Width of the ring of surroundings beyond: the greater of the two."""
_LOOKS = 400
"""Voxels of a ring or region that are compared."""
_FEWEST = 8
_VISIBLE = 0.5
"""Surroundings are alike that differ by less than this share of the lesion's contrast."""
_LIKE, _KIND = 1.2, 1.7
"""How much less alike, on average, where the lesion is clearest and in other channels."""
_SECTOR_VOXELS, _WORST = 10, 2.5
"""In no part of the ring, of this size, is it less alike than this times as much as on average allowed."""
_STRANGE = 0.06
"""Share of the new place that may hold values which the source's surroundings lack."""
_TAKEN = 0.1
"""Share of the new place that may have been lesion."""
_FEW = 0.02
"""Share of voxels that may be darker than the body."""
OWN, PASTED = 1, 2
"""Marks of voxels that hold a lesion of the target, and of those that hold a pasted one or are no place for any."""


class LesionPatch(NamedTuple):
    """Lesions to paste together, in a box of the source image that holds their surroundings too.

    Attributes:
        low: first voxel of the box.
        lesion: its lesion voxels.
        region: the voxels whose label is pasted.
        weight: share of the source in the image.
        ring: healthy surroundings, beyond the blend.
        kernel: voxels over which noise is averaged, along each axis.
        fixed: axes along which the region touches the image's border, so that it can't be moved.
    """

    low: tuple[int, ...]
    lesion: np.ndarray
    region: np.ndarray
    weight: np.ndarray
    ring: np.ndarray
    kernel: tuple[int, ...]
    fixed: tuple[bool, ...]


def lesion_patches(lesion: torch.Tensor, growth: float, spacing: Sequence[float]) -> tuple[list[LesionPatch], float]:
    """The lesions of a mask (*spatial) as patches, grown as `lesion_region` says; and the threshold in mm.

    Lesions that lie within a voxel of one another make one patch. A whole lesion keeps its own border and fades
    beyond it; a part of one fades across its border.

    Example:
        >>> mask = torch.zeros(20, 20, dtype=torch.bool)
        >>> mask[8:12, 8:12] = mask[9, 15] = True
        >>> patches, _ = lesion_patches(mask, 0.0, (1.0, 1.0))
        >>> [(p.low, p.region.shape, int(p.region.sum())) for p in patches]
        [((3, 3), (14, 14), 16), ((4, 10), (11, 10), 1)]
    """
    from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, generate_binary_structure, label

    grown, threshold = lesion_region(lesion, growth, spacing)
    region, sick = grown.numpy(), lesion.cpu().numpy()
    near, fine = generate_binary_structure(region.ndim, region.ndim), min(spacing)
    blend = _BLEND_VOXELS * fine
    reach = blend + max(_RING_MM, _RING_VOXELS * fine)
    kernel = tuple(3 if s < 2 * fine else 1 for s in spacing)
    numbers, _ = label(binary_dilation(region | sick, near), near)
    patches = []
    for number, where in enumerate(find_objects(numbers), 1):
        ends = [
            (max(w.start + 1 - math.floor(reach / s), 0), min(w.stop - 1 + math.floor(reach / s), n))
            for w, s, n in zip(where, spacing, region.shape, strict=True)
        ]
        box = tuple(slice(a, b) for a, b in ends)
        group = numbers[box] == number
        pasted, lesions = group & region[box], group & sick[box]
        if not pasted.any():
            continue
        away = distance_transform_edt(~(pasted | lesions), sampling=spacing)
        ring = (away > blend) & (away <= reach) & ~sick[box] & ~region[box]
        if threshold < 0:
            outside = distance_transform_edt(~pasted, sampling=spacing)
            depth = outside - distance_transform_edt(pasted, sampling=spacing)
            weight = 0.5 - (depth - 0.5 * fine * np.sign(depth)) / blend
        else:
            weight = 1 - away / blend
        places = np.argwhere(pasted) + [a for a, _ in ends]
        touching = (places.min(0) == 0) | (places.max(0) == np.array(region.shape) - 1)
        fixed = tuple(bool(v) for v in touching)
        weight = np.clip(weight, 0, 1).astype(np.float32)
        patches.append(LesionPatch(tuple(a for a, _ in ends), lesions, pasted, weight, ring, kernel, fixed))
    return patches, threshold


def smoothed_against_noise(image: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """An image (C, *spatial) averaged over 3 voxels along its fine axes.

    Example:
        >>> smoothed_against_noise(np.eye(3)[None] * 9, (1.0, 1.0))[0, 1].tolist()
        [3.0, 3.0, 3.0]
    """
    from scipy.ndimage import uniform_filter

    return uniform_filter(image, (1, *(3 if s < 2 * min(spacing) else 1 for s in spacing)), mode="nearest")


def fitting_place(
    patch: LesionPatch,
    source: np.ndarray,
    source_smooth: np.ndarray,
    target_smooth: np.ndarray,
    occupied: np.ndarray,
    dark: np.ndarray,
    draws: np.ndarray,
) -> tuple[int, ...] | None:
    """By how many voxels a patch moves to a place that fits: not at all if its own does, else to the best drawn one.

    A place fits if in each channel

    - its ring follows the source's, after the difference of the medians: the mean difference is below a quarter of the
      lesion's contrast, or half the noise, or the rings' own variation, and in no part of it much greater; where the
      lesion is clearest the medians differ by no more than half its contrast;
    - ring and replaced tissue hold no values that the source's ring lacks (no bone, no gas), and no more of them is
      as dark as the outside of the body.

    Args:
        patch: of the source.
        source: the image (C, *spatial).
        source_smooth: the same, smoothed.
        target_smooth: the target smoothed, of the same shape.
        occupied: marks of the target's voxels, `OWN`, `PASTED` or 0.
        dark: of `dark_levels`.
        draws: candidates (K, axes) in [0, 1), of the range of all places.

    Returns:
        The shift, or None if no place fits.
    """
    shape = np.array(occupied.shape)
    room = np.where(patch.fixed, 0, shape - patch.region.shape)
    lows = np.where(patch.fixed, patch.low, np.floor(draws[:, : len(shape)] * (room + 1)))
    shifts = np.concatenate([np.zeros((1, len(shape))), lows - patch.low]).astype(np.int64)
    strides = np.array([math.prod(occupied.shape[a + 1 :]) for a in range(occupied.ndim)])
    ring, region, sick = (_some_places(m, patch.low, strides) for m in (patch.ring, patch.region, patch.lesion))
    if len(ring) < _FEWEST:
        return None
    marks, moves = occupied.reshape(-1), (shifts @ strides)[:, None]
    under = marks[region + moves]
    kept = ((under == OWN).mean(1) <= _TAKEN) & ~(under == PASTED).any(1)
    kept &= (marks[ring + moves] == 0).mean(1) >= 0.5
    shifts, moves = shifts[kept], moves[kept]
    if not len(shifts):
        return None
    clear = marks[ring + moves] == 0
    sectors = _sectors(ring, strides)
    fits, level = np.ones((2, len(shifts)), dtype=bool)
    clearest, main, unlike = 0.0, 0, []
    for c in range(len(dark)):
        own, raw, there = (image[c].reshape(-1) for image in (source_smooth, source, target_smooth))
        around, middle = own[ring], np.median(own[ring])
        residual = raw[ring] - around
        noise = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
        contrast = float(np.median(np.abs(raw[sick] - middle)))
        tolerance, mean_tolerance = max(_VISIBLE * contrast, noise), max(0.5 * _VISIBLE * contrast, noise)
        seen = np.where(clear, there[ring + moves], np.nan)
        medians = np.nanmedian(seen, 1, keepdims=True)
        offset = medians - middle
        if contrast > clearest * noise:
            clearest, main, level = contrast / max(noise, 1e-9), c, np.abs(offset[:, 0]) <= tolerance
        # structures of either ring that the other lacks end at the seam
        variation = np.abs(around - middle).mean()
        variation = 0.5 * (variation + np.minimum(np.nanmean(np.abs(seen - medians), 1), 2 * variation))
        far = np.nan_to_num(np.abs(seen - offset - around)) / np.maximum(mean_tolerance, variation + 1e-9)[:, None]
        unlike.append(far.sum(1) / clear.sum(1))
        fits &= (far @ sectors <= _WORST * (clear @ sectors)).all(1)
        few = np.quantile(around, (_FEW, 1 - _FEW)) + np.array([-tolerance, tolerance])
        most = np.quantile(around, (0.1, 0.9)) + np.array([-mean_tolerance, mean_tolerance])
        darkest = (around < dark[c]).mean() + _FEW
        for values, count, (low, high) in ((seen, clear.sum(1), few), (there[region + moves], len(region), most)):
            strange = (values - offset < low) | (values - offset > high)
            fits &= (strange.sum(1) / count <= _STRANGE) & ((values < dark[c]).sum(1) / count <= darkest)
    # elsewhere, as in T1 beside FLAIR, the lesion hardly shows, so that any surroundings of the same kind serve
    fits &= level & (unlike[main] <= _LIKE) & (np.max(unlike, 0) <= _KIND)
    if not fits.any():
        return None
    best = 0 if fits[0] and not shifts[0].any() else np.argmin(np.where(fits, unlike[main], np.inf))
    return tuple(int(v) for v in shifts[best])


def _some_places(mask: np.ndarray, low: Sequence[int], strides: np.ndarray) -> np.ndarray:
    """Flat indices in the whole image of voxels of a mask in a box, evenly chosen if they are many."""
    found = np.flatnonzero(mask)
    found = found[:: math.ceil(max(len(found), 1) / _LOOKS)]
    return (np.stack(np.unravel_index(found, mask.shape), 1) + np.array(low)) @ strides


def paste_of_patch(
    patch: LesionPatch, shift: Sequence[int], clear: np.ndarray, grid: Sequence[int], shape: Sequence[int]
) -> Paste | None:
    """A patch that moves by a shift, as a paste on a grid of the same field of view, by the nearest voxels.

    Args:
        patch: of the source.
        shift: in voxels of the patch's grid.
        clear: those of the ring's voxels that are healthy in the target.
        grid: shape of the patch's grid.
        shape: of the grid to paste on.

    Returns:
        The paste, or None where no voxel of the region is left.
    """
    box = tuple(slice(a, a + n) for a, n in zip(patch.low, patch.region.shape, strict=True))
    layers = [torch.from_numpy(np.ascontiguousarray(m)) for m in (patch.region, patch.lesion, patch.ring, clear)]
    layers.append(torch.from_numpy(patch.weight))
    if tuple(shape) != tuple(grid):
        spread = torch.zeros(len(layers), *grid)
        for whole, layer in zip(spread, layers, strict=True):
            whole[box] = layer.float()
        spread = interpolate(spread[None], tuple(shape), mode="nearest-exact")[0]
        places = (spread[4] > 0).nonzero()
        if not bool((spread[0] > 0).any()):
            return None
        ends = zip(places.amin(0).tolist(), places.amax(0).tolist(), strict=True)
        shift = [round(d * m / n) for d, m, n in zip(shift, shape, grid, strict=True)]
        box = tuple(slice(max(a, -d, 0), min(b + 1, n - d)) for (a, b), d, n in zip(ends, shift, shape, strict=True))
        layers = [layer[box] > 0 for layer in spread[:4]] + [spread[4][box]]
    region, lesion, ring, clear_here, weight = layers
    moved = tuple(slice(s.start + d, s.stop + d) for s, d in zip(box, shift, strict=True))
    seam = SoftSeam(weight, lesion, ring, clear_here, patch.kernel)
    return Paste(moved, region, box, seam if bool(clear_here.any()) else None)


def _sectors(ring: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """Which voxels of a ring are in which cube, (N, cubes)."""
    at, rest = [], ring
    for stride in strides:
        at.append(rest // stride // _SECTOR_VOXELS)
        rest = rest % stride
    _, number = np.unique(np.stack(at), axis=1, return_inverse=True)
    member = number.reshape(-1, 1) == np.arange(number.max() + 1)
    return member[:, member.sum(0) >= _FEWEST].astype(float)
