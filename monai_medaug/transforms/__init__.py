"""Array transforms and their dictionary twins. Type checkers read the generated ``__init__.pyi``."""

from monai_medaug.transforms.batch import Batched
from monai_medaug.transforms.ct import (
    HUWindow,
    HUWindowD,
    HUWindowd,
    HUWindowDict,
    RandHUContrast,
    RandHUContrastD,
    RandHUContrastd,
    RandHUContrastDict,
    RandHUWindow,
    RandHUWindowD,
    RandHUWindowd,
    RandHUWindowDict,
)
from monai_medaug.transforms.ct_artifacts import (
    RandCTBeamHardening,
    RandCTBeamHardeningD,
    RandCTBeamHardeningd,
    RandCTBeamHardeningDict,
    RandCTMotion,
    RandCTMotionD,
    RandCTMotiond,
    RandCTMotionDict,
    RandCTRing,
    RandCTRingD,
    RandCTRingd,
    RandCTRingDict,
)
from monai_medaug.transforms.ct_dose import RandCTDose, RandCTDoseD, RandCTDosed, RandCTDoseDict
from monai_medaug.transforms.ct_metal import (
    RandCTMetal,
    RandCTMetalD,
    RandCTMetald,
    RandCTMetalDict,
    inserted_metal,
)
from monai_medaug.transforms.preserving import PreservingCompose
from monai_medaug.transforms.presets import AugmentationPreset, ct_augmentation
from monai_medaug.transforms.replay import replay
from monai_medaug.transforms.report import Report, augmentation_report
from monai_medaug.transforms.spatial import (
    RandAffineElastic,
    RandAffineElasticD,
    RandAffineElasticd,
    RandAffineElasticDict,
)

__all__ = [
    "AugmentationPreset",
    "Batched",
    "HUWindow",
    "HUWindowD",
    "HUWindowDict",
    "HUWindowd",
    "PreservingCompose",
    "RandAffineElastic",
    "RandAffineElasticD",
    "RandAffineElasticDict",
    "RandAffineElasticd",
    "RandCTBeamHardening",
    "RandCTBeamHardeningD",
    "RandCTBeamHardeningDict",
    "RandCTBeamHardeningd",
    "RandCTDose",
    "RandCTDoseD",
    "RandCTDoseDict",
    "RandCTDosed",
    "RandCTMetal",
    "RandCTMetalD",
    "RandCTMetalDict",
    "RandCTMetald",
    "RandCTMotion",
    "RandCTMotionD",
    "RandCTMotionDict",
    "RandCTMotiond",
    "RandCTRing",
    "RandCTRingD",
    "RandCTRingDict",
    "RandCTRingd",
    "RandHUContrast",
    "RandHUContrastD",
    "RandHUContrastDict",
    "RandHUContrastd",
    "RandHUWindow",
    "RandHUWindowD",
    "RandHUWindowDict",
    "RandHUWindowd",
    "Report",
    "augmentation_report",
    "ct_augmentation",
    "inserted_metal",
    "replay",
]
