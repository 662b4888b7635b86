"""Segmentation on originals against enhanced images: Dice, IoU and Hausdorff distances, never infinite."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance

from monai_medaug.core.arguments import flag
from monai_medaug.core.tensors import plain_tensor, say_once
from monai_medaug.functional.quality.noise_power import axis_spacings
from monai_medaug.metrics.base import sample_grids
from monai_medaug.metrics.improvement import ImprovementMetric, ImprovementReport

MEASURES = ("dice", "iou", "hausdorff95_mm", "hausdorff_mm")


class SegmentationImprovementMetric(ImprovementMetric):
    """Does segmentation go better on enhanced images? Dice, IoU, Hausdorff distance and its 95th percentile in mm.

    Where truth and prediction are both empty, Dice and IoU are 1 and distances 0; where one of them is, Dice and IoU
    are 0 and distances the image's diagonal, the greatest that there could be. The Hausdorff distance is the greatest
    distance from a border voxel of either mask to the other's border; "95" takes the 95th percentile of each
    direction, then the greater. Measures are averaged over the classes of a case. The interval is a paired bootstrap
    over cases, p that of Wilcoxon's signed-rank test.

    Args:
        include_background: whether the first of several channels counts.
        spacing_mm: of the voxels; None takes that of ``y`` where it is a MetaTensor, else 1 mm, which is said once.
        level: of the intervals.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Call: ``metric(y_pred, y)`` with ``y_pred`` (B, 2, C, *spatial), the masks predicted on the original and on the
    enhanced image, and ``y`` (B, C, *spatial), both one-hot or of one channel; or lists of such without B.

    Raises:
        ValueError: shapes differ, or masks hold other values than 0 and 1.

    Example:
        >>> truth = torch.zeros(6, 1, 16, 16)
        >>> truth[:, :, 4:12, 4:12] = 1
        >>> poor = truth.clone()
        >>> poor[:, :, 4:8] = 0
        >>> metric = SegmentationImprovementMetric(spacing_mm=2.0)
        >>> _ = metric(torch.stack([poor, truth], 1), truth)
        >>> found = metric.report()
        >>> round(found["dice"]["gain"], 3), found["hausdorff_mm"]["gain"], found["dice"]["p"] < 0.05
        (0.333, 8.0, True)
    """

    def __init__(
        self,
        include_background: bool = False,
        spacing_mm: Sequence[float] | float | None = None,
        level: float = 0.95,
        draws: int = 2000,
        seed: int = 0,
    ) -> None:
        super().__init__(level, draws, seed)
        self.include_background = flag("include_background", include_background)
        self.spacing_mm = spacing_mm

    def _compute_tensor(self, y_pred: Any, y: Any = None) -> torch.Tensor:
        truth = plain_tensor(y, "y", batch=True)
        pairs = y_pred.as_tensor() if hasattr(y_pred, "as_tensor") else torch.as_tensor(y_pred)
        if pairs.ndim != truth.ndim + 1 or pairs.shape[1] != 2 or pairs.shape[2:] != truth.shape[1:]:
            expected = (len(truth), 2, *truth.shape[1:])
            raise ValueError(f"y_pred must have the shape {expected}, original and enhanced, got {tuple(pairs.shape)}")
        for name, mask in (("y_pred", pairs), ("y", truth)):
            if not bool(((mask == 0) | (mask == 1)).all()):
                raise ValueError(f"{name} must hold 0 and 1, got other values: binarise it first (AsDiscrete)")
        first = 0 if self.include_background or truth.shape[1] == 1 else 1
        rows = []
        for pair, own, spacing in zip(pairs.bool(), truth.bool(), self._spacings(y, truth.ndim - 2), strict=True):
            each = [_measures(pair[:, c], own[c], spacing) for c in range(first, len(own))]
            rows.append(torch.stack(each).mean(0))
        return torch.stack(rows)

    def _spacings(self, y: Any, axes: int) -> list[tuple[float, ...]]:
        if self.spacing_mm is not None:
            return [axis_spacings(self.spacing_mm, axes)] * len(y)
        grids = sample_grids(y)
        if grids[0].affine is None:
            say_once("masks without an affine: voxels count as 1 mm, and distances are in voxels; give spacing_mm")
        return [grid.spacing for grid in grids]

    def report(self) -> ImprovementReport:
        """Means, gains, intervals and p of each measure."""
        found = self.get_buffer()
        if found is None:
            raise ValueError("no cases were added: call the metric before its report")
        values = found.double().cpu().numpy()
        return ImprovementReport(
            {
                name: self._mean_entry(values[:, 0, m], values[:, 1, m], name.startswith("hausdorff"))
                for m, name in enumerate(MEASURES)
            }
        )


def _measures(pair: torch.Tensor, truth: torch.Tensor, spacing: tuple[float, ...]) -> torch.Tensor:
    """The measures (2, 4) of two masks (2, *spatial) of one class."""
    rows = []
    for mask in pair:
        common, either = int((mask & truth).sum()), int((mask | truth).sum())
        total = int(mask.sum()) + int(truth.sum())
        overlap = (2 * common / total, common / either) if total else (1.0, 1.0)
        rows.append([*overlap, *_border_distances(mask, truth, spacing)])
    return torch.tensor(rows)


def _border_distances(mask: torch.Tensor, truth: torch.Tensor, spacing: tuple[float, ...]) -> tuple[float, float]:
    """The 95th percentile and the greatest of the distances, in mm."""
    if not bool(mask.any()) or not bool(truth.any()):
        none = bool(mask.any()) == bool(truth.any())
        greatest = 0.0 if none else math.hypot(*((n - 1) * s for n, s in zip(mask.shape, spacing, strict=True)))
        return greatest, greatest
    shown = (mask | truth).nonzero()
    box = tuple(
        slice(max(a - 1, 0), b + 2) for a, b in zip(shown.amin(0).tolist(), shown.amax(0).tolist(), strict=True)
    )

    def distance(percentile: float | None) -> float:
        pair = (x[box][None, None].float() for x in (mask, truth))
        return float(compute_hausdorff_distance(*pair, True, percentile=percentile, spacing=list(spacing)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's, on the future of an argument of its own
        return distance(95.0), distance(None)
