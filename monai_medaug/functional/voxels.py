"""Values of an image at chosen positions, without resampling the whole."""

from __future__ import annotations

import numpy as np
import torch

from monai_medaug.functional.acceleration import cpu_library_serves, loops

FACES = np.concatenate([np.zeros((1, 3), int), np.eye(3, dtype=int), -np.eye(3, dtype=int)])
"""A voxel and its six neighbours."""
_REAL = (torch.float32, torch.float64)
_LABELS = (torch.uint8, torch.int16, torch.int32, torch.int64, *_REAL)
_NUMPY: dict[tuple[torch.dtype, ...], set[np.dtype]] = {
    kinds: {torch.empty(0, dtype=kind).numpy().dtype for kind in kinds} for kinds in (_REAL, _LABELS)
}


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
    flat, where = image.ndim == 2, index.reshape(-1, 3)
    shape = (1, *image.shape) if flat else tuple(image.shape)
    volume = compilable(image, _REAL if linear else _LABELS)
    if volume is not None and (compiled := loops("_numba_voxels")) is not None:
        values, inside = np.empty(len(where), float if linear else volume.dtype), np.empty(len(where), bool)
        where = np.ascontiguousarray(where, float)
        if not linear:
            compiled.nearest_values(volume.reshape(shape), where, flat, values, inside)
        elif flat:
            compiled.plane_values(volume, where, values, inside)
        else:
            compiled.linear_values(volume, where, values, inside)
        if image.dtype in (bool, torch.bool) and not linear:
            values = values.view(bool)
        return values.reshape(index.shape[:-1]), inside.reshape(index.shape[:-1])
    last = np.array(shape) - 1
    where = where * np.array([not flat, 1, 1])
    inside = np.all((where >= -0.5) & (where <= last + 0.5), axis=1).reshape(index.shape[:-1])
    where = np.clip(where, 0, last)
    if not linear:
        return _gathered(image, np.rint(where).astype(np.int64), shape).reshape(inside.shape), inside
    values, low = np.zeros(len(where)), where.astype(np.int64)
    high, share = np.minimum(low + 1, last), where - low
    for corner in range(2**image.ndim):
        upper = np.array([corner >> axis & 1 for axis in (2, 1, 0)], bool)
        weight = np.where(upper, share, 1 - share).prod(1)
        values += weight * _gathered(image, np.where(upper, high, low), shape)
    return values.reshape(inside.shape), inside


def compilable(image: torch.Tensor | np.ndarray, dtypes: tuple[torch.dtype, ...] = _LABELS) -> np.ndarray | None:
    """An image as compiled loops take it, truth values as bytes; None if it lies elsewhere or is of no such type."""
    if not isinstance(image, np.ndarray):
        image = image.view(torch.uint8) if image.dtype == torch.bool else image
        return image.numpy() if cpu_library_serves(image, dtypes=dtypes) else None
    image = image.view(np.uint8) if image.dtype == bool else image
    fits = image.dtype in _NUMPY[dtypes] and image.dtype.isnative and image.flags.writeable
    return image if fits and cpu_library_serves() else None


def _gathered(image: torch.Tensor | np.ndarray, places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Values at voxels (N, 3) of an image embedded in three axes."""
    flat = places @ np.array([shape[1] * shape[2], shape[2], 1])
    if isinstance(image, np.ndarray):
        return image.reshape(-1)[flat]
    values = image.reshape(-1)[torch.from_numpy(flat).to(image.device)].cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def equal_at(labels: np.ndarray, index: np.ndarray, steps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether a label map (*spatial) has the wanted labels at positions and beside them.

    Args:
        labels: label map.
        index: positions (N, 3) in voxels.
        steps: (M, 3) from each position.
        wanted: labels (N,).

    Returns:
        (N, M): 1 where the nearest voxel has the label, 0 where it has another; 2 more beyond the image, whose outer
        voxels repeat.
    """
    if (volume := compilable(labels)) is not None and (compiled := loops("_numba_voxels")):
        flat, found = labels.ndim == 2, np.empty((len(index), len(steps)), np.uint8)
        volume = volume[None] if flat else volume
        where, steps = (np.ascontiguousarray(v, float) for v in (index, steps))
        compiled.equal_values(volume, where, steps, flat, wanted.astype(volume.dtype), found)
        return found
    values, inside = values_at(labels, index[:, None] + steps, linear=False)
    return (values == wanted[:, None]) + 2 * (~inside).astype(np.uint8)


def holds_at(mask: np.ndarray, index: np.ndarray, everywhere: bool = False) -> np.ndarray:
    """Whether a mask (*spatial) holds at voxel positions (N, 3), or at a neighbouring voxel.

    Args:
        mask: bool.
        index: positions in voxels.
        everywhere: whether it must hold at the position and at all its neighbours, instead of at any of them.
    """
    held = equal_at(mask, index, FACES, np.ones(len(index), bool)) & 1
    return np.asarray(held.all(1) if everywhere else held.any(1))
