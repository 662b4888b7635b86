"""Compiled loops of the parallel-beam projector (see `projection.py`).

Each comes twice: for slices one after another, vectorised along the detector, and (``_lanes``) for a block of slices as
the last axis, where the geometry of a ray is computed once for all.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import numpy as np

from monai_medaug.functional._njit import njit


@njit(fastmath=True)
def _span(start, step, n, detectors):
    """First and last (exclusive) detector whose position start + j step lies in (-1, n)."""
    if abs(step) < 1e-12:
        return (0, detectors) if -1.0 < start < n else (0, 0)
    a, b = (-1.0 - start) / step, (n - start) / step
    low, high = min(a, b), max(a, b)
    first = max(int(np.floor(low)) + 1, 0)
    last = min(int(np.ceil(high)), detectors)
    return first, max(last, first)


@njit(fastmath=True)
def project_lines(padded, out, starts, shifts, steps, weights, views, runs, first, last):
    """Joseph's method for the views listed: sum over lines of linear interpolation along each.

    padded: (images, lines, n + 3), a line with one zero before and two behind it; out: (images, all views, detectors).
    View v meets line l for detector j at starts[v] + l shifts[v] + j steps[v]. Only the detectors in one of the ranges
    runs[v] (runs, 2) are needed.
    """
    images, lines, wide = padded.shape
    n = wide - 3
    detectors = out.shape[2]
    for k in range(first, last):
        v = views[k]
        step = steps[v]
        for image in range(images):
            total = np.zeros(detectors, np.float32)
            for line in range(lines):
                start = starts[v] + line * shifts[v]
                a, b = _span(start, step, n, detectors)
                row = padded[image, line]
                for run in range(runs.shape[1]):
                    for j in range(max(a, runs[v, run, 0]), min(b, runs[v, run, 1])):
                        x = np.float32(start + j * step + 1.0)
                        i = int(x)
                        f = x - np.float32(i)
                        total[j] += row[i] + f * (row[i + 1] - row[i])
            for j in range(detectors):
                out[image, v, j] = total[j] * weights[v]


@njit(fastmath=True)
def spread_lines(sinogram, padded, starts, shifts, steps, weights, views, first, last):
    """The exact adjoint of `project_lines`, for the lines first..last."""
    images, _, wide = padded.shape
    n = wide - 3
    detectors = sinogram.shape[2]
    for image in range(images):
        for line in range(first, last):
            row = np.zeros(wide, np.float32)
            for k in range(len(views)):
                v = views[k]
                start, step, weight = starts[v] + line * shifts[v], steps[v], np.float32(weights[v])
                a, b = _span(start, step, n, detectors)
                for j in range(a, b):
                    x = np.float32(start + j * step + 1.0)
                    i = int(x)
                    f = x - np.float32(i)
                    value = sinogram[image, v, j] * weight
                    row[i] += (np.float32(1.0) - f) * value
                    row[i + 1] += f * value
            target = padded[image, line]
            for i in range(wide):
                target[i] = row[i]


@njit(fastmath=True)
def back_project(filtered, out, origin, along_row, along_column, first, last):
    """Pixel-driven back-projection with linear interpolation, for the rows first..last.

    filtered: (images, views, detectors + 2) padded by a zero at both ends; the pixel (r, c) lies at the position
    origin[v] + r along_row[v] + c along_column[v] of view v, counted from the padded start.
    """
    images, views, wide = filtered.shape
    columns = out.shape[2]
    for image in range(images):
        for r in range(first, last):
            total = np.zeros(columns, np.float32)
            for v in range(views):
                start = origin[v] + r * along_row[v]
                step = along_column[v]
                values = filtered[image, v]
                for c in range(columns):
                    x = np.float32(min(max(start + c * step, 0.0), wide - 1.001))
                    i = int(x)
                    total[c] += values[i] + (x - np.float32(i)) * (values[i + 1] - values[i])
            target = out[image, r]
            for c in range(columns):
                target[c] = total[c]


@njit(fastmath=True)
def project_lanes(padded, out, starts, shifts, steps, weights, views, runs, first, last):
    """As `project_lines` for padded (lines, n + 3, slices) and out (all views, detectors, slices)."""
    lines, wide, lanes = padded.shape
    detectors = out.shape[1]
    for k in range(first, last):
        v = views[k]
        step = steps[v]
        total = np.zeros((detectors, lanes), np.float32)
        for line in range(lines):
            start = starts[v] + line * shifts[v]
            a, b = _span(start, step, wide - 3, detectors)
            row = padded[line]
            for run in range(runs.shape[1]):
                for j in range(max(a, runs[v, run, 0]), min(b, runs[v, run, 1])):
                    x = np.float32(start + j * step + 1.0)
                    i = np.uint32(x)  # unsigned, so that indexing needs no check for negatives
                    f = x - np.float32(i)
                    target, near, far = total[np.uint32(j)], row[i], row[i + np.uint32(1)]
                    for s in range(lanes):
                        target[s] += near[s] + f * (far[s] - near[s])
        weight, view = np.float32(weights[v]), out[v]
        for j in range(detectors):
            for s in range(lanes):
                view[j, s] = total[j, s] * weight


@njit(fastmath=True)
def spread_lanes(sinogram, padded, starts, shifts, steps, weights, views, first, last):
    """The exact adjoint of `project_lanes`, for the lines first..last."""
    _, wide, lanes = padded.shape
    detectors = sinogram.shape[1]
    for line in range(first, last):
        row = np.zeros((wide, lanes), np.float32)
        for k in range(len(views)):
            v = views[k]
            start, step, weight = starts[v] + line * shifts[v], steps[v], np.float32(weights[v])
            a, b = _span(start, step, wide - 3, detectors)
            for j in range(a, b):
                x = np.float32(start + j * step + 1.0)
                i = np.uint32(x)
                f = x - np.float32(i)
                value, near, far = sinogram[v, np.uint32(j)], row[i], row[i + np.uint32(1)]
                for s in range(lanes):
                    near[s] += (np.float32(1.0) - f) * weight * value[s]
                    far[s] += f * weight * value[s]
        filled = padded[line]
        for i in range(wide):
            for s in range(lanes):
                filled[i, s] = row[i, s]


@njit(fastmath=True)
def back_project_lanes(filtered, out, origin, along_row, along_column, first, last):
    """As `back_project` for filtered (views, detectors + 2, slices) and out (rows, columns, slices)."""
    views, wide, lanes = filtered.shape
    columns = out.shape[1]
    for r in range(first, last):
        total = np.zeros((columns, lanes), np.float32)
        for v in range(views):
            start = origin[v] + r * along_row[v]
            values = filtered[v]
            for c in range(columns):
                x = np.float32(min(max(start + c * along_column[v], 0.0), wide - 1.001))
                i = np.uint32(x)
                f = x - np.float32(i)
                target, near, far = total[np.uint32(c)], values[i], values[i + np.uint32(1)]
                for s in range(lanes):
                    target[s] += near[s] + f * (far[s] - near[s])
        filled = out[r]
        for c in range(columns):
            for s in range(lanes):
                filled[c, s] = total[c, s]
