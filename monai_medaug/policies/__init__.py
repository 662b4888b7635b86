"""Augmentation that is learned, or drawn without a search: policies as data, baselines, searches, adaptive choice."""

from monai_medaug.policies.baselines import (
    MedRandAugment,
    MedRandAugmentD,
    MedRandAugmentd,
    MedRandAugmentDict,
    MedTrivialAugment,
    MedTrivialAugmentD,
    MedTrivialAugmentd,
    MedTrivialAugmentDict,
)
from monai_medaug.policies.operations import PolicyOperation, PolicyStep, SubPolicy, policy_operations
from monai_medaug.policies.policy import AugmentationPolicy, PolicyAugmentation

__all__ = [
    "AugmentationPolicy",
    "MedRandAugment",
    "MedRandAugmentD",
    "MedRandAugmentDict",
    "MedRandAugmentd",
    "MedTrivialAugment",
    "MedTrivialAugmentD",
    "MedTrivialAugmentDict",
    "MedTrivialAugmentd",
    "PolicyAugmentation",
    "PolicyOperation",
    "PolicyStep",
    "SubPolicy",
    "policy_operations",
]
