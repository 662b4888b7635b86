"""Classical denoising: Gaussian, low-pass, median and bilateral filters."""

from __future__ import annotations

import math
from typing import Any

import torch

from monai_medaug.core.arguments import choice, number, odd_number
from monai_medaug.core.contract import Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.denoise.bilateral import bilateral_smooth
from monai_medaug.functional.denoise.low_pass import low_passed
from monai_medaug.functional.denoise.median import median_smooth
from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from monai_medaug.transforms.denoise.base import NoiseRemoval, equal_sides, is_source
from monai_medaug.transforms.denoise.level import is_rician

UNITS = ("mm", "voxel")


class GaussianDenoise(NoiseRemoval):
    """Smooth with a Gaussian; borders are repeated, so that a constant image stays constant.

    ``y = x * G`` with the standard deviation ``width``, sampled and normalised to a sum of 1. The width is equal in mm
    along all axes, so that thick slices mix less with their neighbours.

    In every denoiser padding of a CT (a repeated least value at or below -1400, such as -2048 or -3024) stays as it is,
    and counts as outside the image: tissue beside it is filtered as at the image's border.

    Args:
        width: standard deviation, in ``unit``.
        unit: ``"voxel"``, of the finest spacing, or ``"mm"``; a missing spacing counts as 1 mm.
        preset: ``"source"`` for the 5 × 5 kernel of the source (1.1 voxels), instead of ``width``.
        noise: kind of noise.

            - ``"gaussian"``: white; the level is estimated from the finest wavelet details. If these hold less than
              half the noise of a magnitude image's background, as after zero-filling, the background's counts.
            - ``"ct"``: correlated noise of images in HU. The finest details hold only a third to a sixth of it, so
              level and correlation are estimated in flat soft tissue (Christianson 2015), in a volume the level of each
              slice too. `WaveletDenoise` and `CollaborativeDenoise` scale thresholds to the noise of each coefficient.
              Small faint structures are reduced along with the noise.
            - ``"rician"``: MR magnitude images of one coil. The image is stabilised, filtered, and restored by the
              exact unbiased inverse, which removes the bias of the background (Foi 2011). Signals up to 0.5 sigma
              become 0; up to 1 sigma they fade in.
            - ``"rician_squared"``: filtered without stabilisation, then ``sqrt(max(y² - 2 sigma², 0))``, too low by
              sigma² / 2y: 1/6 sigma at an SNR of 3, 1/20 sigma at 10. Slightly better for wavelets, slightly worse
              for the collaborative filter and non-local means.
        sigma: noise level for Rician noise; None estimates it.
        strength: share of what the filter finds that is removed, ``y = x + strength (filtered - x)``, 0 to 1; None for
            1, or 0.6 for CT noise, which about halves its deviation. Faint small lesions go with the noise: 6 mm of
            -20 HU among 12 HU of noise keep 0.35 to 0.6 of their contrast at 1, and 0.6 to 0.75 at 0.6.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Example:
        >>> step = torch.tensor([[[0.0, 0.0, 0.0, 100.0, 100.0, 100.0]]])
        >>> GaussianDenoise(width=0.5)(step).round()
        tensor([[[  0.,   0.,  11.,  89., 100., 100.]]])
    """

    command = "gaussian"
    gallery = GalleryEntry(({"width": 0.5}, {"width": 0.8}, {"width": 1.6}))
    classical = True
    by_level = False

    def __init__(
        self,
        width: float = 0.8,
        unit: str = "voxel",
        preset: str | None = None,
        noise: str = "gaussian",
        sigma: float | None = None,
        strength: float | None = None,
    ) -> None:
        super().__init__(sigma, noise, strength)
        choice("unit", unit, UNITS)
        source = is_source(preset)
        self.width = 1.1 if source else number("width", width, 0, 100)
        self.unit = "voxel" if source else unit
        self.truncate = 2 / 1.1 if source else 4.0  # two voxels to either side

    @property
    def reach(self) -> int | None:
        return None if self.unit == "mm" else math.ceil(self.truncate * self.width)

    def filter_settings(self) -> Params:
        return {"width": self.width, "unit": self.unit, "truncate": self.truncate}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, settings: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        unit = 1 if settings["unit"] == "mm" else min(spacing)
        widths = [settings["width"] * unit / s for s in spacing]
        return gaussian_smooth(
            image, torch.tensor(widths, dtype=image.dtype, device="cpu").expand(len(image), -1), settings["truncate"]
        )


GaussianDenoised = dictionary_twin(GaussianDenoise)
GaussianDenoiseD = GaussianDenoiseDict = GaussianDenoised


class LowPassDenoise(NoiseRemoval):
    """Keep a disc of low frequencies, a ball in 3D: smooths noise and ringing, and blurs; the image counts as periodic.

    The source offers this against motion. It is no correction: the ghosts of motion lie at all frequencies, see
    `MRIMotionCorrection`.

    Args:
        kept: radius of the disc, as a share of the greatest frequency along the finest spacing; round in cycles per mm.
        noise: see `GaussianDenoise`.
        sigma: noise level for Rician noise; None estimates it.
        strength: share of what the filter finds that is removed, 0 to 1; None for 1, or 0.6 for CT noise, see
            `GaussianDenoise`.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Example:
        >>> stripes = torch.tensor([1.0, 3.0]).repeat(4).expand(1, 8, 8)
        >>> LowPassDenoise(kept=0.8)(stripes).unique()
        tensor([2.])
    """

    command = "low-pass"
    gallery = GalleryEntry(({"kept": 0.8}, {"kept": 0.6}, {"kept": 0.4}))
    classical = True
    by_level = False

    def __init__(
        self, kept: float = 0.6, noise: str = "gaussian", sigma: float | None = None, strength: float | None = None
    ) -> None:
        super().__init__(sigma, noise, strength)
        self.kept = number("kept", kept, 0, 2)

    def filter_settings(self) -> Params:
        return {"kept": self.kept}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, settings: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        return low_passed(image, settings["kept"], spacing)


LowPassDenoised = dictionary_twin(LowPassDenoise)
LowPassDenoiseD = LowPassDenoiseDict = LowPassDenoised


class MedianDenoise(NoiseRemoval):
    """Median of a square or cube round each voxel, with repeated borders: removes outliers, keeps edges.

    Args:
        size: side of the neighbourhood in voxels of the finest spacing, odd; equal in mm along all axes.
        preset: ``"source"`` for the size 5 of the source.
        noise: see `GaussianDenoise`.
        sigma: noise level for Rician noise; None estimates it.
        strength: share of what the filter finds that is removed, 0 to 1; None for 1, or 0.6 for CT noise, see
            `GaussianDenoise`.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Example:
        >>> image = torch.zeros(1, 7, 7).index_fill(1, torch.tensor([0, 1, 2]), -1000.0)
        >>> salted = image.clone()
        >>> salted[0, 5, 3] = 3000.0
        >>> torch.equal(MedianDenoise()(salted), image)
        True
    """

    command = "median"
    gallery = GalleryEntry(({"size": 3}, {"size": 5}, {"size": 7}))
    classical = True
    by_level = False

    def __init__(
        self,
        size: int = 3,
        preset: str | None = None,
        noise: str = "gaussian",
        sigma: float | None = None,
        strength: float | None = None,
    ) -> None:
        super().__init__(sigma, noise, strength)
        self.size = 5 if is_source(preset) else odd_number("size", size, 1, 31)

    @property
    def reach(self) -> int:
        return self.size // 2

    def filter_settings(self) -> Params:
        return {"size": self.size}

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, settings: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        return median_smooth(image, equal_sides(settings["size"], spacing))


MedianDenoised = dictionary_twin(MedianDenoise)
MedianDenoiseD = MedianDenoiseDict = MedianDenoised


class BilateralDenoise(NoiseRemoval):
    """Average nearby voxels of similar values.

    ``y(r) = sum_s w(r, s) x(s) / sum w`` with ``w = G(|r - s|) G(x(r) - x(s))``.

    Args:
        range_sigma: standard deviation of the values' Gaussian in the image's units; None takes ``range_factor`` times
            the noise level.
        space_sigma: standard deviation of the distances' Gaussian in multiples of the finest spacing, equal in mm.
        diameter: of the neighbourhood in voxels, odd.
        range_factor: see ``range_sigma``.
        preset: ``"source"`` for the source's diameter 9, space_sigma 75 and range_sigma of 75/255 of the image's range.
        noise: see `GaussianDenoise`.
        sigma: noise level; None estimates it if it is needed.
        strength: share of what the filter finds that is removed, 0 to 1; None for 1, or 0.6 for CT noise, see
            `GaussianDenoise`.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: C. Tomasi & R. Manduchi, Bilateral filtering for gray and color images, ICCV 1998.

    Example:
        >>> step = torch.tensor([0.0, 100.0]).repeat_interleave(8).expand(1, 16, 16) + torch.randn(1, 16, 16)
        >>> smooth = BilateralDenoise(range_sigma=4)(step)
        >>> bool(smooth[0, :, :8].std() < 0.7), bool((smooth[0, :, 8:].mean() - smooth[0, :, :8].mean()) > 99)
        (True, True)
    """

    command = "bilateral"
    gallery = GalleryEntry(({"range_factor": 1.5}, {"range_factor": 3}, {"range_factor": 6}))
    classical = True

    def __init__(
        self,
        range_sigma: float | None = None,
        space_sigma: float = 1.5,
        diameter: int = 7,
        range_factor: float = 3,
        preset: str | None = None,
        noise: str = "gaussian",
        sigma: float | None = None,
        strength: float | None = None,
    ) -> None:
        super().__init__(sigma, noise, strength)
        self.source = is_source(preset)
        self.range_sigma = None if range_sigma is None else number("range_sigma", range_sigma, 0)
        self.space_sigma = 75.0 if self.source else number("space_sigma", space_sigma, 1e-3)
        self.diameter = 9 if self.source else odd_number("diameter", diameter, 1, 31)
        self.range_factor = number("range_factor", range_factor, 0)
        if self.source and range_sigma is not None:
            raise ValueError(f"preset 'source' excludes range_sigma, got {range_sigma!r}")
        if noise == "rician" and range_sigma is not None:
            raise ValueError(f"range_sigma must be None for noise='rician', got {range_sigma!r}: give range_factor")

    @property
    def reach(self) -> int:
        return self.diameter // 2

    def filter_settings(self) -> Params:
        rest = {"space_sigma": self.space_sigma, "diameter": self.diameter, "range_factor": self.range_factor}
        if self.source:
            return {"range_share": 75 / 255, **rest}
        return rest if self.range_sigma is None else {"range_sigma": self.range_sigma, **rest}

    @classmethod
    def needs_sigma(cls, settings: Params) -> bool:
        return is_rician(settings["noise"]) or not {"range_share", "range_sigma"} & settings.keys()

    @classmethod
    def filtered(
        cls, image: torch.Tensor, sigma: torch.Tensor, settings: Params, spacing: tuple[float, ...], guide: Any
    ) -> torch.Tensor:
        if "range_share" in settings:
            low, high = image.flatten(1).aminmax(dim=1)
            width = settings["range_share"] * (high - low)
        elif "range_sigma" in settings:
            width = torch.full_like(sigma, settings["range_sigma"])
        else:
            width = settings["range_factor"] * sigma
        space = [settings["space_sigma"] * min(spacing) / s for s in spacing]
        return bilateral_smooth(
            image, settings["diameter"], width, torch.tensor(space, device="cpu").expand(len(image), -1)
        )


BilateralDenoised = dictionary_twin(BilateralDenoise)
BilateralDenoiseD = BilateralDenoiseDict = BilateralDenoised
