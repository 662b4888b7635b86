"""Compiled loop: values at chosen positions."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit()
def linear_values(image, index, values):
    """Trilinear values of a volume (Z, Y, X) at positions (N, 3) in voxels, clamped to the outer voxels."""
    last = np.array([image.shape[0] - 1, image.shape[1] - 1, image.shape[2] - 1])
    low = np.zeros(3, np.int64)
    high = np.zeros(3, np.int64)
    share = np.zeros(3)
    for i in range(index.shape[0]):
        for axis in range(3):
            place = min(max(index[i, axis], 0.0), float(last[axis]))
            low[axis] = int(place)
            high[axis] = min(low[axis] + 1, last[axis])
            share[axis] = place - low[axis]
        z, y, x = share
        near = (image[low[0], low[1], low[2]] * (1 - x) + image[low[0], low[1], high[2]] * x) * (1 - y) + (
            image[low[0], high[1], low[2]] * (1 - x) + image[low[0], high[1], high[2]] * x
        ) * y
        far = (image[high[0], low[1], low[2]] * (1 - x) + image[high[0], low[1], high[2]] * x) * (1 - y) + (
            image[high[0], high[1], low[2]] * (1 - x) + image[high[0], high[1], high[2]] * x
        ) * y
        values[i] = near * (1 - z) + far * z
