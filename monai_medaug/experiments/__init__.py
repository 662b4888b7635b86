"""Experiments that say whether augmentation and recovery help, with intervals."""

from monai_medaug.experiments.case_study import CaseStudy, super_resolution_case_study
from monai_medaug.experiments.comparison import compare_strategies
from monai_medaug.experiments.strategy import STRATEGY_NAMES, AugmentationStrategy, named_strategy
from monai_medaug.experiments.strategy_report import StrategyComparison
from monai_medaug.figures.strategies import plot_strategies

__all__ = [
    "STRATEGY_NAMES",
    "AugmentationStrategy",
    "CaseStudy",
    "StrategyComparison",
    "compare_strategies",
    "named_strategy",
    "plot_strategies",
    "super_resolution_case_study",
]
