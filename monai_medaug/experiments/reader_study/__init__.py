"""Reader studies: what physicians see in images, asked blind, in one page that needs no server, and scored."""

from monai_medaug.experiments.reader_study.questions import ReaderQuestion
from monai_medaug.experiments.reader_study.scoring import ReaderStudyScore, score_reader_study
from monai_medaug.experiments.reader_study.study import make_reader_study

__all__ = ["ReaderQuestion", "ReaderStudyScore", "make_reader_study", "score_reader_study"]
