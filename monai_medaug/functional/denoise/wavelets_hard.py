"""The stationary transform with a hard threshold in compiled loops on the CPU, see `shrink_stationary`.

Forward, only the approximations of each level are computed and kept; backward, from the coarsest level on, each level
is analysed, thresholded and merged with the next level's result, row by row. So the working memory is one image per
level, plus one. An approximation is kept only where the extension does not determine it:

- with a symmetric low-pass filter, such as Haar's, at one place more than the axis has: the approximation is symmetric
  about the places ((2^j - 1)(L - 1) - 1) / 2 and n after that;
- else with its margins, which for long filters in 3D are most of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import over_rows
from monai_medaug.functional.denoise.wavelets import noise_gain_profile, wavelet_filters
from monai_medaug.functional.denoise.wavelets_stationary import stationary_levels
from monai_medaug.functional.noise.correlation import Grain

Part = tuple[tuple[int, int, int], np.ndarray]

_LONG = 128
"""Length of rows in voxels beyond which transposing the volume costs more than it gains."""


def hard_stationary(
    compiled: ModuleType,
    image: torch.Tensor,
    middle: torch.Tensor,
    wavelet: str,
    levels: int,
    limits: Sequence[float],
    grain: Grain,
) -> torch.Tensor:
    """Set those coefficients of ``image - middle`` to 0 that do not exceed their limit.

    Args:
        compiled: the compiled loops.
        image: (B, C, *spatial), float32, on the CPU.
        middle: (B, C, 1, ...), about the middle of the range, for accuracy.
        wavelet: see `wavelet_filters`.
        levels: at least 1; see `stationary_levels`.
        limits: one per sample and channel, for a noise gain of 1.
        grain: correlation of the noise along each axis, ``(1.0,)`` where it is white.
    """
    shape = image.shape[2:]
    depth = stationary_levels(shape, wavelet, levels)
    if not any(depth):
        return image - middle
    # rows along the axis of most levels, as the loops expect, and of enough voxels
    order = sorted(range(len(shape)), key=lambda a: (depth[a], min(shape[a], _LONG)))
    turned = image.permute(0, 1, *[a + 2 for a in order])
    centred = torch.sub(turned, middle, out=torch.empty(turned.shape))
    volumes = centred.reshape(-1, *[1] * (3 - len(order)), *turned.shape[2:]).numpy()
    axes = [_KeptAxis(1, 0, wavelet, (1.0,))] * (3 - len(order))
    axes += [_KeptAxis(shape[a], depth[a], wavelet, grain[a]) for a in order]
    stage = _HardLevels(compiled, axes, wavelet, np.array(limits, np.float32))
    lows = [volumes]
    for level in range(max(depth) - 1):
        lows.append(stage.approximation(lows[-1], level))
    out = np.empty((0,) * 4, np.float32)
    for level in reversed(range(max(depth))):
        out = stage.shrunk(lows.pop(), out, level)
    back = [order.index(a) + 2 for a in range(len(order))]
    return torch.from_numpy(out).reshape(turned.shape).permute(0, 1, *back).contiguous()


class _HardLevels:
    """The two steps of a level, for volumes (V, z, y, x) with the axes of most levels last."""

    def __init__(self, compiled: ModuleType, axes: list[_KeptAxis], wavelet: str, limits: np.ndarray) -> None:
        filters = wavelet_filters(wavelet)
        self.compiled, self.axes, self.limits = compiled, axes, limits
        self.analysis = np.array([filters.dec_lo, filters.dec_hi], np.float32)
        self.synthesis = np.array([filters.rec_lo, filters.rec_hi], np.float32) / 2  # the mean of two inverses
        self.length = len(filters.dec_lo)

    def shifts(self, level: int) -> np.ndarray:
        """Where each tap begins in an extended row."""
        return 2**level * np.arange(self.length - 1, -1, -1)

    def approximation(self, low: np.ndarray, level: int) -> np.ndarray:
        """The next level's approximation."""
        depth, height, width = self.axes
        places = [axis.kept(level + 1) for axis in self.axes]
        out = np.empty((len(low), *map(len, places)), np.float32)
        indices = depth.met(level, places[0]), height.met(level, places[1])
        settings = (indices, width.met_row(level, places[2]), self.shifts(level), self.analysis)
        kernel = self.compiled.approximation_rows
        over_rows(lambda a, b: kernel(low, out, *settings, a, b), out.size // out.shape[3], 64)
        return out

    def shrunk(self, low: np.ndarray, coarse: np.ndarray, level: int) -> np.ndarray:
        """The shrunk approximation of this level, from that of the next one."""
        depth, height, width = self.axes
        places = [axis.coefficients(level) for axis in self.axes]
        out = np.empty((len(low), *[len(axis.wanted(level)) for axis in self.axes]), np.float32)
        indices = depth.met(level, places[0]), height.met(level, places[1])
        row = width.met_row(level, places[2])
        after = [axis.wanted(level + 1) for axis in self.axes]
        coarse_indices = (
            depth.index(level + 1, np.array(places[0]), after[0]),
            height.index(level + 1, np.array(places[1]), after[1]),
        )
        coarse_row = width.row(level + 1, places[2], after[2])
        taps = np.stack([self.analysis, self.synthesis])
        gains = tuple(axis.gains(level) for axis in self.axes)
        step = 2**level if level < height.top else 1
        order = np.concatenate([np.arange(first, out.shape[2], step) for first in range(step)])
        settings = (indices, row, coarse_indices, coarse_row, self.shifts(level), taps, gains, self.limits, order)
        kernel = self.compiled.shrunk_rows
        over_rows(lambda a, b: kernel(low, coarse, out, *settings, a, b), len(low) * len(order), 4 * self.length)
        return out


class _KeptAxis:
    """Places of the approximations along an axis transformed in ``top`` levels, and the places under the taps."""

    def __init__(self, size: int, top: int, wavelet: str, correlation: tuple[float, ...]) -> None:
        filters = wavelet_filters(wavelet)
        self.size, self.top, self.wavelet = size, top, wavelet
        self.correlation, self.reach = correlation, len(filters.dec_lo) - 1
        self.mirrored = filters.dec_lo == filters.dec_lo[::-1]

    def after(self, level: int) -> int:
        """Number of places beyond the axis that the levels before this one reach."""
        return (2 ** min(level, self.top) - 1) * self.reach

    def kept(self, level: int) -> range:
        """Places of a level's approximation that are kept."""
        if min(level, self.top) == 0:
            return range(self.size)
        if self.mirrored:
            first = (self.after(level) - 1) // 2
            return range(first, first + self.size + 1)
        return range(self.after(level) - self.after(self.top), self.size + self.after(self.top))

    def wanted(self, level: int) -> range:
        """Places of a level's result, which has the symmetry of its approximation."""
        return self.kept(level) if self.mirrored else range(self.size + self.after(level))

    def coefficients(self, level: int) -> range:
        """Places of the coefficients that the synthesis needs."""
        wanted = self.wanted(level)
        return range(wanted.start, wanted.stop + self.spread(level))

    def spread(self, level: int) -> int:
        return 2**level * self.reach if level < self.top else 0

    def index(self, level: int, places: np.ndarray, within: range) -> np.ndarray:
        """Index of these places, or of their mirror images, in one of the above ranges."""
        index = places - within.start
        if min(level, self.top) == 0:
            index %= 2 * self.size
            return np.minimum(index, 2 * self.size - 1 - index)
        if self.mirrored:
            index %= 2 * self.size
            return np.minimum(index, 2 * self.size - index)
        return index

    def met(self, level: int, places: range) -> np.ndarray:
        """Index of the samples of each coefficient, (places, taps); (places, 1) if the axis is not transformed."""
        taps = np.arange(self.reach + 1 if level < self.top else 1)
        return self.index(level, np.array(places)[:, None] - 2**level * taps, self.kept(level))

    def met_row(self, level: int, places: range) -> Part:
        """The same as one row, from the sample of the first coefficient's last tap on."""
        return self.row(level, range(places.start - self.spread(level), places.stop), self.kept(level))

    def row(self, level: int, places: range, within: range) -> Part:
        """Assembly of a row of these places from those of a range.

        Returns:
            The common part: its start in the row, its start in the range, its length; and for each place of the row
            beyond it, that place and its mirror image's in the row.
        """
        first, last = max(within.start, places.start), min(within.stop, places.stop)
        beyond = np.array([p for p in places if not first <= p < last], int)
        ends = np.stack([beyond, self.index(level, beyond, within) + within.start], 1) - places.start
        return (first - places.start, first - within.start, last - first), ends

    def gains(self, level: int) -> np.ndarray:
        """(2, coefficients) noise gains of the low and the high band."""
        if self.top == 0:
            return np.ones((2, self.size), np.float32)
        places, last = self.coefficients(level), min(level, self.top - 1)
        settings = (self.size, self.after(last + 1), self.correlation)
        both = [noise_gain_profile(self.wavelet, last, high, *settings) for high in (False, True)]
        return np.stack(both)[:, places.start : places.stop].astype(np.float32)
