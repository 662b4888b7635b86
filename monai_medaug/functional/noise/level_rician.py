"""Noise level of a magnitude image: σ of the real and imaginary parts behind Rician noise."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from monai_medaug.functional.noise.level import (
    diagonal_details,
    every_nth,
    masked_mad,
    noisy_parts,
    window_means,
    window_sides,
)
from monai_medaug.functional.noise.level_coils import coils_background_sigma, holds_less_in_details
from monai_medaug.functional.precision import computing_dtype

RAYLEIGH_RATIO = math.pi / 4
"""E[m]² / E[m²] of a Rayleigh variable of any σ."""

_LEAST_BACKGROUND = 0.01  # share of the windows
_LEAST_WINDOWS = 30
_DARKER = 0.03  # greatest share of darker windows; noise alone makes 0.001
_STEPS, _LEAST_SIDE = (1, 2, 3), 24
"""Every so manieth voxel in a search for the background, and the least side of such an image."""


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

    θ solves mean / deviation = sqrt((2 + θ²) / ξ(θ) - 1), by bisection: Koay and Basser's fixed point converges slowly
    near 0. Up to the ratio of Rayleigh noise, 1.913, θ = 0.

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
    """σ of the real and imaginary parts of a Rician magnitude image, from its background or else its foreground.

    Without signal E[m²] = 2σ². Among windows of 5² or 3³ voxels whose E[m]² / E[m²] fits Rayleigh noise, those within
    the Gamma distribution of the most frequent mean square are taken as background. They are accepted if Rayleigh
    distributed (E[m]² / E[m²] - π/4 in -0.01 .. 0.003, E[m⁴] / E[m²]² - 2 in -0.03 .. 0.12, wider in small images), at
    least 1 % of all, and with at most 3 % of darker windows above exactly 0. The bounds are narrow towards signal:
    tissue of A = σ differs by 0.014 and -0.11, and would give a σ 22 % too great. Otherwise (masked background, a
    narrow field of view) σ is the MAD of the finest diagonal band over the foreground, corrected for the
    signal-to-noise ratio after Koay and Basser.

    Interpolation by the scanner (zero-filled k-space) makes neighbours alike, so that windows scatter too much for a
    background: then every second or third voxel along each axis is looked at.

    Args:
        image: (B, C, *spatial), 2D or 3D, no values below 0. Combined coils have another distribution: their background
            serves where they were zero-filled (`coils_background_sigma`), else the foreground's σ is right.

    Returns:
        (B, C) in image units.

    Source: Sijbers et al. 2007 and Koay et al. 2009 (background); Coupé et al. 2010 (foreground).

    Example:
        >>> parts = torch.randn(2, 1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
        >>> rician_sigma((3 * parts).square().sum(0).sqrt()).round()
        tensor([[3.]])
    """
    work = image.to(computing_dtype(image.dtype))
    out = work.new_zeros(work.shape[:2])
    for b in range(work.shape[0]):
        for c in range(work.shape[1]):
            one = work[b : b + 1, c : c + 1]
            found = any_background_sigma(one)
            out[b, c] = foreground_sigma(one) if found is None else found
    return out


def any_background_sigma(image: torch.Tensor) -> torch.Tensor | None:
    """σ from the background of (1, 1, *spatial): of one coil, or of several where zero filling leaves nothing better.

    Example:
        >>> any_background_sigma(torch.full((1, 1, 32, 32), 7.0)) is None
        True
    """
    found = spaced_background_sigma(image)
    return coils_background_sigma(image) if found is None and bool(holds_less_in_details(image)) else found


def spaced_background_sigma(image: torch.Tensor) -> torch.Tensor | None:
    """`background_sigma` of the voxels 1, 2 or 3 apart, the first that finds a background; None if none does.

    Example:
        >>> spectrum = torch.zeros(2, 128, 128)
        >>> spectrum[:, :64, :64] = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> image = torch.fft.fft2(torch.complex(*spectrum))[None, None].abs()  # zero-filled
        >>> round(float(spaced_background_sigma(image)) / 64, 1)
        1.0
    """
    for step in _STEPS:
        steps = [step if n >= step * _LEAST_SIDE else 1 for n in image.shape[2:]]
        if step > 1 and set(steps) == {1}:
            break
        found = background_sigma(every_nth(image, steps))
        if found is not None:
            return found
    return None


def background_beyond_details(images: torch.Tensor, levels: torch.Tensor) -> list[torch.Tensor | None]:
    """σ of each magnitude image's background if it is over twice a ``level`` from the finest details, else None.

    So it is in zero-filled or smoothed images, whose finest details hold hardly any noise. It is only looked for if
    every second voxel shows more noise than all.

    Args:
        images: (N, 1, *spatial).
        levels: their `mad_sigma`, (N,).

    Example:
        >>> white = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> background_beyond_details(torch.complex(*white)[None, None].abs(), torch.tensor([0.65]))
        [None]
    """
    looked = (images.flatten(1).amin(1) >= 0) & holds_less_in_details(images)
    found: list[torch.Tensor | None] = [None] * len(images)
    for n in looked.nonzero().flatten().tolist():
        background = any_background_sigma(images[n : n + 1])
        found[n] = background if background is not None and bool(background > 2 * levels[n]) else None
    return found


def background_sigma(image: torch.Tensor) -> torch.Tensor | None:
    """σ from the background of one magnitude image (1, 1, *spatial), or None without a Rayleigh background.

    See `rician_sigma`.

    Example:
        >>> background_sigma(torch.full((1, 1, 32, 32), 7.0)) is None
        True
    """
    sides, voxels = window_sides(image)
    peak = image.amax()
    if not bool(peak > 0) or voxels < 9:
        return None
    scaled = image / peak
    square = window_means(scaled.square(), sides).flatten().double()
    mean = window_means(scaled, sides).flatten().double()
    fourth = window_means(scaled.pow(4), sides).flatten().double()
    ratio = mean.square() / square.clamp_min(1e-30)
    expected = RAYLEIGH_RATIO + (1 - RAYLEIGH_RATIO) / voxels
    suits = (square > 0) & ((ratio - expected).abs() < 0.65 / voxels**0.5)
    least = max(_LEAST_WINDOWS, int(_LEAST_BACKGROUND * len(square)))
    levels = square[suits].log()
    if len(levels) < least:
        return None
    # the most frequent level; mean squares of n Rayleigh voxels scatter by 1 / sqrt(n)
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
    darker = int(((square > 0) & (square <= low * level)).sum())
    if darker > _DARKER * int(chosen.sum()):
        return None
    second = square[chosen].mean()
    rayleigh = float(mean[chosen].mean().square() / second) - RAYLEIGH_RATIO
    kurtosis = float(fourth[chosen].mean() / second.square()) - 2
    doubt = (4 * int(chosen.sum())) ** -0.5  # a window shares all but about four voxels with others
    if not (-0.01 - doubt < rayleigh < 0.003 + 0.6 * doubt and -0.03 - 5 * doubt < kurtosis < 0.12 + 5 * doubt):
        return None
    return ((second / 2).sqrt() * peak).to(image.dtype)


@functools.cache
def _gamma_range(voxels: int) -> tuple[float, float]:
    """The range of 99.8 % of the means of ``voxels`` unit exponentials."""
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
    band, usable = diagonal_details(image), noisy_parts(image)
    sides = [min(3, n) for n in image.shape[2:]]
    pool = F.avg_pool3d if image.ndim == 5 else F.avg_pool2d
    local = pool(image, tuple(sides), stride=1)
    if not bool(usable.any()):
        return image.new_zeros(())
    bright = usable & (local > otsu_level(local[usable]))
    if not bool(bright.any()):
        bright = usable
    deviation = masked_mad(band, bright)[0, 0]
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
