"""Task transfer function (TTF): which share of an edge's contrast survives at which fineness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_medaug.functional.detectability import stationary_detectability
from monai_medaug.functional.quality.noise_power import NoisePower, axis_spacings

_BINS_PER_VOXEL = 8
_TAPER = 0.5  # of the line spread's reach, beyond which it is tapered


@dataclass(frozen=True)
class TaskTransfer:
    """A task transfer function.

    Attributes:
        frequency: in 1/mm, from 0.
        transfer: 1 at frequency 0.
        contrast: height of the edge, in the image's unit.
    """

    frequency: torch.Tensor
    transfer: torch.Tensor
    contrast: float

    def frequency_at(self, transfer: float = 0.5) -> float:
        """The first frequency at which the function falls to a value; the last one where it never does."""
        below = (self.transfer < transfer).nonzero()
        if not len(below):
            return float(self.frequency[-1])
        i = max(int(below[0]), 1)
        (f0, f1), (t0, t1) = self.frequency[i - 1 : i + 1].tolist(), self.transfer[i - 1 : i + 1].tolist()
        return f0 + (f1 - f0) * (t0 - transfer) / (t0 - t1) if t0 > t1 else f1

    def at(self, frequency: torch.Tensor) -> torch.Tensor:
        """The function at any frequencies, by linear interpolation; 0 beyond its end."""
        step = float(self.frequency[1])
        place = frequency.to(self.frequency) / step
        left = place.floor().long().clamp(0, len(self.transfer) - 2)
        share = (place - left).clamp(0, 1)
        value = self.transfer[left] * (1 - share) + self.transfer[left + 1] * share
        return torch.where(frequency.to(self.frequency) <= self.frequency[-1], value, 0.0)


def task_transfer_function(
    image: torch.Tensor, distance_mm: torch.Tensor, spacing_mm: Sequence[float] | float = 1.0, reach_mm: float = 10.0
) -> TaskTransfer:
    """The transfer function of an edge of known place, by the edge spread function (ESF).

    Values are averaged in bins of an eighth of a voxel by their distance from the edge; the derivative of this ESF,
    with its tails tapered, is the line spread function, and the modulus of its Fourier transform the TTF. What
    differences and bins take away is made up for. Unlike an MTF it holds for the contrast and noise of this edge, which
    matters for denoisers and iterative reconstruction. The edge should stand out of the noise of its bins: give many
    slices.

    Args:
        image: (*spatial), or (N, *spatial) for repetitions and slices with the same edge.
        distance_mm: (*spatial), signed distance of each voxel from the edge; see `disc_distance`.
        spacing_mm: of the voxels along each axis, or of all.
        reach_mm: how far from the edge voxels count, where nothing else may lie.

    Raises:
        ValueError: shapes differ; there are no voxels at some distance, within half a voxel; the edge has no contrast;
            or the image isn't finite.

    Source: Richard et al., Towards task-based assessment of CT performance: system and object MTF across different
    reconstruction algorithms, Medical Physics 2012.

    Example:
        >>> distance = disc_distance((96, 96), (47.3, 47.8), 20.0)
        >>> ttf = task_transfer_function(torch.special.ndtr(distance / 1.5), distance)
        >>> round(ttf.frequency_at(0.5), 3), round(math.sqrt(math.log(2) / 2) / (math.pi * 1.5), 3)
        (0.125, 0.125)
    """
    spacing = axis_spacings(spacing_mm, distance_mm.ndim)
    if tuple(image.shape[image.ndim - distance_mm.ndim :]) != tuple(distance_mm.shape):
        raise ValueError(
            f"distance_mm must have the image's shape {tuple(image.shape)}, got {tuple(distance_mm.shape)}"
        )
    if not bool(torch.isfinite(image).all()):
        raise ValueError("image must be finite, got NaN or Inf")
    step = min(spacing) / _BINS_PER_VOXEL
    half = int(reach_mm / step)
    place = (distance_mm.double() / step).round().long() + half
    near = (place >= 0) & (place <= 2 * half)
    values = image.double().reshape(-1, *distance_mm.shape).mean(0)
    total, count = (
        values.new_zeros(2 * half + 1).index_add_(0, place[near], v[near]) for v in (values, torch.ones_like(values))
    )
    known = (count > 0).nonzero().flatten().cpu().numpy()
    gap = int(np.diff(known, prepend=-1, append=2 * half + 1).max()) - 1 if len(known) else 2 * half + 1
    if half < 2 * _BINS_PER_VOXEL or gap > _BINS_PER_VOXEL // 2:
        raise ValueError(
            f"reach_mm must be 2 voxels at least, with voxels at all distances from the edge, got {reach_mm} and a gap "
            f"of {gap * step:.3g} mm"
        )
    profile = np.interp(np.arange(2 * half + 1), known, (total / count).cpu().numpy()[known])
    spread = torch.from_numpy(profile).to(values.device).diff()
    contrast = float(spread.sum())
    if abs(contrast) <= 1e-9 * float(values.abs().max()):
        raise ValueError("image must hold an edge, got the same value on either side")
    along = (torch.arange(len(spread), dtype=values.dtype, device=values.device) + 0.5 - half) / half
    taper = ((along.abs() - _TAPER) / (1 - _TAPER)).clamp(0, 1)
    lines = spread * (0.5 + 0.5 * torch.cos(math.pi * taper))
    transformed = torch.fft.rfft(lines, n=8 * len(lines)).abs()
    frequency = torch.arange(len(transformed), dtype=values.dtype, device=values.device) / (8 * len(lines) * step)
    kept = frequency <= 1 / min(spacing)
    lost = torch.sinc(frequency[kept] * step).square()  # by bins and by differences
    transfer = transformed[kept] / lost
    return TaskTransfer(frequency[kept], transfer / transfer[0], contrast)


def disc_distance(
    shape: Sequence[int], centre: Sequence[float], radius_mm: float, spacing_mm: Sequence[float] | float = 1.0
) -> torch.Tensor:
    """Signed distance in mm from the rim of a disc (a ball in 3D), negative inside.

    Args:
        shape: of the image.
        centre: in voxels.
        radius_mm: of the disc.
        spacing_mm: of the voxels along each axis, or of all.

    Example:
        >>> disc_distance((3, 3), (1, 1), 0.5)[1].tolist()
        [0.5, -0.5, 0.5]
    """
    square = torch.zeros((), dtype=torch.float64)
    for axis, (n, c, s) in enumerate(zip(shape, centre, axis_spacings(spacing_mm, len(shape)), strict=True)):
        along = ((torch.arange(n, dtype=torch.float64) - c) * s).square()
        square = square + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return square.sqrt() - radius_mm


def detectability(
    noise: NoisePower,
    transfer: TaskTransfer | None,
    diameter_mm: float,
    contrast: float,
    prewhitening: bool = False,
) -> float:
    """D' of a disc, seen through a transfer function in noise of a measured spectrum.

    It answers whether less noise is only more blur: blur lowers signal and noise at the same frequencies, and d' does
    not rise. With the disc's transform W, the TTF T and the noise power N the non-prewhitening observer has
    d'² = (∫ W² T² df)² / ∫ W² T² N df, the prewhitening one ∫ W² T² / N df.

    Args:
        noise: from `noise_power_spectrum`, of two axes.
        transfer: from `task_transfer_function`; None for an image without blur.
        diameter_mm: of the disc.
        contrast: to its surroundings, in the image's unit.
        prewhitening: whether the observer makes use of the noise's spectrum.

    Raises:
        ValueError: the noise is not that of a plane, or there is none; ``diameter_mm`` is not above 0.

    Source: Samei et al., AAPM TG-233, 2019.

    Example:
        >>> from monai_medaug.functional.quality.noise_power import noise_power_spectrum
        >>> white = noise_power_spectrum(10 * torch.randn(200, 64, 64, generator=torch.Generator().manual_seed(0)))
        >>> d = detectability(white, None, 8.0, 5.0)
        >>> round(d / (5 * math.sqrt(math.pi * 16) / 10), 1)  # contrast · √area / σ
        1.0
    """
    if len(noise.spacing_mm) != 2 or not float(noise.radial.max()) > 0:
        raise ValueError(f"noise must be that of a plane, and not 0, got {len(noise.spacing_mm)} axes")
    if not diameter_mm > 0:
        raise ValueError(f"diameter_mm must be above 0, got {diameter_mm}")
    pixel = min(noise.spacing_mm)
    side = 2 * math.ceil(max(2 * diameter_mm / pixel, 32))
    along = torch.fft.fftfreq(side, pixel, dtype=torch.float64)
    frequency = (along[:, None].square() + along.square()).sqrt()
    radius = diameter_mm / 2
    x = 2 * math.pi * radius * frequency.clamp_min(1e-9)
    spectrum = contrast * 2 * math.pi * radius**2 * torch.special.bessel_j1(x) / x
    if transfer is not None:
        spectrum = spectrum * transfer.at(frequency)
    shift = torch.exp(-1j * math.pi * torch.arange(side))  # the disc at the middle
    signal = torch.fft.ifft2(spectrum * shift[:, None] * shift).real / pixel**2
    rings = noise.frequency.cpu().double()
    place = torch.searchsorted(rings, frequency.contiguous()).clamp(1, len(rings) - 1)
    share = ((frequency - rings[place - 1]) / (rings[place] - rings[place - 1])).clamp(0, 1)
    radial = noise.radial.cpu().double()
    power = radial[place - 1] * (1 - share) + radial[place] * share
    return float(stationary_detectability(signal, power, pixel, prewhitening))
