"""Compiled loops of the photons of a radiograph: the detector's noise, another exposure, flat black areas."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit

_LOG2 = np.float32(0.6931471805599453)


@njit(inline="always", fastmath=True, error_model="numpy")
def _exponential(x):
    """exp(x) for |x| < 80 to 1e-7: a polynomial within half a power of two (Cephes' coefficients), no library call."""
    n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(inline="always", fastmath=True, error_model="numpy")
def _logarithm(x):
    """log(x) of a normal number above 0 to 1e-7: that of its mantissa in [0.7, 1.4] by the series of artanh."""
    bits = np.float32(x).view(np.int32)
    e = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))
    f = np.int32(bits - np.int32(e << np.int32(23))).view(np.float32) - np.float32(1)
    s = f / (np.float32(2) + f)
    z = s * s
    p = np.float32(0.22222222)
    p = p * z + np.float32(0.28571429)
    p = p * z + np.float32(0.4)
    p = p * z + np.float32(0.66666667)
    return np.float32(e) * _LOG2 + (np.float32(2) * s + s * z * p)


@njit(inline="always", fastmath=True, error_model="numpy")
def _changed(p, z, factor, q, read, sixth, half, inverse):
    """The change of an attenuation; read = (q r)², sixth and half of q², inverse of the level."""
    thickness = _exponential(p)
    share = factor + q * np.sqrt(thickness * (factor + read * thickness)) * z
    share += (z * z - np.float32(1)) * sixth * thickness
    least = half * thickness
    share = share if share > least else least
    return -_logarithm(share * inverse)


@njit(fastmath=True, error_model="numpy")
def change_exposure(attenuation, white, factor, q, read_noise, level, out, first, last):
    """See `exposure.exposure_change`, for the pixels first..last of one sample; the noise may be written over."""
    squared, read = q * q, (read_noise * q) * (read_noise * q)
    sixth, half, inverse = squared / np.float32(6), squared / np.float32(2), np.float32(1) / level
    p, white, out = attenuation[first:last], white[first:last], out[first:last]
    for i in range(last - first):
        out[i] = _changed(p[i], white[i], factor, q, read, sixth, half, inverse)


@njit(fastmath=True, error_model="numpy")
def expose(image, white, black, low, high, depth, inverted, factor, q, read_noise, level, out, first, last):
    """See `exposure.exposed`, for the pixels first..last of one sample; those that are ``black`` stay."""
    squared, read = q * q, (read_noise * q) * (read_noise * q)
    sixth, half, inverse = squared / np.float32(6), squared / np.float32(2), np.float32(1) / level
    extent = high - low if high > low else np.float32(1)
    # of the attenuation, and of the image by it
    start, slope = inverted * depth, (np.float32(1) - np.float32(2) * inverted) * depth
    back = (high - low) / depth * (np.float32(1) - np.float32(2) * inverted)
    source, white, black, out = image[first:last], white[first:last], black[first:last], out[first:last]
    for i in range(last - first):
        share = (source[i] - low) / extent
        share = share if share > np.float32(0) else np.float32(0)
        share = share if share < np.float32(1) else np.float32(1)
        change = _changed(start + slope * share, white[i], factor, q, read, sixth, half, inverse)
        out[i] = source[i] if black[i] else source[i] + change * back


@njit(fastmath=True)
def correlate(white, columns, rows, step, out, first, last):
    """White noise as the detector blurs it (see `detector.detector_noise`), for the rows first..last of a plane.

    white: (rows, width), of ``step`` radiographs whose pixels alternate; columns, rows: taps of each product.
    """
    height, width = white.shape
    reach, side = columns.shape[1] // 2, rows.shape[1] // 2
    edge = side * step
    part = np.empty(width + 2 * edge, np.float32)
    middle = part[edge : edge + width]
    for r in range(first, last):
        target = out[r]
        target[:] = 0
        for k in range(len(columns)):
            middle[:] = 0
            for i in range(columns.shape[1]):
                tap, source = columns[k, i], white[(r - i + reach) % height]
                for c in range(width):
                    middle[c] += tap * source[c]
            for c in range(edge):
                part[c] = part[edge + (c - edge) % width]
                part[edge + width + c] = part[edge + c % width]
            for j in range(rows.shape[1]):
                tap, start = rows[k, j], edge - (j - side) * step
                shifted = part[start : start + width]
                for c in range(width):
                    target[c] += tap * shifted[c]


@njit()
def flat_black(image, level, above, step, out):
    """See `display.flat_black`: image and out (planes, rows, width), of ``step`` radiographs that alternate.

    Black are values of at most the level, or of at least the level where bright values are black.
    """
    planes, height, width = image.shape
    dark = np.ones((height + 2, width + 2 * step), np.uint8)
    inner = np.empty((height + 2, width), np.uint8)
    whole = np.zeros((height + 2, width + 2 * step), np.uint8)
    for p in range(planes):
        for r in range(height):
            source, target = image[p, r], dark[r + 1, step : step + width]
            if above:
                for c in range(width):
                    target[c] = source[c] >= level
            else:
                for c in range(width):
                    target[c] = source[c] <= level
        for r in range(height + 2):
            _three(dark[r, :width], dark[r, step : step + width], dark[r, 2 * step :], inner[r], False)
        for r in range(height):
            _three(inner[r], inner[r + 1], inner[r + 2], whole[r + 1, step : step + width], False)
        for r in range(height + 2):
            _three(whole[r, :width], whole[r, step : step + width], whole[r, 2 * step :], inner[r], True)
        for r in range(height):
            _three(inner[r], inner[r + 1], inner[r + 2], out[p, r], True)
            black, target = dark[r + 1, step : step + width], out[p, r]
            for c in range(width):
                target[c] &= black[c]


@njit(inline="always")
def _three(a, b, c, out, either):
    """Any or all of three."""
    if either:
        for i in range(len(out)):
            out[i] = a[i] | b[i] | c[i]
    else:
        for i in range(len(out)):
            out[i] = a[i] & b[i] & c[i]
