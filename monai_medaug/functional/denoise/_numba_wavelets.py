"""Compiled loops of the stationary wavelet shrinkage (see `wavelets_hard.py`).

Volumes are (V, z, y, x). An axis that is transformed has the indices (coefficients, taps) of its samples, any other
(coefficients, 1); z is transformed only with y, x always. Rows are computed when first needed and kept until the next
plane, so that they may be divided among threads at will.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

NUMERIC = {"contract", "reassoc", "nsz", "arcp"}


@njit(fastmath=NUMERIC)
def _low_pass(source, at, taps, low):
    """The first filter's sum over the parts of a flat source that begin at ``at``."""
    n = len(low)
    for m in range(0, len(at), 2):
        a, b = source[at[m] :], source[at[m + 1] :]
        p, q = taps[0, m], taps[0, m + 1]
        if m == 0:
            for x in range(n):
                low[x] = p * a[x] + q * b[x]
        else:
            for x in range(n):
                low[x] += p * a[x] + q * b[x]


@njit(fastmath=NUMERIC)
def _split(source, at, taps, low, high):
    """Both filters' sums."""
    n = len(low)
    for m in range(0, len(at), 2):
        a, b = source[at[m] :], source[at[m + 1] :]
        p, q, r, s = taps[0, m], taps[0, m + 1], taps[1, m], taps[1, m + 1]
        if m == 0:
            for x in range(n):
                low[x] = p * a[x] + q * b[x]
                high[x] = r * a[x] + s * b[x]
        else:
            for x in range(n):
                low[x] += p * a[x] + q * b[x]
                high[x] += r * a[x] + s * b[x]


@njit(fastmath=NUMERIC)
def _merge(low, high, at, taps, out):
    """The sum of both bands' sums."""
    n = len(out)
    for m in range(0, len(at), 2):
        a, b, c, d = low[at[m] :], low[at[m + 1] :], high[at[m] :], high[at[m + 1] :]
        p, q, r, s = taps[0, m], taps[0, m + 1], taps[1, m], taps[1, m + 1]
        if m == 0:
            for x in range(n):
                out[x] = p * a[x] + q * b[x] + r * c[x] + s * d[x]
        else:
            for x in range(n):
                out[x] += p * a[x] + q * b[x] + r * c[x] + s * d[x]


@njit(fastmath=NUMERIC)
def _hard(low, high, limits):
    """Set coefficients up to their limit to 0."""
    for x in range(len(low)):
        a, b = low[x], high[x]
        low[x] = a if abs(a) > limits[0, x] else np.float32(0)
        high[x] = b if abs(b) > limits[1, x] else np.float32(0)


@njit(fastmath=NUMERIC)
def _add_row(out, low, high, p, q, new):
    if new:
        for x in range(len(out)):
            out[x] = p * low[x] + q * high[x]
    else:
        for x in range(len(out)):
            out[x] += p * low[x] + q * high[x]


@njit()
def _extend(row, ends):
    for k in range(len(ends)):
        row[ends[k, 0]] = row[ends[k, 1]]


@njit()
def _copy(source, out):
    for x in range(len(out)):  # an assignment of slices is slower
        out[x] = source[x]


@njit(inline="always")
def _lay_out(source, part, row):
    """Copy the common part of a source into a row."""
    start, offset, n = part
    _copy(source[offset : offset + n], row[start : start + n])


@njit()
def approximation_rows(low, out, indices, row, shifts, taps, first, last):
    """Rows first..last of the next level's approximation.

    Args:
        low, out: float32 volumes, this level's and the next one's approximation.
        indices: of z and y, the samples in ``low`` of each row of ``out``.
        row: extension of a row, see `_KeptAxis.row`.
        shifts: where each tap begins in the extended row.
        taps: (2, taps) of the analysis.
        first, last: of all volumes' rows.
    """
    _, nz, ny, nx = out.shape
    index_z, index_y = indices
    part, ends = row
    start, offset, n = part
    size, width = low.shape[2] * low.shape[3], low.shape[3]
    deep, wide = index_z.shape[1] > 1, index_y.shape[1] > 1
    at_z, at_y = index_z * size, index_y * (n if deep else width)
    extended = np.empty(nx + shifts[0], np.float32)
    inside = extended[start : start + n]
    kept = np.empty((low.shape[2] if deep else 0) * n, np.float32)
    held = np.full(low.shape[2], -1)
    for r in range(first, last):
        y, plane = r % ny, r // ny
        z, v = plane % nz, plane // nz
        source = low[v].reshape(-1)[offset:]
        if deep:
            for k in index_y[y]:
                if held[k] != plane:
                    held[k] = plane
                    _low_pass(source[k * width :], at_z[z], taps, kept[k * n : k * n + n])
            _low_pass(kept, at_y[y], taps, inside)
        elif wide:
            _low_pass(source[at_z[z, 0] :], at_y[y], taps, inside)
        else:
            _lay_out(low[v, index_z[z, 0], index_y[y, 0]], part, extended)
        _extend(extended, ends)
        _low_pass(extended, shifts, taps, out[v, z, y])


@njit()
def shrunk_rows(
    low, coarse, out, indices, row, coarse_indices, coarse_row, shifts, taps, gains, limits, order, first, last
):
    """One level: analysis, hard threshold and synthesis, of the rows order[first..last] of each plane.

    Args:
        low: float32 volumes, the level's approximation.
        coarse: result of the next level; if empty, its approximation is kept as it is.
        out: the result.
        indices, row: see `approximation_rows`, for the places of the coefficients.
        coarse_indices, coarse_row: of z and y, places in ``coarse`` of the coefficients; extension of its rows.
        shifts: where each tap begins, of the analysis in an extended row and of the synthesis in one of coefficients.
        taps: (2, 2, taps), of the analysis and of the synthesis.
        gains: noise gains of z, y and x, each (2, coefficients) for the low and the high band.
        limits: (V,), thresholds for a noise gain of 1.
        order: rows of a plane, rows that share coefficients one after another.
        first, last: of ``order``, repeated for each volume.

    A row holds those of all bands one after another, for long loops; values across the joints are not used.
    """
    nz, ny = out.shape[1], out.shape[2]
    index_z, index_y = indices
    part, ends = row
    coarse_z, coarse_y = coarse_indices
    coarse_part, coarse_ends = coarse_row
    gain_z, gain_y, gain_x = gains
    start, offset, n = part
    count, step, shift = len(shifts), shifts[0] - shifts[1], shifts[0]
    size, width, nc = low.shape[2] * low.shape[3], low.shape[3], gain_x.shape[1]
    deep, wide = index_z.shape[1] > 1, index_y.shape[1] > 1
    halves = 2 if deep else 1
    bands = 2 * halves if wide else halves
    extent = nc + shift
    pair, length = halves * extent, bands * extent - 2 * shift
    at_z, at_y = index_z * size, index_y * pair
    all_kept, all_ring = np.zeros(low.shape[2] * pair, np.float32), np.zeros(count * length, np.float32)
    kept, ring = all_kept.reshape(-1, pair), all_ring.reshape(-1, length)
    extended = np.zeros(bands * extent, np.float32)
    coefficients = np.zeros((2, length + shift), np.float32)
    lowest = coefficients[0, :nc]
    least = np.zeros_like(coefficients)
    last_limits = np.full(bands, np.float32(-1))
    merged = np.zeros(pair - 2 * shift, np.float32)
    held_rows, held = np.empty(low.shape[2], np.bool_), np.empty(count, np.int64)
    slots = np.empty(count, np.int64)
    place = first
    while place < last:
        v = place // ny
        stop = min(last, (v + 1) * ny)
        source = low[v].reshape(-1)[offset:]
        for z in range(len(index_z)):
            held_rows[:], held[:] = False, -1
            for i in range(place - v * ny, stop - v * ny):
                y = order[i]
                for m in range(count if wide else 1):
                    c = y + (count - 1 - m) * step if wide else y
                    slot = c // step % count
                    slots[m] = slot * length
                    if held[slot] == c:
                        continue
                    held[slot] = c
                    for k in index_y[c]:
                        if not held_rows[k]:
                            held_rows[k] = True
                            line = kept[k]
                            if deep:
                                other = line[extent:]
                                ours, theirs = line[start : start + n], other[start : start + n]
                                _split(source[k * width :], at_z[z], taps[0], ours, theirs)
                                _extend(other, ends)
                            else:
                                _lay_out(low[v, index_z[z, 0], k], part, line)
                            _extend(line, ends)
                    if wide:
                        _split(all_kept, at_y[c], taps[0], extended[:pair], extended[pair:])
                    else:
                        _copy(kept[index_y[c, 0]], extended)
                    for k in range(bands):
                        limit = limits[v] * gain_z[k % halves, z] * gain_y[k // halves, c]
                        if limit != last_limits[k]:
                            last_limits[k] = limit
                            for x in range(nc):
                                least[0, k * extent + x] = limit * gain_x[0, x] if k else np.float32(-1)
                                least[1, k * extent + x] = limit * gain_x[1, x]
                    _split(extended, shifts, taps[0], coefficients[0], coefficients[1])
                    _hard(coefficients[0], coefficients[1], least)
                    if coarse.size:
                        _lay_out(coarse[v, coarse_z[z], coarse_y[c]], coarse_part, lowest)
                        _extend(lowest, coarse_ends)
                    _merge(coefficients[0], coefficients[1], shifts, taps[1], ring[slot])
                if wide:
                    _merge(all_ring, all_ring[pair:], slots, taps[1], merged)
                else:
                    _copy(ring[slots[0] // length], merged)
                if not deep:
                    _copy(merged, out[v, z, y])
                    continue
                for m in range(count - 1, -1, -1):
                    t = z - (count - 1 - m) * step
                    if 0 <= t < nz:
                        _add_row(out[v, t, y], merged, merged[extent:], taps[1, 0, m], taps[1, 1, m], m == count - 1)
        place = stop
