"""Compiled loops of windows and contrast in HU (see `hu.py`), and of the look at the unit (see `scale.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit(error_model="numpy")
def window(image, start, width, low, high, clip, out, first, last):
    """``low + (high - low) (image - start) / width``, voxels first..last: (samples, voxels), rest (samples,)."""
    for s in range(len(image)):
        begin, slope, least, extent = start[s], width[s], low[s], high[s] - low[s]
        source, target = image[s, first:last], out[s, first:last]
        if clip:
            for i in range(last - first):
                share = (source[i] - begin) / slope
                share = share if share > np.float32(0) else np.float32(0)
                share = share if share < np.float32(1) else np.float32(1)
                target[i] = share * extent + least
        else:
            for i in range(last - first):
                target[i] = (source[i] - begin) / slope * extent + least


@njit()
def contrast(image, gain, pivot, full, out, first, last):
    """``image + gain excess`` for the voxels first..last; (samples, voxels), gain, pivot: (samples,)."""
    half = np.float32(0.5) / full
    for s in range(len(image)):
        more, zero, source, target = gain[s], pivot[s], image[s, first:last], out[s, first:last]
        for i in range(last - first):
            above = source[i] - zero
            above = above if above > np.float32(0) else np.float32(0)
            low = above if above < full else full
            target[i] = source[i] + more * ((above - low) + half * low * low)


@njit()
def limits(images, step, out):
    """The least and greatest value of every ``step``-th voxel along each axis.

    images: (channels, planes, rows, columns); out: (2, channels).
    """
    channels, planes, rows, columns = images.shape
    for k in range(channels):
        low = high = images[k, 0, 0, 0]
        for p in range(0, planes, step):
            for r in range(0, rows, step):
                for c in range(0, columns, step):
                    value = images[k, p, r, c]
                    low, high = min(low, value), max(high, value)
        out[0, k], out[1, k] = low, high
