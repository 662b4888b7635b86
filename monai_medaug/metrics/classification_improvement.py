"""Classification of originals against enhanced images: accuracy and area under the ROC curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from monai_medaug.core.tensors import require_finite
from monai_medaug.functional.paired import area_under_curve, bootstrap_p, mcnemar_p
from monai_medaug.metrics.improvement import ImprovementMetric, ImprovementReport


class ClassificationImprovementMetric(ImprovementMetric):
    """Does classification go better on enhanced images? Accuracy and area under the ROC curve (AUC).

    Accuracy is judged by McNemar's exact test, the AUC by the bootstrap, both with an interval of a paired bootstrap
    over cases. With more than two classes the AUC is the mean over classes, one against the rest. It is not defined,
    and None in the report, where all cases are of one class.

    Args:
        threshold: of a single score, from which on a case counts as class 1; 0.5 fits probabilities, 0 logits.
        level: of the intervals.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Call: ``metric(y_pred, y)`` with ``y_pred`` (B, 2, C), the scores on the original and on the enhanced image, one a
    class or a single one, and ``y`` (B,) or (B, 1), the class's number; or lists of such without B.

    Raises:
        ValueError: shapes differ, scores are not finite, or a class has no score.

    Example:
        >>> truth = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> blind, seeing = torch.full((6, 1), 0.4), truth[:, None] * 0.8 + 0.1
        >>> metric = ClassificationImprovementMetric()
        >>> _ = metric(torch.stack([blind, seeing], 1), truth)
        >>> found = metric.report()
        >>> found["accuracy"]["original"], found["accuracy"]["enhanced"], found["auc"]["gain"], found["accuracy"]["p"]
        (0.5, 1.0, 0.5, 0.25)
    """

    def __init__(self, threshold: float = 0.5, level: float = 0.95, draws: int = 2000, seed: int = 0) -> None:
        super().__init__(level, draws, seed)
        self.threshold = float(threshold)

    def _compute_tensor(self, y_pred: Any, y: Any = None) -> torch.Tensor:
        scores = torch.as_tensor(y_pred).double()
        truth = torch.as_tensor(y).reshape(-1)
        if scores.ndim != 3 or scores.shape[1] != 2 or len(truth) != len(scores):
            raise ValueError(
                f"y_pred must have the shape (B, 2, C), original and enhanced, and y (B,), got {tuple(scores.shape)} "
                f"and {tuple(torch.as_tensor(y).shape)}"
            )
        require_finite(scores, "y_pred")
        classes = max(scores.shape[2], 2)
        if not bool(((truth >= 0) & (truth < classes) & (truth == truth.round())).all()):
            raise ValueError(f"y must hold classes from 0 to {classes - 1}, got {truth.unique().tolist()}")
        return torch.cat([scores.flatten(1), truth.double()[:, None].to(scores.device)], 1)

    def _compute_list(self, y_pred: Any, y: Any = None) -> torch.Tensor:
        each = [
            self._compute_tensor(p[None], torch.as_tensor(own).reshape(1)) for p, own in zip(y_pred, y, strict=True)
        ]
        return torch.cat(each)

    def report(self) -> ImprovementReport:
        """Accuracy and AUC before and after, gains, intervals and p."""
        found = self.get_buffer()
        if found is None:
            raise ValueError("no cases were added: call the metric before its report")
        values = found.cpu().numpy()
        truth = values[:, -1].astype(int)
        scores = values[:, :-1].reshape(len(values), 2, -1)
        right = self._classes(scores) == truth[:, None]

        def gain(drawn: np.ndarray) -> np.ndarray:
            before, after = (_mean_auc(scores[drawn, side], truth[drawn]) for side in (0, 1))
            return after - before

        areas = [float(_mean_auc(scores[:, side], truth)) for side in (0, 1)]
        gains = right[:, 1].astype(float) - right[:, 0]
        return ImprovementReport(
            {
                "accuracy": self._entry(
                    float(right[:, 0].mean()),
                    float(right[:, 1].mean()),
                    lambda drawn: gains[drawn].mean(1),
                    len(truth),
                    lambda _: mcnemar_p(right[:, 0], right[:, 1]),
                ),
                "auc": self._entry(areas[0], areas[1], gain, len(truth), bootstrap_p),
            }
        )

    def _classes(self, scores: np.ndarray) -> np.ndarray:
        if scores.shape[2] == 1:
            return (scores[..., 0] >= self.threshold).astype(int)
        return scores.argmax(2)


def _mean_auc(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of scores (…, cases, C) and classes (…, cases): that of class 1, or the mean over more than two classes."""
    if scores.shape[-1] <= 2:
        return area_under_curve(scores[..., -1] - (scores[..., 0] if scores.shape[-1] == 2 else 0), truth == 1)
    each = [area_under_curve(scores[..., c], truth == c) for c in range(scores.shape[-1])]
    return np.mean(each, axis=0)
