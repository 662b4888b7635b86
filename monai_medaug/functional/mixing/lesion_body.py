"""Where a body ends, so that no lesion is pasted outside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.ct.body import find_patient
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.outside import background_values
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

_DARK, _AIR_HU, _SURELY_HU = 0.06, 50.0, -500.0
"""The body's outside is in this lowest part of the images' range, in HU up to 50 above air."""
_ISLAND = 0.2
"""Size of an island, of the body's."""


def dark_levels(images: Sequence[np.ndarray]) -> np.ndarray:
    """Up to which value a voxel lies outside the body, for each channel of the images (C, *spatial) of a batch.

    From the range of the values but for the padding of a CT.

    Example:
        >>> float(dark_levels([np.array([[0.0] * 50 + [100.0] * 50])])[0])
        6.0
    """
    levels = []
    for channels in zip(*images, strict=True):
        values = np.concatenate([c.reshape(-1)[:: max(1, c.size // 20000)] for c in channels])
        measured = values[values > PADDING_HU]
        low, high = np.quantile(measured if len(measured) else values, (0.005, 0.995))
        levels.append(AIR_HU + _AIR_HU if low < _SURELY_HU else low + _DARK * (high - low))
    return np.array(levels)


def islands(smooth: np.ndarray, dark: np.ndarray) -> np.ndarray:
    """Voxels (*spatial) that no way through the body joins to its greatest part, such as a table of foam.

    Args:
        smooth: the image (C, *spatial), smoothed.
        dark: of `dark_levels`.

    Example:
        >>> islands(np.array([[9.0, 9, 9, 9, 9, 9, 0, 9]]), np.array([1.0])).astype(int).tolist()
        [0, 0, 0, 0, 0, 0, 0, 1]
    """
    from scipy.ndimage import label

    numbers, count = label((smooth > dark.reshape(-1, *[1] * (smooth.ndim - 1))).any(0))
    if count < 2:
        return np.zeros(smooth.shape[1:], dtype=bool)
    sizes = np.bincount(numbers.reshape(-1))
    sizes[0] = 0
    small = sizes < _ISLAND * sizes.max()
    small[0] = False
    return small[numbers]


def outside_body(image: np.ndarray, smooth: np.ndarray, dark: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """Voxels (*spatial) outside the body: `islands`, and in whole scans what surrounds it.

    In a CT whose border is air that is all but `find_patient`, without the table even where the body lies on it; in
    other images what is dark in all channels and joined to the border. A crop within a body has no outside.

    Args:
        image: (C, *spatial).
        smooth: the same, smoothed.
        dark: of `dark_levels`.
        grid: of the image.

    Example:
        >>> head = np.zeros((1, 24, 24))
        >>> head[0, 6:18, 6:18] = 9.0
        >>> head[0, 11:13, 11:13] = 0.0  # a ventricle
        >>> int((~outside_body(head, head, np.array([1.0]), VoxelGrid((24, 24)))).sum())
        144
    """
    from scipy.ndimage import label

    found = islands(smooth, dark)
    units = dark == AIR_HU + _AIR_HU
    channel = int(np.argmax(units))
    kind = "air" if units.any() else "background"
    if background_values(torch.from_numpy(image[None, [channel] if units.any() else slice(None)]), kind)[0] is None:
        return found
    if units.any():
        across = 0 if len(grid.shape) == 2 else int(np.argmax(np.abs(grid.matrix[2, :3]) / grid.embedded_spacing))
        rows, columns = (axis for axis in range(3) if axis != across)
        volume = torch.from_numpy(image[channel].reshape(grid.size)).movedim(across, 0)
        patient = find_patient(volume, (grid.embedded_spacing[rows], grid.embedded_spacing[columns]))
        return found | ~patient.voxels.movedim(0, across).numpy().reshape(found.shape)
    regions, _ = label((smooth <= dark.reshape(-1, *[1] * (smooth.ndim - 1))).all(0))
    sides = [np.take(regions, at, axis) for axis in range(regions.ndim) for at in (0, -1)]
    open_ = np.unique(np.concatenate([side.ravel() for side in sides]))
    return found | np.isin(regions, open_[open_ > 0])
