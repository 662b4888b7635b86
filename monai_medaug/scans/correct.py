"""Artefacts of whole scans corrected, for ``monai-medaug restore``."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from monai_medaug.core.arguments import choice
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.operation import Operation
from monai_medaug.core.report import augmentation_report
from monai_medaug.core.tensors import affine_of
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms.denoise.base import NoiseRemoval

CORRECTIONS: dict[str, type[Operation]] = {
    cls.command: cls  # type: ignore[misc]
    for _, cls in sorted(REGISTRY.items())
    if cls.command and not issubclass(cls, NoiseRemoval)
}
"""The corrections of artefacts by method."""
_MULTISLICE = 2.0  # slices at least this times as far apart as their pixels were acquired one by one


def correction(method: str, **arguments: Any) -> Operation:
    """The transform of a method.

    Args:
        method: of `CORRECTIONS`.
        arguments: of its constructor; None counts as not given.

    Raises:
        ValueError: the method is unknown, or takes no such argument or lacks one.

    Example:
        >>> type(correction("motion", segments=4)).__name__
        'MRIMotionCorrection'
        >>> correction("mar", segments=4)
        Traceback (most recent call last):
        ValueError: segments is no argument of the method 'mar'
    """
    cls = CORRECTIONS[choice("method", method, tuple(CORRECTIONS))]
    given = {name: value for name, value in arguments.items() if value is not None}
    known = inspect.signature(cls).parameters
    for name in given:
        if name not in known:
            raise ValueError(f"{name} is no argument of the method {method!r}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise ValueError(f"the method {method!r} needs {name}")
    return cls(**given)


def corrected_scan(
    image: torch.Tensor, method: str, inputs: dict[str, Any] | None = None, progress: bool = False, **arguments: Any
) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    """A scan with its artefacts corrected, and the figures of the correction: one dict, or one for each slice.

    The slices of a complex MR scan of 2D slices (twice as far apart as their pixels, or more) were acquired one after
    another, and each is corrected by itself.

    Args:
        image: MetaTensor (1, *spatial).
        method: see `correction`.
        inputs: further inputs of the transform by name, such as a mask of the metal.
        progress: show a progress bar.
        arguments: of the transform.

    Raises:
        ValueError: see `correction`; or the image is none that the transform takes.

    Example:
        >>> from monai.data import MetaTensor
        >>> water = MetaTensor(torch.zeros(1, 32, 32))
        >>> out, figures = corrected_scan(water, "mar")
        >>> bool((out == water).all()), figures[0]["metal_voxels"]
        (True, 0)
    """
    from tqdm import tqdm

    transform = correction(method, **arguments)
    across = VoxelGrid(tuple(image.shape[1:]), affine_of(image)).slice_axis(_MULTISLICE) if image.ndim == 4 else None
    if not image.is_complex() or across is None:
        out = transform(image, **(inputs or {}))
        return out, [augmentation_report(out)["steps"][-1]["figures"]]
    out, figures = image.clone(), []
    for k in tqdm(range(image.shape[across + 1]), desc="correcting", unit="slice", disable=not progress):
        part = transform(image.narrow(across + 1, k, 1), **(inputs or {}))
        out.narrow(across + 1, k, 1).copy_(part)
        figures.append(augmentation_report(part)["steps"][-1]["figures"])
    return out, figures
