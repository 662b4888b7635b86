"""Noise power spectrum (NPS): how much noise an image holds at which fineness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from monai_medaug.functional.noise.correlation import quadratic_surfaces

_LEAST_KEPT = 0.3
"""Of white noise at a frequency, beside the subtracted surface: below, its power is unknown."""


@dataclass(frozen=True)
class NoisePower:
    """A noise power spectrum.

    Attributes:
        power: (*spatial) in the order of `torch.fft.fftn`, in the image's unit squared times mm to the number of axes.
        spacing_mm: of the voxels along each axis.
        frequency: mean frequency of each ring in 1/mm, up to the Nyquist frequency of the coarsest axis.
        radial: mean power in each ring.
    """

    power: torch.Tensor
    spacing_mm: tuple[float, ...]
    frequency: torch.Tensor
    radial: torch.Tensor

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise: the root of the integral of the power."""
        return math.sqrt(float(self.power.sum()) / (self.power.numel() * math.prod(self.spacing_mm)))

    @property
    def mean_frequency(self) -> float:
        """Of the radial spectrum, in 1/mm; blur lowers it. 0 without noise."""
        total = float(self.radial.sum())
        return float((self.frequency * self.radial).sum()) / total if total > 0 else 0.0

    @property
    def peak_frequency(self) -> float:
        """Where the radial spectrum is greatest, in 1/mm."""
        return float(self.frequency[self.radial.argmax()])


def noise_power_spectrum(patches: torch.Tensor, spacing_mm: Sequence[float] | float = 1.0) -> NoisePower:
    """The noise power spectrum of uniform patches, NPS = V / n · <|FFT(patch - surface)|²> for n voxels of volume V.

    A quadratic surface is fitted to each patch and subtracted, for cupping and slow shading are no noise. What it takes
    of each frequency of white noise is made up for; where it takes most, at the lowest, the nearest ring stands in. The
    integral over frequency is the variance. Where anatomy shows, give the difference of two scans, divided by √2.

    Args:
        patches: (N, *spatial), 2D or 3D, such as from `uniform_patches`.
        spacing_mm: of the voxels along each axis, or of all.

    Raises:
        ValueError: patches have another number of axes, fewer than 8 voxels along one, or are not finite; or
            ``spacing_mm`` is no such list of positive numbers.

    Source: ICRU Report 87, 2012; Samei et al., Performance evaluation of computed tomography systems, AAPM TG-233,
    2019.

    Example:
        >>> noise = 5 * torch.randn(200, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> nps = noise_power_spectrum(noise, 0.5)
        >>> round(nps.sigma, 1), round(float(nps.radial.mean()))  # white: 5² · 0.5² everywhere
        (5.0, 6)
    """
    axes = patches.ndim - 1
    if axes not in (2, 3) or min(patches.shape[1:]) < 8 or not len(patches):
        raise ValueError(
            f"patches must have the shape (N, *spatial) with 2 or 3 axes of 8 or more, got {tuple(patches.shape)}"
        )
    spacing = axis_spacings(spacing_mm, axes)
    values = patches.double()
    if not bool(torch.isfinite(values).all()):
        raise ValueError("patches must be finite, got NaN or Inf")
    surfaces = torch.from_numpy(quadratic_surfaces(patches.shape[1:])).to(values.device).flatten(0, -2)
    flat = values.flatten(1)
    residuals = (flat - (flat @ surfaces) @ surfaces.T).reshape(values.shape)
    every, count = tuple(range(1, axes + 1)), len(surfaces)
    power = torch.fft.fftn(residuals, dim=every).abs().square().mean(0) * (math.prod(spacing) / count)
    taken = torch.fft.fftn(surfaces.T.reshape(-1, *patches.shape[1:]), dim=every).abs().square().sum(0) / count
    kept = (1 - taken).clamp_min(0)
    frequency, radial, ring = _radial_mean(power, kept, spacing)
    known = kept > _LEAST_KEPT
    power = torch.where(known, power / kept.clamp_min(_LEAST_KEPT), radial[ring.clamp(0, len(radial) - 1)])
    return NoisePower(power, spacing, frequency, radial)


def uniform_patches(image: torch.Tensor, mask: torch.Tensor, side: int = 32) -> torch.Tensor:
    """Squares of an image, half overlapping, that lie within a mask; of a volume those of each slice.

    Args:
        image: (rows, columns), or (slices, rows, columns).
        mask: of the same shape, True where the object is uniform.
        side: of the squares.

    Returns:
        (N, side, side), N >= 1.

    Raises:
        ValueError: the shapes differ, or no square lies within the mask.

    Example:
        >>> uniform_patches(torch.zeros(64, 80), torch.ones(64, 80), 32).shape
        torch.Size([12, 32, 32])
    """
    if mask.shape != image.shape:
        raise ValueError(f"mask must have the image's shape {tuple(image.shape)}, got {tuple(mask.shape)}")
    step = max(side // 2, 1)
    if min(image.shape[-2:]) >= side:
        squares, within = (x.unfold(-2, side, step).unfold(-2, side, step) for x in (image, mask != 0))
        inside = within.flatten(-2).all(-1)
        if bool(inside.any()):
            return squares[inside]
    raise ValueError(f"mask must hold a square of {side} pixels a side, got none")


def axis_spacings(spacing_mm: Sequence[float] | float, axes: int) -> tuple[float, ...]:
    """A spacing for each axis.

    Raises:
        ValueError: not as many positive numbers.

    Example:
        >>> axis_spacings(0.5, 2)
        (0.5, 0.5)
    """
    each = (spacing_mm,) * axes if isinstance(spacing_mm, (int, float)) else tuple(spacing_mm)
    if len(each) != axes or not all(math.isfinite(s) and s > 0 for s in each):
        raise ValueError(f"spacing_mm must be {axes} numbers above 0, or one, got {spacing_mm}")
    return tuple(float(s) for s in each)


def _radial_mean(
    power: torch.Tensor, kept: torch.Tensor, spacing: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Frequency and power of each ring that has any, and each coefficient's ring; that of frequency 0 is left out."""
    square = power.new_zeros(())
    for axis, (n, s) in enumerate(zip(power.shape, spacing, strict=True)):
        along = torch.fft.fftfreq(n, s, dtype=power.dtype, device=power.device).square()
        square = square + along.reshape([-1 if a == axis else 1 for a in range(power.ndim)])
    frequency = square.sqrt()
    width = max(1 / (n * s) for n, s in zip(power.shape, spacing, strict=True))
    ring = (frequency / width).round().long() - 1
    rings = max(int(0.5 / max(spacing) / width), 1)
    inside = (ring >= 0) & (ring < rings)
    total, weight, place, count = (
        power.new_zeros(rings).index_add_(0, ring[inside], v[inside])
        for v in (power, kept, frequency, torch.ones_like(power))
    )
    return place / count, total / weight, ring
