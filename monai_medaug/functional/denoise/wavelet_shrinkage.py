"""Wavelet shrinkage: thresholds on wavelet coefficients, in units of the noise of each band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, one_thread, sent
from monai_medaug.functional.denoise.wavelets import (
    decimated_transform,
    inverse_decimated_transform,
    wavelet_noise_gain,
    wide_axes,
)
from monai_medaug.functional.denoise.wavelets_hard import hard_stationary
from monai_medaug.functional.denoise.wavelets_stationary import shrink_stationary
from monai_medaug.functional.noise.correlation import Correlation, Grain
from monai_medaug.functional.precision import computing_dtype

SHRINKAGE_METHODS = ("translation_invariant", "bayes", "universal")
HARD_THRESHOLD = 3.2
"""Threshold of the translation-invariant method in σ: best mean PSNR over CT, T1, T2 and radiograph, for 3 levels and
noise of 5 and 10 % of the range."""

_FEW = 2**20
"""Images of fewer voxels are computed in one thread: hundreds of small operations, see `acceleration.one_thread`."""

_PIECE = 2**22
"""Greatest number of voxels in samples computed together: more are not faster, but take memory of several images."""


def soft_threshold(band: torch.Tensor, threshold: torch.Tensor | float) -> torch.Tensor:
    """Sign(x) max(|x| - t, 0).

    Example:
        >>> soft_threshold(torch.tensor([-3.0, 1.0, 2.5]), 2.0).tolist()
        [-1.0, 0.0, 0.5]
    """
    threshold = torch.as_tensor(threshold, dtype=band.dtype, device=band.device)
    return band - band.clamp(-threshold, threshold)


def hard_threshold(band: torch.Tensor, threshold: torch.Tensor | float) -> torch.Tensor:
    """X where |x| > t, else 0.

    Example:
        >>> hard_threshold(torch.tensor([-3.0, 1.0, 2.5]), 2.0).tolist()
        [-3.0, 0.0, 2.5]
    """
    return band.masked_fill(band.abs() <= threshold, 0)


def bayes_threshold(band: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """BayesShrink's threshold σ² / σ_x with σ_x² = max(mean(x²) - σ², 0), per band and channel, (B, C, 1, …).

    It is at most the band's largest coefficient.

    Args:
        band: (B, C, *spatial).
        noise: standard deviation of the noise in the band, broadcasts to it.

    Example:
        >>> bayes_threshold(torch.full((1, 1, 4, 4), 5.0), torch.tensor(3.0)).item()
        2.25
    """
    axes = tuple(range(2, band.ndim))
    signal = (band.square().mean(axes, keepdim=True) - noise**2).clamp_min(0).sqrt()
    signal = signal.clamp_min(torch.finfo(band.dtype).tiny)
    return torch.minimum(noise**2 / signal, band.abs().amax(axes, keepdim=True))


def wavelet_shrinkage(
    image: torch.Tensor,
    sigma: torch.Tensor,
    method: str = "translation_invariant",
    wavelet: str | None = None,
    levels: int = 3,
    threshold: float = HARD_THRESHOLD,
    correlation: Correlation | None = None,
) -> torch.Tensor:
    """Remove Gaussian noise by thresholding wavelet coefficients.

    - ``"translation_invariant"``: stationary transform, coefficients up to ``threshold`` σ become 0. Equals cycle
      spinning over all shifts.
    - ``"bayes"``: soft threshold σ² / σ_x, σ_x of the signal from the band itself, stationary transform.
    - ``"universal"``: soft threshold σ sqrt(2 ln N) for N voxels, decimated transform.

    Each threshold is scaled by the noise gain of its band, see `wavelets.py`.

    Args:
        image: (B, C, *spatial), 2D or 3D, any size and offset; integers and half precision are computed in float32.
        sigma: standard deviation of the noise in image units, (B,) or (B, C), at least 0; at 0 the sample
            stays as it is.
        method: one of `SHRINKAGE_METHODS`.
        wavelet: see `wavelet_filters`. None: ``"haar"`` for the translation-invariant method, else ``"db4"``.
        levels: at least 1.
        threshold: of the translation-invariant method in σ; below about 3 noise remains, above 3.5 detail is lost.
        correlation: of the noise, for each axis the values at distances of 0, 1, ... voxels; None for white noise.

    Raises:
        ValueError: unknown method or wavelet, levels below 1, or a sigma below 0 or of the wrong shape.

    Source: Coifman and Donoho 1995 (translation-invariant); Chang, Yu and Vetterli 2000 (BayesShrink); Donoho and
    Johnstone 1994 (universal).

    Example:
        >>> noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> out = wavelet_shrinkage(100 + 5 * noise, torch.tensor([5.0]))
        >>> bool(out.std() < 1.2)
        True
    """
    if method not in SHRINKAGE_METHODS:
        raise ValueError(f"method must be one of {', '.join(SHRINKAGE_METHODS)}, got {method!r}")
    if levels < 1:
        raise ValueError(f"levels must be at least 1, got {levels}")
    wavelet = wavelet or ("haar" if method == "translation_invariant" else "db4")
    work = image.to(computing_dtype(image.dtype))
    sigma = sigma.to(work)
    if sigma.shape not in (image.shape[:1], image.shape[:2]):
        raise ValueError(f"sigma must be (B,) or (B, C) with {tuple(image.shape[:2])}, got shape {tuple(sigma.shape)}")
    if not bool((sigma >= 0).all()):
        raise ValueError(f"sigma must be at least 0, got {sigma.tolist()}")
    grain = tuple(tuple(c) for c in correlation or [(1.0,)] * (image.ndim - 2))
    with one_thread() if work.device.type == "cpu" and work.numel() < _FEW else nullcontext():
        together = max(1, _PIECE // max(1, math.prod(work.shape[1:])))
        pieces = [
            _shrunk_bands(part, noise, method, wavelet, levels, threshold, grain)
            for part, noise in zip(work.split(together), sigma.split(together), strict=True)
        ]
        out = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
    return out.to(image.dtype if image.is_floating_point() else out.dtype)


def _shrunk_bands(
    image: torch.Tensor,
    sigma: torch.Tensor,
    method: str,
    wavelet: str,
    levels: int,
    threshold: float,
    grain: Grain,
) -> torch.Tensor:
    """See `wavelet_shrinkage`, whose checks are done."""
    noise = sigma.reshape(*sigma.shape, *(1,) * (image.ndim - sigma.ndim))
    axes = tuple(range(2, image.ndim))
    middle = (image.amin(axes, keepdim=True) + image.amax(axes, keepdim=True)) / 2  # exact for a constant image
    voxels = float(np.prod(image.shape[2:]))

    level = threshold * noise if method == "translation_invariant" else noise * (2 * np.log(voxels)) ** 0.5

    def shrunk(band: torch.Tensor, gains: Sequence[np.ndarray]) -> torch.Tensor:
        if method == "bayes":
            gain = float(np.prod([np.mean(g**2) for g in gains])) ** 0.5
            return soft_threshold(band, bayes_threshold(band, noise * gain))
        limit = level
        for profile in gains:  # of full size only after the last axis
            limit = limit * sent(profile, band.device, band.dtype)
        return (hard_threshold if method == "translation_invariant" else soft_threshold)(band, limit)

    if method != "universal":
        compiled = None
        if method == "translation_invariant":
            compiled = loops("denoise._numba_wavelets", image, sigma, dtypes=[torch.float32])
        if compiled is not None:
            limits = level.expand(*image.shape[:2], *(1,) * len(axes)).flatten().tolist()
            out = hard_stationary(compiled, image, middle, wavelet, levels, limits, grain)
        else:
            out = shrink_stationary(image - middle, wavelet, levels, shrunk, grain)
    else:
        low, details = decimated_transform(image - middle, wavelet, levels)
        for bands, j in zip(details, reversed(range(len(details))), strict=True):
            for name, band in bands.items():
                along = zip(name, wide_axes(image), strict=True)
                gains = [wavelet_noise_gain(wavelet, j, letter == "d", grain[axis - 2]) for letter, axis in along]
                bands[name] = shrunk(band, [np.array(np.prod(gains))])
        out = inverse_decimated_transform(low, details, wide_axes(image), wavelet)
        for axis in wide_axes(image):
            out = out.narrow(axis, 0, image.shape[axis])
    out.add_(middle)
    return out if bool((noise > 0).all()) else torch.where(noise > 0, out, image)
