"""Batch augmentation in MONAI's training engines."""

from monai_medaug.engines.handlers import SampleEpochHandler
from monai_medaug.engines.prepare_batch import (
    AdversarialPrepareBatch,
    AugmentingPrepareBatch,
    BatchTransforming,
    MixingPrepareBatch,
)

__all__ = [
    "AdversarialPrepareBatch",
    "AugmentingPrepareBatch",
    "BatchTransforming",
    "MixingPrepareBatch",
    "SampleEpochHandler",
]
