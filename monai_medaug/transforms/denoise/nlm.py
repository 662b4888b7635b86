"""Non-local means."""

from __future__ import annotations

from typing import Any

import torch

from monai_medaug.core.arguments import number, odd_number, whole_number
from monai_medaug.core.contract import Input, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.denoise.nlm import non_local_means
from monai_medaug.transforms.denoise.base import NoiseRemoval, equal_sides, is_source, thick_axes

_PATCHES, _THICK_PATCH = {2: (5, 10), 3: (3, 5)}, (5, 5)
"""Side and search distance in voxels, by the number of axes, and for thick slices."""
_SMOOTHING, _CT_SMOOTHING = {2: 0.8, 3: 0.7}, 0.9
"""h in sigma, by the number of axes, and for CT noise; more would remove small faint lesions there."""


class NonLocalMeansDenoise(NoiseRemoval):
    """Average voxels with similar surroundings within a search distance.

    ``y(r) = sum_s w(r, s) x(s) / sum w`` with ``w = exp(-max(d² - 2 sigma², 0) / h²)``, d² the mean squared difference
    of the patches round r and s, and h = smoothing * sigma. A second pass takes the weights from the result of the
    first. Patch and distance shrink along axes of thicker voxels, to be equal in mm.

    Args:
        sigma: noise level; None estimates it for the kind of ``noise`` and records the estimate.
        noise: ``"gaussian"``, ``"rician"``, ``"rician_squared"`` or ``"ct"``, see `GaussianDenoise`.
        patch: side of the patches in voxels, odd; None for 5 in 2D and in thick slices, else 3 in 3D.
        distance: of the search to either side in voxels; None for 10 in 2D and 5 in 3D.
        smoothing: h as a multiple of sigma; None for 0.8 in 2D, 0.7 in 3D, and 0.9 for CT noise.
        passes: 1 or 2; None for 2, or 1 for CT noise, of which the first result keeps too much for a second pass.
        strength: share of what the filter finds that is removed, 0 to 1; None for 1, or 0.6 for CT noise, see
            `GaussianDenoise`.
        preset: ``"source"`` for the source's patch 7, search 21 and h of 10/255 of the image's range.

    In the dictionary version ``guide_key`` names a co-registered image, such as a T1 beside a noisy FLAIR, whose
    patches determine the weights of the first pass. Structures that the guide does not show, such as a lesion, are
    averaged away.

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

    command = "nlm"
    inputs = {"guide": Input("a second image of the same shape, or of one channel, that guides the operation.")}
    gallery = GalleryEntry(({"smoothing": 0.4}, {"smoothing": 0.8}, {"smoothing": 1.6}))

    def __init__(
        self,
        sigma: float | None = None,
        noise: str = "gaussian",
        patch: int | None = None,
        distance: int | None = None,
        smoothing: float | None = None,
        passes: int | None = None,
        preset: str | None = None,
        strength: float | None = None,
    ) -> None:
        super().__init__(sigma, noise, strength)
        self.source = is_source(preset)
        if self.source:
            given = {"patch": patch, "distance": distance, "smoothing": smoothing, "passes": passes}
            if any(v is not None for v in given.values()):
                raise ValueError(f"preset 'source' excludes patch, distance, smoothing and passes, got {given}")
            patch, distance, passes = 7, 10, 1
        self.patch = None if patch is None else odd_number("patch", patch, 1, 31)
        self.distance = None if distance is None else whole_number("distance", distance, 1, 50)
        self.smoothing = None if smoothing is None else number("smoothing", smoothing, 1e-3)
        self.passes = None if passes is None else whole_number("passes", passes, 1, 2)

    @property
    def reach(self) -> int:
        return (self.passes or 2) * ((self.distance or _PATCHES[3][1]) + (self.patch or _PATCHES[3][0]) // 2)

    def filter_settings(self) -> Params:
        names = ("patch", "distance", "smoothing", "passes")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return chosen | {"strength_share": 10 / 255} if self.source else chosen

    @classmethod
    def filtered(
        cls,
        image: torch.Tensor,
        sigma: torch.Tensor,
        settings: Params,
        spacing: tuple[float, ...],
        guide: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> torch.Tensor:
        side, reach = _THICK_PATCH if any(thick_axes(spacing)) else _PATCHES[image.ndim - 2]
        patch = equal_sides(settings.get("patch", side), spacing)
        distance = [max(1, round(settings.get("distance", reach) * min(spacing) / s)) for s in spacing]
        correlated = settings["correlation"] is not None
        usual = _CT_SMOOTHING if correlated else _SMOOTHING[image.ndim - 2]
        smoothing: Any = settings.get("smoothing", settings.get("strength", usual))  # its name in earlier records
        if "strength_share" in settings:  # of the range
            low, high = image.flatten(1).aminmax(dim=1)
            smoothing = settings["strength_share"] * (high - low) / sigma.clamp_min(1e-12)
        other, other_sigma = guide or (None, None)
        passes = settings.get("passes", 1 if correlated else 2)
        return non_local_means(image, sigma, patch, distance, smoothing, other, other_sigma, passes)


NonLocalMeansDenoised = dictionary_twin(NonLocalMeansDenoise)
NonLocalMeansDenoiseD = NonLocalMeansDenoiseDict = NonLocalMeansDenoised
