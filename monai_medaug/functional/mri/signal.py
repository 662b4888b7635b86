"""The signal of an MR magnitude image: its zero point, its foreground, and voxels that hold no measurement."""

from __future__ import annotations

import math

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, sent
from monai_medaug.functional.order import order_statistics

FOREGROUND = 0.1
"""Where foreground begins, as a share of the 99th percentile above the zero point."""

_LOW = 1e-3
"""The zero point of an image with negative values is this quantile: a few outliers don't move it."""
_MANY = 0.01
_COHERENT = 0.85
"""Voxels of one value are a masked background if they are this share of the image, and if their next neighbour has that
value too with this probability. (Skull-stripped brains: 0.6 and 0.98; zeros of a noisy background, rounded: up to 0.2
and 0.2, and 0.85 behind a scanner's filter that leaves specks.)"""


def zero_point(image: torch.Tensor) -> torch.Tensor:
    """The value of no signal, (B, C, 1, ...): 0, or the 0.1th percentile where that is negative.

    The percentile is taken over the subgrid of `foreground_level`.

    Example:
        >>> image = torch.arange(-50.0, 950.0).reshape(1, 1, 25, 40)
        >>> image[0, 0, 0, 0] = -9999.0  # an outlier
        >>> zero_point(image).item()
        -49.0
    """
    return _quantile(image, _LOW).clamp_max(0)


def foreground(image: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
    """Where there is signal, a mask of the image's shape: see `foreground_level`.

    Example:
        >>> image = torch.tensor([0.0, 1.0, 80.0, 100.0]).reshape(1, 1, 2, 2)
        >>> foreground(image, zero_point(image)).flatten().tolist()
        [False, False, True, True]
    """
    return image > foreground_level(image, zero)


def foreground_level(image: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
    """Lower end of the foreground, (B, C, 1, ...): a tenth of the way from zero to the 99th percentile.

    The percentile is taken over an even subgrid of 32 to 63 voxels along each axis, 180 to 359 in 2D; a shorter axis
    counts in full.
    """
    high = _quantile(image, 0.99)
    return FOREGROUND * high if zero is None else zero + FOREGROUND * (high - zero)


def foreground_mean(image: torch.Tensor, zero: torch.Tensor | None = None) -> torch.Tensor:
    """Mean signal above the zero point over the foreground, (B, C, 1, ...); 0 without foreground."""
    level = foreground_level(image, zero)
    if (compiled := loops("mri._numba_signal", image, dtypes=[torch.float32])) is not None:
        flat = image.flatten(0, 1).flatten(1).numpy()
        start = np.zeros(len(flat), np.float32) if zero is None else zero.flatten().numpy()
        means = np.empty(level.shape, np.float32)
        compiled.mean_above(flat, level.flatten().numpy(), start, means.reshape(-1))
        return torch.from_numpy(means)
    mask, axes = image > level, tuple(range(2, image.ndim))
    count = mask.sum(axes, keepdim=True).to(image.dtype)
    signal = torch.where(mask, image, 0) if zero is None else torch.where(mask, image, zero).sub_(zero)
    return signal.sum(axes, keepdim=True) / count.clamp_min(1)


def least_values(image: torch.Tensor) -> torch.Tensor:
    """The least value of each channel, (B, C, 1, ...)."""
    return image.flatten(2).amin(2).reshape(_per_channel(image))


def magnitude_and_rest(image: torch.Tensor, lowest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The magnitude above the zero point, and what added to it gives the image; None for one without negative values.

    The rest holds the zero point and the values below it.

    Args:
        image: (B, C, *spatial).
        lowest: its `least_values`.

    Example:
        >>> image = torch.arange(-50.0, 950.0).reshape(1, 1, 25, 40)
        >>> magnitude, rest = magnitude_and_rest(image, least_values(image))
        >>> magnitude.min().item(), rest.min().item(), torch.equal(magnitude + rest, image)
        (0.0, -50.0, True)
    """
    if not bool((lowest < 0).any()):
        return image, None
    zero = zero_point(image)
    magnitude = (image - zero).clamp_min_(0)
    return magnitude, image - magnitude


def masked_background(image: torch.Tensor, lowest: torch.Tensor, negative: bool = True) -> torch.Tensor | None:
    """Where an image was masked, as by skull stripping or padding, a mask of its shape; None if it was not.

    In each channel these are the voxels of exactly 0, and of exactly the least value where that is negative, if they
    are at least 1 % of the channel and coherent, as judged in up to 31 planes of a volume.

    Args:
        image: (B, C, *spatial).
        lowest: its `least_values`.
        negative: whether one of these is below 0.

    Example:
        >>> brain = torch.zeros(1, 1, 8, 8).index_fill(2, torch.arange(1, 8), 90.0)
        >>> masked_background(brain, least_values(brain)).sum().item()
        8
        >>> striped = brain.index_fill(3, torch.arange(0, 8, 2), 1.0)  # zeros without a neighbour
        >>> masked_background(striped, least_values(striped)) is None
        True
    """
    found = None
    for value in (torch.zeros_like(lowest), *([lowest] if negative else [])):
        each = _has_many_coherent(image, value)
        if any(each):
            same = image == value
            if not all(each):
                same &= sent(each, image.device).reshape(value.shape)
            found = same if found is None else found | same
    return found


def exact_background(image: torch.Tensor, lowest: torch.Tensor) -> torch.Tensor:
    """The voxels of exactly 0, and of exactly the least value where that is negative, however many there are."""
    return (image == 0) | ((image == lowest) & (lowest < 0))


def _has_many_coherent(image: torch.Tensor, value: torch.Tensor) -> list[bool]:
    """Whether the voxels of a value are at least 1 % of a channel and not scattered, of each channel in turn.

    A value above 0 never counts.
    """
    step = max(1, image.shape[2] // 16) if image.ndim == 5 else 1
    voxels = math.prod(image.shape[3:]) * len(range(0, image.shape[2], step))
    if (compiled := loops("mri._numba_signal", image, dtypes=[torch.float32])) is not None:
        flat = image.reshape(-1, *([1] if image.ndim == 4 else []), *image.shape[2:]).numpy()
        counts, each = np.empty((len(flat), 5), np.int64), value.flatten().numpy()
        compiled.count_equal(flat, step, each, counts)
        table = np.where(each[:, None] <= 0, counts, 0).tolist()
    else:
        counted = _count_equal(image[:, :, ::step] if step > 1 else image, value)
        table = torch.where(value <= 0, counted, 0).flatten(1).T.tolist()
    return [
        total >= max(1, _MANY * voxels) and (below > _COHERENT * upper or right > _COHERENT * left)
        for total, upper, below, left, right in table
    ]


def _count_equal(planes: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Voxels of a value; along the last axes but one and the last, those with a next neighbour, and equal pairs."""
    same, axes = planes == value, tuple(range(2, planes.ndim))
    counts = [same.sum(axes, keepdim=True)]
    for axis in axes[-2:]:  # padding may be one voxel thick along one of them
        first, second = (same.narrow(axis, i, same.shape[axis] - 1) for i in (0, 1))
        counts += [first.sum(axes, keepdim=True), (first & second).sum(axes, keepdim=True)]
    return torch.stack(counts)


def _quantile(image: torch.Tensor, share: float) -> torch.Tensor:
    """A quantile of the subgrid's voxels, (B, C, 1, ...)."""
    few = _subgrid(image)
    (value,) = order_statistics(few, [1 + round(share * (few.shape[-1] - 1))])
    return value.reshape(_per_channel(image))


def _subgrid(image: torch.Tensor) -> torch.Tensor:
    """Some voxels of each channel, (B, C, n), evenly spaced."""
    side = 32 if image.ndim == 5 else 180
    for axis in range(2, image.ndim):
        step = max(1, image.shape[axis] // side)
        image = image[(slice(None),) * axis + (slice(step // 2, None, step),)]
    return image.flatten(2)


def _per_channel(image: torch.Tensor) -> tuple[int, ...]:
    return (*image.shape[:2], *[1] * (image.ndim - 2))
