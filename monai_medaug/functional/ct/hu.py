"""Kernels on CT numbers (HU): windows, contrast and quantum noise with the spectrum of filtered back-projection."""

from __future__ import annotations

import functools
import math

import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

TISSUE_HU = -200.0

_FULL_CONTRAST = 100.0  # from here above the pivot on, HU rise with the full factor

BODY_HU = -300.0
"""Soft tissue, fat included, lies above; air and lung lie below."""

CUTOFF_PER_MM = {"soft": 0.75, "standard": 0.9, "sharp": 1.5, "white": math.inf}
"""Where the Hann window of a reconstruction kernel ends, in cycles per mm: MTF 50 % at 0.5 of it, 10 % at 0.8."""

FLOOR_HU = -1024.0
"""The least value that scanners store: what lies there or below is padding, or air that was clipped."""

APODISATION = {"soft": 0.6, "standard": 0.8, "sharp": 1.0, "white": math.inf}
"""The same as a share of the pixel's Nyquist frequency, for records of version 0.1.0 and before."""


def hu_window(
    image: torch.Tensor,
    center: torch.Tensor | float,
    width: torch.Tensor | float,
    low: torch.Tensor | float,
    high: torch.Tensor | float,
    clip: bool = True,
) -> torch.Tensor:
    """Map [center - width / 2, center + width / 2] linearly to [low, high]. All broadcast to ``image``.

    Example:
        >>> t = torch.tensor
        >>> hu_window(t([-200.0, 40.0, 140.0, 900.0]), t(40.0), t(400.0), t(0.0), t(1.0))
        tensor([0.0000, 0.5000, 0.7500, 1.0000])
    """
    share = (image - (center - width / 2)).div_(width)
    if clip:
        share = share.clamp_(0, 1)
    return share.mul_(high - low).add_(low)


def hu_contrast(image: torch.Tensor, factor: torch.Tensor, pivot: torch.Tensor | float) -> torch.Tensor:
    """Contrast of bone and iodine, HU + (factor - 1) e with the excess e of HU over soft tissue.

    With x = HU - pivot: e = 0 below 0, x² / 200 up to 100 HU, x - 50 above. So what lies above soft tissue of 50 HU is
    scaled, without a bend that would shift the mean of noisy water; order is kept for any factor above 0.

    Example:
        >>> hu_contrast(torch.tensor([-950.0, -100.0, 0.0, 50.0, 250.0]), torch.tensor(1.1), torch.tensor(0.0))
        tensor([-950.0000, -100.0000,    0.0000,   51.2500,  270.0000])
    """
    above = (image - pivot).clamp_(min=0)
    low = above.clamp(max=_FULL_CONTRAST)
    # the integral of a slope that rises from 0 to 1 over the first 100 HU
    excess = above.sub_(low).addcmul_(low, low, value=0.5 / _FULL_CONTRAST)
    return torch.addcmul(image, excess, torch.as_tensor(factor - 1).to(image))


def hu_stretch(image: torch.Tensor, factor: torch.Tensor, pivot: torch.Tensor | float) -> torch.Tensor:
    """The contrast of the first version, for its records: HU + w (factor - 1) (HU - pivot), lung and fat included.

    The weight w rises from 0 at -1000 HU to 1 at -200 HU.

    Example:
        >>> hu_stretch(torch.tensor([-2048.0, -1000.0, 0.0, 100.0]), torch.tensor(1.15), torch.tensor(0.0))
        tensor([-2048., -1000.,     0.,   115.])
    """
    weight = (image - AIR_HU).div_(TISSUE_HU - AIR_HU).clamp_(0, 1)
    return torch.addcmul(image, weight.mul_(factor - 1), image - pivot)


@functools.lru_cache(maxsize=16)
def ct_noise_power(
    rows: int, columns: int, spacing: tuple[float, float], cutoff: float, aliased: bool = True, axis: int | None = None
) -> torch.Tensor:
    """Noise power spectrum of filtered back-projection on the half plane of `torch.fft.rfft2`, mean 1 over the plane.

    A ramp-filtered projection of white noise has the power ``|f|² W(f)²``, back-projection divides it by ``|f|``:
    ``|f| W(f)²`` with the kernel W, a Hann window (Riederer et al. 1978; Kijewski & Judy 1987). The scanner samples the
    slice at the pixels: what lies beyond their Nyquist frequency is folded back, so that large pixels are
    nearly uncorrelated.

    Args:
        rows, columns: of the slice.
        spacing: in mm along rows and columns.
        cutoff: where the window ends, in cycles per mm; infinity for a flat spectrum without the frequency 0.
        aliased: whether to fold back; without, the spectrum is cut off at the Nyquist frequencies.
        axis: 0 or 1 for the part of the power whose frequency lies rather along that axis of the slice: the two parts
            add up to the whole; None for the whole.

    The result is cached and must not be written to.
    """
    fy = torch.fft.fftfreq(rows, spacing[0], dtype=torch.float64)[:, None]
    fx = torch.fft.rfftfreq(columns, spacing[1], dtype=torch.float64)[None]
    if math.isinf(cutoff):
        whole = torch.ones_like(fy * fx)
        whole[0, 0] = 0
        power = whole
    else:
        down_folds, right_folds = (math.ceil(cutoff * s - 0.5) if aliased else 0 for s in spacing)
        whole, power = torch.zeros_like(fy * fx), torch.zeros_like(fy * fx)
        for i in range(-down_folds, down_folds + 1):
            for j in range(-right_folds, right_folds + 1):
                down_f, right_f = fy + i / spacing[0], fx + j / spacing[1]
                f = torch.hypot(down_f, right_f)
                window = torch.where(f < cutoff, 0.5 + 0.5 * torch.cos(math.pi * f / cutoff), torch.zeros_like(f))
                whole += f * window**2
                power += f * window**2 * _half(down_f, right_f, axis)
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
    if spectrum.device.type == "cpu":
        return torch.fft.irfft2(spectrum, s=(rows, columns))
    # the same in two steps, as cuFFT leaves undefined what it makes of a spectrum that isn't Hermitian
    lines = torch.fft.ifft(spectrum, dim=-2)
    parts = torch.view_as_real(lines)
    for column in (0, -1)[: 2 - columns % 2]:
        parts[..., column, 1].zero_()
    return torch.fft.irfft(lines, n=columns, dim=-1)


def correlated_slices(noise: torch.Tensor, correlation: float) -> torch.Tensor:
    """Mix neighbours along axis 2 so that adjacent slices have the correlation, others none.

    Args:
        noise: (B, C, slices + 1, rows, columns) of unit variance, independent slices.
        correlation: in [0, 0.5]; slice k becomes cos(a) n_k + sin(a) n_k+1 with sin(2 a) = 2 correlation.
    """
    angle = 0.5 * math.asin(2 * correlation)
    return (noise[:, :, :-1] * math.cos(angle)).add_(noise[:, :, 1:], alpha=math.sin(angle))


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


def body_mask(image: torch.Tensor) -> torch.Tensor:
    """The patient: the largest connected piece above `BODY_HU`, with lungs and other holes filled.

    Args:
        image: in HU, of any number of axes.

    Returns:
        A bool tensor of the same shape, False everywhere if no voxel lies above the threshold.

    Example:
        >>> row = torch.tensor([0.0, -1000.0, 40.0, 40.0, 40.0])
        >>> body_mask(row)
        tensor([False, False,  True,  True,  True])
    """
    import numpy as np
    from scipy.ndimage import binary_fill_holes, label

    pieces, count = label(image.detach().cpu().numpy() > BODY_HU)
    if count == 0:
        return torch.zeros(image.shape, dtype=torch.bool, device=image.device)
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    return torch.from_numpy(binary_fill_holes(pieces == largest)).to(image.device)
