"""Compiled loops of thick slices (see `resolution.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

_BLOCK = 512  # voxels across the axis that are worked on at once
_LINES = 16  # the same where the axis is the last


@njit()
def slice_bands(voxels, width, phase, trapezoid, reach, flank):
    """The rows of `resolution.thick_slice_matrices` without their zeros.

    Returns the first voxel of each slice, before the border is repeated, the weights (slices, taps) and the centre of
    slice 0. reach: where the profile ends, flank: of the trapezoid, both in widths.
    """
    middle = (voxels - 1) / 2 + phase * width
    lowest = np.floor(-middle / width)
    slices = int(np.ceil((voxels - 1 - middle) / width) - lowest) + 1
    start, taps = middle + lowest * width, int(np.ceil(2 * reach * width)) + 2
    first, weights = np.empty(slices, np.int64), np.empty((slices, taps), np.float32)
    own, offsets = np.empty(taps), np.empty(taps)
    for s in range(slices):
        centre = start + s * width
        first[s] = int(np.floor(centre - reach * width))
        total = mean = spread = 0.0
        for t in range(taps):
            x = first[s] + t - centre
            if trapezoid:
                own[t] = _ramp(x + 0.5, width, flank) - _ramp(x - 0.5, width, flank)
            else:
                own[t] = np.exp(-4 * np.log(2.0) * (x / width) ** 2) if abs(x) <= reach * width else 0.0
            offsets[t] = x
            total += own[t]
            mean += own[t] * x
            spread += own[t] * x * x
        mean, spread = mean / total, spread / total
        for t in range(taps):
            weights[s, t] = own[t] / total * (1 - (offsets[t] - mean) * mean / (spread - mean * mean))
    return first, weights, start


@njit(inline="always")
def _ramp(x, width, flank):
    """See `resolution._trapezoid_integral`."""
    top, side = width * (0.5 - flank / 2), width * flank
    inside, beyond = min(abs(x), top), min(max(abs(x) - top, 0.0), side)
    return np.sign(x) * (inside + beyond - beyond * beyond / (2 * side))


@njit(fastmath=True)
def thick_slices(image, first, weights, start, width, out, begin, end):
    """Sampled by slices along the middle axis and interpolated back: image and out (outer, n, inner), of `units`."""
    outer, n, inner = image.shape
    block = _LINES if inner == 1 else _BLOCK
    thick = np.empty((len(first), block), np.float32)
    turned, back = np.empty((n, _LINES), np.float32), np.empty((n, _LINES), np.float32)
    parts = -(-inner // block)
    for unit in range(begin, end):
        if inner == 1:
            a, b = unit * block, min((unit + 1) * block, outer)
            for i in range(n):
                for line in range(b - a):
                    turned[i, line] = image[a + line, i, 0]
            _through_slices(turned[:, : b - a], first, weights, start, width, thick, back[:, : b - a])
            for line in range(b - a):
                for i in range(n):
                    out[a + line, i, 0] = back[i, line]
        else:
            o, a = unit // parts, unit % parts * block
            b = min(a + block, inner)
            _through_slices(image[o, :, a:b], first, weights, start, width, thick, out[o, :, a:b])


def units(shape):
    """The pieces into which `thick_slices` divides its work."""
    outer, _, inner = shape
    return -(-outer // _LINES) if inner == 1 else outer * -(-inner // _BLOCK)


@njit(fastmath=True)
def _through_slices(source, first, weights, start, width, thick, target):
    n, count = source.shape
    slices, taps = weights.shape
    for s in range(slices):
        line = thick[s]
        for c in range(count):
            line[c] = 0
        for t in range(taps):
            tap, row = weights[s, t], source[min(max(first[s] + t, 0), n - 1)]
            for c in range(count):
                line[c] += tap * row[c]
    for i in range(n):
        place = (i - start) / width
        s = min(max(int(np.floor(place)), 0), slices - 1)
        share, near, far, row = np.float32(place - s), thick[s], thick[min(s + 1, slices - 1)], target[i]
        for c in range(count):
            row[c] = near[c] + share * (far[c] - near[c])
