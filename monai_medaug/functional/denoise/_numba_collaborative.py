"""Compiled loops of the collaborative filter (see `collaborative.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit(fastmath=True)
def _row_distances(matching, mz, my, mx, z, y, dz, dy, dx, patch, cap, alike, line, out):
    """Distances of all patches of a row to the displaced ones, in an image padded with values far from all."""
    pz, py, px = patch
    width = len(line)
    for i in range(pz):
        for j in range(py):
            a = matching[mz + z + i, my + y + j, mx:]
            b = matching[mz + z + i + dz, my + y + j + dy, mx + dx :]
            if i == 0 and j == 0:
                for x in range(width):
                    d = a[x] - b[x]
                    line[x] = min(d * d, cap)
            else:
                for x in range(width):
                    d = a[x] - b[x]
                    line[x] += min(d * d, cap)
    for x in range(len(out)):
        out[x] = line[x]
    for k in range(1, px):
        part = line[k:]
        for x in range(len(out)):
            out[x] += part[x]
    for x in range(len(out)):
        out[x] = max(out[x], alike)


@njit()
def _keep_nearest(distances, columns, offset, limit, nearest, chosen, count):
    """Insert the candidates of one offset into the sorted lists; of equal ones the earlier offset is first."""
    most = nearest.shape[1]
    for r in range(len(columns)):
        d = distances[columns[r]]
        n = count[r]
        if d >= limit or (n == most and d >= nearest[r, most - 1]):
            continue
        k = min(n, most - 1)
        while k > 0 and nearest[r, k - 1] > d:
            nearest[r, k], chosen[r, k] = nearest[r, k - 1], chosen[r, k - 1]
            k -= 1
        nearest[r, k], chosen[r, k] = d, offset
        count[r] = min(n + 1, most)


@njit(fastmath=True)
def _times_matrix(source, target, matrix, outer, inner):
    """``matrix`` along the middle axis of ``source``, flat (outer, n, inner)."""
    n = matrix.shape[0]
    for o in range(outer):
        base = o * n * inner
        for i in range(n):
            out = target[base + i * inner : base + (i + 1) * inner]
            for t in range(inner):
                out[t] = 0
            j = 0
            while j + 4 <= n:
                a, b, c, d = matrix[i, j], matrix[i, j + 1], matrix[i, j + 2], matrix[i, j + 3]
                s = source[base + j * inner : base + (j + 4) * inner]
                for t in range(inner):
                    out[t] += a * s[t] + b * s[inner + t] + c * s[2 * inner + t] + d * s[3 * inner + t]
                j += 4
            while j < n:
                a = matrix[i, j]
                s = source[base + j * inner : base + (j + 1) * inner]
                for t in range(inner):
                    out[t] += a * s[t]
                j += 1


@njit(fastmath=True)
def _transform_patches(group, spare, mz, my, mx, members):
    """The three matrices on the patch axes of ``group``, flat (z, y, x, members)."""
    pz, py, px = len(mz), len(my), len(mx)
    _times_matrix(group, spare, mx, pz * py, members)
    _times_matrix(spare, group, my, pz, px * members)
    if pz > 1:
        _times_matrix(group, spare, mz, 1, py * px * members)
        for i in range(len(spare)):
            group[i] = spare[i]


@njit(fastmath=True)
def _haar(group, voxels, members):
    """Haar transform along the members, in bit-reversed order, so that each step combines two halves."""
    s = group.dtype.type(np.sqrt(0.5))
    half = members >> 1
    while half:
        for c in range(voxels):
            base = c * members
            for i in range(base, base + half):
                a, b = group[i], group[i + half]
                group[i], group[i + half] = s * (a + b), s * (a - b)
        half >>= 1


@njit(fastmath=True)
def _haar_back(group, voxels, members):
    s = group.dtype.type(np.sqrt(0.5))
    half = 1
    while half < members:
        for c in range(voxels):
            base = c * members
            for i in range(base, base + half):
                a, b = group[i], group[i + half]
                group[i], group[i + half] = s * (a + b), s * (a - b)
        half <<= 1


@njit(fastmath=True)
def _collect(image, starts, patch, members, group):
    """Copy the patches that start at these voxels into ``group``, flat (z, y, x, members)."""
    _, ny, nx = image.shape
    flat = image.ravel()
    t = 0
    for i in range(patch[0]):
        for j in range(patch[1]):
            for k in range(patch[2]):
                step = (i * ny + j) * nx + k
                for m in range(members):
                    group[t] = flat[starts[m] + step]
                    t += 1


@njit(fastmath=True)
def _shrink_hard(group, members, threshold, spread):
    """Set coefficients below the threshold times their noise to 0, except the group's mean.

    Returns 1 / the variance of the remaining noise as weight.
    """
    zero = group.dtype.type(0)
    energy = zero
    for c in range(len(spread)):
        limit = threshold * spread[c]
        kept = 0
        for t in range(c * members, (c + 1) * members):
            small = (abs(group[t]) < limit) & (t > 0)
            group[t] = zero if small else group[t]
            kept += 0 if small else 1
        energy += kept * spread[c] * spread[c]
    return 1.0 / energy


@njit(fastmath=True)
def _shrink_wiener(group, pilot, members, spread):
    """Empirical Wiener filter that keeps the group's mean; returns 1 / the variance of the remaining noise."""
    one = group.dtype.type(1)
    energy = group.dtype.type(0)
    for c in range(len(spread)):
        variance = spread[c] * spread[c]
        squares = group.dtype.type(0)
        for t in range(c * members, (c + 1) * members):
            p = pilot[t] * pilot[t]
            w = p / (p + variance) if t > 0 else one
            group[t] *= w
            squares += w * w
        energy += squares * variance
    return 1.0 / energy


@njit(fastmath=True)
def filter_references(
    image,
    pilot,
    matching,
    margin,
    row_z,
    rows_y,
    columns,
    offsets,
    patch,
    most,
    cap,
    alike,
    limit,
    forward,
    backward,
    window,
    spread,
    threshold,
    corner,
    total,
    weight,
):
    """Match, filter and put back the groups of the reference patches in some rows of one plane.

    ``total`` and ``weight`` cover the part of the image that begins at ``corner``. With a ``pilot`` of the image's
    shape this is the Wiener stage, with an empty one the stage with a hard threshold; ``spread`` is the deviation of
    the noise in each coefficient of a patch.
    """
    pz, py, px = patch
    mz, my, mx = margin
    _, ny, nx = image.shape
    voxels = pz * py * px
    fz, fy, fx = forward
    bz, by, bx = backward
    wiener = pilot.size > 0
    line = np.empty(nx, np.float32)
    distances = np.empty(nx - px + 1, np.float32)
    nearest = np.empty((len(columns), most), np.float32)
    chosen = np.empty((len(columns), most), np.int32)
    count = np.empty(len(columns), np.int32)
    starts = np.empty(most, np.int64)
    whole, whole_pilot = np.empty(voxels * most, image.dtype), np.empty(voxels * most, image.dtype)
    whole_spare = np.empty(voxels * most, image.dtype)
    flat_total, flat_weight = total.ravel(), weight.ravel()
    high, wide = total.shape[1], total.shape[2]
    for y in rows_y:
        count[:] = 0
        for o in range(len(offsets)):
            dz, dy, dx = offsets[o]
            if row_z + dz < 0 or row_z + dz + pz > image.shape[0] or y + dy < 0 or y + dy + py > ny:
                continue
            _row_distances(matching, mz, my, mx, row_z, y, dz, dy, dx, patch, cap, alike, line, distances)
            _keep_nearest(distances, columns, o, limit, nearest, chosen, count)
        for r in range(len(columns)):
            members, bits = 1, 0
            while members * 2 <= count[r]:
                members *= 2
                bits += 1
            for m in range(members):
                reverse = 0
                for b in range(bits):
                    reverse |= ((m >> b) & 1) << (bits - 1 - b)
                o = chosen[r, reverse]
                starts[m] = ((row_z + offsets[o, 0]) * ny + y + offsets[o, 1]) * nx + columns[r] + offsets[o, 2]
            size = voxels * members
            group, spare = whole[:size], whole_spare[:size]
            _collect(image, starts, patch, members, group)
            _transform_patches(group, spare, fz, fy, fx, members)
            _haar(group, voxels, members)
            if wiener:
                other = whole_pilot[:size]
                _collect(pilot, starts, patch, members, other)
                _transform_patches(other, spare, fz, fy, fx, members)
                _haar(other, voxels, members)
                share = _shrink_wiener(group, other, members, spread)
            else:
                share = _shrink_hard(group, members, threshold, spread)
            _haar_back(group, voxels, members)
            _transform_patches(group, spare, bz, by, bx, members)
            for m in range(members):
                rest = starts[m]
                z = rest // (ny * nx) - corner[0]
                rest = rest % (ny * nx)
                base = (z * high + rest // nx - corner[1]) * wide + rest % nx
                t = 0
                for i in range(pz):
                    for j in range(py):
                        place = base + (i * high + j) * wide
                        for k in range(px):
                            w = group.dtype.type(share) * window[t]
                            flat_total[place + k] += w * group[t * members + m]
                            flat_weight[place + k] += w
                            t += 1
