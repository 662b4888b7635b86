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
def mean_above(image, level, zero, means):
    """Of the voxels above a level, the mean of what they exceed zero by, 0 for none.

    image: (channels, voxels); level, zero, means: (channels,).
    """
    channels, voxels = image.shape
    for k in range(channels):
        number = total = 0.0
        least, start = level[k], zero[k]
        for begin in range(0, voxels, _BLOCK):
            count = part = np.float32(0)
            block = image[k, begin : begin + _BLOCK]
            for i in range(len(block)):  # without a branch, which would keep it from being vectorised
                above = np.float32(block[i] > least)
                count += above
                part += (block[i] - start) * above
            number += count
            total += part
        means[k] = total / max(number, 1.0)


@njit(fastmath=True, error_model="numpy")
def magnitude_noise(image, sigma, real, rest, first, last):
    """``sqrt((image + sigma real)² + sigma² rest)`` for the voxels first..last, into ``real``; (channels, voxels)."""
    for k in range(len(image)):
        s = sigma[k]
        x, n, c = image[k, first:last], real[k, first:last], rest[k, first:last]
        for i in range(last - first):
            a = x[i] + s * n[i]
            n[i] = np.sqrt(a * a + s * s * c[i])


@njit()
def taper(columns, window, out):
    """Columns (samples, columns, n) less their means, times a window, in float64."""
    samples, count, n = columns.shape
    for s in range(samples):
        for c in range(count):
            source, target = columns[s, c], out[s, c]
            total = 0.0
            for i in range(n):
                total += source[i]
            mean = total / n
            for i in range(n):
                target[i] = (source[i] - mean) * window[i]


@njit()
def end_of_power(spectra, lines, cliff, width, blur, filtered, lowest, out):
    """See `support._end_of_power`: spectra (samples, columns, frequencies), out (samples,)."""
    samples, count, n = spectra.shape
    power, beyond = np.empty(n), np.empty(n)
    for s in range(samples):
        power[:] = 0
        for c in range(count):
            for i in range(n):
                value = spectra[s, c, i]
                power[i] += value.real * value.real + value.imag * value.imag
        beyond[:] = 0
        for i in range(n):
            for k in range(-2, 3):
                beyond[i] += power[min(max(i + k, 0), n - 1)]
        for i in range(n):
            power[i] = beyond[i]
        for i in range(n - 2, -1, -1):
            beyond[i] = max(beyond[i], beyond[i + 1])
        end = n - 1
        for i in range(lowest, n - 2 * width):
            if beyond[i + 2 * width] < cliff * power[i]:
                end = i + 2 * width - blur
                break
        half = end // 2
        for i in range(half + 1, end + 1):
            if beyond[i] < filtered * power[half]:
                end = i
                break
        out[s] = min(1.0, 2 * end / (lines - lines % 2))
