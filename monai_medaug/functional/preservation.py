"""Measures of preserved labels and lesions: voxels, volumes, topology."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from monai_medaug.functional.acceleration import loops

_MOST_LABELS = 1 << 14
_STRIDED = 50_000
_ALL, _COMPONENTS, _OF_EACH = 1500, 24, 40
_FEW = 8  # labels, up to which it is faster to look for each than to sort
_FEWEST = 12  # voxels of a label among the strided ones that may stand for it


def label_counts(labels: np.ndarray) -> dict[float, int]:
    """Voxels of each non-zero label of a label map, by value.

    Example:
        >>> label_counts(np.array([[0, 1, 1, 7]]))
        {1.0: 2, 7.0: 1}
    """
    if (most := _greatest(labels)) is not None:
        flat = np.ascontiguousarray(labels).reshape(-1)
        numbers = np.zeros(most + 1, np.int64)
        if (compiled := loops("_numba_voxels")) is not None:
            whole = flat.size - flat.size % (8 // flat.itemsize)
            compiled.count_values(flat[:whole].view(np.int64), flat[:whole], numbers)
            flat = flat[whole:]
        numbers += np.bincount(flat, minlength=most + 1)
        return {float(value): int(numbers[value]) for value in np.flatnonzero(numbers) if value}
    found, sizes = np.unique(labels, return_counts=True)
    return {float(value): int(n) for value, n in zip(found, sizes, strict=True) if value != 0}


def _greatest(labels: np.ndarray) -> int | None:
    """A number that no label exceeds, small enough for a table; None without one."""
    if labels.dtype == np.uint8:
        return 255
    if labels.dtype.kind in "ui" and labels.size and labels.min() >= 0 and (most := int(labels.max())) <= _MOST_LABELS:
        return most
    return None


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
    found, sizes = np.array(list(counts)), np.array(list(counts.values()))
    own = _by_label(np.ascontiguousarray(flat[::step]), found.astype(flat.dtype))
    present = np.array([len(o) for o in own])
    rare = present < np.minimum(_FEWEST, sizes)
    which, member = spread_each(np.where(rare, 0, present), wanted)
    order, firsts = np.concatenate(own), np.cumsum(present) - present
    chosen, names = [order[firsts[which] + member] * step], [found[which]]
    if rare.any():
        places = np.flatnonzero(_is_any(flat, found[rare]))
        for value in found[rare]:
            own = places[flat[places] == value]
            chosen.append(own[spread(len(own), wanted)])
            names.append(np.full(len(chosen[-1]), value))
    return np.stack(np.unravel_index(np.concatenate(chosen), shape), -1), np.concatenate(names)


def _by_label(values: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Where each label stands."""
    if len(labels) <= _FEW:
        return [np.flatnonzero(values == label) for label in labels]
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts, stops = (np.searchsorted(ordered, labels, side) for side in ("left", "right"))
    return [order[a:b] for a, b in zip(starts, stops, strict=True)]


def _is_any(flat: np.ndarray, values: np.ndarray) -> np.ndarray:
    if (most := _greatest(flat)) is not None:
        table = np.zeros(most + 1, bool)
        table[values.astype(int)] = True
        return np.take(table, flat)
    return np.isin(flat, values.astype(flat.dtype))


def spread(count: int, wanted: int) -> np.ndarray:
    """Up to ``wanted`` of ``count`` positions, evenly spaced.

    Example:
        >>> spread(9, 3)
        array([0, 4, 8])
    """
    return np.arange(count) if count <= wanted else np.linspace(0, count - 1, wanted).astype(int)


def spread_each(counts: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions of `spread` for each of several counts: number of the count (N,) and position (N,).

    Example:
        >>> spread_each(np.array([2, 9]), 3)
        (array([0, 0, 1, 1, 1]), array([0, 1, 0, 4, 8]))
    """
    number = np.arange(wanted)
    far = number * ((counts[:, None] - 1) / max(wanted - 1, 1))
    far[:, -1] = np.where(wanted > 1, counts - 1, 0)
    table = np.where(counts[:, None] <= wanted, number, far.astype(int))
    which, place = np.nonzero(number < counts[:, None])
    return which, table[which, place]


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
    own = [np.flatnonzero(component == n) for n in _largest(sizes)] if len(sizes) > 2 else []
    return np.unique(np.concatenate([spread(len(component), _ALL), *(o[spread(len(o), _OF_EACH)] for o in own)]))


def stands_for(component: np.ndarray, some: np.ndarray) -> np.ndarray:
    """How many of its component's voxels each of some voxels stands for: small components are looked at more closely.

    Args:
        component: number of each voxel's component.
        some: indices, such as those of `of_each`.

    Example:
        >>> stands_for(np.array([1, 1, 1, 1, 2]), np.array([0, 2, 4]))
        array([2., 2., 1.])
    """
    sizes = np.bincount(component)
    group = np.zeros(len(sizes), int)  # all the others count together: not each of them was looked at
    group[_largest(sizes)] = np.arange(1, min(len(sizes) - 1, _COMPONENTS) + 1)
    whole, looked = group[component], group[component[some]]
    return (np.bincount(whole) / np.maximum(np.bincount(looked, minlength=whole.max() + 1), 1))[looked]


def _largest(sizes: np.ndarray) -> np.ndarray:
    """Numbers of the 24 largest components, from the sizes of all; 0 is none."""
    return np.argsort(-sizes[1:])[:_COMPONENTS] + 1


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
    so also when specks before are of half and after of 2 %, or the reverse. It also cuts bridges of a voxel and closes
    gaps of one: pieces that lie so near count as one where they split or merged.

    Args:
        before: result of `components`.
        after: the same of the result.
    """
    shown = [lesion_topology(*m) for m in (before, after)]
    if shown[0] == shown[1]:
        return {}
    fewer = [lesion_topology(*m, speck=0.02) for m in (before, after)]
    more = [lesion_topology(*m, speck=0.005) for m in (before, after)]
    changed = {
        name: (shown[0][name], shown[1][name])
        for name in shown[0]
        if more[1][name] < fewer[0][name] or fewer[1][name] > more[0][name]
    }
    if "components" in changed:
        was, is_now = changed["components"]
        joined = _joined(before[0] if is_now < was else after[0], speck=0.02)
        if joined <= min(was, is_now):
            del changed["components"]
    return changed


def _joined(voxels: np.ndarray, speck: float) -> int:
    """How many components of at least a speck there are if gaps of one voxel count as closed."""
    from scipy.ndimage import binary_dilation, generate_binary_structure, label

    start = voxels.min(0) - 1
    mask = np.zeros(voxels.max(0) - start + 3, bool)
    mask[tuple((voxels - start).T)] = True
    near = generate_binary_structure(mask.ndim, mask.ndim)
    numbers, _ = label(binary_dilation(mask, np.ones((2,) * mask.ndim)), near)
    return int((np.bincount(numbers[mask])[1:] >= max(speck * len(voxels), 1)).sum())


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
