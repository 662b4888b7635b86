"""Noise level of an image: σ of white Gaussian noise.

Interpolation by the scanner (zero-filled k-space, a resampled volume) correlates neighbours: the finest band then holds
less noise than the others, and σ is too small.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from monai_medaug.functional.precision import computing_dtype

MAD_OF_NORMAL = 0.6744897501960817
"""Median of |x| for a standard normal x."""

_SECOND_DIFFERENCE = {1: (1.0,), 2: (-(0.5**0.5), 0.5**0.5), 3: (6**-0.5, -2 * 6**-0.5, 6**-0.5)}  # norm 1


def diagonal_details(image: torch.Tensor) -> torch.Tensor:
    """Finest diagonal band of the stationary bior2.2 (Le Gall 5/3) wavelet, scaled to a noise gain of 1.

    The high-pass filter (1, -2, 1) / sqrt(6) along every axis: with two vanishing moments in three taps it leaves less
    anatomy in the band than Haar, db2 and db4. Haar's difference for an axis of two voxels, nothing for one of one.

    Args:
        image: (B, C, *spatial), floating point.

    Returns:
        The band where all taps lie inside, (B, C, n - 2, …).

    Example:
        >>> ramp = torch.arange(12.0).reshape(1, 1, 3, 4)
        >>> bool(diagonal_details(ramp**2).abs().max() < 1e-4)
        True
    """
    for axis in range(2, image.ndim):
        taps = _SECOND_DIFFERENCE[min(image.shape[axis], 3)]
        count = image.shape[axis] - len(taps) + 1
        total = image.narrow(axis, 0, count) * taps[0]
        for m, tap in enumerate(taps[1:], 1):
            total.add_(image.narrow(axis, m, count), alpha=tap)
        image = total
    return image


def near_constant(image: torch.Tensor) -> torch.Tensor:
    """Where `diagonal_details` covers or borders on an exactly constant block of 3 voxels along each axis.

    Masked background, padding outside the field of view and saturated voxels hold no noise. A band of exactly 0 alone
    doesn't show that: it also occurs in integer images of little noise.

    Example:
        >>> image = torch.rand(1, 1, 8, 8)
        >>> image[..., :4] = -2000
        >>> near_constant(image)[0, 0, 0].tolist()
        [True, True, True, False, False, False]
    """
    axes = [axis for axis in range(2, image.ndim) if image.shape[axis] > 1]
    constant: torch.Tensor | None = None
    line = image  # the first line of each block along the axes done
    for axis in axes:
        width = min(image.shape[axis], 3)
        count = image.shape[axis] - width + 1
        if constant is not None:
            constant = _over_neighbours(constant, axis, width, torch.logical_and)
        for m in range(1, width):
            equal = line.narrow(axis, 0, count) == line.narrow(axis, m, count)
            constant = equal if constant is None else constant & equal
        line = line.narrow(axis, 0, count)
    if constant is None:
        return torch.ones_like(image, dtype=torch.bool)
    for axis in axes:
        padded = F.pad(constant, (0, 0) * (image.ndim - 1 - axis) + (1, 1))
        constant = _over_neighbours(padded, axis, 3, torch.logical_or)
    return constant


def _over_neighbours(
    mask: torch.Tensor, axis: int, width: int, join: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    count = mask.shape[axis] - width + 1
    return functools.reduce(join, [mask.narrow(axis, m, count) for m in range(width)])


def mad_sigma(image: torch.Tensor) -> torch.Tensor:
    """Standard deviation of white Gaussian noise: the MAD of the finest diagonal band, median(|d|) / 0.6745.

    Constant parts and voxels within 3 of them do not count: without noise they hold edges alone. An image without other
    voxels is noiseless. Anatomy fine enough for the band counts as noise, in 3D less than in 2D.

    Args:
        image: (B, C, *spatial), 2D or 3D. Integers and half precision are computed in float32.

    Returns:
        (B, C) in image units; 0 for an image of one voxel.

    Source: Donoho and Johnstone 1994; Immerkær 1996 for the filter.

    Example:
        >>> noise = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
        >>> mad_sigma(40 + 5 * noise).round(decimals=1)
        tensor([[5.]])
    """
    work = image.to(computing_dtype(image.dtype))
    return masked_mad(diagonal_details(work), noisy_parts(work))


def noisy_parts(image: torch.Tensor) -> torch.Tensor:
    """Where `diagonal_details` may hold noise: neither constant nor within 3 voxels of a constant block.

    Example:
        >>> step = (torch.arange(16) > 7).float().expand(1, 1, 16, 16)
        >>> bool(noisy_parts(step).any()), bool(noisy_parts(torch.rand(1, 1, 8, 8)).all())
        (False, True)
    """
    constant = near_constant(image)
    for axis in range(2, image.ndim):
        if image.shape[axis] > 1:
            padded = F.pad(constant, (0, 0) * (image.ndim - 1 - axis) + (2, 2))
            constant = _over_neighbours(padded, axis, 5, torch.logical_or)
    return ~constant


def masked_mad(band: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Median of |band| / 0.6745 over a mask, (B, C); 0 where the mask is empty.

    Example:
        >>> band = torch.tensor([[[-1.0, 1.0, 50.0]]])
        >>> masked_mad(band, band < 9).round(decimals=2)
        tensor([[1.4800]])
    """
    if band.device.type != "cpu":  # sorted at once, for what is chosen out of each has a size to wait for
        chosen, count = torch.where(where, band.abs(), torch.inf).flatten(2), where.flatten(2).sum(2, keepdim=True)
        middle = chosen.sort(2).values.gather(2, (count - 1).clamp_min(0) // 2)
        return torch.where(count > 0, middle / MAD_OF_NORMAL, 0.0)[..., 0]
    out = band.new_zeros(band.shape[:2])
    for b in range(band.shape[0]):
        for c in range(band.shape[1]):
            chosen = band[b, c][where[b, c]].abs()
            if chosen.numel():
                out[b, c] = chosen.median() / MAD_OF_NORMAL
    return out


def every_nth(image: torch.Tensor, steps: Sequence[int]) -> torch.Tensor:
    """Every n-th voxel of (B, C, *spatial) along each axis.

    Example:
        >>> every_nth(torch.arange(6.0).reshape(1, 1, 2, 3), (1, 2)).tolist()
        [[[[0.0, 2.0], [3.0, 5.0]]]]
    """
    return image[(slice(None), slice(None), *(slice(None, None, s) for s in steps))]


def window_sides(image: torch.Tensor) -> tuple[list[int], int]:
    """Sides of the windows of an image (1, 1, *spatial), and the voxels in them.

    Example:
        >>> window_sides(torch.zeros(1, 1, 9, 9))
        ([5, 5], 25)
    """
    wide = [n for n in image.shape[2:] if n > 1]
    side = 3 if len(wide) > 2 else 5
    sides = [min(side, n) for n in image.shape[2:]]
    return sides, math.prod(sides)


def window_means(image: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Means over windows of an image (1, 1, *spatial), every second one along each axis.

    Example:
        >>> window_means(torch.ones(1, 1, 9, 9), [5, 5]).shape
        torch.Size([1, 1, 3, 3])
    """
    pool = F.avg_pool3d if image.ndim == 5 else F.avg_pool2d
    return pool(image, tuple(sides), stride=tuple(min(2, s) for s in sides))
