"""Metrics without a reference: entropy, contrast, sharpness, noise level."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import choice, number, whole_number, wide_span
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.noise.correlation import correlated_noise
from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.functional.quality.intensity import contrast_to_noise, histogram_entropy
from monai_medaug.functional.quality.sharpness import structure_sharpness
from monai_medaug.metrics.base import ImageQualityMetric, each_image


class EntropyMetric(ImageQualityMetric):
    """Entropy of the grey values in bits: -Σ p log2 p over bins of equal width.

    Noise raises it as detail does: compare images of equal noise. A constant image has 0.

    Args:
        value_range: (low, high) of the bins, beyond which values count in the outermost; None takes those of each
            image, which makes images of different range incomparable.
        bins: how many.
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: an argument is out of its range; a call on images that are not finite, or on an empty mask.

    Example:
        >>> metric = EntropyMetric(value_range=(0, 256))
        >>> metric(torch.arange(256.0).reshape(1, 1, 16, 16)).tolist()
        [[8.0]]
    """

    compares = False

    def __init__(
        self,
        value_range: Sequence[float] | None = None,
        bins: int = 256,
        reduction: str = "mean",
        get_not_nans: bool = False,
    ) -> None:
        super().__init__(reduction, get_not_nans)
        self.value_range = None if value_range is None else wide_span("value_range", value_range)
        self.bins = whole_number("bins", bins, 2)

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        found = []
        for values in each_image(y_pred, masks.get("mask")):
            low, high = self.value_range or (float(values.min()), float(values.max()))
            found.append(histogram_entropy(values, low, high, self.bins))
        return torch.stack(found).reshape(y_pred.shape[:2])


class ContrastMetric(ImageQualityMetric):
    """Standard deviation of the grey values; between two masks the contrast-to-noise ratio.

    With ``mask=`` and ``background=``: |mean inside - mean of the background| / standard deviation of the background.
    The standard deviation alone grows with noise. A constant image has 0.

    Args:
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: a call on images that are not finite, on an empty mask, on a background without a mask, or on one
            that is constant.

    Example:
        >>> metric = ContrastMetric()
        >>> image = torch.tensor([[[[5.0, 5.0], [0.0, 2.0]]]])
        >>> inside = torch.tensor([[[[1, 1], [0, 0]]]])
        >>> metric(image, mask=inside, background=1 - inside).tolist()
        [[4.0]]
    """

    compares = False
    regions = ("mask", "background")

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        inside = each_image(y_pred, masks.get("mask"))
        if "background" not in masks:
            found = [values.std(correction=0) for values in inside]
        elif "mask" not in masks:
            raise ValueError("mask must be given with background, got none")
        else:
            behind = each_image(y_pred, masks["background"])
            found = [contrast_to_noise(a, b) for a, b in zip(inside, behind, strict=True)]
        return torch.stack(found).reshape(y_pred.shape[:2])


class SharpnessMetric(ImageQualityMetric):
    """Variance of the Laplacian of the slightly smoothed image, less what white noise adds to it.

    The plain variance of the Laplacian takes noise for sharpness: at σ = 0.05 of the range a head's grows 14-fold. This
    one moves by less than 10 %. The noise of a CT is correlated and counts in part: `evaluate_enhancement` judges that
    by the edges. Distant slices weigh little, by the spacing. A constant image and one voxel have 0.

    Args:
        smoothing: standard deviation of the Gaussian, in voxels of the finest spacing; 0 for the plain Laplacian, whose
            compensation leaves chance errors as large as the structure.
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: ``smoothing`` is negative; a call on images that are not finite, or on an empty mask.

    Example:
        >>> metric = SharpnessMetric()
        >>> edge = (torch.arange(96.0) > 47).float().expand(1, 1, 96, 96)
        >>> noise = 0.05 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
        >>> abs(float(metric(edge + noise) / metric(edge)) - 1) < 0.1
        True
    """

    compares = False

    def __init__(self, smoothing: float = 1.0, reduction: str = "mean", get_not_nans: bool = False) -> None:
        super().__init__(reduction, get_not_nans)
        self.smoothing = number("smoothing", smoothing, 0)

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        mask = masks.get("mask")
        each = [
            structure_sharpness(
                y_pred[i : i + 1], grid.spacing, self.smoothing, None if mask is None else mask[i : i + 1]
            )
            for i, grid in enumerate(grids)
        ]
        return torch.cat(each)


class NoiseLevelMetric(ImageQualityMetric):
    """Standard deviation of the noise.

    Args:
        noise: ``"gaussian"``, white noise, from the finest details; ``"ct"``, correlated noise in HU, from flat soft
            tissue, nan where there is too little of it, which MONAI's reductions leave out.
        reduction: as in MONAI.
        get_not_nans: as in MONAI.

    Raises:
        ValueError: ``noise`` is none of these; a call on images that are not finite.

    Example:
        >>> noise = 5 * torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
        >>> round(float(NoiseLevelMetric()(noise + 40)), 1)
        5.0
    """

    compares = False
    regions = ()

    def __init__(self, noise: str = "gaussian", reduction: str = "mean", get_not_nans: bool = False) -> None:
        super().__init__(reduction, get_not_nans)
        self.noise = choice("noise", noise, ("gaussian", "ct"))

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        if self.noise == "gaussian":
            return mad_sigma(y_pred)
        out = torch.full(y_pred.shape[:2], torch.nan, dtype=y_pred.dtype, device=y_pred.device)
        for b, grid in enumerate(grids):
            for c, image in enumerate(y_pred[b]):
                found = correlated_noise(image, slice_axis(grid))
                if found is not None:
                    out[b, c] = found.sigma
        return out
