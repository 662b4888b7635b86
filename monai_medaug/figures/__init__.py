"""Pictures of what transforms did."""

from monai_medaug.figures.augmentation import augmentation_figure, geometric_record, restoration_figure
from monai_medaug.figures.planes import DisplayPlane

__all__ = ["DisplayPlane", "augmentation_figure", "geometric_record", "restoration_figure"]
