"""Detectability d' of a known signal: how far a model observer's answers lie apart with and without it.

d' is the difference of the observer's mean answers to images with and without the signal, over their standard
deviation; he decides rightly between two such images with probability Phi(d' / sqrt 2). Above about 5 nobody overlooks
the signal (Rose 1948). `lesion.lesion_contrast` is the same ratio for a lesion as it lies in one image, with a flat
template.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def npw_detectability(present: torch.Tensor, absent: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
    """The non-prewhitening observer, who weighs pixels by the signal that he expects, whatever the noise looks like.

    His answer to an image g is t = sum(template * g), and d' = (mean t1 - mean t0) / sqrt((var t1 + var t0) / 2). In
    white noise of standard deviation s, with the signal as template, d'² = sum(signal²) / s², and no observer does
    better; in coloured noise this one does about as well as people (ICRU Report 54, 1996; Barrett & Myers 2004, ch.
    13). The scale of the template is free; its mean matters where the background varies, so subtract it for an observer
    who compares with the surroundings.

    Args:
        present: images with the signal at the template's place, (N, *spatial), N >= 2.
        absent: images without it, (M, *spatial), M >= 2.
        template: (*spatial).

    Returns:
        d', a tensor without axes; negative where the signal shows inverted, nan where neither answers differ nor vary.

    Example:
        >>> from torch import Generator, randn
        >>> signal = torch.zeros(16, 16).index_fill(0, torch.arange(6, 10), 0.5)
        >>> noise = randn(2, 4000, 16, 16, generator=Generator().manual_seed(0))
        >>> d = npw_detectability(noise[0] + signal, noise[1], signal)
        >>> round(float(d)), float(signal.square().sum().sqrt())  # the same but for chance
        (4, 4.0)
    """
    _check(present, absent, ("template", template.shape))
    return _observer_separation(*(images.flatten(1) @ template.to(images).flatten() for images in (present, absent)))


def hotelling_detectability(
    present: torch.Tensor, absent: torch.Tensor, channels: torch.Tensor | None = None
) -> torch.Tensor:
    """The (channelised) Hotelling observer, the best linear one that sees images through these channels.

    With answers v = channels · g, D² = Δᵀ S⁻¹ Δ of the difference Δ of their means and their pooled covariance S
    (Barrett & Myers 2004, ch. 13). Means and covariance come from the same images, which makes D² too large on the
    average. For normal answers (f - K - 1) / f · D² - K (1/N + 1/M), with f = N + M - 2 degrees of freedom and K
    channels, is free of that bias (Lachenbruch & Mickey 1968); its root is returned, 0 where it is negative.

    Args:
        present: images with the signal, (N, *spatial).
        absent: images without it, (M, *spatial).
        channels: (K, *spatial), such as `laguerre_gauss_channels`; None for an observer of the pixels themselves.

    Returns:
        d' >= 0, a tensor without axes.

    Raises:
        ValueError: shapes differ, or there are too few images, N + M - 2 <= K + 1, for so many channels.

    Example:
        >>> signal = 3 * laguerre_gauss_channels((32, 32), 10.0, 1)[0]
        >>> noise = torch.randn(2, 2000, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> channels = laguerre_gauss_channels((32, 32), 10.0, 5)
        >>> round(float(hotelling_detectability(noise[0] + signal, noise[1], channels)), 1)  # its norm
        3.0
    """
    if channels is None:
        _check(present, absent)
        seen = [images.flatten(1) for images in (present, absent)]
    else:
        _check(present, absent, ("channels", channels.shape[1:]))
        seen = [images.flatten(1) @ channels.to(images).flatten(1).T for images in (present, absent)]
    freedom, count = len(present) + len(absent) - 2, seen[0].shape[1]
    if freedom <= count + 1:
        raise ValueError(
            f"{len(present)} images with the signal and {len(absent)} without are too few for {count} channels: "
            f"expected at least {count + 4} together"
        )
    difference = seen[0].mean(0) - seen[1].mean(0)
    centred = torch.cat([v - v.mean(0) for v in seen])
    covariance = centred.T @ centred / freedom
    squared = difference @ torch.linalg.solve(covariance, difference.to(centred))
    bias = count * (1 / len(present) + 1 / len(absent))
    return ((freedom - count - 1) / freedom * squared - bias).clamp_min(0).sqrt()


def stationary_detectability(
    signal: torch.Tensor,
    noise_power: torch.Tensor,
    spacing_mm: Sequence[float] | float = 1.0,
    prewhitening: bool = False,
) -> torch.Tensor:
    """Detectability of a signal in stationary noise of a known power spectrum, without a single noisy image.

    With the signal's transform S and the noise power N: non-prewhitening d'² = (∫|S|² df)² / ∫|S|² N df, prewhitening
    (the ideal observer of normal noise) d'² = ∫|S|² / N df (ICRU Report 54, 1996).

    Args:
        signal: (*spatial), what the signal adds to the image, in HU say. It should fall to 0 at the border.
        noise_power: of the same shape, in the order of `torch.fft.fftn`, in the image's unit squared times mm to the
            number of axes: white noise of standard deviation s has s² times the volume of a voxel.
        spacing_mm: of the voxels along each axis, or of all.
        prewhitening: whether the observer knows the noise's spectrum and makes use of it.

    Returns:
        d', a tensor without axes.

    Example:
        >>> signal = torch.zeros(32, 32)
        >>> signal[14:18, 14:18] = 10.0
        >>> white = torch.full((32, 32), 20.0**2 * 0.5 * 0.5)
        >>> round(float(stationary_detectability(signal, white, 0.5)), 4)  # sqrt(16 * 10² / 20²)
        2.0
    """
    if signal.shape != noise_power.shape:
        raise ValueError(f"noise_power is of shape {tuple(noise_power.shape)}, expected {tuple(signal.shape)}")
    if bool((noise_power < 0).any()):
        raise ValueError(f"noise_power holds {float(noise_power.min()):.4g}, expected values >= 0")
    axes = signal.ndim
    spacing = [float(spacing_mm)] * axes if isinstance(spacing_mm, (int, float)) else [float(s) for s in spacing_mm]
    if len(spacing) != axes or min(spacing) <= 0:
        raise ValueError(f"spacing_mm is {spacing_mm}, expected {axes} numbers above 0, or one")
    voxel = math.prod(spacing)
    band = 1 / (voxel * signal.numel())
    power = (torch.fft.fftn(signal).abs() * voxel).square()
    if prewhitening:
        return (power / noise_power).sum().mul(band).sqrt()
    return power.sum() * math.sqrt(band) / (power * noise_power).sum().sqrt()


def laguerre_gauss_channels(
    shape: tuple[int, int], width_mm: float, count: int = 10, spacing_mm: tuple[float, float] = (1.0, 1.0)
) -> torch.Tensor:
    """Channels for a round signal at the middle of the image: u_p(r) = (√2 / a) exp(-π r² / a²) L_p(2π r² / a²).

    They are orthogonal and, up to the grid, of norm 1; any round profile is a sum of them (Gallas & Barrett 2003). For
    a signal of radius R a width a of about 2 R to 3 R serves; 5 to 10 channels are enough.

    Args:
        shape: rows and columns.
        width_mm: a.
        count: channels, of the order p = 0 ... count - 1.
        spacing_mm: of rows and columns.

    Returns:
        (count, rows, columns), float64.

    Example:
        >>> u = laguerre_gauss_channels((64, 64), 15.0, 3).flatten(1)
        >>> torch.allclose(u @ u.T, torch.eye(3).double(), atol=1e-4)
        True
    """
    if len(shape) != 2 or count < 1 or width_mm <= 0 or min(spacing_mm) <= 0:
        raise ValueError(
            f"shape, width_mm, count and spacing_mm are {tuple(shape)}, {width_mm}, {count} and {tuple(spacing_mm)}, "
            "expected two sizes and numbers above 0"
        )
    rows, columns = (
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)
    )
    x = 2 * math.pi * (rows[:, None].square() + columns.square()) / width_mm**2
    polynomials = [torch.ones_like(x), 1 - x]
    for p in range(1, count - 1):
        polynomials.append(((2 * p + 1 - x) * polynomials[p] - p * polynomials[p - 1]) / (p + 1))
    scale = math.sqrt(2 * math.prod(spacing_mm)) / width_mm
    return scale * torch.exp(-x / 2) * torch.stack(polynomials[:count])


def _observer_separation(present: torch.Tensor, absent: torch.Tensor) -> torch.Tensor:
    return (present.mean() - absent.mean()) / ((present.var() + absent.var()) / 2).sqrt()


def _check(present: torch.Tensor, absent: torch.Tensor, seen: tuple[str, Sequence[int]] | None = None) -> None:
    if present.shape[1:] != absent.shape[1:]:
        raise ValueError(f"absent is of shape {tuple(absent.shape)}, expected (M, {_sizes(present.shape[1:])})")
    if min(len(present), len(absent)) < 2:
        raise ValueError(f"{len(present)} images with the signal and {len(absent)} without, expected at least 2 each")
    if seen is not None and tuple(seen[1]) != tuple(present.shape[1:]):
        raise ValueError(f"{seen[0]} are of shape {_sizes(seen[1])}, the images of {_sizes(present.shape[1:])}")


def _sizes(shape: Sequence[int]) -> str:
    return ", ".join(str(n) for n in shape)
