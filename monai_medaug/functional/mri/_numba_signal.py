"""Compiled loops over MR magnitudes: masked backgrounds, the signal of the foreground, magnitude noise."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

_BLOCK = 512  # float32 sums stay exact enough


@njit()
def count_equal(image, step, values, counts):
    """How many voxels equal a value, and how many of their next neighbours do, in every ``step``-th plane.

    image: (channels, planes, rows, columns); values: (channels,). Counts (channels, 5): all; those with a next
    neighbour along the rows' axis, and the neighbours that are equal too; the same along the columns' axis.
    """
    channels, planes, rows, columns = image.shape
    for k in range(channels):
        value = values[k]
        total = last_row = last_column = along_rows = along_columns = 0
        for p in range(0, planes, step):
            for r in range(rows):
                own, below, right = image[k, p, r], image[k, p, min(r + 1, rows - 1)], image[k, p, r, 1:]
                count = pairs = under = np.int32(0)
                for c in range(columns):
                    same = own[c] == value
                    count += np.int32(same)
                    under += np.int32(same & (below[c] == value))
                for c in range(columns - 1):
                    pairs += np.int32((own[c] == value) & (right[c] == value))
                total += count
                along_columns += pairs
                last_column += np.int32(own[columns - 1] == value)
                if r < rows - 1:
                    along_rows += under
                else:
                    last_row += count
        counts[k, 0] = total
        counts[k, 1], counts[k, 2] = total - last_row, along_rows
        counts[k, 3], counts[k, 4] = total - last_column, along_columns


@njit(fastmath=True)
def sum_above(image, level, zero, sums):
    """Of the voxels above a level: their number, and the sum of what they exceed zero by, (channels, 2).

    image: (channels, voxels); level, zero: (channels,).
    """
    channels, voxels = image.shape
    for k in range(channels):
        number = total = 0.0
        for start in range(0, voxels, _BLOCK):
            count = part = np.float32(0)
            block = image[k, start : start + _BLOCK]
            for x in block:
                above = x > level[k]
                count += np.float32(1) if above else np.float32(0)
                part += x - zero[k] if above else np.float32(0)
            number += count
            total += part
        sums[k, 0], sums[k, 1] = number, total


@njit(fastmath=True, error_model="numpy")
def magnitude_noise(image, sigma, real, rest, first, last):
    """``sqrt((image + sigma real)² + sigma² rest)`` for the voxels first..last, into ``real``; (channels, voxels)."""
    for k in range(len(image)):
        s = sigma[k]
        x, n, c = image[k, first:last], real[k, first:last], rest[k, first:last]
        for i in range(last - first):
            a = x[i] + s * n[i]
            n[i] = np.sqrt(a * a + s * s * c[i])
