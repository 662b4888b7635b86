"""Pictures of what transforms did, without matplotlib's global state: safe on servers and in threads."""

from monai_medaug.figures.augmentation import augmentation_figure
from monai_medaug.figures.comparison import geometric_record
from monai_medaug.figures.evaluation import evaluation_figure
from monai_medaug.figures.generation import GenerationPictures, generation_figure
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.figures.restoration import restoration_figure
from monai_medaug.figures.search import plot_search
from monai_medaug.figures.strategies import plot_strategies

__all__ = [
    "DisplayPlane",
    "GenerationPictures",
    "augmentation_figure",
    "evaluation_figure",
    "generation_figure",
    "geometric_record",
    "plot_search",
    "plot_strategies",
    "restoration_figure",
]
