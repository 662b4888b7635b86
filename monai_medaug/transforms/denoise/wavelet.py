"""Wavelet shrinkage."""

from __future__ import annotations

from typing import Any

import torch

from monai_medaug.core.arguments import choice, whole_number
from monai_medaug.core.contract import Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.denoise.wavelet_shrinkage import SHRINKAGE_METHODS, wavelet_shrinkage
from monai_medaug.functional.denoise.wavelets import wavelet_filters
from monai_medaug.transforms.denoise.base import THICK, NoiseRemoval, thick_axes

_DEFAULT_WAVELETS = {"translation_invariant": "haar", "bayes": "db4", "universal": "db4"}
_SLICED = 3.0
"""Slices from this times the finest spacing on are filtered one by one, since the finest details across them are
anatomy; with CT noise, which is only correlated within slices, from `THICK` on."""


class WaveletDenoise(NoiseRemoval):
    """Shrink wavelet coefficients that noise alone can explain.

    - ``"translation_invariant"``: undecimated transform with a hard threshold, equal to a mean over all shifts of the
      image.
    - ``"bayes"``: soft threshold ``sigma² / sigma_x`` per band, with sigma_x the signal's standard deviation in it.
    - ``"universal"``: classical soft threshold ``sigma sqrt(2 ln N)`` for N voxels, which smooths strongly.

    Volumes are transformed along all axes; slice by slice from 3 times the finest spacing on, for CT noise from 1.5.

    Args:
        method: see above.
        wavelet: a name of PyWavelets; None for ``"haar"`` with the first method and ``"db4"`` with the others.
        levels: of the transform.
        sigma: noise level; None estimates it for the kind of ``noise`` and records the estimate.
        noise: ``"gaussian"``, ``"rician"``, ``"rician_squared"`` or ``"ct"``, see `GaussianDenoise`.
        strength: share of what the filter finds that is removed, 0 to 1; None for 1, or 0.6 for CT noise, see
            `GaussianDenoise`.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: R. R. Coifman & D. L. Donoho, Translation-invariant de-noising, 1995; S. G. Chang, B. Yu & M. Vetterli,
    Adaptive wavelet thresholding, IEEE Trans. Image Process. 2000; D. L. Donoho & I. M. Johnstone, Biometrika 1994.

    Example:
        >>> noisy = 100 + 10 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> bool(WaveletDenoise()(noisy).std() < 2.5)
        True
    """

    command = "wavelet"
    gallery = GalleryEntry(({"method": "translation_invariant"}, {"method": "bayes"}, {"method": "universal"}))

    def __init__(
        self,
        method: str = "translation_invariant",
        wavelet: str | None = None,
        levels: int = 3,
        sigma: float | None = None,
        noise: str = "gaussian",
        strength: float | None = None,
    ) -> None:
        super().__init__(sigma, noise, strength)
        self.method = choice("method", method, SHRINKAGE_METHODS)
        self.wavelet = _DEFAULT_WAVELETS[method] if wavelet is None else _wavelet_name(wavelet)
        self.levels = whole_number("levels", levels, 1, 10)

    @property
    def reach(self) -> int:
        return (2**self.levels - 1) * (len(wavelet_filters(self.wavelet).dec_hi) - 1) + 1

    def filter_settings(self) -> Params:
        return {"method": self.method, "wavelet": self.wavelet, "levels": self.levels}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, settings: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        chosen = (settings["method"], settings["wavelet"], settings["levels"])
        correlation = settings["correlation"]
        thick = thick_axes(spacing, _SLICED if correlation is None else THICK)
        if sum(thick) != 1:
            return wavelet_shrinkage(image, sigma, *chosen, correlation=correlation)
        axis = thick.index(True)
        slices = image.movedim(axis + 2, 1)
        plane = None if correlation is None else [c for a, c in enumerate(correlation) if a != axis]
        levels = sigma.repeat_interleave(slices.shape[1])
        out = wavelet_shrinkage(slices.flatten(0, 1), levels, *chosen, correlation=plane)
        return out.reshape(slices.shape).movedim(1, axis + 2)


WaveletDenoised = dictionary_twin(WaveletDenoise)
WaveletDenoiseD = WaveletDenoiseDict = WaveletDenoised


def _wavelet_name(name: str) -> str:
    import pywt

    if name not in pywt.wavelist(kind="discrete"):
        raise ValueError(f"wavelet must be a discrete wavelet of PyWavelets, such as 'haar' or 'db4', got {name!r}")
    return name
