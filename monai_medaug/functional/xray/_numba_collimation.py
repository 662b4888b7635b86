"""Compiled loop of the collimator's blades."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import math

import numpy as np

from monai_medaug.functional._njit import njit

_FAR = 7.0  # standard deviations from an edge beyond which the normal distribution is 0 or 1
_UNSEEN = 5.5  # beyond which the blade takes less than 2e-8


@njit(error_model="numpy")
def close_blades(attenuation, edges, cos, sin, sigma, leakage, spacing, depth, step, change, field, first, last):
    """See `collimation.collimation_change`, for the rows first..last of one sample.

    attenuation, change: (channels, rows, width), of ``step`` radiographs whose pixels alternate; edges: (4,) distance
    of each blade from the centre, infinite out of sight; field: (rows, columns).
    """
    rows, columns = field.shape
    closed, far = np.float32(-math.log(leakage)), _FAR * sigma
    for r in range(first, last):
        at, slope = _distances(r, rows, columns, edges, cos, sin, spacing)
        begin, begin_open, end_open, end = _parts(at, slope, -far, far, columns)
        line = field[r]
        line[:begin], line[end:], line[begin_open:end_open] = 0, 0, 1
        _fill(attenuation[:, r], closed, depth, change[:, r], 0, begin * step)
        _fill(attenuation[:, r], closed, depth, change[:, r], end * step, columns * step)
        _fill(attenuation[:, r], np.float32(0), depth, change[:, r], begin_open * step, end_open * step)
        for c in range(begin, end):
            if begin_open <= c < end_open:
                continue
            share = 1.0
            for k in range(4):
                share *= _passed(at[k] + slope[k] * c, sigma)
            line[c] = share
            more = np.float32(-math.log(leakage + (1 - leakage) * share))
            _fill(attenuation[:, r], more, depth, change[:, r], c * step, (c + 1) * step)


@njit(error_model="numpy")
def shut(image, scale, edges, cos, sin, sigma, leakage, spacing, step, out, first, last):
    """See `collimation.behind_shutter`, for the rows first..last of one sample.

    image, out: (channels, rows, width), of ``step`` radiographs whose pixels alternate; scale: low and high end, depth,
    and 1 if inverted; edges: as in `close_blades`.
    """
    channels, rows, width = image.shape
    columns = width // step
    low, high, depth, inverted = scale[0], scale[1], scale[2], scale[3] > 0
    black = high if inverted else low
    per_depth = (low - high if inverted else high - low) / depth
    extent = high - low if high > low else np.float32(1)
    zero, one = np.float32(0), np.float32(1)
    for r in range(first, last):
        at, slope = _distances(r, rows, columns, edges, cos, sin, spacing)
        begin, begin_open, end_open, end = _parts(at, slope, 0.0, _UNSEEN * sigma, columns)
        for k in range(channels):
            source, target = image[k, r], out[k, r]
            target[: begin * step] = black
            target[end * step :] = black
            for i in range(begin_open * step, end_open * step):
                target[i] = source[i]
        for c in range(begin, end):
            if begin_open <= c < end_open:
                continue
            share = 1.0
            for k in range(4):
                share *= _passed(at[k] + slope[k] * c, sigma)
            if share < 0.5:
                out[:, r, c * step : (c + 1) * step] = black
                continue
            more = np.float32(-math.log(leakage + (1 - leakage) * share))
            for k in range(channels):
                for i in range(c * step, (c + 1) * step):
                    value = image[k, r, i]
                    if _in_flat_black(image[k], r, i, step, low, high, inverted):
                        out[k, r, i] = value
                        continue
                    p = min(max((value - low) / extent, zero), one)
                    left = depth - depth * (one - p if inverted else p)
                    out[k, r, i] = value + min(more, left) * per_depth


@njit(inline="always")
def _in_flat_black(plane, r, i, step, low, high, inverted):
    """Whether a pixel lies in a square of 3 x 3 without attenuation; what lies outside the image has none."""
    rows, width = plane.shape
    if not _is_black(plane[r, i], low, high, inverted):
        return False
    for y in range(max(r - 1, 0), min(r + 2, rows)):
        for x in range(max(i - step, i % step), min(i + step + 1, width), step):
            dark = True
            for v in range(max(y - 1, 0), min(y + 2, rows)):
                for u in range(max(x - step, x % step), min(x + step + 1, width), step):
                    dark &= _is_black(plane[v, u], low, high, inverted)
            if dark:
                return True
    return False


@njit(inline="always")
def _is_black(value, low, high, inverted):
    return value >= high and high > low if inverted else value <= low


@njit(inline="always")
def _distances(r, rows, columns, edges, cos, sin, spacing):
    """The distances of column 0 of a row from the four blades, and what each column adds."""
    y = (r - (rows - 1) / 2) * spacing[0]
    down, right = y * cos - (columns - 1) / 2 * spacing[1] * sin, -(columns - 1) / 2 * spacing[1] * cos - y * sin
    at = (edges[0] + down, edges[1] - down, edges[2] + right, edges[3] - right)
    return at, (spacing[1] * sin, -spacing[1] * sin, spacing[1] * cos, -spacing[1] * cos)


@njit(inline="always")
def _parts(at, slope, least, open_from, columns):
    """The columns where a row's penumbra begins, its open field begins and ends, and the penumbra ends.

    These are distances from all blades.
    """
    begin, end = _beyond(at, slope, least, columns)
    begin_open, end_open = _beyond(at, slope, open_from, columns)
    if begin_open >= end_open:
        begin_open, end_open = end, end
    return begin, begin_open, end_open, end


@njit(inline="always")
def _beyond(at, slope, distance, columns):
    """The columns whose distances at + slope c all exceed one, first and last + 1."""
    begin, end = 0.0, float(columns)
    for k in range(4):
        if slope[k] > 0:
            begin = max(begin, np.ceil((distance - at[k]) / slope[k]))
        elif slope[k] < 0:
            end = min(end, np.floor((distance - at[k]) / slope[k]) + 1)
        elif at[k] < distance:
            end = 0.0
    begin = min(begin, float(columns))
    return int(begin), int(max(begin, end))


@njit(inline="always")
def _fill(attenuation, more, depth, change, begin, end):
    """Where the blades let less through: up to the greatest depth."""
    for k in range(len(attenuation)):
        source, target = attenuation[k, begin:end], change[k, begin:end]
        for i in range(end - begin):
            left = depth - source[i]
            left = left if left > 0 else np.float32(0)
            target[i] = more if more < left else left


@njit(inline="always")
def _passed(distance, sigma):
    """The normal distribution of a distance from the edge."""
    if distance >= _FAR * sigma:
        return 1.0
    return 0.5 * math.erfc(-distance / sigma * 0.7071067811865476)
