"""Array transforms and their dictionary twins. Type checkers read the generated ``__init__.pyi``.

Every operation in a module of this package is public, with its twin and the twin's aliases; other public names are
listed here.
"""

import importlib
import pkgutil

from monai_medaug.core.batch import Batched
from monai_medaug.core.contract import REGISTRY, OperationContract
from monai_medaug.core.replay import replay
from monai_medaug.core.report import Report, augmentation_report
from monai_medaug.core.sample_seed import SampleSeeded

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

from monai_medaug.transforms.ct.metal import inserted_metal  # noqa: E402
from monai_medaug.transforms.mixing.items import MixedBatch  # noqa: E402
from monai_medaug.transforms.presets.base import AugmentationPreset  # noqa: E402
from monai_medaug.transforms.presets.ct import ct_augmentation  # noqa: E402
from monai_medaug.transforms.presets.mri import mri_augmentation  # noqa: E402
from monai_medaug.transforms.presets.xray import xray_augmentation  # noqa: E402
from monai_medaug.transforms.safety.preserving import PreservingCompose  # noqa: E402

__all__ = [
    "AugmentationPreset",
    "Batched",
    "MixedBatch",
    "PreservingCompose",
    "Report",
    "SampleSeeded",
    "augmentation_report",
    "ct_augmentation",
    "inserted_metal",
    "mri_augmentation",
    "replay",
    "xray_augmentation",
]


def _published(cls: type[OperationContract]) -> dict[str, type]:
    """An operation, its twin and the twin's aliases."""
    module, name = importlib.import_module(cls.__module__), cls.__name__
    names = [f"{name}{ending}" for ending in ("", "d", "D", "Dict")]
    if not all(hasattr(module, n) for n in names):
        raise ImportError(f"{cls.__module__} must define {', '.join(names[1:])}, see `dictionary_twin`")
    return {n: getattr(module, n) for n in names}


for _cls in {cls for cls in REGISTRY.values() if cls.__module__.startswith(f"{__name__}.")}:
    globals().update(_published(_cls))
    __all__ += _published(_cls)
__all__.sort()
