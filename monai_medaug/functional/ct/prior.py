"""A guess of a CT slice without metal, of few tissues, whose line integrals guide an interpolation."""

from __future__ import annotations

import math

import torch

from monai_medaug.functional.ct.acquisition import bounds
from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from monai_medaug.functional.hounsfield import AIR_HU

TISSUE_HU = 20.0
_LUNG_HU = -850.0
_SMOOTH_MM, _BONE_MM, _FILL_MM = 2.0, 1.0, 4.0  # standard deviations
_BONE_RAMP_HU, _LUNG_RAMP_HU, _AIR_RAMP_HU = (200.0, 400.0), (-500.0, -300.0), (-980.0, -920.0)
_BONE_HU = (100.0, 2500.0)
_ENDS = 3.0  # standard deviations, of a Gaussian


def tissue_prior(hu: torch.Tensor, metal: torch.Tensor, spacing: tuple[float, float]) -> torch.Tensor:
    """Slices classified into air, lung, soft tissue and bone, with metal filled from around.

    Streaks of a first correction mostly stay within the range of a class and vanish. Air, lung and soft tissue become
    -1000, -850 and 20 HU, bone keeps its smoothed value; between classes the prior goes over linearly.

    Args:
        hu: slices (N, 1, rows, columns).
        metal: where their values mean nothing, bool of this shape.
        spacing: in mm along rows and columns.

    Source: E. Meyer et al., Normalized metal artifact reduction (NMAR) in computed tomography, Med. Phys. 2010.

    Example:
        >>> hu = torch.tensor([-1000.0, -60.0, 90.0]).repeat_interleave(20).expand(1, 1, 60, 60)
        >>> prior = tissue_prior(hu, torch.zeros(1, 1, 60, 60, dtype=torch.bool), (1.0, 1.0))
        >>> prior[0, 0, 30, [5, 30, 55]]
        tensor([-1000.,    20.,    20.])
    """
    known = filled(hu, metal, spacing)
    smooth, fine = (smoothed(known, spacing, mm) for mm in (_SMOOTH_MM, _BONE_MM))
    prior = torch.full_like(hu, TISSUE_HU)
    prior = prior.lerp(fine.clamp(*_BONE_HU), _share(smooth, *_BONE_RAMP_HU))
    prior = prior.lerp(torch.full_like(hu, _LUNG_HU), 1 - _share(smooth, *_LUNG_RAMP_HU))
    prior = prior.lerp(torch.full_like(hu, AIR_HU), 1 - _share(smooth, *_AIR_RAMP_HU))
    return filled(prior, metal, spacing)


def filled(hu: torch.Tensor, missing: torch.Tensor, spacing: tuple[float, float]) -> torch.Tensor:
    """Slices with missing pixels filled by the mean around them, weighted by a Gaussian of 4 mm; far away by tissue.

    Example:
        >>> hu = torch.full((1, 1, 9, 9), 70.0)
        >>> hu[..., 4, 4] = 3071.0
        >>> filled(hu, hu > 3000, (1.0, 1.0)).round().unique()
        tensor([70.])
    """
    if missing.device.type != "cpu":  # a GPU is not awaited
        return _all_filled(hu, missing, spacing)
    box = bounds(missing)
    if box is None:
        return hu
    rows, columns = (
        slice(max(0, span.start - reach), span.stop + reach)
        for span, reach in zip(box, (math.ceil(_ENDS * _FILL_MM / pixel) for pixel in spacing), strict=True)
    )
    out = hu.clone()
    out[..., rows, columns] = _all_filled(hu[..., rows, columns], missing[..., rows, columns], spacing)
    return out


def _all_filled(hu: torch.Tensor, missing: torch.Tensor, spacing: tuple[float, float]) -> torch.Tensor:
    """The same, at the cost of a smoothing of everything."""
    weight = (~missing).to(hu.dtype)
    total = smoothed(weight, spacing, _FILL_MM)
    faint = 1e-3
    mean = (smoothed(hu * weight, spacing, _FILL_MM) + faint * TISSUE_HU) / (total + faint)
    return torch.where(missing, mean, hu)


def smoothed(slices: torch.Tensor, spacing: tuple[float, float], mm: float) -> torch.Tensor:
    """Slices (N, 1, rows, columns) after a Gaussian of this standard deviation; values at the border go on.

    Example:
        >>> round(float(smoothed(torch.ones(1, 1, 5, 5), (1.0, 0.5), 2.0).mean()), 4)
        1.0
    """
    widths = torch.tensor([[mm / pixel for pixel in spacing]], dtype=torch.float64)
    return gaussian_smooth(slices.transpose(0, 1), widths, _ENDS).transpose(0, 1)  # as channels, which share a kernel


def _share(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """0 up to ``low``, 1 from ``high`` on, linear between."""
    return ((values - low) / (high - low)).clamp(0, 1)
