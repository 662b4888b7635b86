"""Augmentation that is learned, or drawn without a search: policies as data, baselines, searches, adaptive choice."""

from monai_medaug.policies.adaptive import (
    AdaptiveAugment,
    AdaptiveAugmentD,
    AdaptiveAugmentd,
    AdaptiveAugmentDict,
)
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
from monai_medaug.policies.constraint import PreservationConstraint
from monai_medaug.policies.measured import Burden, image_burdens
from monai_medaug.policies.operations import PolicyOperation, PolicyStep, SubPolicy, policy_operations
from monai_medaug.policies.policy import AugmentationPolicy, PolicyAugmentation
from monai_medaug.policies.result import PolicySearch
from monai_medaug.policies.scale_out import search_on_ray
from monai_medaug.policies.search import PolicyPruned, PolicyTrial, search_policy
from monai_medaug.policies.space import PolicySpace

__all__ = [
    "AdaptiveAugment",
    "AdaptiveAugmentD",
    "AdaptiveAugmentDict",
    "AdaptiveAugmentd",
    "AugmentationPolicy",
    "Burden",
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
    "PolicyPruned",
    "PolicySearch",
    "PolicySpace",
    "PolicyStep",
    "PolicyTrial",
    "PreservationConstraint",
    "SubPolicy",
    "image_burdens",
    "policy_operations",
    "search_on_ray",
    "search_policy",
]
