"""A ``prepare_batch`` hook that makes pairs of a coarse and a fine image for super-resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines.utils import PrepareBatch

from monai_medaug.core.arguments import choice
from monai_medaug.engines.self_supervised import on_device
from monai_medaug.functional.geometry.upscale import BLURS, reduced


class ReducingPrepareBatch(PrepareBatch):
    """Super-resolution from fine images alone: the input is the image as a coarser grid would have sampled it.

    Each batch has one scale, drawn from ``scales`` by torch's seed; a network of several scales is called with it, as
    `MultiScaleSR` expects. Images are cropped to a multiple of the scale.

    Args:
        scales: integers from 2.
        blur: how the coarse grid samples, see `Upscale`.
        axes: spatial axes that are reduced; None for all. A network that enlarges some axes alone is called as it is.
        pass_scale: whether the network's call takes the scale.
        key: of the fine image.

    Raises:
        ValueError: an argument is out of its range, or the image is smaller than the scale.

    Example:
        >>> hook = ReducingPrepareBatch(scales=(4,))
        >>> image, target, arguments, _ = hook({"image": torch.rand(2, 1, 33, 32)})
        >>> image.shape, target.shape, arguments
        (torch.Size([2, 1, 8, 8]), torch.Size([2, 1, 32, 32]), (4,))
    """

    def __init__(
        self,
        scales: Sequence[int] = (2, 4),
        blur: str = "cubic",
        axes: Sequence[int] | None = None,
        pass_scale: bool = True,
        key: str = "image",
    ) -> None:
        if not scales or any(not isinstance(s, int) or s < 2 for s in scales):
            raise ValueError(f"scales must be integers from 2, got {scales!r}")
        self.scales, self.blur = tuple(scales), choice("blur", blur, BLURS)
        self.axes, self.pass_scale, self.key = axes, pass_scale, key

    def __call__(
        self, batchdata: Mapping[str, Any], device: Any = None, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor, tuple, dict]:
        """Input, target and further arguments of the network, of a batch (N, C, *spatial)."""
        fine = on_device(batchdata, self.key, device, non_blocking)
        scale = self.scales[int(torch.randint(len(self.scales), ()))]
        axes = range(fine.ndim - 2) if self.axes is None else self.axes
        for axis in axes:
            if fine.shape[axis + 2] < scale:
                raise ValueError(
                    f"{self.key!r} must have {scale} voxels along axis {axis}, got {tuple(fine.shape[2:])}"
                )
            fine = fine.narrow(axis + 2, 0, fine.shape[axis + 2] // scale * scale)
        size = [n // scale if a in axes else n for a, n in enumerate(fine.shape[2:])]
        return reduced(fine, size, self.blur), fine, (scale,) if self.pass_scale else (), {}
