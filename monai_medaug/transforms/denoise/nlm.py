"""Denoising by self-similarity and sparsity: non-local means, wavelets and collaborative filtering."""

from __future__ import annotations

from typing import Any

import torch

from monai_medaug.core.arguments import choice, number, odd_number, whole_number
from monai_medaug.core.call import Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.denoise.collaborative import collaborative_filter
from monai_medaug.functional.denoise.nlm import non_local_means
from monai_medaug.functional.denoise.wavelet_shrinkage import SHRINKAGE_METHODS, wavelet_shrinkage
from monai_medaug.transforms.denoise.base import NoiseRemoval, equal_sides, is_source

_DEFAULT_WAVELETS = {"translation_invariant": "haar", "bayes": "db4", "universal": "db4"}
_THICK = 1.5
"""From so many times the finest spacing on slices are thick: a patch holds few of them, and more of the plane."""
_SLICED = 3.0
"""From so many times on wavelets take slice by slice: across them the finest details are anatomy. With the noise of CT,
which hangs together within a slice alone, from `_THICK` on."""
_PATCHES, _THICK_PATCH = {2: (5, 10), 3: (3, 5)}, (5, 5)
"""Side and search distance of non-local means by the number of axes, and where slices are thick."""
_THICK_STACK, _GRAINY_STACK = ((2, 5), (2, 7)), ((1, 8), (1, 9))
"""The collaborative filter's edge of the patches and search across and along thick slices."""
_STRENGTH, _GRAINY_STRENGTH = {2: 0.8, 3: 0.7}, 0.9
"""h in sigma: the best mean of what was tried on T1, T2 and CT slices and MR volumes. With the noise of CT 1.1 would
leave an error 6 % smaller, and a fifth to a third less of small lesions of 60 HU in noise of 20 HU."""


class NonLocalMeansDenoise(NoiseRemoval):
    """Average voxels whose surroundings look alike, wherever they are within the search distance.

    ``y(r) = sum_s w(r, s) x(s) / sum w`` with ``w = exp(-max(d² - 2 sigma², 0) / h²)``, d² the mean squared difference
    of the patches round r and s, and h = strength * sigma. A second pass takes the weights from the first one's result.
    Along an axis of thicker voxels patch and distance shrink, so that they are equal in mm.

    Args:
        sigma: noise level; None estimates it as ``noise`` has it, and records the estimate.
        noise: ``"gaussian"``, ``"rician"``, ``"rician_squared"`` or ``"ct"``, see `GaussianDenoise`.
        patch: side of the patches in voxels, odd; None for 5 in 2D and in thick slices, else 3 in 3D.
        distance: of the search to either side in voxels; None for 10 in 2D and 5 in 3D.
        strength: h as a multiple of sigma; None for 0.8 in 2D, 0.7 in 3D, and 0.9 for the noise of CT.
        passes: 1 or 2; None for 2, and 1 for the noise of CT, of which a first result keeps too much for a second.
        preset: ``"source"`` for the source's h 10 on a scale of 0 to 255, of the image's range, patch 7 and search 21.

    In the dictionary version ``guide_key`` names a co-registered image, such as a T1 beside a noisy FLAIR, whose
    patches give the first pass' weights. What the guide doesn't show is averaged over: for a stroke's FLAIR its T1 was
    no gain (25.3 dB against 26.4 alone, 19.5 before).

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: A. Buades, B. Coll & J.-M. Morel, A non-local algorithm for image denoising, CVPR 2005; box sums for every
    shift: J. Darbon et al., ISBI 2008.

    Example:
        >>> stripes = torch.tensor([0.0, 100.0]).repeat_interleave(8).repeat(4).expand(1, 64, 64)
        >>> noisy = stripes + 10 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> bool((NonLocalMeansDenoise()(noisy) - stripes).std() < 3)
        True
    """

    gallery = GalleryEntry(({"strength": 0.4}, {"strength": 0.8}, {"strength": 1.6}))
    guided = True

    def __init__(
        self,
        sigma: float | None = None,
        noise: str = "gaussian",
        patch: int | None = None,
        distance: int | None = None,
        strength: float | None = None,
        passes: int | None = None,
        preset: str | None = None,
    ) -> None:
        super().__init__(sigma, noise)
        self.source = is_source(preset)
        if self.source:
            given = {"patch": patch, "distance": distance, "strength": strength, "passes": passes}
            if any(v is not None for v in given.values()):
                raise ValueError(f"preset 'source' excludes patch, distance, strength and passes, got {given}")
            patch, distance, passes = 7, 10, 1
        self.patch = None if patch is None else odd_number("patch", patch, 1, 31)
        self.distance = None if distance is None else whole_number("distance", distance, 1, 50)
        self.strength = None if strength is None else number("strength", strength, 1e-3)
        self.passes = None if passes is None else whole_number("passes", passes, 1, 2)

    def settings(self) -> Params:
        names = ("patch", "distance", "strength", "passes")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return chosen | {"strength_share": 10 / 255} if self.source else chosen

    @classmethod
    def filtered(
        cls,
        image: torch.Tensor,
        sigma: torch.Tensor,
        params: Params,
        spacing: tuple[float, ...],
        guide: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        side, reach = _THICK_PATCH if any(_thick_axes(spacing)) else _PATCHES[image.ndim - 2]
        patch = equal_sides(params.get("patch", side), spacing)
        distance = [max(1, round(params.get("distance", reach) * min(spacing) / s)) for s in spacing]
        grainy = params["correlation"] is not None
        strength = params.get("strength", _GRAINY_STRENGTH if grainy else _STRENGTH[image.ndim - 2])
        if "strength_share" in params:  # h as a share of the range
            low, high = image.flatten(1).aminmax(dim=1)
            strength = params["strength_share"] * (high - low) / sigma.clamp_min(1e-12)
        other, other_sigma = guide or (None, None)
        passes = params.get("passes", 1 if grainy else 2)
        return non_local_means(image, sigma, patch, distance, strength, other, other_sigma, passes)


NonLocalMeansDenoised = dictionary_twin(NonLocalMeansDenoise)
NonLocalMeansDenoiseD = NonLocalMeansDenoiseDict = NonLocalMeansDenoised


class WaveletDenoise(NoiseRemoval):
    """Shrink wavelet coefficients that noise alone could have made.

    - ``"translation_invariant"``: the undecimated transform, hard threshold: as the mean over all shifts of the image.
    - ``"bayes"``: a soft threshold ``sigma² / sigma_x`` for each band, of the signal's spread there.
    - ``"universal"``: the classical soft threshold ``sigma sqrt(2 ln N)``, which smooths strongly.

    Volumes are transformed along all axes, those of slices three times as thick as a pixel (for the noise of CT 1.5
    times) slice by slice.

    Args:
        method: see above.
        wavelet: a name of PyWavelets; None for Haar with the first method and db4 with the others.
        levels: of the transform.
        sigma: noise level; None estimates it as ``noise`` has it, and records the estimate.
        noise: ``"gaussian"``, ``"rician"``, ``"rician_squared"`` or ``"ct"``, see `GaussianDenoise`.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: R. R. Coifman & D. L. Donoho, Translation-invariant de-noising, 1995; S. G. Chang, B. Yu & M. Vetterli,
    Adaptive wavelet thresholding, IEEE Trans. Image Process. 2000; D. L. Donoho & I. M. Johnstone, Biometrika 1994.

    Example:
        >>> noisy = 100 + 10 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> bool(WaveletDenoise()(noisy).std() < 2.5)
        True
    """

    gallery = GalleryEntry(({"method": "translation_invariant"}, {"method": "bayes"}, {"method": "universal"}))

    def __init__(
        self,
        method: str = "translation_invariant",
        wavelet: str | None = None,
        levels: int = 3,
        sigma: float | None = None,
        noise: str = "gaussian",
    ) -> None:
        super().__init__(sigma, noise)
        self.method = choice("method", method, SHRINKAGE_METHODS)
        self.wavelet = _DEFAULT_WAVELETS[method] if wavelet is None else _wavelet_name(wavelet)
        self.levels = whole_number("levels", levels, 1, 10)

    def settings(self) -> Params:
        return {"method": self.method, "wavelet": self.wavelet, "levels": self.levels}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, params: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        settings = (params["method"], params["wavelet"], params["levels"])
        correlation = params["correlation"]
        thick = _thick_axes(spacing, _SLICED if correlation is None else _THICK)
        if sum(thick) != 1:
            return wavelet_shrinkage(image, sigma, *settings, correlation=correlation)
        axis = thick.index(True)
        slices = image.movedim(axis + 2, 1)
        plane = None if correlation is None else [c for a, c in enumerate(correlation) if a != axis]
        levels = sigma.repeat_interleave(slices.shape[1])
        out = wavelet_shrinkage(slices.flatten(0, 1), levels, *settings, correlation=plane)
        return out.reshape(slices.shape).movedim(1, axis + 2)


WaveletDenoised = dictionary_twin(WaveletDenoise)
WaveletDenoiseD = WaveletDenoiseDict = WaveletDenoised


class CollaborativeDenoise(NoiseRemoval):
    """Stack patches that look alike and shrink the stacks in a transform domain: BM3D, and BM4D for volumes.

    Two stages: hard thresholding at 2.7 sigma, then a Wiener filter with the first result as pilot. The best and the
    slowest of the denoisers here. Patches have 8² voxels, in volumes 4³; of thick slices 5² in two of them, and with
    the noise of CT 8² in one.

    Args:
        sigma: noise level; None estimates it as ``noise`` has it, and records the estimate.
        noise: ``"gaussian"``, ``"rician"``, ``"rician_squared"`` or ``"ct"``, see `GaussianDenoise`.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: K. Dabov et al., Image denoising by sparse 3-D transform-domain collaborative filtering, IEEE Trans. Image
    Process. 2007; M. Maggioni et al., Nonlocal transform-domain filter for volumetric data, ibid. 2013.

    Example:
        >>> stripes = torch.tensor([0.0, 100.0]).repeat_interleave(8).repeat(2).expand(1, 32, 32)
        >>> noisy = stripes + 10 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> bool((CollaborativeDenoise(sigma=10)(noisy) - stripes).std() < 3)
        True
    """

    gallery = GalleryEntry(({"sigma": 20}, {"sigma": 40}, {"sigma": 80}))
    memory = 10

    def __init__(self, sigma: float | None = None, noise: str = "gaussian") -> None:
        super().__init__(sigma, noise)

    def settings(self) -> Params:
        return {}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, params: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        patch, search = None, None
        thick = _thick_axes(spacing)
        if any(thick):
            (across, along), (far, wide) = _THICK_STACK if params["correlation"] is None else _GRAINY_STACK
            patch, search = [across if t else along for t in thick], [far if t else wide for t in thick]
        # float64 would only break the ties of the matching in another way
        single, level = image.float(), sigma.float()
        out = collaborative_filter(single, level, patch=patch, search=search, correlation=params["correlation"])
        return out.to(image.dtype)


CollaborativeDenoised = dictionary_twin(CollaborativeDenoise)
CollaborativeDenoiseD = CollaborativeDenoiseDict = CollaborativeDenoised


def _thick_axes(spacing: tuple[float, ...], times: float = _THICK) -> list[bool]:
    """Which axes of a volume lie across slices so many times as thick as the finest spacing; none of an image's."""
    return [len(spacing) == 3 and s >= times * min(spacing) for s in spacing]


def _wavelet_name(name: str) -> str:
    import pywt

    if name not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"wavelet must be a discrete one of PyWavelets, such as 'haar' or 'db4', got {name!r}")
    return name
