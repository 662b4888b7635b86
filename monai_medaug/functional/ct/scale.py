"""The unit of a CT judged by its values: what can't be Hounsfield units.

The rules are made for crops, since presets run after cropping. A false alarm stops a training at a random iteration, so
what could be a crop of a real scan, clipped to a window or not, counts as HU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops
from monai_medaug.functional.hounsfield import PADDING_HU

CONSTANT_HU = 1e-2
"""Up to this range an image is constant, and says nothing about its unit."""

STORED_HU = 3100.0
"""No crop lies above it throughout, but all stored values with an offset of 32768 do."""

_NORMALISED = 10.0  # z-scores and images scaled to [0, 1] or [-1, 1] lie within, HU / 1000 too
_OUTLIERS, _SPREAD = 100.0, 2.0  # z-scores with outliers; noise alone spreads HU further
_ZERO, _MOSTLY = 0.02, 0.9  # HU clipped at 0: nearly all voxels are 0, and few reach more than any scaled image
_ABOVE_ONE, _UNDERSHOOT = 1.5, 0.25  # an image scaled to [0, 1], and a clipped one, after interpolation
_OFFSET_LOOKS = 200.0
_SAMPLES = 4096


def surely_hu(images: torch.Tensor) -> list[bool]:
    """For each sample (N, C, *spatial), whether its channels vary like HU, so that `doubt_about_hu` need not be asked.

    Example:
        >>> surely_hu(torch.stack([torch.linspace(-1000, 300, 8), torch.linspace(0, 1, 8)])[:, None, None])
        [True, False]
    """
    images = images.detach()
    compiled = loops("ct._numba_hu", images, dtypes=[torch.float32])
    if compiled is not None and images.is_contiguous():
        shape = images.shape[2:]
        table = np.empty((2, images.shape[0] * images.shape[1]))
        compiled.limits(images.view(-1, *[1] * (3 - len(shape)), *shape).numpy(), _step(shape), table)
        low, high = table.tolist()
    else:
        low, high = _limits_of_channels(_coarse(images, 2)[0])
    sure = [PADDING_HU < a < 0 and max(-a, b) > _OUTLIERS for a, b in zip(low, high, strict=True)]
    channels = images.shape[1]
    return [all(sure[i : i + channels]) for i in range(0, len(sure), channels)]


def doubt_about_hu(image: torch.Tensor) -> str:
    """What speaks against HU: ``"normalised"``, ``"offset"``, ``"display"``, ``"no air"``, or ``""``.

    - ``"normalised"``: all values within 10, or within 100 with a mean within 10 and a standard deviation below 2.
      Whole numbers, and zeros with a few voxels above 1.5, are HU that were clipped at 0 or near;
    - ``"offset"``: all values from 3100 up, stored values that miss the offset of -32768;
    - ``"display"``: from 0 to 255 exactly, an 8 bit picture;
    - ``"no air"``: nothing below 0 but values from 200 up, as with a missing offset of -1024. Bone looks like that too.

    Voxels on a coarse grid are looked at first: where these can only be HU, the rest is not read.

    Args:
        image: of one channel and any number of axes and any real type. A constant passes, as does one with NaN or Inf.

    Example:
        >>> hu = torch.tensor([-1000.0, -80.0, 40.0, 300.0])
        >>> [doubt_about_hu(x) for x in (hu, (hu - hu.mean()) / hu.std(), hu + 32768, hu + 1000)]
        ['', 'normalised', 'offset', 'no air']
    """
    image = image.detach()
    some, step = _coarse(image, 0)
    low, high = _limits(some)
    if PADDING_HU < low < 0 and max(-low, high) > _OUTLIERS:
        return ""
    if low <= PADDING_HU:  # padding tells nothing of the rest
        image = image[image > PADDING_HU]
        if image.numel() == 0:
            return ""
        some, step = image, 2
    if step > 1:
        low, high = _limits(image)
    if not CONSTANT_HU < high - low < math.inf:
        return ""
    if max(-low, high) <= _OUTLIERS:
        return "" if _varies_like_hu(some) or not _is_normalised(image, low, high) else "normalised"
    if low >= STORED_HU:
        return "offset"
    if low == 0 and high == 255:
        return "display"
    return "no air" if low >= 0 and high >= _OFFSET_LOOKS else ""


def doubt_about_window(images: torch.Tensor, low_hu: float, high_hu: float) -> list[bool]:
    """Whether images are not ones whose values 0 and 1 mean two given HU, but HU itself, for example.

    What they then mean in HU would reach beyond [-4096, 32767], which holds padding and metal on an extended scale, or
    average above 1000 HU and the window, like no crop. NaN and Inf raise no doubt.

    Args:
        images: (N, ...).
        low_hu: of the value 0.
        high_hu: of the value 1.

    Example:
        >>> hu = torch.tensor([-1000.0, -80.0, 40.0, 300.0])
        >>> doubt_about_window(torch.stack([hu, (hu + 57) / 221]), -57, 164)
        [True, False]
    """
    values, width = images.detach().float().flatten(1), high_hu - low_hu
    figures = torch.stack([*values.aminmax(dim=1), values.mean(1, dtype=torch.float64)]).tolist()
    most = max(1000.0, high_hu) + 1e-3 * width
    return [
        math.isfinite(high - low)
        and (low_hu + width * low < -4096 or low_hu + width * high > 32767 or low_hu + width * mean > most)
        for low, high, mean in zip(*figures, strict=True)
    ]


def _coarse(image: torch.Tensor, lead: int) -> tuple[torch.Tensor, int]:
    """About 4096 voxels on a coarse grid, and its step; the first ``lead`` axes stay."""
    shape = image.shape[lead:]
    step = _step(shape)
    return image[(slice(None),) * lead + (slice(None, None, step),) * len(shape)], step


def _step(shape: Sequence[int]) -> int:
    return max(1, math.floor((math.prod(shape) / _SAMPLES) ** (1 / max(1, len(shape)))))


def _limits_of_channels(images: torch.Tensor) -> list[list[float]]:
    """The least values of all channels (N, C, *spatial), and the greatest."""
    return torch.stack(_comparable(images).flatten(0, 1).flatten(1).aminmax(dim=1)).tolist()


def _comparable(image: torch.Tensor) -> torch.Tensor:
    """In a type that has minima and maxima."""
    wide = image.dtype in (torch.uint16, torch.uint32, torch.uint64, torch.bool)
    return image.to(torch.int64) if wide else image


def _limits(image: torch.Tensor) -> tuple[float, float]:
    """The least and the greatest value; NaN if there is one."""
    low, high = torch.stack(torch.aminmax(_comparable(image))).tolist()
    return float(low), float(high)


def _is_normalised(image: torch.Tensor, low: float, high: float) -> bool:
    if _varies_like_hu(image):
        return False
    values = image.float()
    if max(-low, high) > 1 and bool((values == values.round()).all()):
        return False
    if low <= -2 and low == round(low) and float((values == low).float().mean()) > 0.5:  # clipped at whole HU
        return False
    clipped = high > _ABOVE_ONE and low > -_UNDERSHOOT * high
    return not (clipped and float((values.abs() <= _ZERO).float().mean()) >= _MOSTLY)


def _varies_like_hu(image: torch.Tensor) -> bool:
    """Whether values reach beyond those of z-scores, with a mean or spread that these don't have."""
    values = image.float()
    if float(values.abs().amax()) <= _NORMALISED:
        return False
    variance, mean = (float(v) for v in torch.var_mean(values, correction=0))
    return variance >= _SPREAD**2 or abs(mean) > _NORMALISED
