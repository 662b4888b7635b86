"""Kernels on CT numbers (HU): windows, contrast, and where the body is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows, sent
from monai_medaug.functional.hounsfield import AIR_HU

TISSUE_HU = -200.0
_ONE = np.float32(1)

_FULL_CONTRAST = 100.0  # from here above the pivot on, HU rise with the full factor

Numbers = torch.Tensor | float | Sequence[float]

BODY_HU = -300.0
"""Soft tissue, fat included, lies above; air and lung lie below."""


def hu_window(
    image: torch.Tensor,
    center: Numbers,
    width: Numbers,
    low: Numbers,
    high: Numbers,
    clip: bool = True,
) -> torch.Tensor:
    """Map [center - width / 2, center + width / 2] linearly to [low, high].

    The numbers broadcast to ``image``; a list has one for each of its samples.

    Example:
        >>> t = torch.tensor
        >>> hu_window(t([-200.0, 40.0, 140.0, 900.0]), t(40.0), t(400.0), t(0.0), t(1.0))
        tensor([0.0000, 0.5000, 0.7500, 1.0000])
    """
    if (compiled := loops("ct._numba_hu", image, dtypes=[torch.float32])) is not None:
        each = [found for value in (center, width, low, high) if (found := _each(value, image)) is not None]
        if len(each) == 4:
            start = each[0] - each[1] / np.float32(2)
            return _over_samples(compiled.window, image, start, *each[1:], clip)
    center, width, low, high = (_column(value, image) for value in (center, width, low, high))
    share = (image - (center - width / 2)).div_(width)
    if clip:
        share = share.clamp_(0, 1)
    return share.mul_(high - low).add_(low)


def hu_contrast(image: torch.Tensor, factor: Numbers, pivot: Numbers) -> torch.Tensor:
    """Contrast of bone and iodine, HU + (factor - 1) e with the excess e of HU over soft tissue.

    With x = HU - pivot: e = 0 below 0, x² / 200 up to 100 HU, x - 50 above. So what lies above soft tissue of 50 HU is
    scaled, without a bend that would shift the mean of noisy water; order is kept for any factor above 0.

    The numbers broadcast to ``image``; a list has one for each of its samples.

    Example:
        >>> hu_contrast(torch.tensor([-950.0, -100.0, 0.0, 50.0, 250.0]), torch.tensor(1.1), torch.tensor(0.0))
        tensor([-950.0000, -100.0000,    0.0000,   51.2500,  270.0000])
    """
    if (compiled := loops("ct._numba_hu", image, dtypes=[torch.float32])) is not None:
        each = [_each(value, image) for value in (factor, pivot)]
        if each[0] is not None and each[1] is not None:
            return _over_samples(compiled.contrast, image, each[0] - _ONE, each[1], np.float32(_FULL_CONTRAST))
    factor, pivot = _column(factor, image), _column(pivot, image)
    above = (image - pivot).clamp_(min=0)
    low = above.clamp(max=_FULL_CONTRAST)
    # the integral of a slope that rises from 0 to 1 over the first 100 HU
    excess = above.sub_(low).addcmul_(low, low, value=0.5 / _FULL_CONTRAST)
    return torch.addcmul(image, excess, torch.as_tensor(factor - 1).to(image))


def _column(value: Numbers, image: torch.Tensor) -> torch.Tensor | float:
    """A list as a tensor that broadcasts to the image."""
    if isinstance(value, (torch.Tensor, int, float)):
        return value
    return sent(value, image.device, image.dtype).reshape(-1, *[1] * (image.ndim - 1))


def _each(value: Numbers, image: torch.Tensor) -> np.ndarray | None:
    """One number for each sample in float32; None if it may differ within one, or has a gradient."""
    if isinstance(value, torch.Tensor):
        if value.numel() > 1 and (value.ndim != image.ndim or not value.shape[0] == value.numel() == image.shape[0]):
            return None
        if value.requires_grad or value.device.type != "cpu":
            return None
        value = value.reshape(-1).tolist()
    return np.full(image.shape[0], value, np.float32)


def _over_samples(kernel: Callable[..., None], image: torch.Tensor, *numbers: Any) -> torch.Tensor:
    """The result of a compiled loop over the voxels of each sample."""
    image = image.contiguous()
    out = torch.empty_like(image)
    source, target = (x.view(x.shape[0], -1).numpy() for x in (image, out))
    over_rows(functools.partial(kernel, source, *numbers, target), source.shape[1], 1 << 16)
    return out


def hu_stretch(image: torch.Tensor, factor: torch.Tensor, pivot: torch.Tensor | float) -> torch.Tensor:
    """The contrast of the first version, for its records: HU + w (factor - 1) (HU - pivot), lung and fat included.

    The weight w rises from 0 at -1000 HU to 1 at -200 HU.

    Example:
        >>> hu_stretch(torch.tensor([-2048.0, -1000.0, 0.0, 100.0]), torch.tensor(1.15), torch.tensor(0.0))
        tensor([-2048., -1000.,     0.,   115.])
    """
    weight = (image - AIR_HU).div_(TISSUE_HU - AIR_HU).clamp_(0, 1)
    return torch.addcmul(image, weight.mul_(factor - 1), image - pivot)


def body_mask(image: torch.Tensor) -> torch.Tensor:
    """The patient: the largest connected piece above `BODY_HU`, with lungs and other holes filled.

    Args:
        image: in HU, of any number of axes.

    Returns:
        A bool tensor of the same shape, False everywhere if no voxel lies above the threshold.

    Example:
        >>> row = torch.tensor([0.0, -1000.0, 40.0, 40.0, 40.0])
        >>> body_mask(row)
        tensor([False, False,  True,  True,  True])
    """
    import numpy as np
    from scipy.ndimage import binary_fill_holes, label

    pieces, count = label(image.detach().cpu().numpy() > BODY_HU)
    if count == 0:
        return torch.zeros(image.shape, dtype=torch.bool, device=image.device)
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1
    return torch.from_numpy(binary_fill_holes(pieces == largest)).to(image.device)
