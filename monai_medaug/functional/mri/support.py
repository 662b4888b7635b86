"""How far the lines of an MR image's k-space hold power: less than all in a scan that was interpolated or filtered."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops
from monai_medaug.functional.mri.kspace import central_lines, weighted_parts

_LINES = 24  # columns along each other axis that are looked at
_FEWEST = 32
"""Shorter axes have too few lines to tell."""
_CLIFF, _CLIFF_WIDTH = 0.1, 0.04
"""Zeros in place of lines: the power falls to this share within this share of k-space, and stays below."""
_BLUR = 3
"""Lines by which the window and the mean over five widen a cliff."""
_FILTERED = 0.1
"""A filter: the power falls below this share of that at half the frequency. (Sharp edges fall to about 0.5, voxels that
average them to 0.25.)"""


def line_supports(images: torch.Tensor, axis: int) -> list[float]:
    """Share of the greatest frequency along an axis up to which images (B, C, *spatial) hold power, in (0, 1].

    From the power spectrum of the columns along the axis, under a Hann window against the border's jump: up to a cliff
    (zero filling), or to where it fell below a tenth of its value at half the frequency (a filter).

    Example:
        >>> noise = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> spectrum = torch.fft.fft(noise, dim=1)
        >>> spectrum[:, 20:45] = 0  # the lines beyond 0.6 of 32
        >>> cut = torch.fft.ifft(spectrum, dim=1).real
        >>> [round(share, 1) for share in line_supports(torch.stack([cut, noise]), 0)]
        [0.6, 1.0]
    """
    lines = images.shape[axis + 2]
    if lines < _FEWEST:
        return [1.0] * len(images)
    columns = torch.movedim(images, axis + 2, -1)
    for other in range(2, columns.ndim - 1):
        columns = columns[(slice(None),) * other + (slice(None, None, max(1, columns.shape[other] // _LINES)),)]
    array = columns.detach().flatten(1, -2).cpu().numpy()
    if (compiled := loops("mri._numba_signal")) is not None and array.dtype in (np.float32, np.float64):
        tapered, ends = np.empty(array.shape), np.empty(len(array))
        compiled.taper(array, _hann(lines), tapered)
        rule = (lines, _CLIFF, _cliff_width(lines), _BLUR, _FILTERED, _lowest(lines))
        compiled.end_of_power(np.fft.rfft(tapered), *rule, ends)
        return ends.tolist()
    array = array.astype(np.float64)
    array -= array.mean(2, keepdims=True)
    spectrum = np.fft.rfft(array * _hann(lines))
    return [_end_of_power(p, lines) for p in (np.square(spectrum.real) + np.square(spectrum.imag)).mean(1)]


def _end_of_power(power: np.ndarray, lines: int) -> float:
    """Where a power spectrum of so many lines ends, as a share of its length."""
    power = np.concatenate([power[:1], power[:1], power, power[-1:], power[-1:]])
    power = np.convolve(power, np.full(5, 0.2), mode="valid")
    beyond = np.maximum.accumulate(power[::-1])[::-1]  # the greatest power from each frequency on
    width = _cliff_width(lines)
    falls = np.flatnonzero(beyond[2 * width :] < _CLIFF * power[: -2 * width])
    falls = falls[falls >= _lowest(lines)]
    end = int(falls[0]) + 2 * width - _BLUR if len(falls) else len(power) - 1
    filtered = np.flatnonzero(beyond[: end + 1] < _FILTERED * power[end // 2])
    filtered = filtered[filtered > end // 2]
    end = int(filtered[0]) if len(filtered) else end
    return min(1.0, 2 * end / (lines - lines % 2))


def band_limited(noise: torch.Tensor, supports: Sequence[float]) -> torch.Tensor:
    """White noise (C, *spatial) without the lines beyond each axis's support, of the same variance.

    Example:
        >>> noise = torch.randn(1, 200, 200, generator=torch.Generator().manual_seed(0))
        >>> round(float(band_limited(noise, (0.5, 1.0)).std()), 1)
        1.0
    """
    for axis, support in enumerate(supports):
        if support < 1:
            weights = central_lines(noise.shape[axis + 1], support)
            noise = weighted_parts(noise[None], weights / np.sqrt(weights.mean()), axis)[0][0]
    return noise


@functools.lru_cache(maxsize=64)
def _hann(lines: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi / lines * np.arange(lines))


def _cliff_width(lines: int) -> int:
    return max(2, round(_CLIFF_WIDTH * lines / 2))


def _lowest(lines: int) -> int:
    """Below a fifth of the frequencies the power of any anatomy falls steeply."""
    return lines // 10
