"""Kernels on CT numbers (HU): windows, contrast, and where the body is."""

from __future__ import annotations

import functools

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows
from monai_medaug.functional.hounsfield import AIR_HU

TISSUE_HU = -200.0

_FULL_CONTRAST = 100.0  # from here above the pivot on, HU rise with the full factor

BODY_HU = -300.0
"""Soft tissue, fat included, lies above; air and lung lie below."""


def hu_window(
    image: torch.Tensor,
    center: torch.Tensor | float,
    width: torch.Tensor | float,
    low: torch.Tensor | float,
    high: torch.Tensor | float,
    clip: bool = True,
) -> torch.Tensor:
    """Map [center - width / 2, center + width / 2] linearly to [low, high]. All broadcast to ``image``.

    Example:
        >>> t = torch.tensor
        >>> hu_window(t([-200.0, 40.0, 140.0, 900.0]), t(40.0), t(400.0), t(0.0), t(1.0))
        tensor([0.0000, 0.5000, 0.7500, 1.0000])
    """
    start, compiled = center - width / 2, loops("ct._numba_hu", image, dtypes=[torch.float32])
    each = [_per_sample(value, image) for value in (start, width, low, high)]
    if compiled is not None and all(numbers is not None for numbers in each):
        voxels = image.contiguous()
        out = torch.empty_like(voxels)
        flat = [x.view(len(x), -1).numpy() for x in (voxels, out)]
        over_rows(functools.partial(compiled.window, flat[0], *each, clip, flat[1]), flat[0].shape[1], 1 << 16)
        return out
    share = (image - start).div_(width)
    if clip:
        share = share.clamp_(0, 1)
    return share.mul_(high - low).add_(low)


def hu_contrast(image: torch.Tensor, factor: torch.Tensor, pivot: torch.Tensor | float) -> torch.Tensor:
    """Contrast of bone and iodine, HU + (factor - 1) e with the excess e of HU over soft tissue.

    With x = HU - pivot: e = 0 below 0, x² / 200 up to 100 HU, x - 50 above. So what lies above soft tissue of 50 HU is
    scaled, without a bend that would shift the mean of noisy water; order is kept for any factor above 0.

    Example:
        >>> hu_contrast(torch.tensor([-950.0, -100.0, 0.0, 50.0, 250.0]), torch.tensor(1.1), torch.tensor(0.0))
        tensor([-950.0000, -100.0000,    0.0000,   51.2500,  270.0000])
    """
    compiled = loops("ct._numba_hu", image, dtypes=[torch.float32])
    gain, middle = _per_sample(factor - 1, image), _per_sample(pivot, image)
    if compiled is not None and gain is not None and middle is not None:
        voxels = image.contiguous()
        out = torch.empty_like(voxels)
        flat = [x.view(len(x), -1).numpy() for x in (voxels, out)]
        full = np.float32(_FULL_CONTRAST)
        over_rows(functools.partial(compiled.contrast, flat[0], gain, middle, full, flat[1]), flat[0].shape[1], 1 << 16)
        return out
    above = (image - pivot).clamp_(min=0)
    low = above.clamp(max=_FULL_CONTRAST)
    # the integral of a slope that rises from 0 to 1 over the first 100 HU
    excess = above.sub_(low).addcmul_(low, low, value=0.5 / _FULL_CONTRAST)
    return torch.addcmul(image, excess, torch.as_tensor(factor - 1).to(image))


def _per_sample(value: torch.Tensor | float, image: torch.Tensor) -> np.ndarray | None:
    """One number for each sample in float32; None if it may differ within one, or has a gradient."""
    if isinstance(value, torch.Tensor):
        if value.numel() > 1 and (value.ndim != image.ndim or not len(value) == value.numel() == len(image)):
            return None
        if value.requires_grad or value.device.type != "cpu":
            return None
        value = value.reshape(-1).numpy()
    each = np.empty(len(image), np.float32)
    each[:] = value
    return each


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
