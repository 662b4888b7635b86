"""Quality of images and gain of tasks, as MONAI's metrics where they cumulate; MONAI's own where those are right."""

from monai_medaug.functional.detectability import (
    hotelling_detectability,
    laguerre_gauss_channels,
    npw_detectability,
)
from monai_medaug.functional.quality.noise_power import NoisePower, noise_power_spectrum, uniform_patches
from monai_medaug.functional.quality.task_transfer import (
    TaskTransfer,
    detectability,
    disc_distance,
    task_transfer_function,
)
from monai_medaug.metrics.classification_improvement import ClassificationImprovementMetric
from monai_medaug.metrics.enhancement import EnhancementReport, evaluate_enhancement
from monai_medaug.metrics.full_reference import (
    BoundedPSNRMetric,
    HaarPSIMetric,
    HUAccuracyMetric,
    SeparableSSIMMetric,
)
from monai_medaug.metrics.improvement import ImprovementReport
from monai_medaug.metrics.no_reference import ContrastMetric, EntropyMetric, NoiseLevelMetric, SharpnessMetric
from monai_medaug.metrics.segmentation_improvement import SegmentationImprovementMetric

__all__ = [
    "BoundedPSNRMetric",
    "ClassificationImprovementMetric",
    "ContrastMetric",
    "EnhancementReport",
    "EntropyMetric",
    "HUAccuracyMetric",
    "HaarPSIMetric",
    "ImprovementReport",
    "NoiseLevelMetric",
    "NoisePower",
    "SegmentationImprovementMetric",
    "SeparableSSIMMetric",
    "SharpnessMetric",
    "TaskTransfer",
    "detectability",
    "disc_distance",
    "evaluate_enhancement",
    "hotelling_detectability",
    "laguerre_gauss_channels",
    "noise_power_spectrum",
    "npw_detectability",
    "task_transfer_function",
    "uniform_patches",
]
