"""Noise as an indirect detector records it: the scintillator's light spreads over neighbouring pixels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows

_TABLE = 64  # frequencies along an axis; the blur is far narrower than this many pixels
_ALIASES = range(-2, 3)
_REST = 1e-4  # of the kernel's energy may be cut off
_RANK = 2  # of the kernel: as a sum of two products of a column and a row it is right to 1 %


@functools.lru_cache(maxsize=32)
def detector_blur(spacing: tuple[float, float], mtf50: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The filter that gives white noise the spectrum of a detector, and the share of the variance that is left.

    Quanta are white; the scintillator passes ``MTF(f) = 1 / (1 + (f / mtf50)²)`` of them at the radial frequency f, and
    pixels average over their area, so that the spectrum is the sum of ``MTF² sinc²`` over the aliases of f.

    Args:
        spacing: of the pixels in mm.
        mtf50: frequency in cycles/mm at which the MTF is a half.

    Returns:
        Columns (2, 2 R + 1) and rows (2, 2 R' + 1), whose two products add up to a kernel of unit energy, float64, and
        the variance relative to white noise.

    Example:
        >>> columns, rows, share = detector_blur((0.7, 0.7), 1.3)
        >>> (columns.T @ rows).shape, round(share, 2)
        (torch.Size([3, 3]), 0.56)
    """
    power, total = torch.zeros(_TABLE, _TABLE, dtype=torch.float64), torch.zeros(_TABLE, _TABLE, dtype=torch.float64)
    cycles = torch.fft.fftfreq(_TABLE, dtype=torch.float64)
    for k in _ALIASES:
        for m in _ALIASES:
            y, x = (cycles + k)[:, None], (cycles + m)[None]
            aperture = (torch.sinc(y) * torch.sinc(x)) ** 2
            mtf = 1 / (1 + ((y / spacing[0]) ** 2 + (x / spacing[1]) ** 2) / mtf50**2)
            power, total = power + aperture * mtf**2, total + aperture
    power = power + (1 - total) / (1 + (2.5 / max(spacing) / mtf50) ** 2) ** 2  # what further aliases hold
    whole = torch.fft.fftshift(torch.fft.ifft2(power.sqrt()).real)
    kernel = whole / whole.square().sum().sqrt()
    middle = _TABLE // 2
    radii = []
    for axis in (0, 1):
        energy = kernel.square().sum(1 - axis)
        radii.append(next(r for r in range(middle) if 1 - energy[middle - r : middle + r + 1].sum() < _REST))
    kernel = kernel[middle - radii[0] : middle + radii[0] + 1, middle - radii[1] : middle + radii[1] + 1]
    left, scale, right = torch.linalg.svd(kernel)
    scale = scale[:_RANK] / scale[:_RANK].norm()
    return (left[:, :_RANK] * scale).T, right[:_RANK], float(power.mean())


def detector_noise(white: torch.Tensor, spacings: Sequence[tuple[float, float]], mtf50: float) -> torch.Tensor:
    """White noise (B, C, rows, columns) or (B, C, rows, columns, radiographs) as the detector correlates it.

    Of unit variance as before; opposite borders count as neighbours.
    """
    if (compiled := loops("xray._numba_photons", white, dtypes=[torch.float32])) is not None:
        return _compiled_noise(compiled, white, spacings, mtf50)
    out = torch.zeros_like(white)
    for total, sample, spacing in zip(out, white, spacings, strict=True):
        columns, rows, _ = detector_blur(spacing, mtf50)
        for column, row in zip(columns.tolist(), rows.tolist(), strict=True):
            total += _rolled(_rolled(sample, column, 1), row, 2)
    return out


def _compiled_noise(
    compiled: ModuleType, white: torch.Tensor, spacings: Sequence[tuple[float, float]], mtf50: float
) -> torch.Tensor:
    white = white.contiguous()
    out = torch.empty_like(white)
    height, step = white.shape[2], white[0, 0, 0, 0].numel()
    for target, sample, spacing in zip(out, white, spacings, strict=True):
        columns, rows, _ = detector_blur(spacing, mtf50)
        taps = [side.numpy().astype(np.float32) for side in (columns, rows)]
        for plane, blurred in zip(sample.reshape(-1, height, sample[0, 0].numel()), target, strict=True):
            fixed = (plane.numpy(), *taps, step, blurred.reshape(height, -1).numpy())
            over_rows(functools.partial(compiled.correlate, *fixed), height, 256)
    return out


def _rolled(image: torch.Tensor, taps: Sequence[float], axis: int) -> torch.Tensor:
    """Circular convolution along an axis."""
    out, reach = image * taps[len(taps) // 2], len(taps) // 2
    for i, tap in enumerate(taps):
        if i != reach:
            out.add_(image.roll(i - reach, axis), alpha=tap)
    return out
