"""Collaborative filtering."""

from __future__ import annotations

from typing import Any

import torch

from monai_medaug.core.contract import Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.denoise.collaborative import collaborative_filter
from monai_medaug.transforms.denoise.base import NoiseRemoval, thick_axes

_THICK_STACK, _CT_STACK = ((2, 5), (2, 7)), ((1, 8), (1, 9))
"""Edge of the patches and search distance, each across and along thick slices."""


class CollaborativeDenoise(NoiseRemoval):
    """Stack similar patches and shrink the stacks in a transform domain: BM3D, and BM4D for volumes.

    Two stages: hard thresholding at 2.7 sigma, then a Wiener filter with the first result as pilot. The best and
    slowest of the denoisers here. Patches have 8² voxels, in volumes 4³; in thick slices 5² in two adjacent slices, or
    8² in one slice for CT noise.

    Args:
        sigma: noise level; None estimates it for the kind of ``noise`` and records the estimate.
        noise: ``"gaussian"``, ``"rician"``, ``"rician_squared"`` or ``"ct"``, see `GaussianDenoise`.
        strength: share of what the filter finds that is removed, 0 to 1; None for 1, or 0.6 for CT noise, see
            `GaussianDenoise`.

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

    command = "collaborative"
    gallery = GalleryEntry(({"sigma": 20}, {"sigma": 40}, {"sigma": 80}))
    memory = 10
    step = 3

    def __init__(self, sigma: float | None = None, noise: str = "gaussian", strength: float | None = None) -> None:
        super().__init__(sigma, noise, strength)

    @property
    def reach(self) -> int:
        return 16

    def filter_settings(self) -> Params:
        return {}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, settings: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        patch, search = None, None
        thick = thick_axes(spacing)
        if any(thick):
            (across, along), (far, wide) = _THICK_STACK if settings["correlation"] is None else _CT_STACK
            patch, search = [across if t else along for t in thick], [far if t else wide for t in thick]
        # float64 would only break ties of the matching differently
        single, level = image.float(), sigma.float()
        out = collaborative_filter(single, level, patch=patch, search=search, correlation=settings["correlation"])
        return out.to(image.dtype)


CollaborativeDenoised = dictionary_twin(CollaborativeDenoise)
CollaborativeDenoiseD = CollaborativeDenoiseDict = CollaborativeDenoised
