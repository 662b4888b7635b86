"""Where in a CT slice the quantum noise is strong, and along which direction: from the path lengths of its rays."""

from __future__ import annotations

import functools
import math

import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.hu import BODY_HU
from monai_medaug.functional.ct.projection import WATER_PER_MM
from monai_medaug.functional.hounsfield import PADDING_HU

_PIXELS = 32  # along the longer side of the smoothed slice
_VIEWS = 8
_DENSEST_HU = 1500.0  # metal would hide the patient


def noise_amplitudes(slices: torch.Tensor, spacing: tuple[float, float], samples: int) -> torch.Tensor:
    """Amplitudes by which the two halves of an isotropic noise of unit variance are scaled at each pixel.

    A ray along which the line integral is p brings noise of the variance ``exp(p)``, of a frequency across the ray. The
    tube current follows the square root of each view's greatest attenuation, in the slice and from slice to slice (Gies
    et al. 1999). A few projections of the smoothed slice give the variances (Divel & Pelc 2020), here for two halves of
    the views: those with frequencies rather along the first axis, and the others. They are scaled so that the mean
    variance in soft tissue is 1 over a sample's slices, or where there is none, everywhere.

    Args:
        slices: (N, 1, rows, columns) in HU, equally many of each sample, one sample after another.
        spacing: in mm along rows and columns.
        samples: how many samples the slices belong to.

    Returns:
        (2, N, 1, rows, columns): for frequencies along the first and along the second axis of the slice.

    Example:
        >>> air = torch.full((1, 1, 64, 64), -1000.0)
        >>> [round(float(a), 3) for a in noise_amplitudes(air, (1.0, 1.0), 1)[:, 0, 0, 5, 5]]
        [1.0, 1.0]
    """
    clean = torch.where(slices > PADDING_HU, slices, -1000.0).clamp(-1000, _DENSEST_HU)
    rows, columns = slices.shape[-2:]
    step = max(rows * spacing[0], columns * spacing[1]) / _PIXELS
    few = [min(n, max(1, round(n * s / step))) for n, s in zip((rows, columns), spacing, strict=True)]
    coarse = torch.nn.functional.adaptive_avg_pool2d(clean, (few[0], few[1])).flatten(1)
    size = (rows * spacing[0] / few[0], columns * spacing[1] / few[1])
    weights, width = _view_weights((few[0], few[1]), size)
    weights = sent(weights, coarse.device, coarse.dtype)
    paths = torch.einsum("vpd,np->nvd", weights, (coarse + 1000) * (WATER_PER_MM / 1000 * size[0] * size[1] / width))
    variance = torch.exp(paths - paths.amax(2, keepdim=True) / 2)
    local = torch.einsum("vpd,nvd->vnp", weights, variance)
    both = local.reshape(2, _VIEWS // 2, *local.shape[1:]).mean(1)

    body = (coarse > BODY_HU).to(both).reshape(samples, -1)
    counted = torch.where(body.sum(1, keepdim=True) > 0, body, torch.ones_like(body))
    mean = (both.mean(0).reshape(samples, -1) * counted).sum(1) / counted.sum(1)
    both = both / mean.repeat_interleave(len(slices) // samples)[:, None]
    amplitude = torch.sqrt(both).reshape(-1, 1, few[0], few[1])
    fine = torch.nn.functional.interpolate(amplitude, (rows, columns), mode="bilinear")
    return fine.reshape(2, *slices.shape)


@functools.lru_cache(maxsize=16)
def _view_weights(shape: tuple[int, int], spacing: tuple[float, float]) -> tuple[torch.Tensor, float]:
    """Weights (views, pixels, detectors) of linear interpolation at the pixels' shadows, and a detector's width in mm.

    The first half of the views has its detector rather along the first axis, the second half along the second.
    """
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True))
    angle = (torch.arange(_VIEWS, dtype=torch.float64) + 0.5) * (math.pi / _VIEWS) - math.pi / 4  # from the first axis
    shadow = y[:, None] * torch.cos(angle)[:, None, None] + x * torch.sin(angle)[:, None, None]
    width = 1.5 * max(spacing)  # wider than a pixel, so that all get their share
    count = 2 * math.ceil(float(shadow.abs().max()) / width) + 3
    place = shadow.flatten(1) / width + (count - 1) / 2
    distance = (place[..., None] - torch.arange(count, dtype=torch.float64)).abs()
    return (1 - distance).clamp_min(0), width
