"""Noise in the flat parts of an image, at the same places before and after a change."""

from __future__ import annotations

import math

import numpy as np
import torch

from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from monai_medaug.functional.noise.correlation import quadratic_surfaces

_SIDE = 8  # pixels of a patch
_FLATTEST = 0.25  # share of the patches
_LEAST = 4  # patches
_SLICES = 16
_SEARCH = 1.5  # pixels: smoothing by which flat places are found


def flat_noise(images: torch.Tensor, across: int | None = None, mask: torch.Tensor | None = None) -> list[float]:
    """Standard deviation in the flattest quarter of the patches of 8² pixels, for images of one scene.

    Flat patches are those with the smallest gradients of the images' smoothed mean; those that are constant in all
    images, such as masked background, don't count. A quadratic surface is subtracted from each. White and correlated
    noise count alike, fine texture too.

    Args:
        images: (N, *spatial), floating point, on one grid, 2D or 3D.
        across: axis of ``spatial`` across the slices; None in 2D. Of a volume at most 16 slices are used.
        mask: (*spatial), True where patches may lie.

    Returns:
        The deviation in each image; nan where there are fewer than 4 such patches.

    Example:
        >>> noise = torch.randn(96, 96, generator=torch.Generator().manual_seed(0))
        >>> [round(s) for s in flat_noise(torch.stack([20 * noise + 3, 10 * noise]))]
        [20, 10]
    """
    planes = images[:, None] if across is None else images.movedim(across + 1, 1)
    kept = np.unique(np.linspace(0, planes.shape[1] - 1, _SLICES).round().astype(int)).tolist()
    planes = planes[:, kept].double()
    if min(planes.shape[2:]) < _SIDE:
        return [math.nan] * len(images)
    smooth = gaussian_smooth(planes.mean(0)[:, None], torch.full((planes.shape[1], 2), _SEARCH))[:, 0]
    gradient = torch.stack(torch.gradient(smooth, dim=(1, 2))).square().sum(0)
    patches = _cut_patches(planes)
    flat = patches - patches[..., :1]
    usable = (flat != 0).any(-1).any(0)
    if mask is not None:
        own = (mask[None] if across is None else mask.movedim(across, 0)[kept]) != 0
        usable &= _cut_patches(own).all(-1)
    if int(usable.sum()) < _LEAST:
        return [math.nan] * len(images)
    steepness = _cut_patches(gradient).mean(-1)[usable]
    chosen = steepness.argsort()[: max(_LEAST, int(_FLATTEST * len(steepness)))]
    surfaces = torch.from_numpy(quadratic_surfaces((_SIDE, _SIDE))).to(flat.device).flatten(0, 1)
    values = flat[:, usable][:, chosen]
    residuals = values - (values @ surfaces) @ surfaces.T
    freedom = 1 - surfaces.shape[1] / _SIDE**2
    return (residuals.square().mean((1, 2)) / freedom).sqrt().tolist()


def _cut_patches(planes: torch.Tensor) -> torch.Tensor:
    """(…, slices, rows, columns) cut into (…, patches, pixels)."""
    cut = planes.unfold(-2, _SIDE, _SIDE).unfold(-2, _SIDE, _SIDE)
    return cut.flatten(-2).flatten(-4, -2)
