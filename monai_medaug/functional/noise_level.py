"""How noisy an image is: σ of Gaussian and of Rician noise, and its map.

All rest on white noise. Where the scanner has interpolated (zero-filled k-space, a resampled volume) neighbours are
correlated, the finest band holds less noise than the others, and σ comes out too small.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

MAD_OF_NORMAL = 0.6744897501960817
"""Median of |x| for a standard normal x."""
RAYLEIGH_RATIO = math.pi / 4
"""E[m]² / E[m²] of a Rayleigh variable, whatever its σ."""

_SECOND_DIFFERENCE = {1: (1.0,), 2: (-(0.5**0.5), 0.5**0.5), 3: (6**-0.5, -2 * 6**-0.5, 6**-0.5)}  # norm 1
_LEAST_BACKGROUND = 0.01  # share of the windows
_LEAST_WINDOWS = 30


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

    Constant parts do not count (see `near_constant`); an image that has no other is noiseless. Anatomy fine enough to
    be in the band counts as noise, in 3D, where the band is diagonal in all axes, less than in 2D.

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
    work = _floating(image)
    return _mad(diagonal_details(work), ~near_constant(work))


def _floating(image: torch.Tensor) -> torch.Tensor:
    return image if image.dtype == torch.float64 else image.float()


def _mad(band: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Median of |band| / 0.6745 over a mask, (B, C); 0 where the mask is empty."""
    out = band.new_zeros(band.shape[:2])
    for b in range(band.shape[0]):
        for c in range(band.shape[1]):
            chosen = band[b, c][where[b, c]].abs()
            if chosen.numel():
                out[b, c] = chosen.median() / MAD_OF_NORMAL
    return out


# Rician noise -----------------------------------------------------------------------------------------------------


def koay_factor(snr: torch.Tensor) -> torch.Tensor:
    """Variance of a Rician variable over σ², ξ(θ) for the signal-to-noise ratio θ = A / σ: 0.43 at 0, 1 at infinity.

    ξ(θ) = 2 + θ² - π/8 exp(-θ²/2) ((2 + θ²) I0(θ²/4) + θ² I1(θ²/4))².

    Source: Koay and Basser 2006.

    Example:
        >>> koay_factor(torch.tensor([0.0, 3.0, 50.0])).round(decimals=2)
        tensor([0.4300, 0.9300, 1.0000])
    """
    square = snr.double().clamp(max=1e4).square()
    bessel = (2 + square) * torch.special.i0e(square / 4) + square * torch.special.i1e(square / 4)
    exact = 2 + square - math.pi / 8 * bessel.square()
    return torch.where(square > 1e4, 1 - 0.5 / square.clamp_min(1), exact).to(snr.dtype)  # the exact form cancels


def koay_sigma(mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """σ of Rician noise from mean and standard deviation of the magnitude: deviation / sqrt(ξ(θ)).

    θ solves mean / deviation = sqrt((2 + θ²) / ξ(θ) - 1), by bisection, as Koay and Basser's fixed point converges
    slowly near 0. At or below the ratio of Rayleigh noise, 1.913, there is no signal: θ = 0.

    Example:
        >>> koay_sigma(torch.tensor(3.1726), torch.tensor(0.967)).round(decimals=2)
        tensor(1.)
    """
    wanted = (mean / deviation.clamp_min(torch.finfo(deviation.dtype).tiny)).double().square()
    low, high = torch.zeros_like(wanted), wanted.sqrt().clamp_max(1e3) + 1
    for _ in range(50):
        middle = (low + high) / 2
        over = (2 + middle.square()) / koay_factor(middle) - 1 > wanted
        low, high = torch.where(over, low, middle), torch.where(over, middle, high)
    return deviation / koay_factor(low).sqrt().to(deviation.dtype)


def rician_sigma(image: torch.Tensor) -> torch.Tensor:
    """σ of the two channels behind a magnitude image with Rician noise, from its background or else its foreground.

    Background is where there is no signal: E[m²] = 2σ² there. Windows of 5² or 3³ voxels whose E[m]² / E[m²] suits
    Rayleigh noise are gathered, the commonest level of their mean square is taken, and with it the windows that the
    Gamma distribution of that level holds. The gathered voxels must be Rayleigh distributed: E[m]² / E[m²] - π/4 in
    -0.01 .. 0.003, E[m⁴] / E[m²]² - 2 in -0.03 .. 0.12, more in small images, and their windows 1 % of all. The bounds
    are narrow on the side of signal: tissue of A = σ passes for background but for 0.014 and -0.11, and would make σ
    22 % too great; uneven backgrounds lie on the other side. Otherwise (masked background, a narrow field of
    view) σ comes from the MAD of the finest diagonal band over the foreground, corrected for its signal-to-noise
    ratio after Koay and Basser.

    Args:
        image: (B, C, *spatial), 2D or 3D, no values below 0. Several coils combined give another distribution, whose
            background is refused; the foreground's σ is right there.

    Returns:
        (B, C) in image units.

    Source: Sijbers et al. 2007 and Koay et al. 2009 (background); Coupé et al. 2010 (foreground).

    Example:
        >>> parts = torch.randn(2, 1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
        >>> rician_sigma((3 * parts).square().sum(0).sqrt()).round()
        tensor([[3.]])
    """
    work = _floating(image)
    out = work.new_zeros(work.shape[:2])
    for b in range(work.shape[0]):
        for c in range(work.shape[1]):
            one = work[b : b + 1, c : c + 1]
            found = background_sigma(one)
            out[b, c] = foreground_sigma(one) if found is None else found
    return out


def _windows(image: torch.Tensor) -> tuple[list[int], int]:
    """Sides of the windows and the voxels in them."""
    wide = [n for n in image.shape[2:] if n > 1]
    side = 3 if len(wide) > 2 else 5
    sides = [min(side, n) for n in image.shape[2:]]
    return sides, math.prod(sides)


def _window_means(image: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    pool = F.avg_pool3d if image.ndim == 5 else F.avg_pool2d
    return pool(image, tuple(sides), stride=tuple(min(2, s) for s in sides))


def background_sigma(image: torch.Tensor) -> torch.Tensor | None:
    """σ from the background of one magnitude image (1, 1, *spatial), or None where no Rayleigh background is found.

    See `rician_sigma`.

    Example:
        >>> background_sigma(torch.full((1, 1, 32, 32), 7.0)) is None
        True
    """
    sides, voxels = _windows(image)
    peak = image.amax()
    if not bool(peak > 0) or voxels < 9:
        return None
    scaled = image / peak
    square = _window_means(scaled.square(), sides).flatten().double()
    mean = _window_means(scaled, sides).flatten().double()
    fourth = _window_means(scaled.pow(4), sides).flatten().double()
    ratio = mean.square() / square.clamp_min(1e-30)
    expected = RAYLEIGH_RATIO + (1 - RAYLEIGH_RATIO) / voxels
    suits = (square > 0) & ((ratio - expected).abs() < 0.65 / voxels**0.5)
    least = max(_LEAST_WINDOWS, int(_LEAST_BACKGROUND * len(square)))
    levels = square[suits].log()
    if len(levels) < least:
        return None
    # the commonest level; mean squares of n Rayleigh voxels scatter by 1 / sqrt(n)
    spread = voxels**-0.5
    ordered = levels.sort().values
    within = torch.searchsorted(ordered, ordered + 2 * spread) - torch.arange(len(ordered), device=image.device)
    level = (ordered[within.argmax()] + spread).exp()
    low, high = _gamma_range(voxels)
    chosen = suits
    for _ in range(20):
        chosen = (square > low * level) & (square < high * level)
        before, level = level, square[chosen].mean() if bool(chosen.any()) else level
        if bool((before - level).abs() <= 1e-6 * level):
            break
    if int(chosen.sum()) < least:
        return None
    second = square[chosen].mean()
    rayleigh = float(mean[chosen].mean().square() / second) - RAYLEIGH_RATIO
    kurtosis = float(fourth[chosen].mean() / second.square()) - 2
    doubt = (4 * int(chosen.sum())) ** -0.5  # about four voxels a window are its own
    if not (-0.01 - doubt < rayleigh < 0.003 + 0.6 * doubt and -0.03 - 5 * doubt < kurtosis < 0.12 + 5 * doubt):
        return None
    return ((second / 2).sqrt() * peak).to(image.dtype)


@functools.cache
def _gamma_range(voxels: int) -> tuple[float, float]:
    """Where 99.8 % of the means of so many unit exponentials lie."""
    from scipy.stats import gamma

    low, high = gamma.ppf([0.001, 0.999], voxels) / voxels
    return float(low), float(high)


def foreground_sigma(image: torch.Tensor) -> torch.Tensor:
    """σ from the foreground of one magnitude image (1, 1, *spatial): the brighter class after Otsu, see `rician_sigma`.

    Example:
        >>> parts = 2 * torch.randn(2, 1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
        >>> foreground_sigma(((20 + parts[0]).square() + parts[1].square()).sqrt()).round()
        tensor(2.)
    """
    band, usable = diagonal_details(image), ~near_constant(image)
    sides = [min(3, n) for n in image.shape[2:]]
    pool = F.avg_pool3d if image.ndim == 5 else F.avg_pool2d
    local = pool(image, tuple(sides), stride=1)
    if not bool(usable.any()):
        return image.new_zeros(())
    bright = usable & (local > otsu_level(local[usable]))
    if not bool(bright.any()):
        bright = usable
    deviation = _mad(band, bright)[0, 0]
    return koay_sigma(local[bright].mean(), deviation)


def otsu_level(values: torch.Tensor) -> torch.Tensor:
    """Threshold of greatest variance between the two classes, over 256 bins; the least value if all are equal.

    Source: Otsu 1979.

    Example:
        >>> 1 < otsu_level(torch.tensor([0.0, 1.0, 1.0, 9.0, 10.0])).item() < 9
        True
    """
    numbers = values.detach().double().cpu().numpy().ravel()
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return values.new_tensor(low)
    counts, edges = np.histogram(numbers, 256, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts)[:-1], len(numbers) - np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * centres)
    means = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (means[0] - means[1]) ** 2
    best = np.flatnonzero(between == between.max())
    return values.new_tensor(float(edges[1:][best].mean()))


# Map --------------------------------------------------------------------------------------------------------------


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
    work = _floating(image)
    wide = [n for n in image.shape[2:] if n > 1]
    window = (12 if len(wide) > 2 else 32) if window is None else window
    if window < 4:
        raise ValueError(f"window: expected at least 4 voxels, got {window}")
    band = diagonal_details(work).abs()
    usable = ~near_constant(work)
    overall = _mad(band, usable)
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
