"""Phantoms of known attenuation, and a real radiograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
import torch

DEPTH = 4.0
AIR = 1e-5  # of an open field that is not flatly black, as a shutter is


def seeded(cls: type, data: Any, seed: int = 0, **arguments: Any) -> Any:
    return cls(**{"prob": 1.0, **arguments}).set_random_state(seed)(data)


def steps(*attenuations: float, size: int = 200) -> torch.Tensor:
    """A wedge of these attenuations, displayed as attenuation itself, (1, size, size * steps)."""
    return torch.cat([torch.full((1, size, size), a) for a in attenuations], 2)


def radiograph(every: int = 4) -> np.ndarray:
    path = pydicom.data.get_testdata_file("RG1_UNCR.dcm", download=False)
    if path is None:
        pytest.skip("needs pydicom-data")
    return np.ascontiguousarray(pydicom.dcmread(path).pixel_array[None, ::every, ::every])


def scale(data: Any) -> dict[str, Any]:
    """The scale of a phantom with a pixel of the full depth, which alone is an outlier."""
    return {"value_range": (0, DEPTH)} if float(np.asarray(data).max()) == DEPTH else {}


def discs(*attenuations: float, size: int = 160) -> torch.Tensor:
    """Discs of these attenuations side by side in an open field, one pixel of depth 4, see `scale`."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    disc = (((y - size / 2) ** 2 + (x - size / 2) ** 2) < (size / 5) ** 2).float()
    image = torch.cat([a * disc + AIR * (1 - disc) for a in attenuations], 1)[None]
    image[0, 0, 0] = DEPTH
    return image
