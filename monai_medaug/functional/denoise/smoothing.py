"""Gaussian smoothing, and helpers that it shares with the other filters.

Filters keep the image's units and type and repeat the border: HU stay HU, and a constant image stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import cpu_library_serves
from monai_medaug.functional.geometry.resolution import along_axis

_NARROW = 32
"""Greatest radius in voxels of a kernel that OpenCV applies; beyond it a matrix product is faster."""


def gaussian_smooth(image: torch.Tensor, widths: torch.Tensor, truncate: float = 4.0) -> torch.Tensor:
    """Convolution with a Gaussian along each axis: ``w(k) ~ exp(-k² / (2 width²))`` for ``|k| <= truncate width``.

    The weights sum to 1 and the border voxel is repeated outside, as in
    ``scipy.ndimage.gaussian_filter(mode="nearest")``.

    Args:
        image: (B, C, *spatial), float32 or float64.
        widths: (B, axes), standard deviations in voxels; 0 skips the axis.
        truncate: end of the kernel, in standard deviations.

    Example:
        >>> out = gaussian_smooth(torch.full((1, 1, 5, 7), -1000.0), torch.tensor([[2.0, 0.5]]))
        >>> bool((out + 1000).abs().max() < 1e-3)
        True
    """
    axes = image.ndim - 2
    if tuple(widths.shape) != (len(image), axes):
        raise ValueError(f"widths must have the shape {(len(image), axes)}, got {tuple(widths.shape)}")
    kernels = [[_gaussian_taps(float(w), truncate) for w in sample] for sample in widths.tolist()]
    cv2 = opencv_for(image) if axes in (2, 3) else None
    if cv2 is None:
        return _gaussian_by_matrices(image, kernels)
    out = torch.empty_like(image, memory_format=torch.contiguous_format)
    source = image.contiguous()
    for b, taps in enumerate(kernels):
        if max(len(t) for t in taps) > 2 * _NARROW + 1:
            out[b] = _gaussian_by_matrices(source[b : b + 1], [taps])[0]
        else:
            for plane, target in zip(source[b].numpy(), out[b].numpy(), strict=True):
                _gaussian_by_taps(cv2, plane, target, taps)
    return out


def opencv_for(image: torch.Tensor) -> ModuleType | None:
    """OpenCV if it can serve this image, float32 on the CPU, see `cpu_library_serves`; else None."""
    if not cpu_library_serves(image, dtypes=[torch.float32]):
        return None
    import cv2

    return cv2


def as_volumes(image: torch.Tensor) -> torch.Tensor:
    """(B, C, *spatial) as (B C, Z, Y, X): a view of a contiguous image.

    Example:
        >>> as_volumes(torch.zeros(2, 3, 4, 5)).shape
        torch.Size([6, 1, 4, 5])
    """
    spatial = image.shape[2:]
    return image.contiguous().view(-1, *(1,) * (3 - len(spatial)), *spatial)


def _gaussian_taps(width: float, truncate: float) -> np.ndarray:
    """Samples of the Gaussian with sum 1, (2 radius + 1,)."""
    radius = int(truncate * width + 0.5) if width > 0 else 0
    if radius == 0:
        return np.ones(1)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    return taps / taps.sum()


def _gaussian_by_taps(cv2: ModuleType, source: np.ndarray, target: np.ndarray, taps: list[np.ndarray]) -> None:
    """One plane or volume by OpenCV; a volume is first filtered along its first axis, as one wide plane."""
    one, border = np.ones(1), cv2.BORDER_REPLICATE
    if source.ndim == 2:
        cv2.sepFilter2D(source, -1, taps[1], taps[0], dst=target, borderType=border)
        return
    if len(taps[0]) > 1:
        wide = source.reshape(len(source), -1)
        source = cv2.sepFilter2D(wide, -1, one, taps[0], borderType=border).reshape(source.shape)
    for plane, out in zip(source, target, strict=True):
        cv2.sepFilter2D(plane, -1, taps[2], taps[1], dst=out, borderType=border)


def _gaussian_by_matrices(image: torch.Tensor, kernels: list[list[np.ndarray]]) -> torch.Tensor:
    """A banded matrix for each sample and axis; `kernels` are the samples' taps along each axis."""
    out = image
    for axis, n in enumerate(image.shape[2:]):
        if all(len(taps[axis]) == 1 for taps in kernels):
            continue
        matrices = np.zeros((len(kernels), n, n))
        for matrix, taps in zip(matrices, kernels, strict=True):
            radius = len(taps[axis]) // 2
            index = (np.arange(n)[:, None] + np.arange(-radius, radius + 1)).clip(0, n - 1)
            np.add.at(matrix, (np.arange(n)[:, None], index), taps[axis])
        out = along_axis(out, torch.from_numpy(matrices), axis)
    return out.clone() if out is image else out


def repeated_border(image: torch.Tensor, radii: Sequence[int]) -> torch.Tensor:
    """The last axes extended on both sides by the border voxel, by any number of voxels.

    Example:
        >>> repeated_border(torch.tensor([1, 2]), [2]).tolist()
        [1, 1, 1, 2, 2, 2]
    """
    for axis, radius in enumerate(radii, image.ndim - len(radii)):
        if radius:
            n = image.shape[axis]
            image = image.index_select(axis, torch.arange(-radius, n + radius, device=image.device).clamp_(0, n - 1))
    return image
