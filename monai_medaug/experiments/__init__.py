"""Experiments that say whether augmentation and recovery help those who use the images, with intervals."""

from monai_medaug.experiments.case_study import CaseStudy, super_resolution_case_study
from monai_medaug.experiments.comparison import compare_strategies
from monai_medaug.experiments.generation_report import GenerationReport, generation_report
from monai_medaug.experiments.generation_task import train_on_synthetic
from monai_medaug.experiments.policy_judgement import PolicyJudgement, judge_policies
from monai_medaug.experiments.policy_objectives import DensityMatching, PolicyTraining
from monai_medaug.experiments.reader_study import (
    ReaderQuestion,
    ReaderStudyScore,
    make_reader_study,
    score_reader_study,
)
from monai_medaug.experiments.strategy import STRATEGY_NAMES, AugmentationStrategy, named_strategy
from monai_medaug.experiments.strategy_report import StrategyComparison
from monai_medaug.figures.strategies import plot_strategies

__all__ = [
    "STRATEGY_NAMES",
    "AugmentationStrategy",
    "CaseStudy",
    "DensityMatching",
    "GenerationReport",
    "PolicyJudgement",
    "PolicyTraining",
    "ReaderQuestion",
    "ReaderStudyScore",
    "StrategyComparison",
    "compare_strategies",
    "generation_report",
    "judge_policies",
    "make_reader_study",
    "named_strategy",
    "plot_strategies",
    "score_reader_study",
    "super_resolution_case_study",
    "train_on_synthetic",
]
