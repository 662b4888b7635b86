"""Compiled loops of non-local means (see `nlm.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

BLOCK = 32768
"""Voxels of a plane that are processed for all offsets before the next, so that they stay in the cache."""


@njit(fastmath=True)
def _difference_line(padded, z, y, x, dz, dy, dx, planes, cap, out):
    """Capped squared differences of a row and its displaced partner, as integers, summed over the patch's planes."""
    for k in range(planes):
        a, b = padded[z + k, y, x:], padded[z + dz + k, y + dy, x + dx :]
        if k == 0:
            for i in range(len(out)):
                d = a[i] - b[i]
                d *= d
                out[i] = np.int32(d if d < cap else cap)
        else:
            for i in range(len(out)):
                d = a[i] - b[i]
                d *= d
                out[i] += np.int32(d if d < cap else cap)


@njit(fastmath=True)
def _slide_columns(columns, ring, line):
    """Running sums along the columns: add the new line, subtract the line that leaves the patch."""
    for i in range(len(line)):
        new = line[i]
        columns[i] += new - ring[i]
        ring[i] = new


@njit(inline="always")
def _damped(s, table):
    """max(exp(-t) - exp(-cut), 0) for t / 16 = s table[0] - table[1], not below 0.

    exp(-t) is the 16th power of a cubic, without calls, so that it vectorises; min() and max() would not.
    """
    zero, last = np.float32(0), table[2]
    u = np.float32(s) * table[0] - table[1]
    u = u if u > zero else zero
    u = u if u < last else last
    e = np.float32(1) + u * (table[3] + u * (table[4] + u * table[5]))
    e *= e
    e *= e
    e *= e
    e = e * e - table[6]
    return e if e > zero else zero


@njit(fastmath=True)
def _weigh_row(c, width, table, sums, w):
    """Weights of a row of patches from its column sums ``c``: summed over the patch's width, then damped."""
    n = len(w)
    if width == 3:
        for i in range(n):
            w[i] = _damped(np.int32(c[i] + c[i + 1] + c[i + 2]), table)
    elif width == 5:
        for i in range(n):
            w[i] = _damped(np.int32(c[i] + c[i + 1] + c[i + 2] + c[i + 3] + c[i + 4]), table)
    elif width == 7:
        for i in range(n):
            s = np.int32(c[i] + c[i + 1] + c[i + 2] + c[i + 3] + c[i + 4] + c[i + 5] + c[i + 6])
            w[i] = _damped(s, table)
    else:
        sums[:n] = 0
        for k in range(width):
            for i in range(n):
                sums[i] += c[i + k]
        for i in range(n):
            w[i] = _damped(sums[i], table)


@njit(fastmath=True)
def _accumulate_row(w, values, total, weight):
    for i in range(len(w)):
        total[i] += w[i] * values[i]
        weight[i] += w[i]


@njit(fastmath=True)
def nonlocal_sums(padded, values, total, weight, patch, distance, cap, tables, first, last):
    """Add to ``total`` and ``weight`` the contributions of all pairs of voxels to the rows first..last.

    Args:
        padded: (images, z + pz - 1, y + py - 1, x + px - 1), the source of the weights, scaled so that squares of
            differences can be truncated to integers.
        values: (images, z, y, x), to be averaged.
        total, weight: (images, z, y, x), starting from the voxels' own contribution.
        patch, distance: three integers each, distances below the axes' lengths.
        cap: greatest square, so that a patch's sum fits 32 bits.
        tables: (images, 7), see `_damped`.
        first, last: of the images · y rows, each with all z planes.

    Integer sums are exact, so that running sums don't drift and results don't depend on the division of rows. Each
    pair's weight is computed once for both voxels, or twice if they lie in different blocks.
    """
    _, nz, ny, nx = values.shape
    py, px = patch[1], patch[2]
    wide = nx + px - 1
    ring, line = np.empty((py, wide), np.int32), np.empty(wide, np.int32)
    columns, sums = np.empty(wide, np.int32), np.empty(wide, np.int32)
    weights = np.empty(nx, np.float32)
    block = max(BLOCK // nx, 8)
    row = first
    while row < last:
        image, top = row // ny, row % ny
        end = min(ny, top + last - row, top + block)
        row += end - top
        source, value, table = padded[image], values[image], tables[image]
        for dz in range(distance[0] + 1):
            for z in range(nz - dz):
                here, there = total[image, z], total[image, z + dz]
                weight_here, weight_there = weight[image, z], weight[image, z + dz]
                for dy in range(-distance[1] if dz else 0, distance[1] + 1):
                    low, high = max(min(top, top - dy), 0, -dy), min(max(end, end - dy), ny, ny - dy)
                    for dx in range(-distance[2] if dz or dy else 1, distance[2] + 1):
                        xa, xb, n = max(0, -dx), max(0, dx), nx - abs(dx)
                        new, column, w = line[: n + px - 1], columns[: n + px - 1], weights[:n]
                        ring[:], column[:] = 0, 0
                        for y in range(low, high + py - 1):
                            _difference_line(source, z, y, xa, dz, dy, dx, patch[0], cap, new)
                            _slide_columns(column, ring[y % py], new)
                            up = y - py + 1
                            if up < low:
                                continue
                            _weigh_row(column, px, table, sums, w)
                            if top <= up < end:
                                partner = value[z + dz, up + dy, xb:]
                                _accumulate_row(w, partner, here[up, xa:], weight_here[up, xa:])
                            if top <= up + dy < end:
                                partner = value[z, up, xa:]
                                _accumulate_row(w, partner, there[up + dy, xb:], weight_there[up + dy, xb:])
