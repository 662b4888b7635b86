"""Compiled loops: values at chosen positions, and voxels counted by their value."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit(inline="always")
def _within(z, y, x, shape):
    low = (z >= -0.5) & (y >= -0.5) & (x >= -0.5)  # no branches, which positions all over an image mislead
    return low & (z <= shape[0] - 0.5) & (y <= shape[1] - 0.5) & (x <= shape[2] - 0.5)


@njit(inline="always")
def _clamped(c, n):
    return min(max(c, 0.0), n - 1.0)


@njit(inline="always")
def _cell(c, n):
    """Lower voxel, step to the upper one, and fraction of a coordinate clamped to [0, n - 1].

    Unsigned: indexing needs no check for negatives.
    """
    c = _clamped(c, n)
    i = np.uint32(c)
    return i, np.uint32(i + 1 < n), c - i


@njit(inline="always")
def _linear(flat, p, deep, z, down, y, right, x):
    """Between the voxel at ``p`` of a volume given flat and those ``deep``, ``down`` and to the ``right`` of it."""
    value = (flat[p] * (1 - x) + flat[p + right] * x) * (1 - y)
    value += (flat[p + down] * (1 - x) + flat[p + down + right] * x) * y
    if z > 0:
        p += deep
        far = (flat[p] * (1 - x) + flat[p + right] * x) * (1 - y)
        far += (flat[p + down] * (1 - x) + flat[p + down + right] * x) * y
        value = value * (1 - z) + far * z
    return value


@njit()
def linear_values(image, index, values, inside):
    """Trilinear values (N,) of a volume (Z, Y, X) at positions (N, 3) in voxels, clamped to the outer voxels.

    ``inside`` (N,) tells which lie within the voxels. A volume in pieces is copied.
    """
    nz, ny, nx = image.shape
    line, plane = np.uint32(nx), np.uint32(nx * ny)
    voxels = image.ravel()
    for i in range(len(index)):
        z, y, x = index[i, 0], index[i, 1], index[i, 2]
        inside[i] = _within(z, y, x, image.shape)
        z0, deep, z = _cell(z, nz)
        y0, down, y = _cell(y, ny)
        x0, right, x = _cell(x, nx)
        p = z0 * plane + y0 * line + x0
        values[i] = _linear(voxels, p, deep * plane, z, down * line, y, right, x)


@njit()
def plane_values(image, index, values, inside):
    """As `linear_values`, of an image (Y, X), whatever the first coordinate."""
    ny, nx = image.shape
    line = np.uint32(nx)
    pixels = image.ravel()
    for i in range(len(index)):
        y, x = index[i, 1], index[i, 2]
        inside[i] = (y >= -0.5) & (y <= ny - 0.5) & (x >= -0.5) & (x <= nx - 0.5)
        y0, down, y = _cell(y, ny)
        x0, right, x = _cell(x, nx)
        values[i] = _linear(pixels, y0 * line + x0, np.uint32(0), 0.0, down * line, y, right, x)


@njit()
def displaced(index, nodes, affine, mix, field, out):
    """Positions (N, 3) moved by an affine map and a displacement, see `functional.geometry.maps.MapBack`."""
    _, nz, ny, nx = field.shape
    line, plane = np.uint32(nx), np.uint32(nx * ny)
    u, v, w = field[0].ravel(), field[1].ravel(), field[2].ravel()
    for i in range(len(index)):
        a, b, c = index[i, 0], index[i, 1], index[i, 2]
        z0, deep, z = _cell(nodes[0, 0] * a + nodes[0, 1] * b + nodes[0, 2] * c + nodes[0, 3], nz)
        y0, down, y = _cell(nodes[1, 0] * a + nodes[1, 1] * b + nodes[1, 2] * c + nodes[1, 3], ny)
        x0, right, x = _cell(nodes[2, 0] * a + nodes[2, 1] * b + nodes[2, 2] * c + nodes[2, 3], nx)
        p, deep, down = z0 * plane + y0 * line + x0, deep * plane, down * line
        d = e = f = 0.0
        for _ in range(1 + (z > 0)):  # the plane below and, unless the weight is 0, that above
            near = (1 - z) * (1 - y)
            far = (1 - z) * y
            q, r, s = p + right, p + down, p + down + right
            d += (u[p] * (1 - x) + u[q] * x) * near + (u[r] * (1 - x) + u[s] * x) * far
            e += (v[p] * (1 - x) + v[q] * x) * near + (v[r] * (1 - x) + v[s] * x) * far
            f += (w[p] * (1 - x) + w[q] * x) * near + (w[r] * (1 - x) + w[s] * x) * far
            p, z = p + deep, 1 - z
        for k in range(3):
            out[i, k] = affine[k, 0] * a + affine[k, 1] * b + affine[k, 2] * c + affine[k, 3]
            out[i, k] += mix[k, 0] * d + mix[k, 1] * e + mix[k, 2] * f


@njit(inline="always")
def _nearest(image, z, y, x):
    nz, ny, nx = image.shape
    return image[int(np.rint(_clamped(z, nz))), int(np.rint(_clamped(y, ny))), int(np.rint(_clamped(x, nx)))]


@njit()
def nearest_values(image, index, flat, values, inside):
    """As `linear_values`, of the nearest voxel."""
    for i in range(len(index)):
        z, y, x = 0.0 if flat else index[i, 0], index[i, 1], index[i, 2]
        inside[i] = _within(z, y, x, image.shape)
        values[i] = _nearest(image, z, y, x)


@njit()
def equal_values(image, index, steps, flat, wanted, found):
    """Whether the volume has the wanted values (N,) at positions (N, 3) plus steps (M, 3).

    ``found`` (N, M) is 1 where it has, 0 where not, and 2 more beyond the image, whose outer voxels repeat.
    """
    for i in range(len(index)):
        for j in range(len(steps)):
            z = 0.0 if flat else index[i, 0] + steps[j, 0]
            y, x = index[i, 1] + steps[j, 1], index[i, 2] + steps[j, 2]
            found[i, j] = int(_nearest(image, z, y, x) == wanted[i]) + 2 * int(not _within(z, y, x, image.shape))


@njit()
def count_values(words, values, counts):
    """Add to ``counts`` how often each value occurs; ``words`` are the same memory, some values in each.

    Labels lie in runs: of equal words in a row the first is looked at.
    """
    each = len(values) // max(len(words), 1)
    i = 0
    while i < len(words):
        j = i + 1
        while j < len(words) and words[j] == words[i]:
            j += 1
        for k in range(i * each, (i + 1) * each):
            counts[values[k]] += j - i
        i = j
