"""Structural similarity (SSIM) with separable windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.functional.denoise.smoothing import gaussian_smooth

WIDTH = 1.5
"""Standard deviation of the window in voxels."""

_TRUNCATE = 3.5
_REACH = 5  # voxels, of the truncated window
SIDE = 2 * _REACH + 1
"""Voxels of the window along each axis."""

_K1, _K2 = 0.01, 0.03


def ssim_map(image: torch.Tensor, reference: torch.Tensor, data_range: float) -> torch.Tensor:
    """SSIM of each window that lies within the image, of 11 voxels a side and σ 1.5.

        SSIM = (2 μx μy + C1) (2 σxy + C2) / ((μx² + μy² + C1) (σx² + σy² + C2)),  C1 = (0.01 L)²,  C2 = (0.03 L)²

    Moments are weighted by the window and not corrected for the number of voxels. With d = x - y the first factor is
    1 - μd² / (μx² + μy² + C1) and the second 1 - σd² / (σx² + σy² + C2), so that four fields are smoothed instead of
    five and float32 is exact where the images agree. An axis shorter than the window is not averaged over: a thin stack
    is compared slice by slice.

    Args:
        image: (B, C, *spatial), float32 or float64.
        reference: of the same shape.
        data_range: L, the greatest minus the least possible value.

    Returns:
        (B, C, n - 10, …), for short axes n.

    Source: Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE TIP 2004.

    Example:
        >>> x = torch.rand(1, 1, 16, 16)
        >>> ssim_map(x, x, 1.0).unique()
        tensor([1.])
    """
    widths = [WIDTH if n >= SIDE else 0.0 for n in image.shape[2:]]
    centre = reference.mean(dim=tuple(range(2, reference.ndim)), keepdim=True)  # small numbers keep their digits
    total, difference = image + reference - 2 * centre, image - reference
    fields = torch.cat([total, difference, total.square(), difference.square()], 1)
    smooth = gaussian_smooth(fields, torch.tensor([widths]).expand(len(image), -1), _TRUNCATE)
    total, difference, total_square, difference_square = inner_windows(smooth).chunk(4, 1)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    variance = (difference_square - difference.square()).clamp_min(0)
    variances = ((total_square - total.square()).clamp_min(0) + variance) / 2
    first, second = (total + difference) / 2 + centre, (total - difference) / 2 + centre
    luminance = 1 - difference.square() / (first.square() + second.square() + c1)
    return luminance * (1 - variance / (variances + c2))


def inner_windows(image: torch.Tensor) -> torch.Tensor:
    """The voxels (…, *spatial) at the middle of windows that lie within the image.

    Example:
        >>> inner_windows(torch.zeros(1, 1, 12, 7)).shape
        torch.Size([1, 1, 2, 7])
    """
    return image[(slice(None), slice(None), *_inner(image.shape[2:]))]


def _inner(shape: Sequence[int]) -> list[slice]:
    return [slice(_REACH, n - _REACH) if n >= SIDE else slice(None) for n in shape]
