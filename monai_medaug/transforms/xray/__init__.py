"""Operations on radiographs."""

from monai_medaug.transforms.xray.collimation import RandXRayCollimation, RandXRayCollimationd
from monai_medaug.transforms.xray.display import Radiograph
from monai_medaug.transforms.xray.exposure import RandXRayExposure, RandXRayExposured
from monai_medaug.transforms.xray.scatter import RandXRayScatter, RandXRayScatterd

__all__ = [
    "Radiograph",
    "RandXRayCollimation",
    "RandXRayCollimationd",
    "RandXRayExposure",
    "RandXRayExposured",
    "RandXRayScatter",
    "RandXRayScatterd",
]
