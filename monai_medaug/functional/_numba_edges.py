"""Compiled loops: profiles across borders pooled by place, their correlation, and values through a curve."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit()
def place_moments(starts, before, shown, after, means, variances):
    """Moments over the lines of each place, which begin at ``starts`` (P + 1,).

    ``means`` (3, P, M) of the values before, shown and after (N, M); ``variances`` (3, P, m) in the middle, of the
    slopes before, of the values shown, and of those after less those shown.
    """
    places, width, middle = means.shape[1], means.shape[2], variances.shape[2]
    margin = (width - middle) // 2
    means[:], variances[:] = 0.0, 0.0
    slope = np.empty(middle)
    for p in range(places):
        slope[:] = 0.0
        lines = starts[p + 1] - starts[p]
        for n in range(starts[p], starts[p + 1]):
            for k in range(width):
                means[0, p, k] += before[n, k]
                means[1, p, k] += shown[n, k]
                means[2, p, k] += after[n, k]
            for k in range(middle):
                i = k + margin
                rise = (before[n, i + 1] - before[n, i - 1]) / 2
                change = after[n, i] - shown[n, i]
                slope[k] += rise
                variances[0, p, k] += rise * rise
                variances[1, p, k] += shown[n, i] * shown[n, i]
                variances[2, p, k] += change * change
        for j in range(3):
            for k in range(width):
                means[j, p, k] /= lines
        for k in range(middle):
            expected, found = means[1, p, k + margin], means[2, p, k + margin]
            first = slope[k] / lines, expected, found - expected
            for j in range(3):
                variances[j, p, k] = max(variances[j, p, k] / lines - first[j] * first[j], 0.0)


@njit()
def correlations(expected, found, table):
    """Fill ``table`` (N, S) with Pearson's correlation of profiles (N, m) and those found (N, M) at shifts.

    In steps of half a position, from the first m of the M positions to the last; 0 of constant profiles.
    """
    middle = expected.shape[1]
    b = np.empty(middle)
    for n in range(len(expected)):
        a = expected[n] - expected[n].mean()
        own = (a * a).sum()
        for s in range(table.shape[1]):
            i, half = s // 2, s % 2
            total = square = product = 0.0
            for k in range(middle):
                b[k] = (found[n, i + k] + found[n, i + k + half]) / 2
                total += b[k]
            for k in range(middle):
                centred = b[k] - total / middle
                square += centred * centred
                product += centred * a[k]
            size = np.sqrt(own * square)
            table[n, s] = product / size if size > 1e-12 else 0.0


@njit()
def through_curve(values, before, after, slope, out):
    """Values (N,) along the lines between knots; beyond the first and last with a slope. Knots ascend."""
    last = len(before) - 1
    below = np.empty(258, np.uint32)  # of 256 equal parts of the knots' range, the knot where the search begins
    scale = 256 / (before[last] - before[0]) if last else 0.0
    knot = 0
    for part in range(258):
        while knot < last - 1 and before[knot + 1] <= before[0] + part / scale:
            knot += 1
        below[part] = knot
    for i in range(len(values)):
        x = values[i]
        if x <= before[0]:
            out[i] = after[0] + slope * (x - before[0])
        elif x >= before[last]:
            out[i] = after[last] + slope * (x - before[last])
        else:
            part = np.uint32((x - before[0]) * scale)
            low, high = below[part], below[part + 1] + 1
            while high - low > 1:
                middle = (low + high) // 2
                if before[middle] <= x:
                    low = middle
                else:
                    high = middle
            share = (x - before[low]) / (before[low + 1] - before[low])
            out[i] = after[low] + share * (after[low + 1] - after[low])
