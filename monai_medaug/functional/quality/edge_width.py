"""Width of the edges of an image: blur that noise hardly changes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from monai_medaug.functional.noise.level import mad_sigma

LEAST_PLACES = 50
"""Edges are measured from this many places on."""

_SEARCH = 1.5  # voxels: smoothing by which places are found
_STRONGEST = 0.05  # share of voxels looked at
_STANDS_OUT = 6.0  # an edge's gradient, in standard deviations of that of noise
_MOST = 20_000  # places
_REACH, _STEP = 6.0, 0.25  # voxels


def edge_widths(
    images: torch.Tensor, spacing: Sequence[float], mask: torch.Tensor | None = None
) -> tuple[list[float], int]:
    """Distance in mm over which an edge rises from dark to bright at its steepest slope, for images of one scene.

    Strong edges are found once for all images, as ridges of the gradient of their smoothed mean. Each image's profiles
    across them are averaged, which takes the noise away, and the width is the profile's height over its greatest slope:
    2.5 times the standard deviation where the blur is Gaussian, somewhat less for blurs of 3 voxels and more. Contrast
    and gain don't count.

    Args:
        images: (N, *spatial), floating point, on one grid.
        spacing: of the voxels in mm along each axis.
        mask: (*spatial), True where edges count.

    Returns:
        The width in each image, and the number of places; nan with fewer than 50.

    Example:
        >>> x = torch.arange(64.0).expand(64, 64)
        >>> blurred = torch.special.ndtr((torch.stack([x, x]) - 31.3) / torch.tensor([1.5, 2.0])[:, None, None])
        >>> widths, places = edge_widths(blurred, (1.0, 1.0))
        >>> [round(w / math.sqrt(2 * math.pi), 1) for w in widths]
        [1.5, 2.0]
    """
    ratios = np.asarray(spacing) / min(spacing)
    places, normals = _edge_places(images, ratios, mask)
    if len(places) < LEAST_PLACES:
        return [math.nan] * len(images), len(places)
    offsets = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    lines = places[:, :, None] + normals[:, :, None] * offsets
    widths = []
    for image in images.cpu().double().numpy():
        profile = _values_along(image, lines).mean(0)
        slope = np.diff(profile).max() / _STEP
        widths.append(float(np.ptp(profile) / slope * min(spacing)) if slope > 0 else math.nan)
    return widths, len(places)


def _edge_places(images: torch.Tensor, ratios: np.ndarray, mask: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Places on edges, and the step along the rising normal of one finest voxel, both (n, axes) in voxels."""
    axes = images.ndim - 1
    mean = images.float().mean(0)[None, None]
    widths = torch.as_tensor(_SEARCH / ratios)[None]
    smooth = gaussian_smooth(mean, widths)[0, 0].cpu().double().numpy()
    thin = [a for a, n in enumerate(smooth.shape) if n < 3]
    gradient = np.stack(
        [np.zeros_like(smooth) if a in thin else np.gradient(smooth, axis=a) / ratios[a] for a in range(axes)]
    )
    size = np.sqrt((gradient**2).sum(0))
    # white noise of deviation 1, smoothed by a Gaussian of width w: its derivative has 1 / (2 w² (4 π w²)^(axes/2))
    volume = float(np.prod([r for a, r in enumerate(ratios) if a not in thin]))
    noise = float(mad_sigma(mean)) * math.sqrt(volume / (2 * _SEARCH**2 * (4 * math.pi * _SEARCH**2) ** (axes / 2)))
    threshold = max(np.quantile(size, 1 - _STRONGEST), _STANDS_OUT * noise, 1e-6 * float(np.ptp(smooth)), 1e-30)
    strong = size > threshold
    margins = [
        0 if a in thin else min(math.ceil((_REACH + 1) / ratios[a]), (n - 1) // 2) for a, n in enumerate(size.shape)
    ]
    inside = np.zeros(size.shape, bool)
    inside[tuple(slice(m, n - m) for m, n in zip(margins, size.shape, strict=True))] = True
    strong &= inside if mask is None else inside & mask.cpu().numpy().astype(bool)
    index = np.argwhere(strong)
    index = index[:: max(1, len(index) // (5 * _MOST))]
    if not len(index):
        return np.zeros((0, axes)), np.zeros((0, axes))
    here = size[tuple(index.T)]
    normals = (gradient[(slice(None), *index.T)] / here).T / ratios
    before, after = (_values_along(size, (index + sign * normals)[:, :, None])[:, 0] for sign in (-1, 1))
    ridge = (here >= before) & (here > after)
    bend = np.maximum(2 * here - before - after, 1e-12 * here)
    centre = index + (0.5 * (after - before) / bend)[:, None].clip(-0.5, 0.5) * normals
    step = max(1, int(ridge.sum()) // _MOST)
    return centre[ridge][::step], normals[ridge][::step]


def _values_along(image: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Linear interpolation at (n, axes, m), the border repeated."""
    return map_coordinates(image, lines.swapaxes(0, 1), order=1, mode="nearest")
