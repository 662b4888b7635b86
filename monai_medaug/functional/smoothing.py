"""Gaussian, median and bilateral smoothing in the image's own units and type, with borders repeated.

Nothing is scaled to 8 bits and nothing is padded with zeros: HU stay HU, and a constant image stays itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional import acceleration
from monai_medaug.functional.acceleration import compiled, over_rows
from monai_medaug.functional.resolution import along_axis

_NARROW = 32
"""Greatest radius in voxels of a kernel that OpenCV applies tap by tap; from there on a matrix product is faster."""

_WINDOWS = 1 << 24
"""Values that the median's windows hold at one time in torch."""

_FALL = (1.0, -0.99999972, 0.499993279, -0.166611465, 0.0414537957, -0.00790840587, 0.00095404053, 0.75)
"""exp(-u) on [0, 0.75] as a polynomial, 4e-9 off (its 32nd power 6e-8), and where it ends."""


def gaussian_smooth(image: torch.Tensor, widths: torch.Tensor, truncate: float = 4.0) -> torch.Tensor:
    """Convolution with a Gaussian along each axis: ``w(k) ~ exp(-k² / (2 width²))`` for ``|k| <= truncate width``.

    The samples of the Gaussian sum to 1 and the border voxel is repeated outside, so that a constant stays itself, as
    in ``scipy.ndimage.gaussian_filter(mode="nearest")``.

    Args:
        image: (B, C, *spatial), float32 or float64.
        widths: (B, axes), standard deviations in voxels; 0 leaves the axis as it is.
        truncate: where the kernel ends, in standard deviations.

    Example:
        >>> out = gaussian_smooth(torch.full((1, 1, 5, 7), -1000.0), torch.tensor([[2.0, 0.5]]))
        >>> bool((out + 1000).abs().max() < 1e-3)
        True
    """
    axes = image.ndim - 2
    if tuple(widths.shape) != (len(image), axes):
        raise ValueError(f"widths must have the shape {(len(image), axes)}, got {tuple(widths.shape)}")
    kernels = [[_gaussian_taps(float(w), truncate) for w in sample] for sample in widths.tolist()]
    cv2 = _opencv(image) if axes in (2, 3) else None
    if cv2 is None:
        return _gaussian_by_matrices(image, kernels)
    out = torch.empty_like(image, memory_format=torch.contiguous_format)
    source = image.contiguous()
    for b, taps in enumerate(kernels):
        if max(len(t) for t in taps) > 2 * _NARROW + 1:
            out[b] = _gaussian_by_matrices(source[b : b + 1], [taps])[0]
        else:
            for plane, target in zip(source[b].numpy(), out[b].numpy(), strict=True):
                _gaussian_by_taps(cv2, plane, target, taps)
    return out


def median_smooth(image: torch.Tensor, size: int | Sequence[int]) -> torch.Tensor:
    """Median of the window about each voxel, with the border voxel repeated outside.

    Equal to ``scipy.ndimage.median_filter(mode="nearest")``. Compiled, the window's voxels go through a merging network
    (K. E. Batcher 1968) of which those comparisons are left that the middle depends on; the columns that neighbouring
    windows share are sorted once.

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
    window = tuple(
        1 if extent == 1 else n for n, extent in zip(window, image.shape[2:], strict=True)
    )  # all equal there
    if math.prod(window) == 1:
        return image.clone(memory_format=torch.contiguous_format)
    cv2 = _opencv(image) if window in ((3, 3), (5, 5)) else None
    if cv2 is not None:
        out = torch.empty_like(image, memory_format=torch.contiguous_format)
        planes, targets = image.contiguous().flatten(0, 1).numpy(), out.flatten(0, 1).numpy()
        for plane, target in zip(planes, targets, strict=True):
            cv2.medianBlur(plane, window[0], dst=target)
        return out
    module = _smoothing_loops(image, (torch.float32, torch.float64))
    if module is None:
        return _median_by_windows(image, window)
    out = torch.empty_like(image, memory_format=torch.contiguous_format)
    sorting, merging, wire = _median_network(math.prod(window[:-1]), window[-1])
    source, target = _volumes(image).numpy(), _volumes(out).numpy()
    whole = (1,) * (3 - axes) + window

    def kernel(first: int, last: int) -> None:
        module.median_rows(source, target, whole, sorting, merging, wire, first, last)

    over_rows(kernel, math.prod(source.shape[:3]), least=32)
    return out


def bilateral_smooth(
    image: torch.Tensor, diameter: int, range_sigma: torch.Tensor, space_sigma: torch.Tensor
) -> torch.Tensor:
    """Mean of the neighbours weighted by their distance and by how much their values differ.

    ``out(p) = I(p) + sum_q w(q) (I(q) - I(p)) / sum_q w(q)`` with
    ``w(q) = exp(-(I(q) - I(p))² / (2 range²)) exp(-sum_a (q_a - p_a)² / (2 space_a²))`` over the disc or ball of
    ``diameter`` voxels, as OpenCV's in 2D: C. Tomasi and R. Manduchi, Bilateral filtering for gray and color images,
    ICCV 1998. The border voxel is repeated outside.

    Args:
        image: (B, C, *spatial), float32 or float64.
        diameter: of the window in voxels; its radius is ``diameter // 2``.
        range_sigma: (B,), in the image's units. At or below 0 a sample comes back as it is.
        space_sigma: (B, axes), in voxels. At or below 0 there are no neighbours along the axis.

    Example:
        >>> step = torch.tensor([[[[0.0, 2.0, 0.0, 100.0, 102.0, 100.0]]]])
        >>> smooth = bilateral_smooth(step, 3, torch.tensor([5.0]), torch.tensor([[9.0, 9.0]]))
        >>> [round(float(v), 1) for v in smooth.flatten()]
        [0.4, 1.2, 0.5, 100.5, 101.2, 100.4]
    """
    axes = image.ndim - 2
    if diameter < 1:
        raise ValueError(f"diameter must be positive, got {diameter}")
    if tuple(range_sigma.shape) != (len(image),) or tuple(space_sigma.shape) != (len(image), axes):
        raise ValueError(
            f"range_sigma and space_sigma must have the shapes {(len(image),)} and {(len(image), axes)}, "
            f"got {tuple(range_sigma.shape)} and {tuple(space_sigma.shape)}"
        )
    image = image.contiguous()
    out = image.clone()
    module = _smoothing_loops(image, (torch.float32,))
    for b, (reach, space) in enumerate(zip(range_sigma.tolist(), space_sigma.tolist(), strict=True)):
        offsets, spaces = _ball(diameter // 2, space, tuple(image.shape[2:]))
        if reach <= 0 or len(offsets) == 0 or image[b].numel() == 0:
            continue
        if module is None:
            out[b] = _bilateral_by_shifts(image[b], offsets, spaces, reach)
        else:
            _bilateral_by_loops(module, image[b : b + 1], out[b : b + 1], offsets, spaces, reach)
    return out


def _opencv(image: torch.Tensor) -> ModuleType | None:
    """OpenCV if it can serve this image: float32 on the CPU. Within `torch_only` it cannot."""
    if not acceleration._enabled or not _on_cpu(image, (torch.float32,)):
        return None
    import cv2

    return cv2


def _smoothing_loops(image: torch.Tensor, dtypes: Sequence[torch.dtype]) -> ModuleType | None:
    """The compiled loops if they can serve this image."""
    return compiled("_numba_smoothing", image.device) if _on_cpu(image, dtypes) else None


def _on_cpu(image: torch.Tensor, dtypes: Sequence[torch.dtype]) -> bool:
    return image.device.type == "cpu" and image.dtype in dtypes and not image.requires_grad and image.ndim <= 5


def _volumes(image: torch.Tensor) -> torch.Tensor:
    """(B, C, *spatial) as (B C, Z, Y, X): a view of a contiguous image."""
    spatial = image.shape[2:]
    return image.contiguous().view(-1, *(1,) * (3 - len(spatial)), *spatial)


def _gaussian_taps(width: float, truncate: float) -> np.ndarray:
    """Samples of the Gaussian with sum 1, (2 radius + 1,)."""
    radius = int(truncate * width + 0.5) if width > 0 else 0
    if radius == 0:
        return np.ones(1)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    return taps / taps.sum()


def _gaussian_by_taps(cv2: ModuleType, source: np.ndarray, target: np.ndarray, taps: list[np.ndarray]) -> None:
    """One plane or volume by OpenCV; a volume first along its first axis, as one wide plane."""
    one, border = np.ones(1), cv2.BORDER_REPLICATE
    if source.ndim == 2:
        cv2.sepFilter2D(source, -1, taps[1], taps[0], dst=target, borderType=border)
        return
    if len(taps[0]) > 1:
        wide = source.reshape(len(source), -1)
        source = cv2.sepFilter2D(wide, -1, one, taps[0], borderType=border).reshape(source.shape)
    for plane, out in zip(source, target, strict=True):
        cv2.sepFilter2D(plane, -1, taps[2], taps[1], dst=out, borderType=border)


def _gaussian_by_matrices(image: torch.Tensor, kernels: list[list[np.ndarray]]) -> torch.Tensor:
    """A banded matrix for each sample and axis; `kernels` are the samples' taps along each axis."""
    out = image
    for axis, n in enumerate(image.shape[2:]):
        if all(len(taps[axis]) == 1 for taps in kernels):
            continue
        matrices = np.zeros((len(kernels), n, n))
        for matrix, taps in zip(matrices, kernels, strict=True):
            radius = len(taps[axis]) // 2
            index = (np.arange(n)[:, None] + np.arange(-radius, radius + 1)).clip(0, n - 1)
            np.add.at(matrix, (np.arange(n)[:, None], index), taps[axis])
        out = along_axis(out, torch.from_numpy(matrices), axis)
    return out.clone() if out is image else out


def _repeat_border(image: torch.Tensor, radii: Sequence[int]) -> torch.Tensor:
    """The last axes extended on both sides by the border voxel, by any number of voxels."""
    for axis, radius in enumerate(radii, image.ndim - len(radii)):
        if radius:
            n = image.shape[axis]
            image = image.index_select(axis, torch.arange(-radius, n + radius, device=image.device).clamp_(0, n - 1))
    return image


def _median_by_windows(image: torch.Tensor, window: Sequence[int]) -> torch.Tensor:
    """Medians in torch, of so many rows of the first spatial axis at a time that the windows' copy stays small."""
    padded = _repeat_border(image.flatten(0, 1), [n // 2 for n in window])
    height = image.shape[2]
    rows = max(1, _WINDOWS // (math.prod(image.shape[3:]) * math.prod(window)))
    parts = []
    for plane in padded:
        for start in range(0, height, rows):
            view = plane[start : min(start + rows, height) + window[0] - 1]
            for axis, n in enumerate(window):
                view = view.unfold(axis, n, 1)
            parts.append(view.flatten(len(window)).median(-1).values)
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
    """Pairs that sort a column, pairs that find the median of sorted columns, and the wire where it then lies."""
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


def _ball(radius: int, space: Sequence[float], extent: Sequence[int]) -> tuple[list[tuple[int, ...]], list[float]]:
    """Offsets within the radius, without the voxel itself, and their spatial weights.

    An axis of one voxel keeps its offsets: the repeated border weighs in there, as it does in OpenCV.
    """
    offsets, weights = [], []
    for place in np.ndindex(*(2 * radius + 1,) * len(extent)):
        offset = tuple(i - radius for i in place)
        if not 0 < sum(i * i for i in offset) <= radius * radius:
            continue
        if any(s <= 0 and i for s, i in zip(space, offset, strict=True)):
            continue
        offsets.append(offset)
        weights.append(math.exp(-0.5 * sum((i / s) ** 2 for i, s in zip(offset, space, strict=True) if i)))
    return offsets, weights


def _bilateral_by_loops(
    module: ModuleType,
    image: torch.Tensor,
    out: torch.Tensor,
    offsets: list[tuple[int, ...]],
    spaces: list[float],
    reach: float,
) -> None:
    """One sample (1, C, *spatial) by the compiled loops, into ``out``."""
    source, target = _volumes(image).numpy(), _volumes(out).numpy()
    places = np.array([(0,) * (3 - len(o)) + o for o in offsets], np.int64)
    weights = np.array(spaces, np.float32)
    poly = np.array(_FALL, np.float32)
    scale = np.float32(1 / (64 * reach * reach))

    def kernel(first: int, last: int) -> None:
        module.bilateral_rows(source, target, places, weights, scale, poly, first, last)

    over_rows(kernel, math.prod(source.shape[:3]), least=32)


def _bilateral_by_shifts(
    image: torch.Tensor, offsets: list[tuple[int, ...]], spaces: list[float], reach: float
) -> torch.Tensor:
    """One sample (C, *spatial), an offset at a time: the working memory does not grow with the window."""
    radii = [max(abs(i) for i in axis) for axis in zip(*offsets, strict=True)]
    padded = _repeat_border(image, radii)
    numerator, denominator = torch.zeros_like(image), torch.ones_like(image)
    for offset, space in zip(offsets, spaces, strict=True):
        view = padded
        for axis, (i, radius) in enumerate(zip(offset, radii, strict=True), 1):
            view = view.narrow(axis, radius + i, image.shape[axis])
        difference = view - image
        # weights so small that they are subnormal would take fifty times as long
        weight = torch.exp(((difference / reach).square() * -0.5).clamp(min=-60)) * space
        numerator = numerator + weight * difference
        denominator = denominator + weight
    return image + numerator / denominator
