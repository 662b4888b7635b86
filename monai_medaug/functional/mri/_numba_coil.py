"""Compiled loops of the coil field (see `bias` in `coil.py`)."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

_ONE = np.float32(1)
_FAR = np.float32(3e38)


@njit(fastmath=True, inline="always")
def _row_cubic(coefficients, z, y, cubic):
    """The field along a row at z and y as a cubic of x, in float32."""
    for k in range(4):
        total = 0.0
        for a in range(3, -1, -1):
            inner = 0.0
            for b in range(3, -1, -1):
                inner = inner * y + coefficients[a, b, k]
            total = total * z + inner
        cubic[k] = total


@njit(fastmath=True)
def field_statistics(image, level, coefficients, z, y, x, table, first, last):
    """Count, sum, min and max of the field over the foreground of the rows first..last.

    image: (channels, rows, n), rows being those of all z, y; level: (channels,); coefficients: (4, 4, 4) of the powers
    of z, y and x. Counts and sums go to each row of the table (rows, 4); min and max are taken at each place of
    a row, which vectorises, and go to row ``first`` only.
    """
    channels, _, n = image.shape
    low, high, above = np.full(n, _FAR), np.full(n, -_FAR), np.empty(n, np.float32)
    cubic = np.empty(4, np.float32)
    for r in range(first, last):
        _row_cubic(coefficients, z[r // len(y)], y[r % len(y)], cubic)
        a, b, c, d = cubic
        for i in range(n):
            above[i] = image[0, r, i] - level[0]
        for k in range(1, channels):
            for i in range(n):
                above[i] = max(above[i], image[k, r, i] - level[k])
        count = total = np.float32(0)
        for i in range(n):
            field = a + x[i] * (b + x[i] * (c + x[i] * d))
            inside = above[i] > 0
            count += _ONE if inside else np.float32(0)
            total += field if inside else np.float32(0)
            below, over = field if inside else _FAR, field if inside else -_FAR
            low[i] = below if below < low[i] else low[i]
            high[i] = over if over > high[i] else high[i]
        table[r, 0], table[r, 1], table[r, 2], table[r, 3] = count, total, _FAR, -_FAR
    table[first, 2], table[first, 3] = low.min(), high.max()


@njit(fastmath=True)
def multiply_field(image, coefficients, z, y, x, out, first, last):
    """``image exp(field)`` for the rows first..last.

    ``e = exp(f) - 1`` is the Taylor series at f / 16, then four times ``e (e + 2)``: no library call, and exactly 0
    where the field is.
    """
    channels, _, n = image.shape
    cubic = np.empty(4, np.float32)
    for r in range(first, last):
        _row_cubic(coefficients, z[r // len(y)], y[r % len(y)], cubic)
        a, b, c, d = cubic / np.float32(16)
        for k in range(channels):
            source, target = image[k, r], out[k, r]
            for i in range(n):
                t = a + x[i] * (b + x[i] * (c + x[i] * d))
                e = t * np.float32(1 / 720)
                e = t * (np.float32(1 / 120) + e)
                e = t * (np.float32(1 / 24) + e)
                e = t * (np.float32(1 / 6) + e)
                e = t * (np.float32(1 / 2) + e)
                e = t * (_ONE + e)
                for _ in range(4):
                    e *= e + np.float32(2)
                target[i] = source[i] + source[i] * e


@njit()
def index_polynomial(coefficients, exponents, steps, nodes, solve, out):
    """See `coil.index_polynomial`: values at the nodes, from which each axis in turn is solved for its powers.

    exponents: (terms, 3); steps: (3, 3), from scaled index to scaled world; out: (4, 4, 4).
    """
    values, other = np.empty((4, 4, 4)), np.empty((4, 4, 4))
    terms = np.empty((3, 4))
    for i in range(4):
        for j in range(4):
            for k in range(4):
                for a in range(3):
                    x = steps[a, 0] * nodes[i] + steps[a, 1] * nodes[j] + steps[a, 2] * nodes[k]
                    terms[a, 0], terms[a, 1] = 1, x
                    terms[a, 2], terms[a, 3] = 1.5 * x * x - 0.5, (2.5 * x * x - 1.5) * x
                total = 0.0
                for n in range(len(coefficients)):
                    e = exponents[n]
                    total += coefficients[n] * terms[0, e[0]] * terms[1, e[1]] * terms[2, e[2]]
                values[i, j, k] = total
    for _ in range(3):
        for i in range(4):
            for j in range(4):
                for k in range(4):
                    total = 0.0
                    for m in range(4):
                        total += solve[k, m] * values[i, j, m]
                    other[k, i, j] = total  # the axes move on by one
        values, other = other, values
    for i in range(4):
        for j in range(4):
            for k in range(4):
                out[i, j, k] = values[i, j, k]
