"""Quantum noise of CT: the power spectrum of filtered back-projection, and noise with it from white noise."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.hounsfield import PADDING_HU

HALF_PER_MM = {"soft": 0.275, "standard": 0.336, "sharp": 0.57}
"""Where a reconstruction kernel passes a half, in cycles per mm; a tenth at 2.23 times that."""

_POWER = 1.5  # of the frequency in the exponent: between an exponential and a Gaussian
_END = 3.5  # in units of the half: 1 % passes there

APODISATION = {"soft": 0.6, "standard": 0.8, "sharp": 1.0, "white": math.inf}
"""Where a Hann window ends, as a share of the pixel's Nyquist frequency, for records of version 0.1.0 and before."""


@dataclass(frozen=True)
class NoiseKernel:
    """What a reconstruction kernel leaves of a frequency, apart from the ramp.

    ``2^-((f / half)^1.5)``, chosen by the noise of real scans and of an independent simulator: a Hann window, which
    ends sooner, has on pixels of 0.43 mm a mean frequency 14 % below the simulator's.

    Attributes:
        end: nothing passes beyond, in cycles per mm; infinity for a flat spectrum.
        half: in cycles per mm; 0 for the Hann window of older records.
    """

    end: float
    half: float = 0.0

    @classmethod
    def of_half(cls, half: float) -> NoiseKernel:
        """The kernel that passes a half at this frequency.

        Example:
            >>> NoiseKernel.of_half(0.4)(torch.tensor([0.0, 0.4, 1.6]))
            tensor([1.0000, 0.5000, 0.0000])
        """
        return cls(_END * half, half)

    def __call__(self, f: torch.Tensor) -> torch.Tensor:
        """The share that passes at frequencies of 0 and more."""
        window = (
            torch.exp2(-((f / self.half) ** _POWER)) if self.half else 0.5 + 0.5 * torch.cos(math.pi / self.end * f)
        )
        return torch.where(f < self.end, window, torch.zeros_like(f))


@functools.lru_cache(maxsize=16)
def ct_noise_power(
    rows: int,
    columns: int,
    spacing: tuple[float, float],
    kernel: NoiseKernel,
    aliased: bool = True,
    axis: int | None = None,
) -> torch.Tensor:
    """Noise power spectrum of filtered back-projection on the half plane of `torch.fft.rfft2`, mean 1 over the plane.

    A ramp-filtered projection of white noise has the power ``|f|² W(f)²``, back-projection divides it by ``|f|``:
    ``|f| W(f)²`` with the kernel W (Riederer et al. 1978; Kijewski & Judy 1987). The scanner samples the
    slice at the pixels: what lies beyond their Nyquist frequency is folded back, so that large pixels are
    nearly uncorrelated.

    Args:
        rows, columns: of the slice.
        spacing: in mm along rows and columns.
        kernel: W.
        aliased: whether to fold back; without, the spectrum is cut off at the Nyquist frequencies.
        axis: 0 or 1 for the part of the power whose frequency lies rather along that axis of the slice: the two parts
            add up to the whole; None for the whole.

    The result is cached and must not be written to.
    """
    fy = torch.fft.fftfreq(rows, spacing[0], dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(columns, spacing[1], dtype=torch.float64)[None]
    if math.isinf(kernel.end):
        whole = torch.ones_like(fy * fx)
        whole[0, 0] = 0
        power = whole
    else:
        down_folds, right_folds = (math.ceil(kernel.end * s - 0.5) if aliased else 0 for s in spacing)
        whole, power = torch.zeros_like(fy * fx), torch.zeros_like(fy * fx)
        for i in range(-down_folds, down_folds + 1):
            for j in range(-right_folds, right_folds + 1):
                down_f, right_f = fy + i / spacing[0], fx + j / spacing[1]
                f = torch.hypot(down_f, right_f)
                passed = f * kernel(f) ** 2
                whole += passed
                power += passed * _half(down_f, right_f, axis)
    twice = torch.full((whole.shape[1],), 2.0, dtype=torch.float64)  # columns that also stand for their mirror images
    twice[0] = 1
    if columns % 2 == 0:
        twice[-1] = 1
    mean = (whole * twice).sum() / (rows * columns)
    return power / mean if mean > 0 else power


def _half(down: torch.Tensor, right: torch.Tensor, axis: int | None) -> torch.Tensor | float:
    """1 where a frequency lies rather along the axis, 0.5 where it lies between the two, 0 elsewhere."""
    if axis is None:
        return 1.0
    steeper = torch.sign(down.abs() - right.abs()).double()
    return 0.5 + steeper * (0.5 if axis == 0 else -0.5)


def half_spectrum_shape(rows: int, columns: int) -> tuple[int, int, int]:
    """Shape of the white noise of a slice for `coloured_slices`: rows, half the columns, real and imaginary."""
    return rows, columns // 2 + 1, 2


def coloured_slices(white: torch.Tensor, power: torch.Tensor, columns: int) -> torch.Tensor:
    """Noise of unit variance and the given spectrum.

    The white noise serves as the spectrum, which saves the forward transform. Of the columns of frequency 0 and Nyquist
    the inverse transform reads only the Hermitian part, of half the variance: they are scaled by sqrt(2).

    Args:
        white: standard normal (..., rows, columns // 2 + 1, 2); overwritten.
        power: from `ct_noise_power`.
        columns: of the slice.
    """
    rows = white.shape[-3]
    amplitude = torch.sqrt(power * (rows * columns / 2))
    amplitude[:, 0] *= math.sqrt(2)
    if columns % 2 == 0:
        amplitude[:, -1] *= math.sqrt(2)
    spectrum = torch.view_as_complex(white).mul_(sent(amplitude, white.device, white.dtype))
    for column in (0, columns // 2) if columns % 2 == 0 else (0,):
        edge = spectrum[..., column]  # its Hermitian part: what cuFFT needs, others take by themselves
        spectrum[..., column] = (edge + edge.flip(-1).roll(1, -1).conj()) / 2
    return torch.fft.irfft2(spectrum, s=(rows, columns))


def mixed_slices(noise: torch.Tensor, taps: Sequence[float]) -> torch.Tensor:
    """Mix slices along axis 2: slice k becomes the sum of ``taps[j]`` times slice k + j.

    Args:
        noise: (B, C, slices + len(taps) - 1, rows, columns), independent slices.
        taps: of unit energy, from `slice_taps` or `pair_taps`.
    """
    count = noise.shape[2] - len(taps) + 1
    mixed = noise[:, :, :count] * taps[0]
    for j, tap in enumerate(taps[1:], 1):
        mixed.add_(noise[:, :, j : j + count], alpha=tap)
    return mixed


def add_hu_noise(image: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """HU + sigma * noise; padding stays as it is.

    Example:
        >>> add_hu_noise(torch.tensor([-2048.0, 40.0]), torch.tensor([1.0, -1.0]), torch.tensor(10.0))
        tensor([-2048.,    30.])
    """
    noisy = torch.addcmul(image, noise, sigma)
    if image.device.type == "cpu" and bool(image.amin() > PADDING_HU):  # a GPU would have to be waited for
        return noisy
    return torch.where(image > PADDING_HU, noisy, image)


def add_noise_above(image: torch.Tensor, noise: torch.Tensor, floor: float) -> torch.Tensor:
    """HU + noise, not below the floor; what lies at the floor or below stays as it is.

    Example:
        >>> add_noise_above(torch.tensor([-2048.0, -1024.0, -1020.0, 40.0]), torch.full((4,), -10.0), -1024.0)
        tensor([-2048., -1024., -1024.,    30.])
    """
    return torch.where(image > floor, (image + noise).clamp_min_(floor), image)
