"""Augmentation and denoising of CT, MRI and X-ray images for MONAI, by the physics of their acquisition.

Importing the package imports every public module, so that MONAI bundles find the short class names after
``imports: ["$import monai_medaug"]``.
"""

import importlib
import pkgutil

import numpy as np
import torch
from monai.utils.enums import TraceKeys

from monai_medaug.version import __version__

__all__ = ["__version__"]

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    if not any(part.startswith("_") for part in _module.name.split(".")):
        importlib.import_module(_module.name)

# PersistentDataset(track_meta=True) loads its cache with weights_only=True: these are what MONAI itself writes there.
torch.serialization.add_safe_globals(
    [
        TraceKeys,
        np.ndarray,
        np.dtype,
        np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        np._core.multiarray.scalar,  # type: ignore[attr-defined]
        *{type(np.dtype(code)) for code in np.typecodes["All"]},
    ]
)
