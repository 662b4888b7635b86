"""Batch augmentation in MONAI's training engines, and the training of networks that restore or generate."""

from monai_medaug.engines.feature_training import train_feature_network
from monai_medaug.engines.gan import train_gan
from monai_medaug.engines.gan_losses import NonSaturatingLosses, discriminator_augmentation
from monai_medaug.engines.generation_monitor import GenerationMonitor
from monai_medaug.engines.handlers import SampleEpochHandler
from monai_medaug.engines.inferer import RestorationInferer
from monai_medaug.engines.noise_prediction import NoisePredictionPrepareBatch
from monai_medaug.engines.prepare_batch import (
    AdversarialPrepareBatch,
    AugmentingPrepareBatch,
    BatchTransforming,
    MixingPrepareBatch,
)
from monai_medaug.engines.restoration import RestorationLoss, restoration_trainer
from monai_medaug.engines.sample_files import write_samples
from monai_medaug.engines.self_supervised import BlindSpotPrepareBatch, NeighbourSlicePrepareBatch
from monai_medaug.engines.super_resolution import ReducingPrepareBatch
from monai_medaug.networks.generated import generate_samples

__all__ = [
    "AdversarialPrepareBatch",
    "AugmentingPrepareBatch",
    "BatchTransforming",
    "BlindSpotPrepareBatch",
    "GenerationMonitor",
    "MixingPrepareBatch",
    "NeighbourSlicePrepareBatch",
    "NoisePredictionPrepareBatch",
    "NonSaturatingLosses",
    "ReducingPrepareBatch",
    "RestorationInferer",
    "RestorationLoss",
    "SampleEpochHandler",
    "discriminator_augmentation",
    "generate_samples",
    "restoration_trainer",
    "train_feature_network",
    "train_gan",
    "write_samples",
]
