"""Images on finer grids over the same field of view: interpolation, and back-projection through a slice profile.

Corners stay in place: voxel j of n lies at ``(j + 1/2) N / n - 1/2`` among the N voxels of the other grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.geometry.resolution import along_axis, profile_weights

METHODS = ("bicubic", "bilinear", "backprojection")
BLURS = ("cubic", "gaussian", "trapezoid")

_ROUNDS = 10  # on a T1 slice 20 more change 0.001 dB
_REACH = 1.7  # of the widest profile, in widths, see `profile_weights`


def cubic_resized(image: torch.Tensor, size: list[int], antialias: bool = False) -> torch.Tensor:
    """Images (N, C, *spatial) of another size by cubic interpolation; volumes plane by plane, then across.

    Args:
        image: (N, C, rows, columns) or (N, C, rows, columns, slices).
        size: of the result.
        antialias: widen the kernel (then Catmull-Rom's, else that of a = -0.75) where the image shrinks.

    Example:
        >>> cubic_resized(torch.ones(1, 1, 4, 4, 4), [8, 8, 2], True).shape
        torch.Size([1, 1, 8, 8, 2])
    """
    if image.dim() == 4:
        return torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=antialias)
    n, c, a, b, d = image.shape
    planes = image.permute(0, 1, 4, 2, 3).reshape(n * c, d, a, b)
    planes = torch.nn.functional.interpolate(planes, size[:2], mode="bicubic", antialias=antialias)
    lines = planes.permute(0, 2, 3, 1).reshape(n * c, 1, size[0] * size[1], d)
    lines = torch.nn.functional.interpolate(lines, [size[0] * size[1], size[2]], mode="bicubic", antialias=antialias)
    return lines.reshape(n, c, size[0], size[1], size[2])


def linear_resized(image: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Images (N, C, *spatial) of another size by linear interpolation."""
    return torch.nn.functional.interpolate(image, tuple(size), mode="bilinear" if image.ndim == 4 else "trilinear")


def nearest_resized(labels: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Labels (N, C, *spatial) of another size, of any type, each voxel with the value at its centre."""
    for axis, n in enumerate(size, 2):
        old = labels.shape[axis]
        if n != old:
            index = torch.from_numpy(np.floor((np.arange(n) + 0.5) * old / n).astype(np.int64))
            labels = labels.index_select(axis, index.clamp_(0, old - 1).to(labels.device))
    return labels


def reduced(image: torch.Tensor, size: Sequence[int], blur: str = "cubic") -> torch.Tensor:
    """Images as a coarser grid would have sampled them: the model that back-projection inverts.

    Args:
        image: (N, C, *spatial).
        size: of the result, at most the image's.
        blur: ``"cubic"``: antialiased cubic interpolation; ``"gaussian"`` or ``"trapezoid"``: a slice profile whose
            full width at half maximum is a voxel of the result, see `profile_weights`.

    Example:
        >>> reduced(torch.arange(8.0).reshape(1, 1, 1, 8), [1, 2], "trapezoid")
        tensor([[[[1.5500, 5.4500]]]])
    """
    if blur == "cubic":
        return cubic_resized(image, list(size), True)
    for axis, n in enumerate(size):
        if n < image.shape[axis + 2]:
            image = along_axis(image, torch.from_numpy(_sampling(image.shape[axis + 2], n, blur))[None], axis)
    return image


def _sampling(voxels: int, samples: int, profile: str) -> np.ndarray:
    """Matrix (samples, voxels) of profiles evenly over an axis, the border value repeated outside."""
    width = voxels / samples
    centres = (np.arange(samples) + 0.5) * width - 0.5
    index = np.floor(centres - _REACH * width).astype(int)[:, None] + np.arange(int(2 * _REACH * width) + 3)
    weights = profile_weights(index - centres[:, None], width, profile)
    matrix = np.zeros((samples, voxels))
    np.add.at(matrix, (np.arange(samples)[:, None], index.clip(0, voxels - 1)), weights)
    return matrix


def upscaled(image: torch.Tensor, size: Sequence[int], method: str = "bicubic", blur: str = "cubic") -> torch.Tensor:
    """Images on a finer grid, within the range of their values.

    Back-projection adds the interpolated error of its reduced result until both agree, ``x <- x + up(y - down(x))``
    (M. Irani & S. Peleg, CVGIP 1991), 10 times.

    Args:
        image: (N, C, *spatial).
        size: of the result, at least the image's.
        method: ``"bicubic"``, ``"bilinear"`` or ``"backprojection"``.
        blur: how the image was sampled, for back-projection; see `reduced`.

    Example:
        >>> upscaled(torch.tensor([[[[0.0, 1.0]]]]), [1, 4], "bilinear")
        tensor([[[[0.0000, 0.2500, 0.7500, 1.0000]]]])
    """
    if method == "bilinear":
        return linear_resized(image, size)
    out = cubic_resized(image, list(size))
    if method == "backprojection":
        for _ in range(_ROUNDS):
            out += cubic_resized(image - reduced(out, image.shape[2:], blur), list(size))
    low, high = image.flatten(2).aminmax(dim=2)
    low, high = (x.reshape(*x.shape, *[1] * (image.ndim - 2)) for x in (low, high))
    return torch.minimum(torch.maximum(out, low), high)
