"""Compiled loops of the warp and of the coarse deformation (see `warp.py` and `deformation.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np
from numba import njit

BORDER, CONSTANT, REFLECTION = 0, 1, 2


def _njit(**options):
    """``njit`` with a disk cache; without one where no folder can be written."""

    def decorate(function):
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return njit(nogil=True, **options)(function)

    return decorate


@_njit(inline="always")
def _reflect(c, n):
    """Reflect about the outer voxel edges, -0.5 and n - 0.5."""
    span = float(n)
    c = abs(c + 0.5)
    flips = np.floor(c / span)
    rest = c - flips * span
    if int(flips) % 2 == 1:
        rest = span - rest
    return min(max(rest - 0.5, 0.0), n - 1.0)


@_njit(inline="always")
def _cell(c, n):
    """Lower node and fraction of a coordinate clamped to [0, n - 1]."""
    c = min(max(c, 0.0), n - 1.0)
    i = min(int(c), max(n - 2, 0))
    return i, min(i + 1, n - 1), c - i


@_njit(fastmath=True)
def _displacement(u, lz, ly, lx, out):
    """Trilinear value of the lattice ``u`` (3, Gz, Gy, Gx), clamped at its border."""
    z0, z1, fz = _cell(lz, u.shape[1])
    y0, y1, fy = _cell(ly, u.shape[2])
    x0, x1, fx = _cell(lx, u.shape[3])
    for k in range(3):
        c00 = u[k, z0, y0, x0] + fx * (u[k, z0, y0, x1] - u[k, z0, y0, x0])
        c01 = u[k, z0, y1, x0] + fx * (u[k, z0, y1, x1] - u[k, z0, y1, x0])
        c10 = u[k, z1, y0, x0] + fx * (u[k, z1, y0, x1] - u[k, z1, y0, x0])
        c11 = u[k, z1, y1, x0] + fx * (u[k, z1, y1, x1] - u[k, z1, y1, x0])
        c0 = c00 + fy * (c01 - c00)
        c1 = c10 + fy * (c11 - c10)
        out[k] = c0 + fz * (c1 - c0)


@_njit(fastmath=True)
def row_coordinates(z, y, width, lattice, source, mix, u, line, coords):
    """Source coordinates (3, width) of one output row.

    Where the lattice lies parallel to the row, ``u`` is first interpolated to the row's own line of nodes,
    which leaves two loads a component and voxel instead of eight.
    """
    aligned = lattice[0, 2] == 0.0 and lattice[1, 2] == 0.0
    lz = lattice[0, 0] * z + lattice[0, 1] * y + lattice[0, 3]
    ly = lattice[1, 0] * z + lattice[1, 1] * y + lattice[1, 3]
    lx = lattice[2, 0] * z + lattice[2, 1] * y + lattice[2, 3]
    s0 = source[0, 0] * z + source[0, 1] * y + source[0, 3]
    s1 = source[1, 0] * z + source[1, 1] * y + source[1, 3]
    s2 = source[2, 0] * z + source[2, 1] * y + source[2, 3]
    nodes = u.shape[3]
    if aligned:
        z0, z1, fz = _cell(lz, u.shape[1])
        y0, y1, fy = _cell(ly, u.shape[2])
        w00, w01, w10, w11 = (1 - fz) * (1 - fy), (1 - fz) * fy, fz * (1 - fy), fz * fy
        for n in range(nodes):
            a = w00 * u[0, z0, y0, n] + w01 * u[0, z0, y1, n] + w10 * u[0, z1, y0, n] + w11 * u[0, z1, y1, n]
            b = w00 * u[1, z0, y0, n] + w01 * u[1, z0, y1, n] + w10 * u[1, z1, y0, n] + w11 * u[1, z1, y1, n]
            c = w00 * u[2, z0, y0, n] + w01 * u[2, z0, y1, n] + w10 * u[2, z1, y0, n] + w11 * u[2, z1, y1, n]
            for k in range(3):
                line[k, n] = mix[k, 0] * a + mix[k, 1] * b + mix[k, 2] * c
        for x in range(width):
            x0, x1, fx = _cell(lx + lattice[2, 2] * x, nodes)
            coords[0, x] = s0 + source[0, 2] * x + line[0, x0] + fx * (line[0, x1] - line[0, x0])
            coords[1, x] = s1 + source[1, 2] * x + line[1, x0] + fx * (line[1, x1] - line[1, x0])
            coords[2, x] = s2 + source[2, 2] * x + line[2, x0] + fx * (line[2, x1] - line[2, x0])
    else:
        d = np.empty(3, np.float64)
        for x in range(width):
            _displacement(u, lz + lattice[0, 2] * x, ly + lattice[1, 2] * x, lx + lattice[2, 2] * x, d)
            coords[0, x] = s0 + source[0, 2] * x + mix[0, 0] * d[0] + mix[0, 1] * d[1] + mix[0, 2] * d[2]
            coords[1, x] = s1 + source[1, 2] * x + mix[1, 0] * d[0] + mix[1, 1] * d[1] + mix[1, 2] * d[2]
            coords[2, x] = s2 + source[2, 2] * x + mix[2, 0] * d[0] + mix[2, 1] * d[1] + mix[2, 2] * d[2]


@_njit(fastmath=True)
def warp_linear(img, out, lattice, source, mix, u, padding, value, first, last):
    """Rows first..last of the trilinear pull-back of ``img`` (C, Z, Y, X)."""
    channels, nz, ny, nx = img.shape
    height, width = out.shape[2], out.shape[3]
    line = np.empty((3, u.shape[3]), np.float64)
    coords = np.empty((3, width), np.float64)
    for row in range(first, last):
        z, y = row // height, row % height
        row_coordinates(z, y, width, lattice, source, mix, u, line, coords)
        for x in range(width):
            cz, cy, cx = coords[0, x], coords[1, x], coords[2, x]
            if padding == CONSTANT and (cz < 0.0 or cy < 0.0 or cx < 0.0 or cz > nz - 1 or cy > ny - 1 or cx > nx - 1):
                bz, by, bx = int(np.floor(cz)), int(np.floor(cy)), int(np.floor(cx))
                for c in range(channels):
                    total = 0.0
                    for i in range(8):
                        iz, iy, ix = bz + (i >> 2), by + ((i >> 1) & 1), bx + (i & 1)
                        weight = (1 - abs(cz - iz)) * (1 - abs(cy - iy)) * (1 - abs(cx - ix))
                        if 0 <= iz < nz and 0 <= iy < ny and 0 <= ix < nx:
                            total += weight * img[c, iz, iy, ix]
                        else:
                            total += weight * value
                    out[c, z, y, x] = total
                continue
            if padding == REFLECTION:
                cz, cy, cx = _reflect(cz, nz), _reflect(cy, ny), _reflect(cx, nx)
            z0, z1, fz = _cell(cz, nz)
            y0, y1, fy = _cell(cy, ny)
            x0, x1, fx = _cell(cx, nx)
            for c in range(channels):
                a = img[c, z0, y0, x0] + fx * (img[c, z0, y0, x1] - img[c, z0, y0, x0])
                b = img[c, z0, y1, x0] + fx * (img[c, z0, y1, x1] - img[c, z0, y1, x0])
                e = img[c, z1, y0, x0] + fx * (img[c, z1, y0, x1] - img[c, z1, y0, x0])
                f = img[c, z1, y1, x0] + fx * (img[c, z1, y1, x1] - img[c, z1, y1, x0])
                a += fy * (b - a)
                e += fy * (f - e)
                out[c, z, y, x] = a + fz * (e - a)


@_njit()
def warp_nearest(img, out, lattice, source, mix, u, padding, value, first, last):
    """Rows first..last of the nearest-neighbour pull-back: values are copied, whatever their type."""
    channels, nz, ny, nx = img.shape
    height, width = out.shape[2], out.shape[3]
    line = np.empty((3, u.shape[3]), np.float64)
    coords = np.empty((3, width), np.float64)
    for row in range(first, last):
        z, y = row // height, row % height
        row_coordinates(z, y, width, lattice, source, mix, u, line, coords)
        for x in range(width):
            cz, cy, cx = coords[0, x], coords[1, x], coords[2, x]
            if padding == REFLECTION:
                cz, cy, cx = _reflect(cz, nz), _reflect(cy, ny), _reflect(cx, nx)
            iz, iy, ix = int(np.rint(cz)), int(np.rint(cy)), int(np.rint(cx))
            if padding == CONSTANT and (iz < 0 or iy < 0 or ix < 0 or iz >= nz or iy >= ny or ix >= nx):
                for c in range(channels):
                    out[c, z, y, x] = value
                continue
            iz, iy, ix = min(max(iz, 0), nz - 1), min(max(iy, 0), ny - 1), min(max(ix, 0), nx - 1)
            for c in range(channels):
                out[c, z, y, x] = img[c, iz, iy, ix]


@_njit(fastmath=True)
def compose(a, b, out):
    """out(x) = b(x) + a(x + b(x)) on the lattice, displacements (3, Z, Y, X) in lattice steps."""
    _, nz, ny, nx = a.shape
    d = np.empty(3, np.float64)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                _displacement(a, z + b[0, z, y, x], y + b[1, z, y, x], x + b[2, z, y, x], d)
                for k in range(3):
                    out[k, z, y, x] = b[k, z, y, x] + d[k]


@_njit(fastmath=True)
def corner_determinants(u):
    """Least and greatest det(I + grad u) over the corners of all cells, by the cells' edge differences."""
    _, nz, ny, nx = u.shape
    low, high = np.inf, -np.inf
    cz, cy, cx = max(nz - 1, 1), max(ny - 1, 1), max(nx - 1, 1)
    ez, ey, ex = min(nz - 1, 1), min(ny - 1, 1), min(nx - 1, 1)
    for z in range(cz):
        for y in range(cy):
            for x in range(cx):
                for i in range(8):
                    pz, py, px = (i >> 2) * ez, ((i >> 1) & 1) * ey, (i & 1) * ex
                    kz, ky, kx = z + pz, y + py, x + px
                    a0 = 1 + u[0, z + ez, ky, kx] - u[0, z, ky, kx]
                    a1 = u[1, z + ez, ky, kx] - u[1, z, ky, kx]
                    a2 = u[2, z + ez, ky, kx] - u[2, z, ky, kx]
                    b0 = u[0, kz, y + ey, kx] - u[0, kz, y, kx]
                    b1 = 1 + u[1, kz, y + ey, kx] - u[1, kz, y, kx]
                    b2 = u[2, kz, y + ey, kx] - u[2, kz, y, kx]
                    c0 = u[0, kz, ky, x + ex] - u[0, kz, ky, x]
                    c1 = u[1, kz, ky, x + ex] - u[1, kz, ky, x]
                    c2 = 1 + u[2, kz, ky, x + ex] - u[2, kz, ky, x]
                    det = a0 * (b1 * c2 - b2 * c1) - b0 * (a1 * c2 - a2 * c1) + c0 * (a1 * b2 - a2 * b1)
                    low, high = min(low, det), max(high, det)
    return low, high


@_njit(fastmath=True)
def sampled_determinants(lattice, source, mix, u, shape, first, last, extrema):
    """Least and greatest determinant of the sampled pull-back, central differences between output voxels.

    ``extrema`` (2,) receives the figures for the rows first..last.
    """
    nz, ny, nx = shape
    low, high = np.inf, -np.inf
    line = np.empty((3, u.shape[3]), np.float64)
    below = np.empty((3, nx), np.float64)
    above = np.empty((3, nx), np.float64)
    rows = np.empty((3, 3, nx), np.float64)  # y - 1, y, y + 1 in turn
    known = -2  # the last row whose neighbours are at hand
    for row in range(first, last):
        z, y = row // ny, row % ny
        if (nz > 2 and (z == 0 or z == nz - 1)) or (ny > 2 and (y == 0 or y == ny - 1)):
            continue
        here, after = rows[y % 3], rows[(y + 1) % 3]
        before = rows[(y + 2) % 3]
        if ny > 2:
            if known != row - 1:
                row_coordinates(z, y - 1, nx, lattice, source, mix, u, line, before)
                row_coordinates(z, y, nx, lattice, source, mix, u, line, here)
            row_coordinates(z, y + 1, nx, lattice, source, mix, u, line, after)
            known = row
        else:
            row_coordinates(z, y, nx, lattice, source, mix, u, line, here)
        if nz > 2:
            row_coordinates(z - 1, y, nx, lattice, source, mix, u, line, below)
            row_coordinates(z + 1, y, nx, lattice, source, mix, u, line, above)
        for x in range(1, nx - 1):
            a0, a1, a2, b0, b1, b2 = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
            if nz > 2:
                a0 = (above[0, x] - below[0, x]) * 0.5
                a1 = (above[1, x] - below[1, x]) * 0.5
                a2 = (above[2, x] - below[2, x]) * 0.5
            if ny > 2:
                b0 = (after[0, x] - before[0, x]) * 0.5
                b1 = (after[1, x] - before[1, x]) * 0.5
                b2 = (after[2, x] - before[2, x]) * 0.5
            c0 = (here[0, x + 1] - here[0, x - 1]) * 0.5
            c1 = (here[1, x + 1] - here[1, x - 1]) * 0.5
            c2 = (here[2, x + 1] - here[2, x - 1]) * 0.5
            det = a0 * (b1 * c2 - b2 * c1) - b0 * (a1 * c2 - a2 * c1) + c0 * (a1 * b2 - a2 * b1)
            low, high = min(low, det), max(high, det)
    extrema[0], extrema[1] = low, high
