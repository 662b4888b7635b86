"""Wavelet filters, their noise gains, and the decimated transform of PyWavelets, in 2D and 3D at any size.

Along an axis the analysis of level j (from 0) convolves with filters whose taps lie 2^j apart. The **decimated**
transform keeps every second coefficient; the **stationary** one (`wavelets_stationary.py`) keeps all.

**Noise gain** of a band: the standard deviation of its coefficients for white noise of standard deviation 1, i.e. the
L2 norm of the filter from image to coefficient. In the interior it is 1 for every band of an orthogonal wavelet. At the
borders the symmetric extension applies several taps to one voxel: per axis, the gain of low-pass coefficients rises by
up to sqrt(2), that of details falls to as little as 0. Filters and extension are separable, so the gain is a product
of one profile per axis, which stationary thresholds follow.

An axis of one voxel is not transformed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pywt
import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.noise.correlation import correlation_matrix

Bands = dict[str, torch.Tensor]


class WaveletFilters(NamedTuple):
    """The four filters of a discrete wavelet, of one even length, in the order and scaling of PyWavelets."""

    dec_lo: tuple[float, ...]
    dec_hi: tuple[float, ...]
    rec_lo: tuple[float, ...]
    rec_hi: tuple[float, ...]


@functools.cache
def wavelet_filters(wavelet: str) -> WaveletFilters:
    """Filter table of PyWavelets.

    Args:
        wavelet: a discrete wavelet of ``pywt.wavelist(kind="discrete")``, such as ``"haar"`` or ``"db4"``.

    Raises:
        ValueError: there is no discrete wavelet of that name.

    Example:
        >>> [round(tap, 4) for tap in wavelet_filters("haar").dec_hi]
        [-0.7071, 0.7071]
    """
    if wavelet not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"wavelet must be a discrete wavelet such as 'haar', 'db4' or 'sym8', got {wavelet!r}")
    table = pywt.Wavelet(wavelet)
    return WaveletFilters(*[tuple(map(float, bank)) for bank in table.filter_bank])


def extension_index(size: int, before: int, after: int) -> np.ndarray:
    """Indices that extend an axis: half-sample symmetric (a b c → b a a b c c b), to any distance.

    Example:
        >>> extension_index(3, 2, 4).tolist()
        [1, 0, 0, 1, 2, 2, 1, 0, 0]
    """
    index = np.arange(-before, size + after) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def extended_axis(image: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    """An axis extended on both sides, see `extension_index`."""
    index = extension_index(image.shape[axis], before, after)
    return image.index_select(axis, sent(index, image.device))


def tap_sum(out: torch.Tensor | None, pieces: Sequence[torch.Tensor], taps: Sequence[float]) -> torch.Tensor:
    """Add pieces times taps; not as a convolution, which loses accuracy by TF32 on CUDA."""
    for piece, tap in zip(pieces, taps, strict=True):
        if tap != 0:
            out = piece * tap if out is None else out.add_(piece, alpha=tap)
    assert out is not None
    return out


# Decimated transform ----------------------------------------------------------------------------------------------


def decimated_split(image: torch.Tensor, axis: int, filters: WaveletFilters) -> tuple[torch.Tensor, torch.Tensor]:
    """Low-pass and high-pass half along one axis, with symmetric extension: ``pywt.dwt(…, mode="symmetric")``.

    y[k] = Σ_m f[m] x[2k + 1 - m], for k = 0 .. floor((n + L - 1) / 2) - 1.
    """
    size, length = image.shape[axis], len(filters.dec_lo)
    count = (size + length - 1) // 2
    wide = extended_axis(image, axis, length - 2, length - 1)
    head = (slice(None),) * axis
    pieces = [wide[(*head, slice(length - 1 - m, length - 2 - m + 2 * count, 2))] for m in range(length)]
    return tap_sum(None, pieces, filters.dec_lo), tap_sum(None, pieces, filters.dec_hi)


def decimated_merge(low: torch.Tensor, high: torch.Tensor, axis: int, filters: WaveletFilters) -> torch.Tensor:
    """Inverse of `decimated_split`, of 2 k - L + 2 samples for k coefficients: ``pywt.idwt``."""
    half = len(filters.rec_lo) // 2
    count = low.shape[axis] - half + 1
    shape = list(low.shape)
    shape[axis] = 2 * count
    out = low.new_empty(shape)
    for parity in (0, 1):
        total = None
        for band, taps in ((low, filters.rec_lo), (high, filters.rec_hi)):
            pieces = [band.narrow(axis, half - 1 - m, count) for m in range(half)]
            total = tap_sum(total, pieces, taps[parity::2])
        assert total is not None
        out[(*(slice(None),) * axis, slice(parity, None, 2))] = total
    return out


def decimated_transform(image: torch.Tensor, wavelet: str = "db4", levels: int = 3) -> tuple[torch.Tensor, list[Bands]]:
    """Separable decimated wavelet transform with symmetric extension, as ``pywt.wavedecn(…, mode="symmetric")``.

    Args:
        image: (B, C, *spatial), 2D or 3D, any size.
        wavelet: see `wavelet_filters`.
        levels: at least 1.

    Returns:
        The approximation, and the details from the coarsest level to the finest: by name, one letter for each axis of
        more than one voxel, a for approximation, d for detail.

    Example:
        >>> low, details = decimated_transform(torch.eye(2)[None, None], "haar", 1)
        >>> round(low.item(), 4), [round(details[0][k].item(), 4) for k in ("ad", "da", "dd")]
        (1.0, [0.0, 0.0, 1.0])
    """
    filters, axes = wavelet_filters(wavelet), wide_axes(image)
    details: list[Bands] = []
    for _ in range(levels if axes else 0):
        bands = {"": image}
        for axis in axes:
            bands = {
                name + letter: half
                for name, band in bands.items()
                for letter, half in zip("ad", decimated_split(band, axis, filters), strict=True)
            }
        image = bands.pop("a" * len(axes))
        details.insert(0, bands)
    return image, details


def inverse_decimated_transform(
    approximation: torch.Tensor, details: Sequence[Bands], axes: Sequence[int], wavelet: str = "db4"
) -> torch.Tensor:
    """Inverse of `decimated_transform`; a level of odd size returns one voxel longer, as in PyWavelets.

    Args:
        approximation: the coarsest one.
        details: from the coarsest level to the finest.
        axes: the axes that were transformed, as `wide_axes` gives them.
        wavelet: the same as there.

    Example:
        >>> image = torch.arange(35.0).reshape(1, 1, 5, 7)
        >>> back = inverse_decimated_transform(*decimated_transform(image), wide_axes(image))
        >>> bool((back[..., :5, :7] - image).abs().max() < 1e-4)
        True
    """
    filters = wavelet_filters(wavelet)
    for level in details:
        shape = next(iter(level.values())).shape
        for axis in axes:
            approximation = approximation.narrow(axis, 0, shape[axis])
        bands = {"a" * len(axes): approximation, **level}
        for axis in reversed(axes):
            stems = dict.fromkeys(name[:-1] for name in bands)
            bands = {s: decimated_merge(bands[s + "a"], bands[s + "d"], axis, filters) for s in stems}
        approximation = bands[""]
    return approximation


def wide_axes(image: torch.Tensor) -> list[int]:
    """Spatial axes of more than one voxel, as axes of the tensor.

    Example:
        >>> wide_axes(torch.zeros(1, 1, 8, 8, 1))
        [2, 3]
    """
    return [axis for axis in range(2, image.ndim) if image.shape[axis] > 1]


# Noise gains ------------------------------------------------------------------------------------------------------


@functools.cache
def equivalent_filter(wavelet: str, level: int, high: bool) -> np.ndarray:
    """Filter from the samples to the coefficients of a level (from 0): L - 1 times 2^(level + 1) - 1, plus 1, taps."""
    filters = wavelet_filters(wavelet)
    out = np.ones(1)
    for j in range(level + 1):
        taps = filters.dec_hi if high and j == level else filters.dec_lo
        spread = np.zeros((len(taps) - 1) * 2**j + 1)
        spread[:: 2**j] = taps
        out = np.convolve(out, spread)
    return out


def wavelet_noise_gain(wavelet: str, level: int, high: bool, correlation: tuple[float, ...] = (1.0,)) -> float:
    """Noise gain along one axis away from the borders; that of a band is the product over the axes.

    Args:
        wavelet: see `wavelet_filters`.
        level: from 0, the finest.
        high: the detail, else the approximation.
        correlation: of the noise along the axis, see `noise/correlation.py`; white by default.

    Example:
        >>> round(wavelet_noise_gain("db4", 2, True), 6), round(wavelet_noise_gain("bior4.4", 0, True), 3)
        (1.0, 0.991)
    """
    return _gain_of(equivalent_filter(wavelet, level, high), correlation)


def _gain_of(taps: np.ndarray, correlation: tuple[float, ...]) -> float:
    """Deviation of a weighted sum of neighbouring voxels of noise, sqrt(f^T R f)."""
    return float(np.sqrt(max(taps @ correlation_matrix(correlation, len(taps)) @ taps, 0)))


@functools.lru_cache(maxsize=256)
def noise_gain_profile(
    wavelet: str,
    level: int,
    high: bool,
    size: int,
    after: int,
    correlation: tuple[float, ...] = (1.0,),
) -> np.ndarray:
    """Noise gain along an axis at 0 .. size + after - 1 of the stationary transform, borders included.

    The coefficient at n is Σ_m f[m] x[e(n - m)] with the extension e: taps on the same voxel are added before they are
    squared. See `wavelet_noise_gain` for the other arguments.

    Example:
        >>> noise_gain_profile("haar", 0, False, 4, 1).round(3).tolist()
        [1.414, 1.0, 1.0, 1.0, 1.414]
        >>> noise_gain_profile("haar", 0, True, 4, 1).round(3).tolist()
        [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    taps = equivalent_filter(wavelet, level, high)
    reach = len(taps) - 1
    index = extension_index(size, reach, after)
    profile = np.full(size + after, _gain_of(taps, correlation))
    for n in [*range(min(reach, size)), *range(size, size + after)]:
        met = index[n : n + reach + 1][::-1]
        profile[n] = _gain_of(np.bincount(met - met.min(), taps), correlation)
    return profile
