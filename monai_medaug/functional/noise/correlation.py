"""Correlated noise of CT: its deviation, and its correlation along each axis.

Reconstruction correlates the quantum noise of neighbours and nearly empties the finest frequencies, so that an estimate
from these (see `level.py`) is three to six times too small. Here the noise of a slice is that of its flat windows, as
in O. Christianson et al., Automated technique to measure noise in clinical CT examinations, AJR 2015.

The correlation is modelled as a product over the axes, of one list per axis that begins with 1 at distance 0.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from monai_medaug.functional.acceleration import sent

Correlation = Sequence[Sequence[float]]
Grain = tuple[tuple[float, ...], ...]
"""The same, hashable."""

SOFT_TISSUE_HU = (0.0, 150.0)  # fat is crossed by vessels and septa
_WINDOW = 16
_LEAST_WINDOW = 8
_LEAST_FLAT = 12  # windows needed for an estimate
_SPREAD = 1.35  # greatest ratio of the deviations of flat windows
_COMMON = 0.5  # a mode has at least this share of the windows of the greatest mode
_SLICES = 4  # neighbours compared
_GROUPS = 8  # of slices, evenly over the volume
_EMPTIEST = 0.02  # least power of a frequency, as a share of the mean
_TEXTURE = 0.7  # windows just beyond the flat ones, per flat one, from which on there is texture
_FLATTEST = 0.05  # quantile of the windows' deviations at which flat ones begin where there is texture
_EXACT_HU = 1e-2  # a constant window has less, by rounding
_CIRCLE = 256  # voxels, far longer than any correlation


class FlatNoise(NamedTuple):
    """Noise found in flat windows: deviation in HU, correlation for each axis, and whether anatomy may be in it."""

    sigma: float
    correlation: list[list[float]]
    doubtful: bool = False


def correlated_noise(
    image: torch.Tensor, across: int | None, within: tuple[float, float] = SOFT_TISSUE_HU
) -> FlatNoise | None:
    """Standard deviation and correlation of the noise in the flat parts of a CT's slices.

    A quadratic surface is fitted to windows of 16² pixels with a mean in soft tissue and subtracted. Windows are flat
    if their deviation is about the smallest frequent one, within a factor of 1.35, as anatomy only adds. Where hardly
    fewer have somewhat more (texture, as in a chest between lung, vessels and contrast agent), flat ones begin at the
    smallest twentieth, and the result is doubtful: up to some 40 % too great. The correlation is that of their
    residuals, tapered to 0 at 8 pixels (4 slices), its power kept above 0.

    Args:
        image: (*spatial) in HU, 2D or 3D; of a volume at most 32 slices are used.
        across: axis across the slices; None in 2D.
        within: HU range of the means of flat windows.

    Returns:
        The deviation (0 if constant windows prevail, as in a phantom), for each axis the correlation at distances of
        0, 1, ... voxels, and whether that is doubtful; None with fewer than 12 flat windows.

    Example:
        >>> noise = torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
        >>> smooth = torch.nn.functional.avg_pool2d(noise, (1, 2), stride=1)[0, 0]
        >>> sigma, correlation, doubtful = correlated_noise(20 * smooth, None)
        >>> round(sigma / 20 * 2**0.5, 1), [round(c[1], 1) for c in correlation], doubtful
        (1.0, [-0.0, 0.5], False)
    """
    volume = image[None] if across is None else image.movedim(across, 0)
    side = min(_WINDOW, *volume.shape[1:])
    if side < _LEAST_WINDOW:
        return None
    count = len(volume)
    starts = np.unique(np.linspace(0, max(0, count - _SLICES), _GROUPS).round().astype(int))
    slices = sorted({s for start in starts for s in range(start, min(start + _SLICES, count))})
    residuals, kept, noiseless, doubtful = _flat_residuals(volume[slices].float(), side, within)
    if noiseless > _COMMON * int(kept.sum()) and noiseless >= _LEAST_FLAT:
        return FlatNoise(0.0, [[1.0] for _ in image.shape])
    if int(kept.sum()) < _LEAST_FLAT:
        return None
    flat = residuals[kept]
    power = flat.square().mean()
    plane = [_valid_correlation(_axis_correlation(flat, axis, power)) for axis in (1, 2)]
    sigma = math.sqrt(float(power) / (1 - _share_of_surfaces(plane, side)))
    if across is not None:
        plane.insert(across, _valid_correlation(_slice_correlation(residuals, kept, slices)))
    return FlatNoise(sigma, plane, doubtful)


def slice_levels(image: torch.Tensor, across: int, within: tuple[float, float] = SOFT_TISSUE_HU) -> list[float] | None:
    """The noise of each slice of a CT in HU, since wide slices have more: a pelvis 13 to 31 HU.

    Up to 32 slices are measured as in `correlated_noise`. Doubtful ones don't count, medians of five take outliers
    away, and slices between are interpolated.

    Returns:
        One level per slice; None if fewer than five slices, or less than half of those looked at, have one.

    Example:
        >>> noise = torch.randn(200, 200, 8, generator=torch.Generator().manual_seed(0))
        >>> levels = slice_levels(noise * torch.linspace(10, 20, 8), 2)
        >>> levels[0] < 13, levels[-1] > 17
        (True, True)
    """
    count = image.shape[across]
    looked = np.unique(np.linspace(0, count - 1, _GROUPS * _SLICES).round().astype(int))
    found = [(int(s), correlated_noise(image.select(across, int(s)), None, within)) for s in looked]
    known = [(s, noise.sigma) for s, noise in found if noise is not None and not noise.doubtful and noise.sigma > 0]
    if len(known) < max(5, len(looked) / 2):
        return None
    places, levels = (np.array(v, dtype=float) for v in zip(*known, strict=True))
    wide = np.pad(levels, 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(wide, 5), axis=1)
    return [float(v) for v in np.interp(np.arange(count), places, smooth)]


def quadratic_surfaces(shape: Sequence[int]) -> np.ndarray:
    """Orthonormal polynomials of degree 2 at most on a window, (*shape, terms): 6 in 2D, 10 in 3D.

    Example:
        >>> quadratic_surfaces((8, 9)).shape
        (8, 9, 6)
    """
    place = [np.arange(n) / n - 0.5 for n in shape]
    powers = [p for p in itertools.product(range(3), repeat=len(shape)) if sum(p) <= 2]
    terms = [functools.reduce(np.multiply.outer, [x**k for x, k in zip(place, p, strict=True)]) for p in powers]
    return np.linalg.qr(np.stack(terms, -1).reshape(-1, len(terms)))[0].reshape(*shape, -1)


def _share_of_surfaces(plane: Correlation, side: int) -> float:
    """Share of the noise's variance removed with the surfaces, Σ q^T R q / n."""
    rows, columns = (correlation_matrix(tuple(c), side) for c in plane)
    surfaces = quadratic_surfaces((side, side))
    return float(np.einsum("ijk,il,lmk,mj->", surfaces, rows, surfaces, columns, optimize=True)) / side**2


def _flat_residuals(
    slices: torch.Tensor, side: int, within: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor, int, bool]:
    """Windows (S, n, side, side) minus their surfaces, a mask (S, n) of flat ones, and the number of constant ones.

    Also whether texture makes the flat ones doubtful.
    """
    windows = slices.unfold(1, side, side // 2).unfold(2, side, side // 2).flatten(1, 2)
    mean = windows.mean((2, 3))
    basis = sent(quadratic_surfaces((side, side)), slices.device, slices.dtype).flatten(0, 1)
    values = windows.flatten(2) - mean[..., None]
    residuals = values - (values @ basis) @ basis.T
    deviation = residuals.square().mean(2).sqrt()
    soft = (mean > within[0]) & (mean < within[1])
    constant = soft & (deviation < _EXACT_HU)
    noiseless = int(constant.sum())
    soft &= ~constant
    ordered = deviation[soft].log().sort().values
    if len(ordered) == 0:
        return residuals.unflatten(2, (side, side)), soft, noiseless, False
    reach = torch.searchsorted(ordered, ordered + math.log(_SPREAD), right=True)
    count = reach - torch.arange(len(ordered), device=ordered.device)
    first = ordered[int((count >= _COMMON * count.max()).nonzero()[0])]  # the least of the modes, as anatomy only adds
    near = torch.where(ordered <= first + math.log(_SPREAD), count, 0)
    least = ordered[near.argmax()].exp()
    kept = soft & (deviation >= 0.999 * least) & (deviation <= 1.001 * _SPREAD * least)
    beyond = soft & (deviation > 1.001 * _SPREAD * least) & (deviation < _SPREAD**2 * least)
    textured = int(beyond.sum()) > _TEXTURE * int(kept.sum())  # deviations of noise end there, those of anatomy go on
    if textured:
        least = ordered[int(_FLATTEST * len(ordered))].exp()
        kept = soft & (deviation >= least) & (deviation <= _SPREAD * least)
    return residuals.unflatten(2, (side, side)), kept, noiseless, textured


def _axis_correlation(flat: torch.Tensor, axis: int, power: torch.Tensor) -> list[float]:
    n = flat.shape[axis]
    return [float((flat.narrow(axis, k, n - k) * flat.narrow(axis, 0, n - k)).mean() / power) for k in range(n // 2)]


def _slice_correlation(residuals: torch.Tensor, kept: torch.Tensor, slices: Sequence[int]) -> list[float]:
    """Correlation of the same window in slices 0, 1, 2, ... apart, over windows flat in both."""
    place = {s: i for i, s in enumerate(slices)}
    found = [1.0]
    for distance in range(1, _SLICES):
        pairs = [(i, place[s + distance]) for s, i in place.items() if s + distance in place]
        a, b = [i for i, _ in pairs], [j for _, j in pairs]
        both = kept[a] & kept[b]
        if int(both.sum()) < _LEAST_FLAT:
            break
        first, second = residuals[a][both], residuals[b][both]
        found.append(float((first * second).mean() / (first.square().mean() * second.square().mean()).sqrt()))
    return found


def _valid_correlation(measured: Sequence[float]) -> list[float]:
    """Tapered, and with the least white noise added that keeps each frequency's power above 2 % of the mean."""
    n = len(measured)
    tapered = np.asarray(measured) * (0.5 + 0.5 * np.cos(np.pi * np.arange(n) / n))
    valid = _spectrum(np.maximum(_spectrum(tapered), _EMPTIEST))[:n] / _CIRCLE
    valid[0] += max(0.0, _EMPTIEST - _spectrum(valid).min())
    return [float(v) for v in valid / valid[0]]


def _spectrum(one_sided: np.ndarray) -> np.ndarray:
    """Real spectrum on a circle of a symmetric sequence, given as one side or as the whole circle."""
    circle = np.zeros(_CIRCLE)
    circle[: len(one_sided)] = one_sided
    if len(one_sided) < _CIRCLE:
        circle[_CIRCLE - len(one_sided) + 1 :] = one_sided[:0:-1]
    return np.fft.fft(circle).real


@functools.lru_cache(maxsize=64)
def correlation_matrix(correlation: tuple[float, ...], n: int) -> np.ndarray:
    """Correlation matrix (n, n) of n voxels in a row; 0 beyond the list's end.

    Example:
        >>> correlation_matrix((1.0, 0.5), 3).tolist()
        [[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]]
    """
    known = np.zeros(max(n, len(correlation)))
    known[: len(correlation)] = correlation
    return known[np.abs(np.arange(n)[:, None] - np.arange(n))]
