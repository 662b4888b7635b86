"""What a trained network reaches on each case of a test set, and the figures that sum it up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.losses.dice import DiceCELoss
from torch import nn

from monai_medaug.functional.crossed import weighted_areas, weighted_means

MEASURES_OF = {"segmentation": ("dice",), "classification": ("auc", "accuracy")}
"""By task; the first is the one that plots show."""


class TaskLoss(nn.Module):
    """The usual loss of a task: Dice and cross-entropy of masks, cross-entropy of classes; of one channel by a sigmoid.

    Args:
        task: ``"segmentation"`` or ``"classification"``.

    Raises:
        ValueError: a label has a class for which the network has no channel.

    Example:
        >>> loss = TaskLoss("classification")
        >>> round(float(loss(torch.zeros(2, 2), torch.tensor([0, 1]))), 3)
        0.693
    """

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task
        self.one, self.several = DiceCELoss(sigmoid=True), DiceCELoss(to_onehot_y=True, softmax=True)

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        single = prediction.shape[1] == 1
        if not single and int(target.max()) >= prediction.shape[1]:
            raise ValueError(
                f"label must hold classes below the network's {prediction.shape[1]} channels, got {int(target.max())}"
            )
        if self.task == "segmentation":
            mixed = target.shape[1] == prediction.shape[1] and not single  # a mix of masks has a channel for each class
            if mixed:
                return DiceCELoss(softmax=True)(prediction, target)
            return self.one(prediction, (target > 0).float()) if single else self.several(prediction, target)
        if single:
            return nn.functional.binary_cross_entropy_with_logits(prediction[:, 0], target.reshape(-1).float())
        soft = target.ndim == 2 and target.shape[1] == prediction.shape[1]
        return nn.functional.cross_entropy(prediction, target.float() if soft else target.reshape(-1).long())


def case_outcomes(task: str, prediction: torch.Tensor, target: torch.Tensor) -> tuple[list[Any], list[Any]]:
    """Of a batch of logits (N, C, ...): each case's Dice, or each case's probabilities; and the classes that are true.

    The Dice of a case is the mean over the classes above 0, 1 for one that neither truth nor prediction has.

    Example:
        >>> logits = torch.tensor([[[[-1.0, 1.0], [1.0, 1.0]]]])
        >>> case_outcomes("segmentation", logits, torch.tensor([[[[0, 1], [1, 0]]]]))
        ([0.8], [])
        >>> case_outcomes("classification", torch.zeros(1, 2), torch.tensor([1]))
        ([[0.5, 0.5]], [1])
    """
    single = prediction.shape[1] == 1
    if task == "classification":
        each = torch.cat([1 - prediction.sigmoid(), prediction.sigmoid()], 1) if single else prediction.softmax(1)
        return [[round(p, 6) for p in row] for row in each.tolist()], target.reshape(-1).int().tolist()
    found = (prediction[:, 0] > 0).long() if single else prediction.argmax(1)
    truth = target[:, 0] > 0 if single else target[:, 0]
    rows = []
    for own in range(1, max(prediction.shape[1], 2)):
        a, b = (found == own).flatten(1), (truth == own).flatten(1)
        total = a.sum(1) + b.sum(1)
        rows.append(torch.where(total > 0, 2 * (a & b).sum(1) / total.clamp_min(1), 1.0))
    return [round(d, 6) for d in torch.stack(rows).mean(0).tolist()], []


def finite_or_none(value: float) -> float | None:
    """A figure for JSON, None where it is not defined: the area under the ROC curve of cases of one class.

    Example:
        >>> finite_or_none(np.float64(0.5)), finite_or_none(float("nan"))
        (0.5, None)
    """
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True)
class SetOutcomes:
    """Of a strategy on a test set: ``values``, (seeds, cases) or (seeds, cases, classes), and ``truth``, (cases,)."""

    values: np.ndarray
    truth: np.ndarray

    def measures(self) -> Mapping[str, Callable[[np.ndarray], np.ndarray]]:
        """By name: from the weights of cases (draws, cases) to each seed's figure (draws, seeds).

        Example:
            >>> found = SetOutcomes(np.array([[[0.8, 0.2], [0.3, 0.7]]]), np.array([0, 1])).measures()
            >>> {name: measure(np.ones((1, 2))).tolist() for name, measure in found.items()}
            {'auc': [[1.0]], 'accuracy': [[1.0]]}
        """
        if self.values.ndim == 2:
            return {"dice": lambda weights: weighted_means(self.values, weights)}
        right = (self.values.argmax(2) == self.truth).astype(float)
        return {"auc": self._areas, "accuracy": lambda weights: weighted_means(right, weights)}

    def _areas(self, weights: np.ndarray) -> np.ndarray:
        """Of class 1, or the mean over more than two classes, each against the rest."""
        classes = self.values.shape[2]
        each = [
            weighted_areas(self.values[..., c], self.truth == c, weights)
            for c in ([1] if classes == 2 else range(classes))
        ]
        return np.mean(each, axis=0)
