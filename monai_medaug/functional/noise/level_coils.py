"""Noise level of a sum-of-squares image of several receive coils, from its background."""

from __future__ import annotations

import functools

import torch

from monai_medaug.functional.noise.level import every_nth, mad_sigma, window_means, window_sides

_CORRELATED = 1.4
"""From this ratio on the details of every second voxel hold more noise than the finest, as after zero filling."""
_STEPS, _LEAST_SIDE = (2, 3), 24
_LEAST_SHARE, _DARKER, _MASKED = 0.05, 0.03, 0.02
"""Of all windows: the background at least; at most darker ones, and exact zeros, which a mask leaves."""
_MOST_COILS = 64.0


def holds_less_in_details(images: torch.Tensor) -> torch.Tensor:
    """Whether every second voxel of images (N, 1, *spatial) shows more noise than all, (N,): zero filling or smoothing.

    Example:
        >>> holds_less_in_details(torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
        tensor([False])
    """
    steps = [2 if n >= 2 * _LEAST_SIDE else 1 for n in images.shape[2:]]
    return (mad_sigma(every_nth(images, steps)) > _CORRELATED * mad_sigma(images))[:, 0]


def coils_background_sigma(image: torch.Tensor) -> torch.Tensor | None:
    """σ of each coil's real and imaginary parts, from the background of one image (1, 1, *spatial), or None.

    Without signal m²/σ² of L coils is chi-squared with 2 L degrees of freedom: E[m²] = 2 L σ² and E[m⁴] / E[m²]² =
    1 + 1/L. So both moments of the darkest even windows give σ and the effective number of coils, 1.5 to 64. Even
    tissue has such moments too, so that a background is taken only if it is a twentieth of the image at least, nothing
    is darker, and none of it was masked. Every second or third voxel is looked at: zero filling makes neighbours alike.

    Source: Constantinides et al. 1997; Aja-Fernández and Vegas-Sánchez-Ferrero 2016 (effective coils).

    Example:
        >>> parts = torch.randn(16, 1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
        >>> coils_background_sigma((3 * parts).square().sum(0).sqrt()).round()
        tensor(3.)
    """
    for step in _STEPS:
        steps = [step if n >= step * _LEAST_SIDE else 1 for n in image.shape[2:]]
        found = _of_darkest(every_nth(image, steps))
        if found is not None:
            return found
    return None


def _of_darkest(image: torch.Tensor) -> torch.Tensor | None:
    sides, voxels = window_sides(image)
    peak = image.amax()
    if not bool(peak > 0) or voxels < 9:
        return None
    scaled = image / peak
    square, fourth = (window_means(scaled.pow(p), sides).flatten().double() for p in (2, 4))
    seen = square > 0
    if float((~seen).double().mean()) > _MASKED:
        return None
    low = torch.quantile(square[seen][:: max(1, int(seen.sum()) // 100_000)], 0.02)
    coils = 4.0
    for _ in range(12):
        below, above = _scatter(voxels, round(coils))
        level = low / below * (1 + below) / 2  # the least even windows lie at the lower end of the scatter
        for _ in range(10):
            chosen = seen & (square > below * level) & (square < above * level)
            if not bool(chosen.any()):
                return None
            level = square[chosen].mean()
        kurtosis = float(fourth[chosen].mean() / level.square())
        before, coils = coils, min(max(1 / max(kurtosis - 1, 1e-6), 1.0), 1000.0)
        if abs(coils - before) < 0.01 * before:
            break
    enough = chosen.double().mean() >= _LEAST_SHARE
    dark = (seen & (square <= below * level)).sum() <= _DARKER * chosen.sum()
    if not (bool(enough & dark) and 1.5 <= coils <= _MOST_COILS):
        return None
    return ((level / (2 * coils)).sqrt() * peak).to(image.dtype)


@functools.cache
def _scatter(voxels: int, coils: int) -> tuple[float, float]:
    """The range of 99.8 % of the mean squares of windows, over their mean."""
    from scipy.stats import gamma

    low, high = gamma.ppf([0.001, 0.999], voxels * coils) / (voxels * coils)
    return float(low), float(high)
