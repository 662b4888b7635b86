"""What the operations on MR magnitude images share: negative values, and backgrounds that were masked."""

from __future__ import annotations

from typing import ClassVar

import torch

from monai_medaug.core.arguments import choice
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import require_finite, say_once
from monai_medaug.functional.mri.signal import exact_background, least_values, magnitude_and_rest, masked_background

AUTOMATIC = "automatic"
"""`MagnitudeOperation.keep_zeros` in the record of a call that decides by the image."""
NEGATIVE_VALUES = (
    "an MR image with negative values: their 0.1th percentile counts as zero signal; put MRI transforms before the "
    "normalisation for exact signal statistics"
)
_UNSIGNED = (torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool)


class MRImage:
    """Mixin of the operations on magnitude images: their input check and example."""

    modality = "mri"
    differentiable = False

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        require_finite(image, name)
        if image.dtype not in _UNSIGNED and bool(image.amin() < 0):
            say_once(NEGATIVE_VALUES)

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """An ellipsoid of 50..150 with a faint background around it, (1, *spatial)."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        inside = torch.stack(axes).square().sum(0) < 0.7
        return torch.where(inside, 100 + 50 * torch.sin(4 * axes[0]), 0.5 + 0.5 * torch.sin(50 * axes[1]))[None]


class MagnitudeOperation(MRImage, RandomOperation):
    """Base of the random operations on magnitudes; `changed` is their kernel call.

    A masked background (skull-stripped, padded) holds no measurement: it is kept, since the normalisation of what is
    not zero would else count it as tissue.

    Args:
        prob: probability of applying it.
        keep_zeros: whether voxels of exactly 0 (in an image with negative values also of exactly its minimum) stay;
            None keeps them where they are a masked background: at least 1 % of a channel, and coherent.
    """

    abstract = True
    multiplies: ClassVar[bool] = False
    """Whether a magnitude of 0 stays 0, so that only images with negative values have zeros to keep."""

    def __init__(self, prob: float, keep_zeros: bool | None = None) -> None:
        super().__init__(prob)
        self.keep_zeros = choice("keep_zeros", keep_zeros, (True, False, None))

    def settings(self) -> Params:
        return {"keep_zeros": recorded_choice(self.keep_zeros)}

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        require_finite(image, name)  # `apply` looks for negative values

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        """The kernel call, on magnitudes (B, C, *spatial)."""
        raise NotImplementedError

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        lowest = least_values(image)
        magnitude, rest = magnitude_and_rest(image, lowest)
        if rest is not None:
            say_once(NEGATIVE_VALUES)
        negative = rest is not None
        background = None if cls.multiplies and not negative else background_to_keep(image, call, lowest, negative)
        out = cls.changed(magnitude, call)
        if rest is not None:
            out += rest
        return out if background is None else torch.where(background, image, out, out=out)


def recorded_choice(keep_zeros: bool | None) -> bool | str:
    """The argument ``keep_zeros`` as a record holds it."""
    return AUTOMATIC if keep_zeros is None else keep_zeros


def background_to_keep(
    image: torch.Tensor, call: Call, lowest: torch.Tensor, negative: bool = True
) -> torch.Tensor | None:
    """The voxels (B, C, *spatial) that stay as they are, by the setting ``keep_zeros``; None for none.

    ``lowest`` are the image's `least_values`, ``negative`` says whether one may be below 0.
    """
    kept = call.settings.get("keep_zeros", False)  # records of the first version lack it
    if kept != AUTOMATIC:
        return exact_background(image, lowest) if kept else None
    background = masked_background(image, lowest, negative)
    if background is not None:
        say_once(
            "an MR image with a masked background, as after skull stripping: its exact zeros stay as they are; "
            "keep_zeros=False changes them too"
        )
    return background
