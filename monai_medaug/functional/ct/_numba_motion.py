"""Compiled loop of motion between views (see `motion.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit()
def moved_views(sinogram, rows, scales, offsets, out, first, last):
    """Views of moved objects, for the slices first..last.

    sinogram and out: (slices, views, detectors). View v of slice n lies at rows[n, v] among the views, which continue
    as their mirror images; its detector j reads ``middle + (j - middle) / scales[n, v] - offsets[n, v]``, 0 outside.
    """
    _, views, width = sinogram.shape
    middle, one = (width - 1) / 2, np.float32(1.0)
    mixed = np.zeros(width + 2, np.float32)
    for n in range(first, last):
        for v in range(views):
            below = int(np.floor(rows[n, v]))
            f = np.float32(rows[n, v] - below)
            mixed[1:-1] = 0
            for step in range(2):
                view = sinogram[n, (below + step) % views]
                weight = f if step else one - f
                if ((below + step) // views) % 2 == 1:
                    for j in range(width):
                        mixed[j + 1] += weight * view[width - 1 - j]
                else:
                    for j in range(width):
                        mixed[j + 1] += weight * view[j]
            slope = 1 / scales[n, v]
            start = middle - middle * slope - offsets[n, v] + 1
            for j in range(width):
                x = start + j * slope
                if 0.0 <= x < width + 1.0:
                    i = int(x)
                    g = np.float32(x - i)
                    out[n, v, j] = (one - g) * mixed[i] + g * mixed[i + 1]  # exact at both ends
                else:
                    out[n, v, j] = 0.0
