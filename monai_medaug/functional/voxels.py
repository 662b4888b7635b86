"""Values of an image at chosen positions, without resampling the whole."""

from __future__ import annotations

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops

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
    where = index.reshape(-1, 3) * np.array([image.ndim == 3, 1, 1])
    last = np.array(shape) - 1
    inside = np.all((where >= -0.5) & (where <= last + 0.5), axis=1).reshape(index.shape[:-1])
    if not linear:
        return _gathered(image, np.rint(np.clip(where, 0, last)).astype(np.int64), shape).reshape(inside.shape), inside
    values = np.zeros(len(where))
    if isinstance(image, torch.Tensor) and (
        compiled := loops("_numba_voxels", image, dtypes=[torch.float32, torch.float64])
    ):
        compiled.linear_values(image.reshape(shape).numpy(), where, values)
        return values.reshape(inside.shape), inside
    where = np.clip(where, 0, last)
    low = where.astype(np.int64)
    high, share = np.minimum(low + 1, last), where - low
    for corner in range(2**image.ndim):
        upper = np.array([corner >> axis & 1 for axis in (2, 1, 0)], bool)
        weight = np.where(upper, share, 1 - share).prod(1)
        values += weight * _gathered(image, np.where(upper, high, low), shape)
    return values.reshape(inside.shape), inside


def _gathered(image: torch.Tensor | np.ndarray, places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values at voxels (N, 3) of an image embedded in three axes."""
    flat = places @ np.array([shape[1] * shape[2], shape[2], 1])
    if isinstance(image, np.ndarray):
        return image.reshape(-1)[flat]
    values = image.reshape(-1)[torch.from_numpy(flat).to(image.device)].cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def holds_at(mask: np.ndarray, index: np.ndarray, everywhere: bool = False) -> np.ndarray:
    """Whether a mask (*spatial) holds at voxel positions (N, 3), or at a neighbouring voxel.

    Args:
        mask: bool.
        index: positions in voxels.
        everywhere: whether it must hold at the position and at all its neighbours, instead of at any of them.
    """
    values = values_at(mask, index[:, None] + FACES, linear=False)[0]
    return np.all(values, axis=1) if everywhere else np.any(values, axis=1)
