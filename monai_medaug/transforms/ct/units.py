"""The input check of the operations on Hounsfield units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from monai_medaug.core.contract import Params
from monai_medaug.core.tensors import say_once
from monai_medaug.functional.ct.scale import doubt_about_hu, doubt_about_window, surely_hu

BEFORE_SCALING = "put CT transforms before intensity scaling"
_known: ContextVar[bool] = ContextVar("units_known", default=False)


def require_hu(image: torch.Tensor, name: str, remedy: str = BEFORE_SCALING) -> None:
    """Raise unless each channel can be in HU; a notice says where that is doubtful.

    Args:
        image: (C, *spatial).
        name: for the message.
        remedy: for the message, if the image was normalised.

    Raises:
        ValueError: see `doubt_about_hu`.

    Example:
        >>> require_hu(torch.rand(1, 8, 8), "image")
        Traceback (most recent call last):
        ValueError: image must be in Hounsfield units, got values within [...], as if normalised: put CT transforms ...
    """
    for channel in image.detach():
        doubt = doubt_about_hu(channel)
        if doubt == "no air":
            say_once("a CT has no value below 0 HU: check that it is in HU (rescale intercept applied)")
        elif doubt:
            low, high = (float(v) for v in (channel.double().amin(), channel.double().amax()))
            why = {
                "normalised": f"as if normalised: {remedy}",
                "offset": "as if an offset were left in: apply the rescale intercept",
                "display": f"the range of an 8 bit picture: {remedy}",
            }[doubt]
            raise ValueError(f"{name} must be in Hounsfield units, got values within [{low:.5g}, {high:.5g}], {why}")


def require_window(images: torch.Tensor, window: Sequence[float], name: str) -> None:
    """Raise unless each channel of each sample (N, C, *spatial) can be one whose values 0 and 1 mean two given HU.

    Raises:
        ValueError: see `doubt_about_window`.

    Example:
        >>> require_window(torch.full((1, 1, 8, 8), -1000.0), (-57, 164), "image")
        Traceback (most recent call last):
        ValueError: image must be scaled so that 0 and 1 mean -57 and 164 HU, got ... already in HU: leave window out
    """
    low_hu, high_hu = window
    channels = images.detach().flatten(0, 1)
    for channel, doubtful in zip(channels, doubt_about_window(channels, low_hu, high_hu), strict=True):
        if doubtful:
            low, high = (float(v) for v in (channel.double().amin(), channel.double().amax()))
            raise ValueError(
                f"{name} must be scaled so that 0 and 1 mean {low_hu:g} and {high_hu:g} HU, got values within "
                f"[{low:.5g}, {high:.5g}], which may be already in HU: leave window out"
            )


@contextmanager
def units_known() -> Iterator[None]:
    """A block whose caller vouches for the unit: operations don't judge what others made of an image that passed."""
    token = _known.set(True)
    try:
        yield
    finally:
        _known.reset(token)


class CTImage:
    """Mixin of the operations on HU: their input check and example."""

    modality = "ct"

    @classmethod
    def check_units(cls, image: torch.Tensor, name: str, settings: Params) -> None:
        if not _known.get():
            require_hu(image, name)

    @classmethod
    def check_batch_units(cls, images: torch.Tensor, name: str, settings: Params) -> None:
        if _known.get():
            return
        for image, sure in zip(images, surely_hu(images), strict=True):
            if not sure:
                require_hu(image, name)

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A water disc of -20..60 HU in air, (1, *spatial)."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        inside = torch.stack(axes).square().sum(0) < 0.7
        return torch.where(inside, 20 + 40 * torch.sin(4 * axes[0]), torch.tensor(-1000.0))[None]
