"""Super-resolution by interpolation and back-projection; `NetworkRestore` does it by a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import choice, interpolation, number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import Operation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.denoise.padding import padding_filled, padding_of
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.upscale import (
    BLURS,
    METHODS,
    cubic_resized,
    nearest_resized,
    upscaled,
)

_MOST = 64


class Upscale(Operation):
    """More voxels over the same field of view, by interpolation or by iterative back-projection.

    The outer corners stay in place in the world (``align_corners=False``): affine and spacing follow. The result stays
    within the range of the values. Back-projection makes it, reduced by the model of ``blur``, equal to the image:
    ``x <- x + up(y - down(x))``. Padding of a CT (coherent values up to -1400 HU) is kept apart from tissue. Masks
    (``mode="nearest"``) keep their values. The inverse reduces again; so does MONAI's ``SaveImaged``, to the
    file's grid, unless it is told ``resample=False``.

    Args:
        scale: voxels of the result per voxel, 1 to 64; a number, or one for each spatial axis, such as (1, 1, 5) for
            thick slices. Sizes are rounded.
        method: ``"bicubic"``, ``"bilinear"`` or ``"backprojection"``.
        blur: how the scanner sampled the image, for back-projection: ``"cubic"``, antialiased cubic interpolation as
            in most comparisons; ``"gaussian"``, selective pulses and helical CT, or ``"trapezoid"``, nearer to a box,
            both with a full width at half maximum of one voxel.
        mode: ``"bilinear"`` for images, ``"nearest"`` for masks.

    Raises:
        ValueError: an argument is out of its range, ``scale`` has not one number per axis, or the image is not finite.

    Source: M. Irani & S. Peleg, Improving resolution by image registration, CVGIP 1991; C. Zhao et al., SMORE, IEEE
    Trans. Med. Imaging 2021, on the need for the scanner's slice profile.

    Example:
        >>> import torch
        >>> Upscale(scale=(1, 1, 4), method="backprojection", blur="gaussian")(torch.rand(1, 12, 10, 6)).shape
        torch.Size([1, 12, 10, 24])
    """

    geometric = True
    memory = 4
    gallery = GalleryEntry(({"method": "bilinear"}, {}, {"method": "backprojection"}), reduced=2)

    def __init__(
        self,
        scale: float | Sequence[float] = 2,
        method: str = "bicubic",
        blur: str = "cubic",
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.scale = (
            number("scale", scale, 1, _MOST)
            if isinstance(scale, (int, float))
            else [number("scale", s, 1, _MOST) for s in scale]
        )
        self.method = choice("method", method, METHODS)
        self.blur = choice("blur", blur, BLURS)
        self.mode = interpolation("mode", mode)

    def settings(self) -> Params:
        return {"scale": self.scale, "method": self.method, "blur": self.blur}

    @classmethod
    def out_grid(cls, grid: VoxelGrid, params: Params) -> VoxelGrid:
        scale = params["scale"]
        each = scale if isinstance(scale, list) else [scale] * len(grid.shape)
        if len(each) != len(grid.shape):
            raise ValueError(f"scale must be a number or one for each of {len(grid.shape)} axes, got {tuple(each)}")
        return grid.resized([round(n * s) for n, s in zip(grid.shape, each, strict=True)])

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        own = call.settings
        size = call.grids[0].shape if call.inverse else cls.out_grid(call.grids[0], own).shape
        if call.mode == "nearest":
            return nearest_resized(image, size)
        single = image.flatten(0, 1)[:, None]
        padding = padding_of(single)
        filled = image if padding is None else padding_filled(single, padding).reshape(image.shape)
        if call.inverse:
            out = cubic_resized(filled, list(size), True)
        else:
            out = upscaled(filled, size, own["method"], own["blur"])
        if padding is None:
            return out
        there = nearest_resized(padding.reshape(image.shape), size)
        return torch.where(there, nearest_resized(image, size), out)


Upscaled = dictionary_twin(Upscale)
UpscaleD = UpscaleDict = Upscaled
