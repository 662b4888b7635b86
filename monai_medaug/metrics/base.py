"""What the metrics of image quality share: MONAI's cumulation, masks, spacings, and checks of what comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.metrics.regression import RegressionMetric

from monai_medaug.core.arguments import choice, number
from monai_medaug.core.tensors import affine_of, plain_tensor, require_finite
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.precision import computing_dtype
from monai_medaug.transforms.ct.hu import HU_PRESETS


@dataclass(frozen=True)
class ValueScale:
    """The values that count in a comparison.

    Attributes:
        data_range: the greatest minus the least possible value.
        low: least value of a window, to which others are clipped and which becomes 0; None leaves values as they are.
    """

    data_range: float
    low: float | None = None

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """The image within the window, from 0 to the data range."""
        return image if self.low is None else (image - self.low).clamp(0, self.data_range)


def value_scale(data_range: float | None, hu_window: str | Sequence[float] | None) -> ValueScale:
    """A data range, or the window of a CT that stands for one.

    Args:
        data_range: above 0; None if the window is given.
        hu_window: centre and width in HU, or the name of a window of `HUWindow`.

    Raises:
        ValueError: neither is given, or both, or one is no such value.

    Example:
        >>> value_scale(None, "soft_tissue")
        ValueScale(data_range=400.0, low=-160.0)
    """
    if (data_range is None) == (hu_window is None):
        raise ValueError(f"data_range or hu_window must be given, one of them, got {data_range!r} and {hu_window!r}")
    if hu_window is None:
        return ValueScale(number("data_range", data_range, 1e-12))
    if isinstance(hu_window, str):
        centre, width = HU_PRESETS[choice("hu_window", hu_window, sorted(HU_PRESETS))]
    elif len(hu_window) == 2:
        centre, width = number("hu_window", hu_window[0]), number("hu_window", hu_window[1], 1e-6)
    else:
        raise ValueError(f"hu_window must be a name or (centre, width), got {hu_window!r}")
    return ValueScale(width, centre - width / 2)


def sample_grids(data: Any) -> list[VoxelGrid]:
    """The grid of each sample of a batch (B, C, *spatial); without an affine voxels are 1 mm.

    Example:
        >>> sample_grids(torch.zeros(2, 1, 8, 8))[1].spacing
        (1.0, 1.0)
    """
    shape, affine = tuple(int(n) for n in data.shape[2:]), affine_of(data)
    each: Sequence[Any] = [affine] * len(data) if affine is None or np.ndim(affine) == 2 else affine
    return [VoxelGrid(shape, own) for own in each]


class ImageQualityMetric(RegressionMetric):
    """A figure of each image and channel, of all voxels or those of a mask; MONAI's reductions, buffers and handlers.

    Called as ``metric(y_pred, y)`` on batches (B, C, *spatial) or lists of channel-first images, with ``mask=`` where
    the metric takes one: (B, 1, *spatial) or (B, C, *spatial), or a list of such without B, not 0 where voxels count.
    MetaTensors tell their spacing.
    """

    compares = True
    """Whether there is a ``y`` to compare with; a metric without one doesn't look at it, so that MONAI's handlers can
    call it."""

    regions: tuple[str, ...] = ("mask",)
    """Masks that a call takes by name."""

    def _compute_list(self, y_pred: Any, y: Any = None, **masks: Any) -> torch.Tensor:
        def of(values: Any, case: int) -> Any:
            return None if values is None else values[case][None]

        each = [
            self._compute_tensor(of(y_pred, i), of(y, i), **{n: of(m, i) for n, m in masks.items()})
            for i in range(len(y_pred))
        ]
        return torch.cat(each)

    def _compute_tensor(self, y_pred: Any, y: Any = None, **masks: Any) -> torch.Tensor:
        unknown = set(masks) - set(self.regions)
        if unknown:
            raise TypeError(f"{type(self).__name__} takes no {', '.join(sorted(unknown))}")
        image = checked_images(y_pred, "y_pred")
        reference = None
        if self.compares:
            reference = checked_images(y, "y").to(image)
            if reference.shape != image.shape:
                raise ValueError(f"y must have y_pred's shape {tuple(image.shape)}, got {tuple(reference.shape)}")
        found = {name: checked_mask(m, image, name) for name, m in masks.items() if m is not None}
        return self._compute_metric(image, reference, sample_grids(y_pred), **found)

    def _compute_metric(
        self, y_pred: torch.Tensor, y: torch.Tensor | None, grids: Sequence[VoxelGrid], **masks: torch.Tensor
    ) -> torch.Tensor:
        """The figures (B, C) of checked images; masks have their shape."""
        raise NotImplementedError


def checked_images(data: Any, name: str) -> torch.Tensor:
    """A batch of finite images in the type in which metrics compute.

    Raises:
        TypeError: not an array of numbers.
        ValueError: of another rank, empty, or not finite.
    """
    image = plain_tensor(data, name, batch=True)
    require_finite(image, name)
    return image.to(computing_dtype(image.dtype))


def checked_mask(data: Any, image: torch.Tensor, name: str) -> torch.Tensor:
    """A mask of the image's shape, True where it isn't 0.

    Raises:
        ValueError: of another shape, or without a voxel in some sample.
    """
    mask = plain_tensor(data, name, batch=True).to(image.device) != 0
    if mask.shape[0] != image.shape[0] or mask.shape[1] not in (1, image.shape[1]) or mask.shape[2:] != image.shape[2:]:
        raise ValueError(f"{name} must have the image's shape {tuple(image.shape)}, got {tuple(mask.shape)}")
    empty = (~mask.flatten(2).any(2)).nonzero()
    if len(empty):
        raise ValueError(f"{name} must hold a voxel in each sample, got none in sample {int(empty[0, 0])}")
    return mask.expand_as(image)


def each_image(image: torch.Tensor, mask: torch.Tensor | None = None) -> list[torch.Tensor]:
    """The values of each image (B, C), or those within its mask, one after another.

    Example:
        >>> [v.tolist() for v in each_image(torch.arange(4.0).reshape(1, 2, 2, 1))]
        [[0.0, 1.0], [2.0, 3.0]]
    """
    flat = image.flatten(2).flatten(0, 1)
    if mask is None:
        return list(flat)
    return [values[own] for values, own in zip(flat, mask.flatten(2).flatten(0, 1), strict=True)]
