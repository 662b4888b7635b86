"""Compiled loops of the warp and of the coarse deformation (see `warp.py` and `deformation.py`).

They call each other and stay in one file: numba's disk cache checks the time stamp of a function's own file only.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

_FAST = {"nnan", "ninf", "nsz", "arcp", "afn", "contract"}
"""All but reassociated sums, which the process that compiles a loop and those that load it from disk round apart."""

BORDER, CONSTANT, REFLECTION = 0, 1, 2
NO_PADDING = np.float32(-3e38)  # finite, since these loops are compiled without infinities


@njit(inline="always")
def _reflect(c, n):
    """Reflect about the outer voxel edges, -0.5 and n - 0.5."""
    span = float(n)
    c = abs(c + 0.5)
    flips = np.floor(c / span)
    rest = c - flips * span
    if int(flips) % 2 == 1:
        rest = span - rest
    return min(max(rest - 0.5, 0.0), n - 1.0)


@njit(inline="always")
def _lower(c, n):
    """Lower node of a coordinate within [0, n - 1], for n > 1; unsigned: indexing needs no check for negatives."""
    return np.uint32(min(int(c), n - 2))


@njit(inline="always")
def _clamped(c, n):
    return min(max(c, np.float32(0.0)), np.float32(n - 1))


@njit(inline="always")
def _cell(c, n):
    """Lower and upper node and fraction of a coordinate clamped to [0, n - 1], for any n."""
    c = min(max(c, 0.0), n - 1.0)
    i = min(int(c), max(n - 2, 0))
    return i, min(i + 1, n - 1), c - i


@njit(fastmath=_FAST)
def row_buffers(lattice, u, coords):
    """What `row_coordinates` keeps from row to row.

    For a lattice parallel to the rows: lower node and fraction for each voxel of a row; the displacement (times
    ``mix``) on a plane of voxels, at those of each row but the nodes of each column; a line of nodes; a few numbers in
    the type of the coordinates.
    """
    width, nodes = coords.shape[1], u.shape[3]
    index = np.empty(width, np.uint32)
    fraction = np.empty(width, coords.dtype)
    for x in range(width):
        i, _, f = _cell(lattice[2, 3] + lattice[2, 2] * x, nodes)
        index[x] = min(i, max(nodes - 2, 0))
        fraction[x] = f if nodes > 1 else 0.0
    plane = np.empty((3, u.shape[2] if parallel(lattice) else 0, width), coords.dtype)
    return index, fraction, plane, np.empty(nodes + 1, coords.dtype), np.empty(7, coords.dtype)


@njit(inline="always")
def parallel(lattice):
    """Whether rows and planes of voxels run along those of the lattice, each at the same fractions between nodes."""
    return (
        lattice[0, 1] == 0.0
        and lattice[0, 2] == 0.0
        and lattice[1, 2] == 0.0
        and lattice[2, 0] == 0.0
        and lattice[2, 1] == 0.0
    )


@njit(fastmath=_FAST)
def enter_plane(z, lattice, mix, u, buffers):
    """Interpolate the lattice to plane z of voxels and along its rows, before `row_coordinates` for each of them."""
    if not parallel(lattice):
        return
    index, fraction, plane, line, numbers = buffers
    nodes = u.shape[3]
    z0, z1, fz = _cell(lattice[0, 0] * z + lattice[0, 3], u.shape[1])
    numbers[0], numbers[1] = 1 - fz, fz
    w0, w1 = numbers[0], numbers[1]
    for k in range(3):
        numbers[0], numbers[1], numbers[2] = mix[k, 0], mix[k, 1], mix[k, 2]
        m0, m1, m2 = numbers[0], numbers[1], numbers[2]
        for y in range(u.shape[2]):
            a, b, c = u[0, z0, y], u[1, z0, y], u[2, z0, y]
            d, e, f = u[0, z1, y], u[1, z1, y], u[2, z1, y]
            for n in range(nodes):
                line[n] = w0 * (m0 * a[n] + m1 * b[n] + m2 * c[n]) + w1 * (m0 * d[n] + m1 * e[n] + m2 * f[n])
            line[nodes] = line[nodes - 1]  # so that the upper node is always the next
            out = plane[k, y]
            for x in range(len(out)):
                i = index[x]
                out[x] = line[i] + fraction[x] * (line[i + np.uint32(1)] - line[i])


@njit(fastmath=_FAST)
def row_coordinates(z, y, lattice, source, mix, u, buffers, coords):
    """Source coordinates (3, width) of one output row of the plane entered last.

    For a lattice parallel to the row, one interpolation in the plane, without looking up nodes.
    """
    width = coords.shape[1]
    plane, numbers = buffers[2], buffers[4]
    for k in range(3):
        numbers[k] = source[k, 0] * z + source[k, 1] * y + source[k, 3]
        numbers[3 + k] = source[k, 2]
    ly = lattice[1, 0] * z + lattice[1, 1] * y + lattice[1, 3]
    if parallel(lattice):
        y0, y1, fy = _cell(ly, u.shape[2])
        numbers[6] = fy
        share = numbers[6]
        for k in range(3):
            start, step, low, high, out = numbers[k], numbers[3 + k], plane[k, y0], plane[k, y1], coords[k]
            for x in range(width):
                out[x] = start + step * np.float32(x) + low[x] + share * (high[x] - low[x])
    else:
        lz = lattice[0, 0] * z + lattice[0, 1] * y + lattice[0, 3]
        lx = lattice[2, 0] * z + lattice[2, 1] * y + lattice[2, 3]
        d = np.empty(3, np.float64)
        for x in range(width):
            _displacement(u, lz + lattice[0, 2] * x, ly + lattice[1, 2] * x, lx + lattice[2, 2] * x, d)
            for k in range(3):
                moved = mix[k, 0] * d[0] + mix[k, 1] * d[1] + mix[k, 2] * d[2]
                coords[k, x] = numbers[k] + numbers[3 + k] * np.float32(x) + moved


@njit(fastmath=_FAST)
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


@njit(fastmath=_FAST)
def _volume_row(flat, coords, nz, ny, nx, out):
    """One row of trilinear interpolation of a volume given flat, coordinates clamped; all axes longer than 1."""
    down, deep = np.uint32(nx), np.uint32(nx * ny)
    one = np.uint32(1)
    cz, cy, cx = coords[0], coords[1], coords[2]
    for x in range(len(out)):
        z, y, c = _clamped(cz[x], nz), _clamped(cy[x], ny), _clamped(cx[x], nx)
        iz, iy, ix = _lower(z, nz), _lower(y, ny), _lower(c, nx)
        fz, fy, fx = z - np.float32(iz), y - np.float32(iy), c - np.float32(ix)
        p = iz * deep + iy * down + ix
        a = flat[p] + fx * (flat[p + one] - flat[p])
        p += down
        b = flat[p] + fx * (flat[p + one] - flat[p])
        p += deep
        f = flat[p] + fx * (flat[p + one] - flat[p])
        p -= down
        e = flat[p] + fx * (flat[p + one] - flat[p])
        a += fy * (b - a)
        e += fy * (f - e)
        out[x] = a + fz * (e - a)


@njit(fastmath=_FAST)
def _plane_row(flat, coords, ny, nx, out):
    """One row of bilinear interpolation of an image given flat, coordinates clamped; both axes longer than 1."""
    down, one = np.uint32(nx), np.uint32(1)
    cy, cx = coords[1], coords[2]
    for x in range(len(out)):
        y, c = _clamped(cy[x], ny), _clamped(cx[x], nx)
        iy, ix = _lower(y, ny), _lower(c, nx)
        fy, fx = y - np.float32(iy), c - np.float32(ix)
        p = iy * down + ix
        a = flat[p] + fx * (flat[p + one] - flat[p])
        p += down
        b = flat[p] + fx * (flat[p + one] - flat[p])
        out[x] = a + fy * (b - a)


@njit(fastmath=_FAST)
def _thin_row(img, coords, out):
    """As `_volume_row` for volumes with any axes of one voxel."""
    nz, ny, nx = img.shape
    for x in range(len(out)):
        z0, z1, fz = _cell(coords[0, x], nz)
        y0, y1, fy = _cell(coords[1, x], ny)
        x0, x1, fx = _cell(coords[2, x], nx)
        a = img[z0, y0, x0] + fx * (img[z0, y0, x1] - img[z0, y0, x0])
        b = img[z0, y1, x0] + fx * (img[z0, y1, x1] - img[z0, y1, x0])
        e = img[z1, y0, x0] + fx * (img[z1, y0, x1] - img[z1, y0, x0])
        f = img[z1, y1, x0] + fx * (img[z1, y1, x1] - img[z1, y1, x0])
        a += fy * (b - a)
        e += fy * (f - e)
        out[x] = a + fz * (e - a)


@njit()
def _fill_outside(img, coords, value, out):
    """Correct a row for a constant outside: within one voxel of the border it fades into the constant."""
    nz, ny, nx = img.shape
    for x in range(len(out)):
        cz, cy, cx = coords[0, x], coords[1, x], coords[2, x]
        if not (cz < 0.0 or cy < 0.0 or cx < 0.0 or cz > nz - 1 or cy > ny - 1 or cx > nx - 1):
            continue
        bz, by, bx = int(np.floor(cz)), int(np.floor(cy)), int(np.floor(cx))
        total = 0.0
        for i in range(8):
            iz, iy, ix = bz + (i >> 2), by + ((i >> 1) & 1), bx + (i & 1)
            weight = (1 - abs(cz - iz)) * (1 - abs(cy - iy)) * (1 - abs(cx - ix))
            if 0 <= iz < nz and 0 <= iy < ny and 0 <= ix < nx:
                total += weight * img[iz, iy, ix]
            else:
                total += weight * value
        out[x] = total


@njit()
def _keep_padding(img, coords, level, padding, value, out):
    """Correct a row for padding: a voxel between it and others takes the nearest value, none in between."""
    nz, ny, nx = img.shape
    for x in range(len(out)):
        cz, cy, cx = coords[0, x], coords[1, x], coords[2, x]
        if padding != CONSTANT:
            cz, cy, cx = _clamped(cz, nz), _clamped(cy, ny), _clamped(cx, nx)
        bz, by, bx = int(np.floor(cz)), int(np.floor(cy)), int(np.floor(cx))
        among, beside = False, False
        for i in range(8):
            iz, iy, ix = bz + (i >> 2), by + ((i >> 1) & 1), bx + (i & 1)
            if (iz > bz and cz == bz) or (iy > by and cy == by) or (ix > bx and cx == bx):
                continue
            inside = 0 <= iz < nz and 0 <= iy < ny and 0 <= ix < nx
            if (img[iz, iy, ix] if inside else value) <= level:
                among = True
            else:
                beside = True
        if among and beside:
            iz, iy, ix = int(np.rint(cz)), int(np.rint(cy)), int(np.rint(cx))
            inside = 0 <= iz < nz and 0 <= iy < ny and 0 <= ix < nx
            out[x] = img[iz, iy, ix] if inside else value


@njit()
def _reflect_row(coords, nz, ny, nx):
    for x in range(coords.shape[1]):
        coords[0, x] = _reflect(coords[0, x], nz)
        coords[1, x] = _reflect(coords[1, x], ny)
        coords[2, x] = _reflect(coords[2, x], nx)


@njit(fastmath=_FAST)
def warp_linear(img, out, lattice, source, mix, u, padding, value, levels, first, last):
    """Rows first..last of the trilinear pull-back of ``img`` (C, Z, Y, X), whose padding reaches up to ``levels`` (C,).

    A channel without padding has the least finite number there.
    """
    channels, nz, ny, nx = img.shape
    height, width = out.shape[2], out.shape[3]
    coords = np.empty((3, width), img.dtype)
    buffers = row_buffers(lattice, u, coords)
    for row in range(first, last):
        z, y = row // height, row % height
        if y == 0 or row == first:
            enter_plane(z, lattice, mix, u, buffers)
        row_coordinates(z, y, lattice, source, mix, u, buffers, coords)
        if padding == REFLECTION:
            _reflect_row(coords, nz, ny, nx)
        for c in range(channels):
            target = out[c, z, y]
            if nz > 1 and ny > 1 and nx > 1:
                _volume_row(img[c].ravel(), coords, nz, ny, nx, target)
            elif nz == 1 and ny > 1 and nx > 1:
                _plane_row(img[c].ravel(), coords, ny, nx, target)
            else:
                _thin_row(img[c], coords, target)
            if padding == CONSTANT:
                _fill_outside(img[c], coords, value, target)
            if levels[c] > NO_PADDING:
                _keep_padding(img[c], coords, levels[c], padding, value, target)


@njit()
def warp_nearest(img, out, lattice, source, mix, u, padding, value, first, last):
    """Rows first..last of the nearest-neighbour pull-back: values are copied, whatever their type."""
    channels, nz, ny, nx = img.shape
    height, width = out.shape[2], out.shape[3]
    coords = np.empty((3, width), np.float32)
    buffers = row_buffers(lattice, u, coords)
    for row in range(first, last):
        z, y = row // height, row % height
        if y == 0 or row == first:
            enter_plane(z, lattice, mix, u, buffers)
        row_coordinates(z, y, lattice, source, mix, u, buffers, coords)
        if padding == REFLECTION:
            _reflect_row(coords, nz, ny, nx)
        for c in range(channels):
            _nearest_row(img[c].ravel(), coords, nz, ny, nx, padding == CONSTANT, value, out[c, z, y])


@njit()
def _nearest_row(flat, coords, nz, ny, nx, constant, value, out):
    cz, cy, cx = coords[0], coords[1], coords[2]
    for x in range(len(out)):
        fz, fy, fx = np.rint(cz[x]), np.rint(cy[x]), np.rint(cx[x])
        z, y, c = _clamped(fz, nz), _clamped(fy, ny), _clamped(fx, nx)
        out[x] = flat[np.uint32((int(z) * ny + int(y)) * nx + int(c))]
        if constant and (z != fz or y != fy or c != fx):
            out[x] = value


@njit(fastmath=_FAST)
def compose(a, b, out):
    """out(x) = b(x) + a(x + b(x)) on the lattice, displacements (3, Z, Y, X) in lattice steps."""
    _, nz, ny, nx = a.shape
    coords = np.empty((3, nx), np.float32)
    value = np.empty((3, nx), np.float32)
    flat = a.reshape(3, -1)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                coords[0, x] = z + b[0, z, y, x]
                coords[1, x] = y + b[1, z, y, x]
                coords[2, x] = x + b[2, z, y, x]
            if nz > 1 and ny > 1 and nx > 1:
                _lattice_row(flat, coords, nz, ny, nx, value)
            else:
                for k in range(3):
                    if nz == 1 and ny > 1 and nx > 1:
                        _plane_row(flat[k], coords, ny, nx, value[k])
                    else:
                        _thin_row(a[k], coords, value[k])
            for k in range(3):
                for x in range(nx):
                    out[k, z, y, x] = b[k, z, y, x] + value[k, x]


@njit(fastmath=_FAST)
def _lattice_row(flat, coords, nz, ny, nx, out):
    """As `_volume_row` for the three components of a lattice given flat (3, nodes)."""
    down, deep = np.uint32(nx), np.uint32(nx * ny)
    one = np.uint32(1)
    for x in range(out.shape[1]):
        z, y, c = _clamped(coords[0, x], nz), _clamped(coords[1, x], ny), _clamped(coords[2, x], nx)
        iz, iy, ix = _lower(z, nz), _lower(y, ny), _lower(c, nx)
        fz, fy, fx = z - np.float32(iz), y - np.float32(iy), c - np.float32(ix)
        p = iz * deep + iy * down + ix
        q, r, s = p + down, p + deep, p + deep + down
        for k in range(3):
            values = flat[k]
            a = values[p] + fx * (values[p + one] - values[p])
            b = values[q] + fx * (values[q + one] - values[q])
            e = values[r] + fx * (values[r + one] - values[r])
            f = values[s] + fx * (values[s + one] - values[s])
            a += fy * (b - a)
            e += fy * (f - e)
            out[k, x] = a + fz * (e - a)


@njit(fastmath=_FAST)
def corner_determinants(u, least, most):
    """Least and greatest det(I + grad u) over the corners of all cells, by the cells' edge differences.

    Ends after the first plane of cells that leaves [least, most].
    """
    _, nz, ny, nx = u.shape
    low, high = np.float32(np.inf), np.float32(-np.inf)
    cz, cy, cx = max(nz - 1, 1), max(ny - 1, 1), max(nx - 1, 1)
    ez, ey, ex = min(nz - 1, 1), min(ny - 1, 1), min(nx - 1, 1)
    one = np.float32(1.0)
    for z in range(cz):
        for y in range(cy):
            for i in range(8):
                if (i >> 2) > ez or ((i >> 1) & 1) > ey or (i & 1) > ex:
                    continue  # an axis of one node has one corner
                kz, ky, px = z + (i >> 2) * ez, y + ((i >> 1) & 1) * ey, (i & 1) * ex
                za, zb = u[:, z, ky, px:], u[:, z + ez, ky, px:]
                ya, yb = u[:, kz, y, px:], u[:, kz, y + ey, px:]
                xa, xb = u[:, kz, ky], u[:, kz, ky, ex:]
                for x in range(cx):
                    a0, a1, a2 = one + zb[0, x] - za[0, x], zb[1, x] - za[1, x], zb[2, x] - za[2, x]
                    b0, b1, b2 = yb[0, x] - ya[0, x], one + yb[1, x] - ya[1, x], yb[2, x] - ya[2, x]
                    c0, c1, c2 = xb[0, x] - xa[0, x], xb[1, x] - xa[1, x], one + xb[2, x] - xa[2, x]
                    det = a0 * (b1 * c2 - b2 * c1) - b0 * (a1 * c2 - a2 * c1) + c0 * (a1 * b2 - a2 * b1)
                    low, high = min(low, det), max(high, det)
        if low < least or high > most:
            break
    return low, high


@njit(fastmath=_FAST)
def sampled_determinants(lattice, source, mix, u, shape, first, last, extrema):
    """Least and greatest determinant of the sampled pull-back, central differences between output voxels.

    ``extrema`` (2,) receives the figures of planes first..last. Each plane of coordinates is computed once, three are
    kept. An axis of up to two voxels counts as rigid.
    """
    nz, ny, nx = shape
    low, high = np.float32(np.inf), np.float32(-np.inf)
    still = np.zeros((3, nx), np.float32)
    buffers = row_buffers(lattice, u, still)
    one_z, one_y = np.zeros((3, nx), np.float32), np.zeros((3, nx), np.float32)
    one_z[0], one_y[1] = 2.0, 2.0
    planes = np.empty((3, ny, 3, nx), np.float32)
    deep, wide = nz > 2, ny > 2
    for z in range(max(first - 1, 0) if deep else first, min(last + 1, nz) if deep else last):
        enter_plane(z, lattice, mix, u, buffers)
        for y in range(ny):
            row_coordinates(z, y, lattice, source, mix, u, buffers, planes[z % 3, y])
        middle = z - 1 if deep else z
        if deep and (middle < max(first, 1) or middle > min(last, nz - 1) - 1):
            continue
        for y in range(1 if wide else 0, ny - 1 if wide else ny):
            here = planes[middle % 3, y]
            below, above = (planes[(middle + 2) % 3, y], planes[z % 3, y]) if deep else (still, one_z)
            before, after = (planes[middle % 3, y - 1], planes[middle % 3, y + 1]) if wide else (still, one_y)
            for x in range(1, nx - 1):
                a0, a1, a2 = above[0, x] - below[0, x], above[1, x] - below[1, x], above[2, x] - below[2, x]
                b0, b1, b2 = after[0, x] - before[0, x], after[1, x] - before[1, x], after[2, x] - before[2, x]
                c0, c1 = here[0, x + 1] - here[0, x - 1], here[1, x + 1] - here[1, x - 1]
                c2 = here[2, x + 1] - here[2, x - 1]
                det = a0 * (b1 * c2 - b2 * c1) - b0 * (a1 * c2 - a2 * c1) + c0 * (a1 * b2 - a2 * b1)
                low, high = min(low, det), max(high, det)
    extrema[0], extrema[1] = low / 8, high / 8
