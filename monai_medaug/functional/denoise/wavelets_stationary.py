"""The stationary wavelet transform (à trous): analysis, shrinkage and synthesis band by band.

All coefficients are kept, and the inverse, the mean of the two polyphase inverses at each level, equals the mean over
all shifts of the decimated transform (cycle spinning).

With filters of L taps an axis of n voxels is transformed in at most floor(log2(n / (L - 1))) levels: in none below 14
voxels with db4, below 2 with Haar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pywt
import torch

from monai_medaug.functional.denoise.wavelets import extended_axis, noise_gain_profile, tap_sum, wavelet_filters
from monai_medaug.functional.noise.correlation import Grain

Shrink = Callable[[torch.Tensor, list[np.ndarray]], torch.Tensor]


def stationary_levels(shape: Sequence[int], wavelet: str, levels: int) -> list[int]:
    """Number of levels in which each axis is transformed.

    Example:
        >>> stationary_levels((512, 512, 12), "haar", 5), stationary_levels((512, 1), "db4", 5)
        ([5, 5, 3], [5, 0])
    """
    length = len(wavelet_filters(wavelet).dec_lo)
    return [min(levels, pywt.dwt_max_level(n, length)) for n in shape]


def shrink_stationary(
    image: torch.Tensor,
    wavelet: str,
    levels: int,
    shrink: Shrink,
    grain: Grain | None = None,
) -> torch.Tensor:
    """Analyse, shrink each detail band and synthesise, in the memory of a few images for any number of bands.

    The bands of a level are computed one after another, depth first by axis, and merged at once.

    Args:
        image: (B, C, *spatial), floating point.
        wavelet: see `wavelet_filters`.
        levels: at least 1; see `stationary_levels`.
        shrink: takes a band and its noise gains, a profile for each axis transformed so far (the gain is their product,
            they broadcast to the band), and returns the shrunk band.
        grain: correlation of the noise along each axis, for the gains; None for white noise.

    Example:
        >>> image = torch.rand(1, 1, 9, 14)
        >>> same = shrink_stationary(image, "db4", 2, lambda band, gains: band)
        >>> bool((same - image).abs().max() < 1e-5)
        True
    """
    reach = len(wavelet_filters(wavelet).dec_lo) - 1
    depth = dict(enumerate(stationary_levels(image.shape[2:], wavelet, levels), 2))
    low = image
    for axis, top in depth.items():
        if top:
            low = extended_axis(low, axis, (2**top - 1) * reach, (2**top - 1) * reach)
    grain = ((1.0,),) * len(depth) if grain is None else grain
    stages = [_StationaryLevel(wavelet, j, depth, image.shape, shrink, grain) for j in range(max(depth.values()))]
    details = []
    for stage in stages:
        details.append(stage.details(low))
        low = stage.approximation(low)
    for stage in reversed(stages):
        low = stage.smoothed(low).add_(details.pop())
    return low


class _StationaryLevel:
    """One level: coefficient n of an axis needs the samples before it, sample n the coefficients after it.

    So an axis of J levels is extended by (2^J - 1)(L - 1) voxels on both sides. Level j uses 2^j (L - 1) of those
    before it in the analysis and after it in the synthesis.
    """

    def __init__(
        self,
        wavelet: str,
        level: int,
        depth: dict[int, int],
        shape: Sequence[int],
        shrink: Shrink,
        grain: Grain,
    ) -> None:
        self.wavelet, self.level, self.shrink = wavelet, level, shrink
        self.filters = wavelet_filters(wavelet)
        self.length = len(self.filters.dec_lo)
        self.step, self.reach = 2**level, 2**level * (self.length - 1)
        self.shape, self.depth, self.grain = shape, depth, grain
        self.axes = [axis for axis, top in depth.items() if top > level]

    def taps_at(self, image: torch.Tensor, axis: int) -> list[torch.Tensor]:
        """The part of an image for each tap, from the last sample to the first."""
        count = image.shape[axis] - self.reach
        return [image.narrow(axis, self.reach - self.step * m, count) for m in range(self.length)]

    def synthesis(self, out: torch.Tensor | None, band: torch.Tensor, axis: int, taps: Sequence[float]) -> torch.Tensor:
        """Half of Σ_m f[m] y[n + 2^j (L - 1 - m)]: the mean of the two decimated inverses."""
        return tap_sum(out, self.taps_at(band, axis), [tap / 2 for tap in taps])

    def approximation(self, low: torch.Tensor) -> torch.Tensor:
        """The next level's, Σ_m f[m] x[n - 2^j m] along each axis."""
        for axis in self.axes:
            low = tap_sum(None, self.taps_at(low, axis), self.filters.dec_lo)
        return low

    def smoothed(self, low: torch.Tensor) -> torch.Tensor:
        """Contribution of the next level's approximation to this one's."""
        for axis in self.axes:
            low = self.synthesis(None, low, axis, self.filters.rec_lo)
        return low

    def details(self, low: torch.Tensor) -> torch.Tensor:
        """Contribution of the shrunk details, which need less margin than the approximation."""
        gains = [self.gain(axis, top - 1, False) for axis, top in self.depth.items() if 0 < top <= self.level]
        for axis in self.axes:
            before = (2 ** self.depth[axis] - 2 * self.step) * (self.length - 1)
            size = self.shape[axis] + (2 * self.step - 1) * (self.length - 1) + self.reach
            low = low.narrow(axis, before, size)
        return self.bands(low, self.axes, False, gains)

    def gain(self, axis: int, level: int, high: bool) -> np.ndarray:
        """Noise gain along an axis, broadcasts to a band."""
        after = (2 ** (level + 1) - 1) * (self.length - 1)
        settings = (self.shape[axis], after, self.grain[axis - 2])
        profile = noise_gain_profile(self.wavelet, level, high, *settings)
        return profile.reshape(-1, *(1,) * (len(self.shape) - 1 - axis))

    def bands(self, image: torch.Tensor, axes: list[int], detail: bool, gains: list[np.ndarray]) -> torch.Tensor:
        """Transform along these axes, shrink, and back, without the band that is low-pass along all of them."""
        if not axes:
            return self.shrink(image, gains)
        axis, rest = axes[0], axes[1:]
        pieces = self.taps_at(image, axis)
        out = None
        for high in (True, False):
            if high or detail or rest:
                band = tap_sum(None, pieces, self.filters.dec_hi if high else self.filters.dec_lo)
                band = self.bands(band, rest, detail or high, [*gains, self.gain(axis, self.level, high)])
                out = self.synthesis(out, band, axis, self.filters.rec_hi if high else self.filters.rec_lo)
        assert out is not None
        return out
