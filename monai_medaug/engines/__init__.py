"""Batch augmentation in MONAI's training engines, and the training of restoration networks."""

from monai_medaug.engines.handlers import SampleEpochHandler
from monai_medaug.engines.inferer import RestorationInferer
from monai_medaug.engines.prepare_batch import (
    AdversarialPrepareBatch,
    AugmentingPrepareBatch,
    BatchTransforming,
    MixingPrepareBatch,
)
from monai_medaug.engines.restoration import RestorationLoss, restoration_trainer
from monai_medaug.engines.self_supervised import BlindSpotPrepareBatch, NeighbourSlicePrepareBatch
from monai_medaug.engines.super_resolution import ReducingPrepareBatch

__all__ = [
    "AdversarialPrepareBatch",
    "AugmentingPrepareBatch",
    "BatchTransforming",
    "BlindSpotPrepareBatch",
    "MixingPrepareBatch",
    "NeighbourSlicePrepareBatch",
    "ReducingPrepareBatch",
    "RestorationInferer",
    "RestorationLoss",
    "SampleEpochHandler",
    "restoration_trainer",
]
