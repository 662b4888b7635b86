"""Experiments: do the images serve those who use them?"""

from monai_medaug.experiments.reader_study import ReaderQuestion, make_reader_study, score_reader_study

__all__ = ["ReaderQuestion", "make_reader_study", "score_reader_study"]
