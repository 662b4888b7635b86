"""Values of an image at chosen positions, without resampling the whole."""

from __future__ import annotations

import numpy as np
import torch

FACES = np.concatenate([np.zeros((1, 3), int), np.eye(3, dtype=int), -np.eye(3, dtype=int)])
"""A voxel and its six neighbours."""


def values_at(
    image: torch.Tensor | np.ndarray, index: np.ndarray, linear: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Values at voxel positions, by (tri)linear interpolation or of the nearest voxel.

    Args:
        image: (*spatial), two or three axes, a tensor of any type and device or an array.
        index: (..., 3) positions (z, y, x) in voxels; z is ignored for two axes.
        linear: interpolate; else take the nearest voxel.

    Returns:
        The values, float64 where interpolated, and whether each position lies within the voxels. Values outside are
        those of the nearest voxel.

    Example:
        >>> values_at(torch.tensor([[0.0, 10.0, 20.0]]), np.array([[0, 0, 0.5], [0, 0, 2.6]]))
        (array([ 5., 20.]), array([ True, False]))
    """
    shape = (1,) * (3 - image.ndim) + tuple(image.shape)
    where = np.moveaxis(index, -1, 0) * np.array([image.ndim == 3, 1, 1]).reshape(3, *[1] * (index.ndim - 1))
    last = np.array(shape).reshape(3, *[1] * (index.ndim - 1)) - 1
    inside = np.all((where >= -0.5) & (where <= last + 0.5), axis=0)
    where = np.clip(where, 0, last)
    strides = (shape[1] * shape[2], shape[2], 1)
    flat = image.reshape(-1)

    def gathered(corner: np.ndarray) -> np.ndarray:
        places = corner[0] * strides[0] + corner[1] * strides[1] + corner[2]
        if isinstance(flat, np.ndarray):
            return flat[places]
        return flat[torch.from_numpy(places).to(flat.device)].cpu().numpy()

    if not linear:
        return gathered(np.rint(where).astype(np.int64)), inside
    low = where.astype(np.int64)
    high, share = np.minimum(low + 1, last), where - low
    total = np.zeros(where.shape[1:])
    for corner in range(2**image.ndim):
        upper = [bool(corner >> axis & 1) for axis in range(3)][::-1]
        weight = np.prod([f if up else 1 - f for f, up in zip(share, upper, strict=True)], axis=0)
        total += weight * gathered(np.stack([h if up else lo for lo, h, up in zip(low, high, upper, strict=True)]))
    return total, inside


def holds_at(mask: np.ndarray, index: np.ndarray, everywhere: bool = False) -> np.ndarray:
    """Whether a mask (*spatial) holds at voxel positions (N, 3), or at a neighbouring voxel.

    Args:
        mask: bool.
        index: positions in voxels.
        everywhere: whether it must hold at the position and at all its neighbours, instead of at any of them.
    """
    values = values_at(mask, index[:, None] + FACES, linear=False)[0]
    return np.all(values, axis=1) if everywhere else np.any(values, axis=1)
