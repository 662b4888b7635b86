"""Compiled loops of the noise of CT slices (see `noise_field.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit(fastmath=True)
def folded_power(down, right, spacing, folds, last, half, first, second, begin, end):
    """Rows [begin, end) of ``|f| W(f)²`` summed over its aliases, apart by the axis along which f rather lies.

    last, half: ``end`` and ``half`` of a `NoiseKernel`.
    """
    for i in range(begin, end):
        for j in range(len(right)):
            along_rows, along_columns = 0.0, 0.0
            for k in range(-folds[0], folds[0] + 1):
                y = down[i] + k / spacing[0]
                if abs(y) >= last:
                    continue
                for m in range(-folds[1], folds[1] + 1):
                    x = right[j] + m / spacing[1]
                    squared = y * y + x * x
                    if squared >= last * last:
                        continue
                    f = np.sqrt(squared)
                    hann = 0.5 + 0.5 * np.cos(np.pi * f / last)
                    window = 2.0 ** (-((f / half) ** 1.5)) if half > 0 else hann
                    power = f * window * window
                    if abs(y) > abs(x):
                        along_rows += power
                    elif abs(y) < abs(x):
                        along_columns += power
                    else:
                        along_rows += 0.5 * power
                        along_columns += 0.5 * power
            first[i, j] = along_rows
            second[i, j] = along_columns


@njit(fastmath=True)
def ray_levels(coarse, shape, spacing, width, angles, per_hu, air, modulation, weakened, out, begin, end):
    """Sums of the variances of the rays through each pixel of slices [begin, end), over either half of the views.

    coarse: (slices, pixels) in HU; out: (2, slices, pixels).
    """
    rows, columns = shape
    count = len(weakened)
    paths = np.empty(count)
    for n in range(begin, end):
        for v in range(len(angles)):
            down, right = np.cos(angles[v]) * spacing[0] / width, np.sin(angles[v]) * spacing[1] / width
            origin = (count - 1) / 2 - (rows - 1) / 2 * down - (columns - 1) / 2 * right
            paths[:] = 0.0
            for y in range(rows):
                for x in range(columns):
                    place = origin + y * down + x * right
                    d = int(place)
                    share = place - d
                    value = coarse[n, y * columns + x] - air
                    paths[d] += (1 - share) * value
                    paths[d + 1] += share * value
            greatest = paths.max() * per_hu
            for d in range(count):
                paths[d] = np.exp(paths[d] * per_hu - modulation * greatest + weakened[d])
            half = 2 * v // len(angles)
            for y in range(rows):
                for x in range(columns):
                    place = origin + y * down + x * right
                    d = int(place)
                    out[half, n, y * columns + x] += paths[d] + (place - d) * (paths[d + 1] - paths[d])


@njit(fastmath=True, inline="always")  # so that the compiler sees that the arrays don't overlap
def _mixed_line(bits, taps, slice_, row, weights, line):
    """A row of random numbers, neighbouring slices mixed, times weights."""
    offset = np.float32(0)
    for j in range(len(taps)):
        offset += np.float32(0.5) * taps[j]
    source, tap = bits[slice_, row], taps[0]
    for i in range(len(line)):
        line[i] = tap * np.float32(source[i]) + offset
    for j in range(1, len(taps)):
        source, tap = bits[slice_ + j, row], taps[j]
        for i in range(len(line)):
            line[i] += tap * np.float32(source[i])
    for i in range(len(line)):
        line[i] *= weights[row, i]


@njit(fastmath=True)
def fill_spectra(bits, taps, low, high, out, begin, end):
    """Spectra of slices [begin, end) whose inverse transforms hold two noise fields.

    bits: (slices + taps - 1, rows, 2 * half) int8; low, high: (rows, 2 * half); out: (slices, rows, columns, 2).
    """
    rows, wide = low.shape
    half, columns = wide // 2, out.shape[2]
    own, opposite = np.empty(wide, np.float32), np.empty(wide, np.float32)
    for s in range(begin, end):
        for y in range(rows):
            _mixed_line(bits, taps, s, y, low, own)
            _mixed_line(bits, taps, s, rows - y if y > 0 else 0, high, opposite)
            row = out[s, y]
            for x in range(half):
                row[x, 0] = own[2 * x]
                row[x, 1] = own[2 * x + 1]
            for x in range(half, columns):
                row[x, 0] = opposite[2 * (columns - x)]
                row[x, 1] = opposite[2 * (columns - x) + 1]
            row[0, 0] += opposite[0]
            row[0, 1] += opposite[1]
            if columns % 2 == 0:
                row[half - 1, 0] += opposite[wide - 2]
                row[half - 1, 1] += opposite[wide - 1]


@njit(fastmath=True)
def _between(index, count, fine):
    """The coarse pixel before a fine one, the next, and the weight of the next, as in bilinear interpolation."""
    place = (index + 0.5) * (count / fine) - 0.5
    place = min(max(place, 0.0), count - 1.0)
    before = int(place)
    return before, min(before + 1, count - 1), np.float32(place - before)


@njit(fastmath=True)
def add_fields(image, fields, coarse, places, sigma, floor, start, slices_last, begin, end):
    """Add the noise to rows [begin, end), not below the floor; what lies at the floor or below stays.

    image: (slices, rows, columns), or (rows, columns, slices) with ``slices_last``, of which those from ``start``
    on get fields (some slices, rows, columns, 2); coarse: (2, groups, coarse rows, coarse columns), the amplitudes of
    the second and of the first field; places: of these slices among the groups.
    """
    count, rows, columns, _ = fields.shape
    _, groups, few_rows, few_columns = coarse.shape
    noise = np.empty((columns, count), np.float32)
    levels = np.empty((2, groups, columns), np.float32)
    before, after = np.empty(columns, np.int64), np.empty(columns, np.int64)
    weight = np.empty(columns, np.float32)
    for x in range(columns):
        before[x], after[x], weight[x] = _between(x, few_columns, columns)
    line = np.empty(few_columns, np.float32)
    for y in range(begin, end):
        upper, lower, share = _between(y, few_rows, rows)
        for field in range(2):
            for g in range(groups):
                for i in range(few_columns):
                    line[i] = coarse[field, g, upper, i]
                    line[i] += share * (coarse[field, g, lower, i] - line[i])
                for x in range(columns):
                    value = line[before[x]]
                    levels[field, g, x] = value + weight[x] * (line[after[x]] - value)
        for s in range(count):
            g = min(int(places[s]), groups - 1)
            h = min(g + 1, groups - 1)
            t = np.float32(places[s] - g) * sigma
            r = sigma - t
            if slices_last:
                for x in range(columns):
                    first = (r * levels[0, g, x] + t * levels[0, h, x]) * fields[s, y, x, 1]
                    noise[x, s] = first + (r * levels[1, g, x] + t * levels[1, h, x]) * fields[s, y, x, 0]
            else:
                for x in range(columns):
                    first = (r * levels[0, g, x] + t * levels[0, h, x]) * fields[s, y, x, 1]
                    second = (r * levels[1, g, x] + t * levels[1, h, x]) * fields[s, y, x, 0]
                    value = image[start + s, y, x]
                    noisy = max(value + (first + second), floor)
                    image[start + s, y, x] = noisy if value > floor else value
        if slices_last:
            for x in range(columns):
                for s in range(count):
                    value = image[y, x, start + s]
                    noisy = max(value + noise[x, s], floor)
                    image[y, x, start + s] = noisy if value > floor else value
