"""Compiled loops of the median and the bilateral filter (see `median.py`, `bilateral.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

LANES = 64
"""Voxels of a row that pass the median's network side by side."""

NUMERIC = {"contract", "reassoc", "nsz", "arcp"}
"""Reordering and fusing are allowed; NaN and infinity are still respected."""


@njit(inline="always")
def _exchange(values, i, j, n):
    """The smaller of two rows into row i, the greater into row j."""
    low, high = values[i], values[j]
    for x in range(n):
        a, b = low[x], high[x]
        low[x] = b if b < a else a
        high[x] = a if b < a else b


@njit()
def _network(values, pairs, n):
    for p in range(len(pairs)):
        _exchange(values, pairs[p, 0], pairs[p, 1], n)


@njit()
def median_rows(image, out, size, sorting, merging, wire, first, last):
    """Rows first..last of the median of volumes (P, Z, Y, X), borders repeated.

    The ``size[0] size[1]`` voxels that share an x are sorted once, by the network ``sorting`` (pairs, 2); each window
    then merges ``size[2]`` such columns by the network ``merging``, and its median lies in row ``wire``.
    """
    _, nz, ny, nx = image.shape
    rz, ry, rx = size[0] // 2, size[1] // 2, size[2] // 2
    column = size[0] * size[1]
    columns = np.empty((column, nx + 2 * rx), image.dtype)
    window = np.empty((column * size[2], LANES), image.dtype)
    for row in range(first, last):
        y = row % ny
        z = row // ny % nz
        volume = image[row // ny // nz]
        for k in range(column):
            source = volume[min(max(z + k // size[1] - rz, 0), nz - 1), min(max(y + k % size[1] - ry, 0), ny - 1)]
            target = columns[k]
            for x in range(rx):
                target[x] = source[0]
                target[rx + nx + x] = source[nx - 1]
            for x in range(nx):
                target[rx + x] = source[x]
        _network(columns, sorting, nx + 2 * rx)
        target = out[row // ny // nz, z, y]
        for start in range(0, nx, LANES):
            n = min(LANES, nx - start)
            for j in range(size[2]):
                for k in range(column):
                    a, b = window[j * column + k], columns[k, start + j :]
                    for x in range(n):
                        a[x] = b[x]
            _network(window, merging, n)
            for x in range(n):
                target[start + x] = window[wire, x]


@njit(fastmath=NUMERIC)
def _add_neighbours(centre, neighbour, scale, space, poly, numerator, denominator):
    """Add one offset's weights, and weights times differences, to a row.

    exp(-t) is (exp(-t / 32))^32 with a polynomial for the inner one, without calls or tables, so that it vectorises.
    From t = 24 on it stays at 4e-11: 300 such voxels change the result by 1e-8 of the difference, less than float32
    resolves; a comparison would double the time.
    """
    c0, c1, c2, c3, c4, c5, c6, cap = poly[0], poly[1], poly[2], poly[3], poly[4], poly[5], poly[6], poly[7]
    for x in range(len(numerator)):
        d = neighbour[x] - centre[x]
        u = min(d * d * scale, cap)
        e = c0 + u * (c1 + u * (c2 + u * (c3 + u * (c4 + u * (c5 + u * c6)))))
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        w = e * space
        numerator[x] += w * d
        denominator[x] += w


@njit(fastmath=NUMERIC)
def bilateral_rows(image, out, offsets, spaces, scale, poly, first, last):
    """Rows first..last of the bilateral filter of volumes (C, Z, Y, X), borders repeated.

    Args:
        image, out: float32.
        offsets: (N, 3) of the neighbours, without the voxel itself.
        spaces: (N,) spatial weights.
        scale: 1 / (2 * 32 range sigma squared).
        poly: coefficients of exp(-u) and the greatest u.
        first, last: rows.
    """
    _, nz, ny, nx = image.shape
    reach = 0
    for k in range(len(offsets)):
        reach = max(reach, abs(offsets[k, 2]))
    padded = np.empty(nx + 2 * reach, image.dtype)
    numerator, denominator = np.empty(nx, image.dtype), np.empty(nx, image.dtype)
    for row in range(first, last):
        y = row % ny
        z = row // ny % nz
        c = row // ny // nz
        centre = image[c, z, y]
        numerator[:] = 0
        denominator[:] = 1
        for k in range(len(offsets)):
            dz, dy, dx = offsets[k]
            if k == 0 or dz != offsets[k - 1, 0] or dy != offsets[k - 1, 1]:
                source = image[c, min(max(z + dz, 0), nz - 1), min(max(y + dy, 0), ny - 1)]
                padded[:reach] = source[0]
                for x in range(nx):
                    padded[reach + x] = source[x]
                padded[reach + nx :] = source[nx - 1]
            neighbour = padded[reach + dx : reach + dx + nx]
            _add_neighbours(centre, neighbour, scale, spaces[k], poly, numerator, denominator)
        target = out[c, z, y]
        for x in range(nx):
            target[x] = centre[x] + numerator[x] / denominator[x]
