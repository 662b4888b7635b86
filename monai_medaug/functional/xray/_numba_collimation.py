"""Compiled loop of the collimator's blades."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import math

import numpy as np

from monai_medaug.functional._njit import njit

_FAR = 7.0  # standard deviations from an edge beyond which the normal distribution is 0 or 1


@njit(error_model="numpy")
def close_blades(attenuation, edges, cos, sin, sigma, leakage, spacing, depth, step, change, field, first, last):
    """See `collimation.collimation_change`, for the rows first..last of one sample.

    attenuation, change: (channels, rows, width), of ``step`` radiographs whose pixels alternate; edges: (4,) distance
    of each blade from the centre, infinite out of sight; field: (rows, columns).
    """
    rows, columns = field.shape
    far, closed = _FAR * sigma, np.float32(-math.log(leakage))
    for r in range(first, last):
        y = (r - (rows - 1) / 2) * spacing[0]
        down, right = y * cos - (columns - 1) / 2 * spacing[1] * sin, -(columns - 1) / 2 * spacing[1] * cos - y * sin
        at = (edges[0] + down, edges[1] - down, edges[2] + right, edges[3] - right)  # of column 0
        slope = (spacing[1] * sin, -spacing[1] * sin, spacing[1] * cos, -spacing[1] * cos)
        begin, end = _beyond(at, slope, -far, columns)
        begin_open, end_open = _beyond(at, slope, far, columns)
        begin_open, end_open = (begin_open, end_open) if begin_open < end_open else (end, end)
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
