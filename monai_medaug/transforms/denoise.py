"""Denoising by self-similarity and sparsity: non-local means, wavelets and collaborative filtering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from monai_medaug.functional.collaborative import collaborative_filter
from monai_medaug.functional.nlm import non_local_means
from monai_medaug.functional.wavelet_shrinkage import wavelet_shrinkage
from monai_medaug.transforms.base import number
from monai_medaug.transforms.call import Params
from monai_medaug.transforms.denoise_base import NoiseRemoval, is_source
from monai_medaug.transforms.mri import whole_number
from monai_medaug.transforms.twin import dictionary_twin

METHODS = ("translation_invariant", "bayes", "universal")
_DEFAULT_WAVELETS = {"translation_invariant": "haar", "bayes": "db4", "universal": "db4"}
_PATCHES = {2: (5, 10), 3: (3, 5)}  # side, search distance by the number of axes


class NonLocalMeansDenoise(NoiseRemoval):
    """Average voxels whose surroundings look alike, wherever they are within the search distance.

    ``y(r) = sum_s w(r, s) x(s) / sum w`` with ``w = exp(-max(d² - 2 sigma², 0) / h²)``, d² the mean squared difference
    of the patches round r and s, and h = strength * sigma. A second pass takes the weights from the first one's result.
    Along an axis of thicker voxels patch and distance shrink, so that they are equal in mm.

    Args:
        sigma: noise level; None estimates it from the finest wavelet details, and records the estimate. That
            is right for white noise; where neighbours are correlated, as in CT of a soft kernel, it is too small: state
            it there.
        noise: ``"gaussian"``, or ``"rician"`` for magnitude MR images of one coil, see `GaussianDenoise`.
        patch: side of the patches in voxels, odd; None for 5 in 2D and 3 in 3D.
        distance: of the search to either side in voxels; None for 10 in 2D and 5 in 3D.
        strength: h as a multiple of sigma.
        passes: 1 or 2.
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

    guided = True

    def __init__(
        self,
        sigma: float | None = None,
        noise: str = "gaussian",
        patch: int | None = None,
        distance: int | None = None,
        strength: float = 0.8,
        passes: int = 2,
        preset: str | None = None,
    ) -> None:
        super().__init__(sigma, noise)
        self.source = is_source(preset)
        if self.source:
            patch, distance, passes = 7, 10, 1
        self.patch = None if patch is None else whole_number("patch", patch, 1, 31)
        if self.patch is not None and self.patch % 2 == 0:
            raise ValueError(f"patch must be odd, got {patch!r}")
        self.distance = None if distance is None else whole_number("distance", distance, 1, 50)
        self.strength = number("strength", strength, 1e-3)
        self.passes = whole_number("passes", passes, 1, 2)

    def settings(self) -> Params:
        chosen = {"patch": self.patch, "distance": self.distance}
        settings = {k: v for k, v in chosen.items() if v is not None} | {"passes": self.passes}
        return settings | ({"strength_share": 10 / 255} if self.source else {"strength": self.strength})

    @classmethod
    def filtered(
        cls,
        image: torch.Tensor,
        sigma: torch.Tensor,
        params: Params,
        spacing: Sequence[tuple[float, ...]],
        guide: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        side, reach = _PATCHES[image.ndim - 2]
        out = torch.empty_like(image)
        for voxel in set(spacing):  # samples of one geometry together
            some = [i for i, s in enumerate(spacing) if s == voxel]
            ratios = [min(voxel) / s for s in voxel]
            patch = [2 * round((params.get("patch", side) * r - 1) / 2) + 1 for r in ratios]
            distance = [max(1, round(params.get("distance", reach) * r)) for r in ratios]
            other = {} if guide is None else {"guide": guide[0][some], "guide_sigma": guide[1][some]}
            strength = params.get("strength", 0.0)
            if "strength_share" in params:  # h as a share of the range
                low, high = image[some].flatten(1).aminmax(dim=1)
                strength = params["strength_share"] * (high - low) / sigma[some].clamp_min(1e-12)
            out[some] = non_local_means(
                image[some], sigma[some], patch, distance, strength, passes=params["passes"], **other
            )
        return out


NonLocalMeansDenoised = dictionary_twin(NonLocalMeansDenoise)
NonLocalMeansDenoiseD = NonLocalMeansDenoiseDict = NonLocalMeansDenoised


class WaveletDenoise(NoiseRemoval):
    """Shrink wavelet coefficients that noise alone could have made.

    - ``"translation_invariant"``: the undecimated transform, hard threshold: as the mean over all shifts of the image.
    - ``"bayes"``: a soft threshold ``sigma² / sigma_x`` for each band, of the signal's spread there.
    - ``"universal"``: the classical soft threshold ``sigma sqrt(2 ln N)``, which smooths strongly.

    Args:
        method: see above.
        wavelet: a name of PyWavelets; None for Haar with the first method and db4 with the others.
        levels: of the transform.
        sigma: noise level; None estimates it from the finest wavelet details, and records the estimate. That
            is right for white noise; where neighbours are correlated, as in CT of a soft kernel, it is too small: state
            it there.
        noise: ``"gaussian"`` or ``"rician"``, see `GaussianDenoise`.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: R. R. Coifman & D. L. Donoho, Translation-invariant de-noising, 1995; S. G. Chang, B. Yu & M. Vetterli,
    Adaptive wavelet thresholding, IEEE Trans. Image Process. 2000; D. L. Donoho & I. M. Johnstone, Biometrika 1994.

    Example:
        >>> noisy = 100 + 10 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> bool(WaveletDenoise()(noisy).std() < 2.5)
        True
    """

    def __init__(
        self,
        method: str = "translation_invariant",
        wavelet: str | None = None,
        levels: int = 3,
        sigma: float | None = None,
        noise: str = "gaussian",
    ) -> None:
        super().__init__(sigma, noise)
        if method not in METHODS:
            raise ValueError(f"method must be one of {METHODS}, got {method!r}")
        self.method = method
        self.wavelet = _DEFAULT_WAVELETS[method] if wavelet is None else _wavelet_name(wavelet)
        self.levels = whole_number("levels", levels, 1, 10)

    def settings(self) -> Params:
        return {"method": self.method, "wavelet": self.wavelet, "levels": self.levels}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, params: Params, spacing: Sequence[tuple[float, ...]], guide: Any
    ) -> torch.Tensor:
        return wavelet_shrinkage(image, sigma, params["method"], params["wavelet"], params["levels"])


WaveletDenoised = dictionary_twin(WaveletDenoise)
WaveletDenoiseD = WaveletDenoiseDict = WaveletDenoised


class CollaborativeDenoise(NoiseRemoval):
    """Stack patches that look alike and shrink the stacks in a transform domain: BM3D, and BM4D for volumes.

    Two stages: hard thresholding at 2.7 sigma, then a Wiener filter with the first result as pilot. The best and the
    slowest of the denoisers here.

    Args:
        sigma: noise level; None estimates it from the finest wavelet details, and records the estimate. That
            is right for white noise; where neighbours are correlated, as in CT of a soft kernel, it is too small: state
            it there.
        noise: ``"gaussian"`` or ``"rician"``, see `GaussianDenoise`.

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

    def __init__(self, sigma: float | None = None, noise: str = "gaussian") -> None:
        super().__init__(sigma, noise)

    def settings(self) -> Params:
        return {}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, params: Params, spacing: Sequence[tuple[float, ...]], guide: Any
    ) -> torch.Tensor:
        # float64 would only break the ties of the matching in another way
        return collaborative_filter(image.float(), sigma.float()).to(image.dtype)


CollaborativeDenoised = dictionary_twin(CollaborativeDenoise)
CollaborativeDenoiseD = CollaborativeDenoiseDict = CollaborativeDenoised


def _wavelet_name(name: str) -> str:
    import pywt

    if name not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"wavelet must be a discrete one of PyWavelets, such as 'haar' or 'db4', got {name!r}")
    return name
