"""Set-up that the suites share: an image in, and the call that a user of each package would make, to be timed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from tests.benchmarks.harness import Call


def size(shape: tuple[int, ...]) -> str:
    """``"128³"``, ``"512²"`` or ``"112×112×40"``."""
    return f"{shape[0]}{'²³'[len(shape) - 2]}" if len(set(shape)) == 1 else "×".join(map(str, shape))


def ellipsoid(shape: tuple[int, ...], inside: float, outside: float, texture: float) -> torch.Tensor:
    """A body with a texture in an empty field, (1, *shape) in float32."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    body = torch.stack(axes).square().sum(0) < 0.7
    noise = texture * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return torch.where(body, inside + noise, torch.tensor(outside))[None]


def ours(transform: Callable[..., Any], image: torch.Tensor) -> Call:
    """Array transform on a MetaTensor, trace and all; MONAI's transforms are used in the same way."""
    data = MetaTensor(image)
    transform.set_random_state(0)  # type: ignore[attr-defined]
    return lambda: transform(data)


def monai(transforms: Callable[..., Any] | Iterable[Callable[..., Any]], image: torch.Tensor) -> Call:
    """One of MONAI's transforms, or several in a row."""
    return ours(transforms if callable(transforms) else Compose(list(transforms)), image)


def torchio(name: str, image: torch.Tensor, **arguments: Any) -> Call:
    """A transform of TorchIO 2 on a subject; a single slice is a volume of one voxel's depth."""
    import torchio as tio

    if int(tio.__version__.split(".")[0]) < 2:
        raise ImportError("TorchIO 2 is the peer")
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", message=".*unit-size grids", module="torchio")
    volume = image if image.ndim == 4 else image[..., None]
    subject = tio.Subject(image=tio.ScalarImage(volume))
    transform = getattr(tio, name)(**arguments)
    return lambda: transform(subject)


def medaugmentx(image: torch.Tensor, **steps: dict[str, Any]) -> Call:
    """Transforms of MedAugmentX by name with their arguments, one or several in a row."""
    import medaugmentx.transforms
    from medaugmentx import Compose, MedVolume

    volume = MedVolume(image[0].numpy())
    transform = Compose(
        [getattr(medaugmentx.transforms, name)(**arguments) for name, arguments in steps.items()], seed=0
    )
    return lambda: transform(volume)


def batchgenerators(path: str, image: torch.Tensor, *arguments: Any) -> Call:
    """A transform of batchgeneratorsv2 by its path below ``transforms``, on a copy: it may write into the image."""
    module, name = path.rsplit(".", 1)
    transform = getattr(import_module(f"batchgeneratorsv2.transforms.{module}"), name)(*arguments)
    return lambda: transform(image=image.clone())
