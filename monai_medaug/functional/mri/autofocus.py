"""Autofocus of MR images: the poses of segments of k-space in which the image is sharpest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.mri.focus import ShiftedSharpness, body_region, entropy_and_slope, gradient_entropy
from monai_medaug.functional.mri.rigid_kspace import SegmentedKSpace, coil_mixture, signed_frequency

_LEAST = 32  # lines of the first, coarsest image
_ARM = 0.35  # of the field of view: where a rotation moves the anatomy by a voxel for a step of the search
_PEAKS = 6  # sharpest translations whose entropy is compared
_REGION, _LAST_REGION = 0.1, 0.05  # of the greatest magnitude, see `body_region`
_COARSE, _JOINT, _LAST = (6, 0.2), (6, 0.1), (16, 0.05)  # steps of Adam, and the first one's length in voxels
_PASSES = 1
_COILS = 4  # virtual ones, in which the motion is estimated
_VOXELS = 96**3  # of the image in which poses are estimated
_NEAR = 2  # steps to each side in the angles of a segment that is searched again


@dataclass(frozen=True)
class MotionBounds:
    """Greatest distance along an axis in mm and angle in radians that are searched; an angle of 0: no rotation."""

    translate_mm: float
    rotate: float

    @property
    def turns(self) -> bool:
        return self.rotate > 0


def autofocus(kspace: SegmentedKSpace, bounds: MotionBounds) -> torch.Tensor:
    """Poses (segments, `pose_size`) that make the image sharpest; that of the segment with k = 0 is the reference, 0.

    Segments join from the centre of k-space outwards, each at the resolution that it brings. The translation (see
    `ShiftedSharpness`) and angle of each are searched on a grid, the best few compared by `gradient_entropy`, and all
    poses so far refined together by gradient descent (Adam). Then each segment is searched again with all others in
    place, and all are refined. The entropy counts within the body alone, since the wedges of
    k-space that a rotation leaves empty ring in the background.

    Args:
        kspace: the segments, none empty, one with k = 0.
        bounds: of the search.
    """
    order = outwards(kspace)
    kspace = kspace.cropped(_affordable(kspace.shape))
    if len(kspace.lines[0]) > _COILS:
        kspace = kspace.mixed(coil_mixture(kspace, _COILS))
    poses = kspace.lines[0].real.new_zeros(len(order), kspace.pose_size)
    for count in range(2, len(order) + 1):
        some = order[:count]
        coarse = kspace.cropped(_resolved(kspace, some), some)
        own = torch.stack([poses[j] for j in some])  # an index list would make a GPU wait
        parts = [coarse.moved_back(i, own[i], bounds.turns) for i in range(count)]
        region = body_region(torch.fft.ifft(_sum(parts), dim=1), _REGION)
        found, _ = _best_pose(coarse, count - 1, _sum(parts[:-1]), own[-1], bounds, region)
        better = refined(coarse, torch.cat([own[:-1], found[None]]), 0, bounds, _COARSE, region)
        for j, pose in zip(some, better, strict=True):
            poses[j] = pose
    fixed = order[0]
    region = body_region(kspace.image(poses, bounds.turns), _REGION)
    poses = refined(kspace, poses, fixed, bounds, _JOINT, region)
    for _ in range(_PASSES):
        parts = [kspace.moved_back(j, pose, bounds.turns) for j, pose in enumerate(poses)]
        region = body_region(torch.fft.ifft(_sum(parts), dim=1), _REGION)
        for j in order[1:]:
            base = _sum(parts[:j] + parts[j + 1 :])
            found, better = _best_pose(kspace, j, base, poses[j], bounds, region, parts[j])
            poses[j] = torch.where(better, found, poses[j])
            parts[j] = kspace.moved_back(j, poses[j], bounds.turns)
        poses = refined(kspace, poses, fixed, bounds, _JOINT, region)
    region = body_region(kspace.image(poses, bounds.turns), _LAST_REGION)
    return refined(kspace, poses, fixed, bounds, _LAST, region)


def outwards(kspace: SegmentedKSpace) -> list[int]:
    """The segments from the one with k = 0 to that with the most distant lines."""
    distance = [np.abs(signed_frequency(p, kspace.shape[0])) for p in kspace.places]
    return sorted(range(len(distance)), key=lambda j: (distance[j].min() > 0, distance[j].mean()))


def refined(
    kspace: SegmentedKSpace,
    poses: torch.Tensor,
    fixed: int,
    bounds: MotionBounds,
    steps: tuple[int, float],
    region: torch.Tensor,
) -> torch.Tensor:
    """The sharpest poses on a descent by Adam, whose steps become ten times shorter on the way."""
    count, rate = steps
    unit = pose_unit(kspace, poses)
    x, mean, square = poses / unit, torch.zeros_like(poses), torch.zeros_like(poses)
    moving = torch.ones_like(poses)
    moving[fixed] = 0
    best, least = poses, poses.new_full((), math.inf)
    for i in range(count + 1):
        parts = [kspace.moved_back(j, pose, bounds.turns) for j, pose in enumerate(x * unit)]
        focus, by_image = entropy_and_slope(torch.fft.ifft(_sum(parts), dim=1), region)
        better = focus < least
        best, least = torch.where(better, x * unit, best), torch.where(better, focus, least)
        if i < count:
            slope = kspace.pose_slopes(parts, x * unit, by_image, bounds.turns) * unit * moving
            mean, square = mean.lerp(slope, 0.2), square.lerp(slope.square(), 0.05)
            step = (mean / (1 - 0.8 ** (i + 1))) / ((square / (1 - 0.95 ** (i + 1))).sqrt() + 1e-12)
            x = x - rate * 0.1 ** (i / count) * step
    return best


def _best_pose(
    kspace: SegmentedKSpace,
    j: int,
    base: torch.Tensor,
    start: torch.Tensor,
    bounds: MotionBounds,
    region: torch.Tensor,
    part: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pose of segment j that makes base + segment sharpest, and whether it beats ``part``, the segment as it is."""
    tried = _sharpest(kspace, j, base, start, bounds, part is not None)
    parts = [kspace.moved_back(j, pose, bounds.turns) for pose in tried] + ([] if part is None else [part])
    focus = torch.stack([gradient_entropy(torch.fft.ifft(base + p, dim=1), region) for p in parts])
    least, place = focus[: len(tried)].min(0)
    return tried.index_select(0, place[None])[0], least < focus[-1] if part is not None else torch.ones_like(
        least, dtype=torch.bool
    )


def _sharpest(
    kspace: SegmentedKSpace, j: int, base: torch.Tensor, start: torch.Tensor, bounds: MotionBounds, near: bool
) -> torch.Tensor:
    """Poses of segment j, one a row, that `ShiftedSharpness` finds best: for each angle in turn all translations.

    With ``near`` only angles near the present ones are tried, and else all within the bounds.
    """
    dims, sharpness = len(kspace.shape), ShiftedSharpness(torch.fft.ifft(base, dim=1))
    places, distances = whole_shifts(kspace, bounds, start)
    count = min(_PEAKS, len(places))
    pose = start.clone()
    pose[:dims] = 0
    tried, values = pose[None], start.new_zeros(1)
    for plane in range(len(kspace.planes)) if bounds.turns else [None]:
        poses, found = [], []
        for angle in [0.0] if plane is None else _tried_angles(kspace, bounds, near):
            turned = pose.clone()
            if plane is not None:
                turned[dims + plane] = (start[dims + plane] * near + angle).clamp(-bounds.rotate, bounds.rotate)
            part = torch.fft.ifft(kspace.moved_back(j, turned, bounds.turns), dim=1)
            top = sharpness.of(part).flatten()[places].topk(count)
            moved = turned.repeat(count, 1)
            moved[:, :dims] = -distances[top.indices] @ kspace.rotation(turned if bounds.turns else turned * 0).T
            poses.append(moved)
            found.append(top.values)
        values = torch.cat(found)
        tried = torch.cat(poses)[values.topk(count).indices]
        pose = tried[0].clone()
        pose[:dims] = 0
    return tried


def whole_shifts(
    kspace: SegmentedKSpace, bounds: MotionBounds, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shifts by whole voxels within the bounds: their places in a flat image, and distances (shifts, axes) in mm."""
    axes = [np.fft.fftfreq(n, 1 / n) * h for n, h in zip(kspace.shape, kspace.steps, strict=True)]
    shifts = np.stack([g.ravel() for g in np.meshgrid(*axes, indexing="ij")], 1)
    within = np.flatnonzero(np.abs(shifts).max(1) <= bounds.translate_mm + max(kspace.steps) / 2)
    return sent(within, like.device, torch.int64), sent(shifts[within], like.device, like.dtype)


def _tried_angles(kspace: SegmentedKSpace, bounds: MotionBounds, near: bool) -> list[float]:
    """Angles to try, or changes of the present one."""
    step = min(_angle_unit(kspace), bounds.rotate)
    count = _NEAR if near else math.ceil(bounds.rotate / step)
    return [(step if near else bounds.rotate / count) * i for i in range(-count, count + 1)]


def _angle_unit(kspace: SegmentedKSpace) -> float:
    """The angle that moves the outer parts of the anatomy by about a voxel."""
    return max(kspace.steps) / (_ARM * max(n * h for n, h in zip(kspace.shape, kspace.steps, strict=True)))


def pose_unit(kspace: SegmentedKSpace, like: torch.Tensor) -> torch.Tensor:
    """The change of each number of a pose that moves the anatomy by about a voxel."""
    unit = like.new_full((like.shape[1],), max(kspace.steps))
    unit[len(kspace.shape) :] = _angle_unit(kspace)
    return unit


def _affordable(shape: tuple[int, ...]) -> list[int]:
    """Lines of an image of at most `_VOXELS`, all of the phase-encoding axis: its segments lie along it.

    Example:
        >>> _affordable((256, 256)), _affordable((256, 256, 180))
        ([256, 256], [256, 58, 58])
    """
    others = list(shape[1:])
    while shape[0] * math.prod(others) > _VOXELS and max(others) > _LEAST:
        longest = others.index(max(others))
        others[longest] = max(_LEAST, others[longest] - 2)
    return [shape[0], *others]


def _resolved(kspace: SegmentedKSpace, some: Sequence[int]) -> list[int]:
    """Lines along each axis of an image of cubic voxels that these segments resolve."""
    farthest = max(int(np.abs(signed_frequency(kspace.places[j], kspace.shape[0])).max()) for j in some)
    finest = (2 * farthest + 1) / (kspace.shape[0] * kspace.steps[0])  # per mm
    extents = [n * h for n, h in zip(kspace.shape, kspace.steps, strict=True)]
    return [max(_LEAST, 2 * math.ceil(finest * extent / 2)) for extent in extents]


def _sum(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
