"""Measures of preserved labels and lesions: voxels, volumes, topology."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

_MOST_LABELS = 1 << 14
_STRIDED = 50_000
_ALL, _COMPONENTS, _OF_EACH = 1500, 24, 40
_FEWEST = 12  # voxels of a label among the strided ones that may stand for it


def label_counts(labels: np.ndarray) -> dict[float, int]:
    """Voxels of each non-zero label of a label map, by value.

    Example:
        >>> label_counts(np.array([[0, 1, 1, 7]]))
        {1.0: 2, 7.0: 1}
    """
    if labels.dtype.kind in "ui" and labels.size and labels.min() >= 0 and labels.max() <= _MOST_LABELS:
        numbers = torch.bincount(torch.from_numpy(labels.ravel().astype(np.int16, copy=False))).tolist()
        return {float(value): n for value, n in enumerate(numbers) if n and value}
    found, sizes = np.unique(labels, return_counts=True)
    return {float(value): int(n) for value, n in zip(found, sizes, strict=True) if value != 0}


def label_points(labels: np.ndarray, counts: Mapping[float, int], wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of each label of a label map (*spatial), spread over it.

    Args:
        labels: label map.
        counts: voxels of each label, as of `label_counts`; others are left out.
        wanted: voxels of each label, as far as one voxel in many holds as many; at least 12, or all of a smaller label.

    Returns:
        Voxels (N, 3) and their labels (N,).
    """
    shape = (1,) * (3 - labels.ndim) + labels.shape
    flat = labels.reshape(-1)
    step = max(1, flat.size // _STRIDED)
    while math.gcd(step, shape[1] * shape[2]) > 1:  # so that rows and columns take turns
        step += 1
    values = flat[::step]
    order = np.argsort(values, kind="stable")
    chosen, names = [], []
    rare = []
    firsts, lasts = (np.searchsorted(values[order], list(counts), side) for side in ("left", "right"))
    for (value, count), first, last in zip(counts.items(), firsts, lasts, strict=True):
        if last - first < min(_FEWEST, count):
            rare.append(value)
            continue
        chosen.append(order[first:last][spread(last - first, wanted)] * step)
        names.append(np.full(len(chosen[-1]), value))
    if rare:
        places = np.flatnonzero(_is_any(flat, rare))
        for value in rare:
            own = places[flat[places] == value]
            chosen.append(own[spread(len(own), wanted)])
            names.append(np.full(len(chosen[-1]), value))
    return np.stack(np.unravel_index(np.concatenate(chosen), shape), -1), np.concatenate(names)


def _is_any(flat: np.ndarray, values: list[float]) -> np.ndarray:
    if flat.dtype.kind in "ui" and flat.min() >= 0 and flat.max() <= _MOST_LABELS:
        table = np.zeros(int(flat.max()) + 1, bool)
        table[np.array(values, int)] = True
        return np.take(table, flat)
    return np.isin(flat, np.array(values, flat.dtype))


def spread(count: int, wanted: int) -> np.ndarray:
    """Up to ``wanted`` of ``count`` positions, evenly spaced.

    Example:
        >>> spread(9, 3)
        array([0, 4, 8])
    """
    return np.arange(count) if count <= wanted else np.linspace(0, count - 1, wanted).astype(int)


def counting_slack(voxels: float, axes: int) -> float:
    """Two standard deviations of the relative volume of a compact label of n voxels under resampling.

    About n^((axes - 1) / axes) voxels lie on its boundary, each in or out at random: 2 n^(-(axes + 1) / (2 axes)), 27 %
    for 20 voxels in 3D and 2 % for 1000.
    """
    return float(2 * max(voxels, 1.0) ** (-(axes + 1) / (2 * axes)))


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The voxels (N, axes) of a mask and the number of each one's connected component, from 1 on.

    Voxels that share a corner are connected.
    """
    from scipy.ndimage import generate_binary_structure
    from scipy.ndimage import label as connected

    if not mask.any():
        return np.zeros((0, mask.ndim), int), np.zeros(0, int)
    box = around(mask, 0)
    numbered, _ = connected(mask[box], generate_binary_structure(mask.ndim, mask.ndim))
    where = np.argwhere(numbered)
    return where + [b.start for b in box], numbered[tuple(where.T)]


def of_each(component: np.ndarray) -> np.ndarray:
    """Up to 1500 voxels all over a lesion and 40 of each of its 24 largest components, by position.

    Args:
        component: of each voxel, see `components`.
    """
    sizes = np.bincount(component)
    largest = np.argsort(-sizes[1:])[:_COMPONENTS] + 1
    own = [np.flatnonzero(component == n) for n in largest] if len(sizes) > 2 else []
    return np.unique(np.concatenate([spread(len(component), _ALL), *(o[spread(len(o), _OF_EACH)] for o in own)]))


def strangers(component: np.ndarray, known: np.ndarray, least: float) -> int:
    """How many components have no counterpart: less than half of their voxels known.

    Args:
        component: of voxels, some of each component.
        known: whether each of these is lesion on the other side, too.
        least: voxels; smaller components count together, as one.
    """
    sizes, shared = np.bincount(component), np.bincount(component, known)
    large = sizes >= least
    missed = int((large & (shared < sizes / 2)).sum())
    small = sizes[~large].sum()
    return missed + int(small >= least and shared[~large].sum() < small / 2)


def lesion_topology(voxels: np.ndarray, component: np.ndarray, speck: float = 0.01) -> dict[str, int]:
    """Components and cavities of a lesion that are not smaller than a speck, from the result of `components`.

    Args:
        voxels: of the lesion.
        component: of each.
        speck: a share of the lesion.

    Example:
        >>> ring = np.ones((3, 3), bool)
        >>> ring[1, 1] = False
        >>> lesion_topology(*components(ring))
        {'components': 1, 'cavities': 1}
    """
    from scipy.ndimage import label as connected

    least = max(speck * len(voxels), 1)
    sizes = np.bincount(component, minlength=1)
    sizes[0] = 0
    cavities = 0
    for number in np.flatnonzero(sizes >= least):
        own = voxels[component == number]
        start = own.min(0) - 1
        outside = np.ones(own.max(0) - start + 2, bool)
        outside[tuple((own - start).T)] = False
        holes, _ = connected(outside)
        hole_sizes = np.bincount(holes.ravel())[1:]
        hole_sizes[holes.flat[0] - 1] = 0
        cavities += int((hole_sizes >= least).sum())
    return {"components": int((sizes >= least).sum()), "cavities": cavities}


def topology_changes(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]
) -> dict[str, tuple[int, int]]:
    """Components and cavities that were lost, merged, split or made, as numbers before and after.

    Of at least 1 % of the lesion. Resampling moves parts across that threshold: a number counts as changed if it does
    so also when specks before are of half and after of 2 %, or the reverse.

    Args:
        before: result of `components`.
        after: the same of the result.
    """
    shown = [lesion_topology(*m) for m in (before, after)]
    if shown[0] == shown[1]:
        return {}
    fewer = [lesion_topology(*m, speck=0.02) for m in (before, after)]
    more = [lesion_topology(*m, speck=0.005) for m in (before, after)]
    return {
        name: (shown[0][name], shown[1][name])
        for name in shown[0]
        if more[1][name] < fewer[0][name] or fewer[1][name] > more[0][name]
    }


def around(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    """The box around a non-empty mask, with a margin of voxels, as slices.

    Example:
        >>> around(np.array([0, 0, 0, 0, 1], bool), 1)
        (slice(3, 6, None),)
    """
    box = []
    for axis in range(mask.ndim):
        places = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(max(int(places[0]) - margin, 0), int(places[-1]) + margin + 1))
    return tuple(box)
