"""How noisy an image is: σ of white Gaussian noise, and its map.

All rest on white noise. Where the scanner has interpolated (zero-filled k-space, a resampled volume) neighbours are
correlated, the finest band holds less noise than the others, and σ comes out too small.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

MAD_OF_NORMAL = 0.6744897501960817
"""Median of |x| for a standard normal x."""

_SECOND_DIFFERENCE = {1: (1.0,), 2: (-(0.5**0.5), 0.5**0.5), 3: (6**-0.5, -2 * 6**-0.5, 6**-0.5)}  # norm 1


def diagonal_details(image: torch.Tensor) -> torch.Tensor:
    """Finest diagonal band of the stationary bior2.2 (Le Gall 5/3) wavelet, scaled to a noise gain of 1.

    The high-pass filter (1, -2, 1) / sqrt(6) along every axis: of the short wavelets (Haar, db2, db4) it left the
    least anatomy in the band, as its two vanishing moments come in three taps. An axis of two voxels takes the
    difference of Haar, one of one voxel is left alone.

    Args:
        image: (B, C, *spatial), floating point.

    Returns:
        The band where all taps are inside, (B, C, n - 2, …).

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
    """Where `diagonal_details` meets a block of 3 voxels an axis that is exactly constant, or borders on one.

    Such are masked background, padding outside the field of view and saturated voxels: nothing of the noise is left
    there. A band of exactly 0 alone is no such sign in integer images of little noise.

    Example:
        >>> image = torch.rand(1, 1, 8, 8)
        >>> image[..., :4] = -2000
        >>> near_constant(image)[0, 0, 0].tolist()
        [True, True, True, False, False, False]
    """
    axes = [axis for axis in range(2, image.ndim) if image.shape[axis] > 1]
    constant: torch.Tensor | None = None
    line = image  # constant along this axis, for every line of a block along the axes before, and for one of them
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

    Constant parts and what lies within 3 voxels of them do not count: where there is no noise, the rest would be edges
    alone. An image that has no other voxels is noiseless. Anatomy fine enough to be in the band counts as noise, in 3D,
    where the band is diagonal in all axes, less than in 2D.

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
    work = at_least_single(image)
    return masked_mad(diagonal_details(work), noisy_parts(work))


def noisy_parts(image: torch.Tensor) -> torch.Tensor:
    """Where `diagonal_details` can be of noise: neither constant nor within 3 voxels of a constant block.

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


def at_least_single(image: torch.Tensor) -> torch.Tensor:
    """The image in float32, or as it is in float64.

    Example:
        >>> at_least_single(torch.zeros(2, dtype=torch.int16)).dtype
        torch.float32
    """
    return image if image.dtype == torch.float64 else image.float()


def masked_mad(band: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Median of |band| / 0.6745 over a mask, (B, C); 0 where the mask is empty.

    Example:
        >>> band = torch.tensor([[[-1.0, 1.0, 50.0]]])
        >>> masked_mad(band, band < 9).round(decimals=2)
        tensor([[1.4800]])
    """
    out = band.new_zeros(band.shape[:2])
    for b in range(band.shape[0]):
        for c in range(band.shape[1]):
            chosen = band[b, c][where[b, c]].abs()
            if chosen.numel():
                out[b, c] = chosen.median() / MAD_OF_NORMAL
    return out


def noise_map(image: torch.Tensor, window: int | None = None) -> torch.Tensor:
    """Local standard deviation of the noise: the MAD of the finest diagonal band in overlapping windows, interpolated.

    The windows stand half their side apart. In white noise an estimate scatters by about 1.5 / sqrt(voxels of the
    window): 5 % at the defaults. A window without noise of its own (see `near_constant`) takes that of the whole.

    Args:
        image: (B, C, *spatial), 2D or 3D.
        window: side of the windows in voxels, at least 4; None for 32 in 2D and 12 in 3D.

    Returns:
        σ in image units, of the image's shape.

    Raises:
        ValueError: a window below 4.

    Example:
        >>> noise = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
        >>> noise[..., 64:] *= 4
        >>> level = noise_map(noise)
        >>> level.shape == noise.shape, bool(level[..., 112:].mean() > 3 * level[..., :16].mean())
        (True, True)
    """
    work = at_least_single(image)
    wide = [n for n in image.shape[2:] if n > 1]
    window = (12 if len(wide) > 2 else 32) if window is None else window
    if window < 4:
        raise ValueError(f"window: expected at least 4 voxels, got {window}")
    band = diagonal_details(work).abs()
    usable = noisy_parts(work)
    overall = masked_mad(band, usable)
    details = torch.where(usable, band, torch.nan)
    centres = []
    for axis in range(2, band.ndim):
        size = details.shape[axis]
        side = min(window, size)
        starts = np.unique(np.linspace(0, size - side, 1 + math.ceil((size - side) / (window / 2))).round().astype(int))
        centres.append(starts + (side - 1) / 2 + (work.shape[axis] - size) / 2)
        index = torch.from_numpy(starts[:, None] + np.arange(side)).to(band.device)
        details = details.index_select(axis, index.flatten()).unflatten(axis, tuple(index.shape)).movedim(axis + 1, -1)
        if axis > 2:
            details = details.flatten(-2)
    level = details.nanmedian(-1).values / MAD_OF_NORMAL
    level = torch.where(level.isnan(), overall.reshape(*overall.shape, *(1,) * (level.ndim - 2)), level)
    for axis, places in enumerate(centres, 2):
        level = _interpolated(level, axis, places, image.shape[axis])
    return level.to(image.dtype if image.is_floating_point() else level.dtype)


def _interpolated(values: torch.Tensor, axis: int, places: np.ndarray, size: int) -> torch.Tensor:
    """Linearly between places along an axis, constant beyond them."""
    where = np.interp(np.arange(size), places, np.arange(len(places)))
    below = np.minimum(where.astype(int), max(0, len(places) - 2))
    share = torch.from_numpy(where - below).to(values).reshape(-1, *(1,) * (values.ndim - 1 - axis))
    first = torch.from_numpy(below).to(values.device)
    second = (first + 1).clamp_max(len(places) - 1)
    return torch.lerp(values.index_select(axis, first), values.index_select(axis, second), share)
