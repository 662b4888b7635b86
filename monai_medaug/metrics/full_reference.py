"""Metrics with a reference: SSIM, HaarPSI, PSNR with a bound, HU accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.metrics.regression import PSNRMetric

from monai_medaug.core.arguments import choice, number
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.quality.haarpsi import MEDICAL, PAPER, haarpsi
from monai_medaug.functional.quality.ssim import SIDE, inner_windows, ssim_map
from monai_medaug.metrics.base import ImageQualityMetric, checked_images, each_image, value_scale

_CONSTANTS = {"paper": PAPER, "medical": MEDICAL}


class SeparableSSIMMetric(ImageQualityMetric):
    """Structural similarity, 2D and 3D: 1 for equal images.

    The Gaussian SSIM of scikit-image (σ 1.5, 11 voxels a side, K 0.01 and 0.03, windows within the image), by
    separable windows: a small part of the time of `monai.metrics.SSIMMetric`. An axis of fewer than 11 voxels is not
    averaged over, so that a thin stack is compared slice by slice. A mask keeps the windows around its voxels.

    Args:
        data_range: greatest minus least possible value, such as 1 or 255. Values are taken as they are.
        hu_window: instead, for a CT: a window of `HUWindow` or (centre, width). Values are clipped to it.
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: neither or both of ``data_range`` and ``hu_window``; a call on images that differ in shape, are not
            finite, have no axis of 11 voxels, or on a mask without a voxel where a window lies within the image.

    Source: Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE TIP 2004.

    Example:
        >>> ssim = SeparableSSIMMetric(data_range=1.0)
        >>> x = torch.rand(2, 1, 32, 32, 32)
        >>> ssim(x, x).tolist(), ssim.aggregate()
        ([[1.0], [1.0]], tensor([1.]))
    """

    def __init__(
        self,
        data_range: float | None = None,
        hu_window: str | Sequence[float] | None = None,
        reduction: str = "mean",
        get_not_nans: bool = False,
    ) -> None:
        super().__init__(reduction, get_not_nans)
        self.scale = value_scale(data_range, hu_window)

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        assert y is not None
        if max(y_pred.shape[2:]) < SIDE:
            raise ValueError(f"y_pred must have an axis of {SIDE} voxels or more, got {tuple(y_pred.shape[2:])}")
        values = ssim_map(self.scale(y_pred), self.scale(y), self.scale.data_range)
        if "mask" not in masks:
            return values.flatten(2).mean(2)
        means = [v.mean() for v in each_image(values, inner_windows(masks["mask"]))]
        if any(bool(m.isnan()) for m in means):
            raise ValueError(f"mask must hold a voxel {SIDE // 2} or more from the border, got none")
        return torch.stack(means).reshape(y_pred.shape[:2])


class HaarPSIMetric(ImageQualityMetric):
    """Haar wavelet-based perceptual similarity: 1 for equal images; near to how radiologists rate.

    A volume is compared in its slices, across the axis nearest to the world's third, and pooled. See
    `functional.quality.haarpsi`.

    Args:
        data_range: greatest possible value; images begin at 0.
        hu_window: instead, for a CT: a window of `HUWindow` or (centre, width). Values are clipped to it.
        constants: ``"paper"``, C = 30 and α = 4.2, for photographs; ``"medical"``, C = 5 and α = 4.9.
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: as `SeparableSSIMMetric`.

    Source: Reisenhofer et al., A Haar wavelet-based perceptual similarity index for image quality assessment, 2018;
    the medical constants: arXiv 2410.24098.

    Example:
        >>> metric = HaarPSIMetric(data_range=1.0, constants="medical")
        >>> x = torch.rand(1, 1, 64, 64)
        >>> round(float(metric(x, x)), 4)
        1.0
    """

    def __init__(
        self,
        data_range: float | None = None,
        hu_window: str | Sequence[float] | None = None,
        constants: str = "paper",
        reduction: str = "mean",
        get_not_nans: bool = False,
    ) -> None:
        super().__init__(reduction, get_not_nans)
        self.scale = value_scale(data_range, hu_window)
        self.constants = choice("constants", constants, tuple(_CONSTANTS))

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        assert y is not None
        rows = []
        for i, grid in enumerate(grids):
            across = slice_axis(grid)
            first, second, *mask = (
                x[i].unsqueeze(1) if across is None else x[i].movedim(across + 1, 1)
                for x in (self.scale(y_pred), self.scale(y), *masks.values())
            )
            constants = _CONSTANTS[self.constants]
            rows.append(haarpsi(first, second, self.scale.data_range, constants, mask[0] if mask else None))
        return torch.stack(rows)


class BoundedPSNRMetric(PSNRMetric):
    """MONAI's `PSNRMetric` with a bound, so that one pair of equal images doesn't make a mean infinite.

    Args:
        max_val: data range, as in MONAI.
        bound: greatest value in dB; at 100 images differ by 1e-5 of the range.
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: ``max_val`` is not above 0; a call on images that differ in shape or are not finite.

    Example:
        >>> psnr = BoundedPSNRMetric(max_val=1.0)
        >>> x = torch.zeros(1, 1, 4, 4)
        >>> psnr(x, x).tolist(), psnr(x + 0.1, x).round().tolist()
        ([[100.0]], [[20.0]])
    """

    def __init__(
        self, max_val: float, bound: float = 100.0, reduction: str = "mean", get_not_nans: bool = False
    ) -> None:
        super().__init__(number("max_val", max_val, 1e-12), reduction, get_not_nans)
        self.bound = number("bound", bound)

    def _compute_tensor(self, y_pred: Any, y: Any = None) -> torch.Tensor:
        image, reference = checked_images(y_pred, "y_pred"), checked_images(y, "y")
        return super()._compute_tensor(image, reference).clamp(max=self.bound)


class HUAccuracyMetric(ImageQualityMetric):
    """How far the mean value of a region is off, |mean of y_pred - mean of y|, in HU: a denoiser must not move it.

    Args:
        expected_hu: what the region's mean should be, such as 0 in water; None takes that of ``y``.
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: a call on images that differ in shape or are not finite, or on an empty mask.

    Example:
        >>> metric = HUAccuracyMetric()
        >>> water = torch.zeros(1, 1, 8, 8)
        >>> metric(water + 3.0, water, mask=torch.ones(1, 1, 8, 8)).tolist()
        [[3.0]]
    """

    def __init__(self, expected_hu: float | None = None, reduction: str = "mean", get_not_nans: bool = False) -> None:
        super().__init__(reduction, get_not_nans)
        self.expected_hu = None if expected_hu is None else number("expected_hu", expected_hu)
        self.compares = expected_hu is None

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        wanted = torch.as_tensor(self.expected_hu) if y is None else y.double()
        difference = y_pred.double() - wanted
        means = [v.mean().abs() for v in each_image(difference, masks.get("mask"))]
        return torch.stack(means).reshape(y_pred.shape[:2]).to(y_pred.dtype)
