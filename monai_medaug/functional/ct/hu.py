"""Kernels on CT numbers (HU): windows, contrast, and where the body is."""

from __future__ import annotations

import torch

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
    share = (image - (center - width / 2)).div_(width)
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
    above = (image - pivot).clamp_(min=0)
    low = above.clamp(max=_FULL_CONTRAST)
    # the integral of a slope that rises from 0 to 1 over the first 100 HU
    excess = above.sub_(low).addcmul_(low, low, value=0.5 / _FULL_CONTRAST)
    return torch.addcmul(image, excess, torch.as_tensor(factor - 1).to(image))


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
