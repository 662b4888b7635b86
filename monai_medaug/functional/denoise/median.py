"""The median of a neighbourhood, with borders repeated."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows
from monai_medaug.functional.denoise.smoothing import as_volumes, opencv_for, repeated_border

_WINDOWS = 1 << 24
"""Greatest number of values in the windows that torch holds at one time."""


def median_smooth(image: torch.Tensor, size: int | Sequence[int]) -> torch.Tensor:
    """Median of the window about each voxel, with the border voxel repeated outside.

    Equal to ``scipy.ndimage.median_filter(mode="nearest")``. Compiled, the window's voxels pass a merging network
    (K. E. Batcher 1968), reduced to the comparisons on which the middle depends; columns shared by neighbouring windows
    are sorted once.

    Args:
        image: (B, C, *spatial), float32 or float64.
        size: of the window in voxels, odd, for all axes or for each.

    Example:
        >>> median_smooth(torch.tensor([[[[0.0, 0.0, 9.0, 0.0, 1.0, 1.0]]]]), 3)
        tensor([[[[0., 0., 0., 1., 1., 1.]]]])
    """
    axes = image.ndim - 2
    window = (size,) * axes if isinstance(size, int) else tuple(size)
    if len(window) != axes or any(n < 1 or n % 2 == 0 for n in window):
        raise ValueError(f"size must be odd and positive, one number or one for each of {axes} axes, got {size}")
    if 0 in image.shape:
        return image.clone()
    # along an axis of one voxel all values of a window are equal
    window = tuple(1 if extent == 1 else n for n, extent in zip(window, image.shape[2:], strict=True))
    if math.prod(window) == 1:
        return image.clone(memory_format=torch.contiguous_format)
    cv2 = opencv_for(image) if window in ((3, 3), (5, 5)) else None
    if cv2 is not None:
        out = torch.empty_like(image, memory_format=torch.contiguous_format)
        planes, targets = image.contiguous().flatten(0, 1).numpy(), out.flatten(0, 1).numpy()
        for plane, target in zip(planes, targets, strict=True):
            cv2.medianBlur(plane, window[0], dst=target)
        return out
    compiled = loops("denoise._numba_smoothing", image, dtypes=[torch.float32, torch.float64])
    if compiled is None:
        return _median_by_windows(image, window)
    out = torch.empty_like(image, memory_format=torch.contiguous_format)
    sorting, merging, wire = _median_network(math.prod(window[:-1]), window[-1])
    source, target = as_volumes(image).numpy(), as_volumes(out).numpy()
    whole = (1,) * (3 - axes) + window

    def kernel(first: int, last: int) -> None:
        compiled.median_rows(source, target, whole, sorting, merging, wire, first, last)

    over_rows(kernel, math.prod(source.shape[:3]), least=32)
    return out


def _median_by_windows(image: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """Medians in torch, a few rows of the first spatial axis at a time, as windows are copied."""
    padded = repeated_border(image.flatten(0, 1), [n // 2 for n in window])
    height = image.shape[2]
    rows = max(1, _WINDOWS // (math.prod(image.shape[3:]) * math.prod(window)))
    parts = []
    for plane in padded:
        for start in range(0, height, rows):
            view = plane[start : min(start + rows, height) + window[0] - 1]
            for axis, n in enumerate(window):
                view = view.unfold(axis, n, 1)
            values = view.flatten(len(window))
            if torch.are_deterministic_algorithms_enabled():  # a median with indices has no such form on a GPU
                parts.append(values.sort(-1).values[..., values.shape[-1] // 2])
            else:
                parts.append(values.median(-1).values)
    return torch.cat(parts).reshape(image.shape)


def _merge_wires(a: list[int], b: list[int], pairs: list[tuple[int, int]]) -> list[int]:
    """Batcher's odd-even merge of two sorted lists of wires, of any lengths: the wires in sorted order."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        pairs.append((a[0], b[0]))
        return [a[0], b[0]]
    even, odd = _merge_wires(a[::2], b[::2], pairs), _merge_wires(a[1::2], b[1::2], pairs)
    out = even[:1]
    for i in range(max(len(odd), len(even) - 1)):
        if i < len(odd) and i + 1 < len(even):
            pairs.append((odd[i], even[i + 1]))
        out += odd[i : i + 1] + even[i + 1 : i + 2]
    return out


def _merge_runs(runs: list[list[int]], pairs: list[tuple[int, int]]) -> list[int]:
    """Sorted lists of wires merged two by two."""
    while len(runs) > 1:
        merged = [_merge_wires(a, b, pairs) for a, b in zip(runs[::2], runs[1::2], strict=False)]
        runs = merged + (runs[-1:] if len(runs) % 2 else [])
    return runs[0]


@functools.lru_cache(maxsize=32)
def _median_network(column: int, columns: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs that sort a column, pairs that find the median of sorted columns, and the median's wire."""
    sorting: list[tuple[int, int]] = []
    order = _merge_runs([[i] for i in range(column)], sorting)
    merging: list[tuple[int, int]] = []
    wire = _merge_runs([[j * column + i for i in order] for j in range(columns)], merging)[column * columns // 2]
    needed, kept = {wire}, []
    for pair in reversed(merging):
        if not needed.isdisjoint(pair):
            needed.update(pair)
            kept.append(pair)
    return _pair_array(sorting), _pair_array(kept[::-1]), wire


def _pair_array(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, np.int64).reshape(-1, 2)
