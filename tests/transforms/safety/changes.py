"""Changes of a scan's arrays, for attacks: each a function of the scan that returns a new image or mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from scipy.ndimage import (
    affine_transform,
    binary_dilation,
    distance_transform_edt,
    gaussian_filter,
    grey_dilation,
    map_coordinates,
    shift,
    zoom,
)
from scipy.ndimage import label as components

from tests.transforms.safety.scans import Scan, scan

Arrays = dict[str, np.ndarray]

# ---- facts of a scan ---------------------------------------------------------------------------------------------


@cache
def inside(s: Scan) -> np.ndarray:
    """The lesion, or what stands for it: the greatest label but the first."""
    return s.lesion > 0 if s.lesion is not None else s.label == s.values[-1]


@cache
def ring(s: Scan) -> np.ndarray:
    """Within 4 voxels of the lesion."""
    return (distance_transform_edt(~inside(s)) <= 4) & ~inside(s)


@cache
def level(s: Scan) -> float:
    return float(np.median(s.image[ring(s)]))


@cache
def contrast(s: Scan) -> float:
    return float(s.image[inside(s)].mean() - s.image[ring(s)].mean())


def soft(mask: np.ndarray, voxels: float = 0.7) -> np.ndarray:
    return gaussian_filter(mask.astype(float), voxels)


def halves(s: Scan, share: float = 0.5) -> np.ndarray:
    """A part of the lesion at one end of its longest axis."""
    places = np.argwhere(inside(s)) * s.spacing
    centred = places - places.mean(0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    part = np.zeros(s.image.shape, bool)
    part[inside(s)] = along.argsort(kind="stable").argsort() < share * len(along)  # by rank: planes have many equal
    return part


@cache
def depth(s: Scan) -> np.ndarray:
    """0 at the lesion's border to 1 in its middle, by rank."""
    mask = inside(s)
    rank = np.zeros(mask.shape)
    distances = distance_transform_edt(mask, sampling=s.spacing)[mask]
    rank[mask] = distances.argsort().argsort() / max(len(distances) - 1, 1)
    return rank


def texture(s: Scan, seed: int = 0) -> np.ndarray:
    """The ring's median with the scan's own noise, as a careful painter would fill a hole."""
    fine = np.abs(s.image - gaussian_filter(s.image.astype(float), 1))[ring(s)]
    return level(s) + np.random.RandomState(seed).normal(0, 1.48 * np.median(fine) + 1e-9, s.image.shape)


def voxels(s: Scan, mm: float) -> np.ndarray:
    return mm / s.spacing


# ---- changes -----------------------------------------------------------------------------------------------------


def warped(s: Scan, array: np.ndarray, mm: float, order: int = 1, seed: int = 0) -> np.ndarray:
    """Moved by a smooth field (30 mm) whose longest vector has a length."""
    random = np.random.RandomState(seed)
    field = [gaussian_filter(random.normal(size=array.shape), 15 / s.spacing, mode="wrap") for _ in s.spacing]
    length = np.sqrt(sum(f**2 for f in field)).max()
    grid = np.meshgrid(*[np.arange(n, dtype=float) for n in array.shape], indexing="ij")
    moved = [g + f * mm / length / h for g, f, h in zip(grid, field, s.spacing, strict=True)]
    return map_coordinates(array.astype(float), moved, order=order, mode="nearest")


def moved(s: Scan, array: np.ndarray, mm: Sequence[float], order: int = 1) -> np.ndarray:
    return shift(array.astype(float), np.asarray(mm)[: array.ndim] / s.spacing, order=order, mode="nearest")


def turned(s: Scan, array: np.ndarray, degrees: float = 0, scale: float = 1, order: int = 1) -> np.ndarray:
    """Turned in the first two axes and enlarged, about the middle."""
    a = np.deg2rad(degrees)
    matrix = np.eye(array.ndim)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    matrix = np.diag(1 / s.spacing) @ matrix @ np.diag(s.spacing) / scale
    centre = (np.array(array.shape) - 1) / 2
    return affine_transform(array.astype(float), matrix, centre - matrix @ centre, order=order, mode="nearest")


def labels_by(move: Callable[[Scan, np.ndarray], np.ndarray]) -> Callable[[Scan], Arrays]:
    """The same for the label map and the lesion."""

    def change(s: Scan) -> Arrays:
        return {k: move(s, a) for k, a in (("label", s.label), ("lesion", s.lesion)) if a is not None}

    return change


def shrunk(s: Scan) -> np.ndarray:
    """The lesion contracted to 0.6 in the image, its surroundings drawn in."""
    places = np.argwhere(inside(s))
    centre, reach = places.mean(0), np.maximum(np.ptp(places, axis=0), 2)
    grid = np.meshgrid(*[np.arange(n, dtype=float) for n in s.image.shape], indexing="ij")
    radius = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, reach, strict=True)))
    stretch = 1 + 0.67 * np.clip(1.6 - 2 * radius, 0, 1)
    at = [c + (g - c) * stretch for g, c in zip(grid, centre, strict=True)]
    return map_coordinates(s.image.astype(float), at, order=1, mode="nearest")


def repainted(s: Scan, part: np.ndarray) -> np.ndarray:
    weight = np.clip(soft(part, 0.5) * 1.5, 0, 1)
    return s.image * (1 - weight) + texture(s) * weight


def with_contrast(s: Scan, factor: float) -> np.ndarray:
    """The mean contrast of the lesion times a factor, its texture as it was."""
    weight = soft(inside(s), 0.5)
    return s.image + (factor - 1) * contrast(s) * weight / weight[inside(s)].mean()


def rods(s: Scan, mask: np.ndarray) -> np.ndarray:
    """Two rods of 5 mm along the last axis, on either side of a lesion or organ, and the dark band between them."""
    places = np.argwhere(mask)
    centre, half = places.mean(0), np.ptp(places, axis=0)[0] / 2 + voxels(s, 6)[0]
    x, y = (g.astype(float) for g in np.meshgrid(*map(np.arange, s.image.shape[:2]), indexing="ij"))
    out, span = s.image.astype(float), np.ptp(s.image)
    shape = (slice(None),) * 2 + (None,) * (s.image.ndim - 2)
    across = (y - centre[1]) * s.spacing[1]
    band = np.exp(-((across / 6) ** 2)) * (np.abs(x - centre[0]) < half)
    streak = np.cos(across / 2.5) * np.exp(-np.abs(across) / 30)
    out = out - 0.35 * span * band[shape] + 0.1 * span * streak[shape]
    for side in (-1, 1):
        rod = np.hypot((x - centre[0] - side * half) * s.spacing[0], across) < 5
        out = np.where(rod[shape], s.image.max() + (1500 if s.modality == "ct" else 0), out)
    return out


def stepwise(s: Scan, mm: float) -> np.ndarray:
    """A third of k-space from a place a distance away along the first axis, a third from one along the second."""
    places = [(0, 0, 0), (mm, 0, 0), (0, mm, 0)]
    spectra = [np.fft.fftshift(np.fft.fftn(moved(s, s.image, p))) for p in places]
    lines = np.arange(s.image.shape[1]) * 3 // s.image.shape[1]
    order = (0, slice(None)) if s.image.ndim == 2 else (0, slice(None), slice(None))
    mixed = spectra[0].copy()
    for k in (1, 2):
        chosen = (slice(None), lines == k, *order[2:])
        mixed[chosen] = spectra[k][chosen]
    out = np.fft.ifftn(np.fft.ifftshift(mixed))
    return out.real if s.modality == "ct" else np.abs(out)


def undersampled(s: Scan, factor: int) -> np.ndarray:
    spectrum = np.fft.fftshift(np.fft.fft(s.image.astype(float), axis=1), axes=1)
    n = s.image.shape[1]
    kept = (np.arange(n) % factor == 0) | (np.abs(np.arange(n) - n // 2) < n * 0.02)
    spectrum = spectrum * kept.reshape(1, n, *[1] * (s.image.ndim - 2))
    return np.fft.ifft(np.fft.ifftshift(spectrum, axes=1), axis=1).real


def thick(s: Scan, mm: float) -> np.ndarray:
    """Means of slices of a thickness along the last axis of a volume, the first of a radiograph."""
    axis = s.image.ndim - 1
    n = max(round(mm / s.spacing[axis]), 2)
    index = np.arange(s.image.shape[axis]) // n
    lines = np.moveaxis(s.image.astype(float), axis, 0)
    mean = np.stack([lines[index == i].mean(0) for i in range(index[-1] + 1)])
    return np.moveaxis(mean[index], 0, axis)


def half_of(s: Scan, value: float) -> np.ndarray:
    """The half of the image that holds the middle of the lesion, filled."""
    out = s.image.astype(float).copy()
    middle = np.argwhere(inside(s)).mean(0)[0]
    n = out.shape[0]
    out[: n // 2] = value if middle < n / 2 else out[: n // 2]
    out[n // 2 :] = value if middle >= n / 2 else out[n // 2 :]
    return out


def occluded(s: Scan) -> np.ndarray:
    """The half of the labels' box at the low end of the second axis, filled with the darkest value."""
    out = s.image.astype(float).copy()
    places = np.argwhere(s.label > 0)
    low, high = places.min(0), places.max(0)
    out[tuple(slice(a, (a + b) // 2 if i == 1 else b + 1) for i, (a, b) in enumerate(zip(low, high, strict=True)))] = (
        out.min()
    )
    return out


_OTHERS = {
    "spleen": "sarcoma_ct",
    "sarcoma_ct": "spleen",
    "nodule_thin": "nodule_noisy",
    "nodule_noisy": "nodule_thin",
    "nodule_thick": "nodule_thin",
    "lung_thick": "sarcoma_ct",
    "sarcoma_mr": "stroke_flair",
    "stroke_flair": "ms_07",
    "ms_07": "ms_19",
    "ms_19": "ms_07",
    "brain": "ms_07",
    "head": "brain",
    "hippocampus": "head",
    "child": "adult",
    "adult": "child",
}


def another(s: Scan) -> np.ndarray:
    """Another patient's image of the same kind on this grid; for a phantom, another's noise and shape."""
    if s.name not in _OTHERS:
        return np.roll(s.image[::-1], 9, 0).astype(float)
    image = scan(_OTHERS[s.name]).image.astype(float)
    image = zoom(image, np.array(s.image.shape) / image.shape, order=1)
    return np.interp(image, np.quantile(image, [0, 0.5, 1]), np.sort(np.quantile(s.image, [0, 0.5, 1])))


def shuffled(s: Scan, size: int = 12) -> np.ndarray:
    """Blocks in another order."""
    out = s.image.astype(float).copy()
    size = min(size, *s.image.shape)
    counts = [n // size for n in s.image.shape]
    boxes = [tuple(slice(size * i, size * i + size) for i in place) for place in np.ndindex(*counts)]
    for a, b in zip(boxes, np.random.RandomState(0).permutation(len(boxes)), strict=True):
        out[a] = s.image[boxes[b]]
    return out


def swapped(s: Scan) -> np.ndarray:
    first, second = s.values[-2:]
    return np.select([s.label == first, s.label == second], [second, first], s.label.astype(int))


def elsewhere(s: Scan) -> np.ndarray:
    """The lesion's mask moved beside itself, at least half in the image, as much in the body as can be."""
    best, most = inside(s), -1.0
    size = np.ptp(np.argwhere(inside(s)), axis=0) + 3
    for axis in range(s.image.ndim):
        for share in (-1, -0.7, 0.7, 1):
            by = np.round(share * size[axis]) * (np.arange(s.image.ndim) == axis)
            there = shift(inside(s).astype(float), by, order=0) > 0
            found = (there & (s.label > 0) & ~inside(s)).sum()
            if found > most and there.sum() > 0.5 * inside(s).sum():
                best, most = there, found
    return best


def invented(s: Scan) -> np.ndarray:
    """The lesion's mask and a ball of up to 12 mm across in the body, where there is most room."""
    free = (s.label > 0) & ~inside(s)
    room = distance_transform_edt(np.pad(free, 1), sampling=s.spacing)[(slice(1, -1),) * free.ndim]
    centre = np.unravel_index(room.argmax(), room.shape)
    axes = np.meshgrid(*map(np.arange, free.shape), indexing="ij")
    away = np.sqrt(sum(((g - c) * h) ** 2 for g, c, h in zip(axes, centre, s.spacing, strict=True)))
    return inside(s) | (away < min(6.0, 0.9 * room.max()))


def one_of_several(s: Scan) -> np.ndarray | None:
    """The second largest of several lesions, of 5 % of them all or more and as bright as they are, within a half."""
    parts, count = components(inside(s))
    sizes = np.bincount(parts.ravel())[1:]
    if count < 2 or np.sort(sizes)[-2] < 0.05 * sizes.sum():
        return None
    part = parts == sizes.argsort()[-2] + 1
    own = (s.image[part].mean() - s.image[ring(s)].mean()) / contrast(s)
    return part if own > 0.5 else None


@cache
def faint(s: Scan, ratio: float = 0.09) -> Scan:
    """The lesion with a contrast of 0.09 of the noise around it, in place of its own."""
    image = np.where(inside(s), texture(s, 1), s.image.astype(float))
    spread = image[ring(s)].std()
    image[inside(s)] += image[ring(s)].mean() + ratio * spread - image[inside(s)].mean()
    return replace(s, image=image)


def noise(s: Scan, ratio: float) -> np.ndarray:
    return s.image + np.random.RandomState(1).normal(0, ratio * max(abs(contrast(s)), 1e-9), s.image.shape)


def grown_labels(label: np.ndarray) -> np.ndarray:
    """The labels and 2 voxels around them."""
    return grey_dilation(label, size=(5,) * label.ndim)


def boxed(label: np.ndarray) -> np.ndarray:
    """Each label as the box around it."""
    out = np.zeros_like(label)
    for value in np.unique(label[label > 0]):
        places = np.argwhere(label == value)
        out[tuple(slice(a, b + 1) for a, b in zip(places.min(0), places.max(0), strict=True))] = value
    return out


def clipped(s: Scan) -> np.ndarray:
    """Saturated at what a lesion and its ring have in common: all beyond the ring's level is gone."""
    return np.minimum(s.image, level(s)) if contrast(s) > 0 else np.maximum(s.image, level(s))


def local_blur(s: Scan, width: float) -> np.ndarray:
    weight = np.clip(soft(binary_dilation(inside(s), iterations=5), 1.5), 0, 1)
    return s.image * (1 - weight) + gaussian_filter(s.image.astype(float), width) * weight


def striped(s: Scan) -> np.ndarray:
    """Waves of 5 voxels of three times the lesion's contrast, over the lesion and its ring."""
    wave = np.sin(2 * np.pi * np.arange(s.image.shape[0]) / 5).reshape(-1, *[1] * (s.image.ndim - 1))
    return s.image + 3 * contrast(s) * wave * soft(binary_dilation(inside(s), iterations=5), 1.5)


def grown_to(mask: np.ndarray, factor: float) -> np.ndarray:
    """The mask and the nearest voxels, up to a multiple of its volume."""
    away = distance_transform_edt(~mask)
    return away <= np.sort(away, axis=None)[min(int(factor * mask.sum()), mask.size - 1)]


def monotone(s: Scan) -> np.ndarray:
    """A smooth curve that bends the scale without losing a step: slopes from 0.7 to 1.3."""
    low, high = float(s.image.min()), float(s.image.max())
    x = (s.image - low) / (high - low)
    return low + (high - low) * (x + 0.3 * np.sin(2 * np.pi * x) / (2 * np.pi))


def gamma(s: Scan, power: float) -> np.ndarray:
    low, high = float(s.image.min()), float(s.image.max())
    return low + (high - low) * ((s.image - low) / (high - low)) ** power


def tenth_of_contrast(s: Scan) -> float:
    """A tenth of the contrast of the lesion, or of an organ."""
    return 0.1 * abs(contrast(s))
