"""What an attack did to a scan, measured on the arrays alone: is there harm to be seen?

Borders of labels must be visible in the image, and the lesion against its ring, before harm to them can be. The
measures are not the verdict's: steps of the image across labels' borders, Dice of masks, contrasts of halves, core and
rim of the lesion, correlation and slopes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter

from tests.transforms.safety.changes import depth, halves, inside, ring
from tests.transforms.safety.scans import Scan

SEEN_EDGE = 1.0  # local contrast over noise at half of a label's border
SEEN_LESION = 0.5  # contrast over the ring's standard deviation
KEPT_BORDER = 0.7  # share of a label's visible border
UNSEEN_LESION = 0.1  # below: must be "not checked"


@dataclass(frozen=True)
class Harm:
    """Figures by name, and those that harm anatomy or pathology."""

    figures: dict[str, float]
    anatomy: tuple[str, ...]
    pathology: tuple[str, ...]
    nothing: bool = False  # changed: no attack


def noise_of(image: np.ndarray) -> float:
    """The median absolute fine detail, as a standard deviation, where the image is not flat."""
    fine = image - gaussian_filter(image, 1)
    fine = np.abs(fine[np.abs(fine) > 1e-6 * (np.ptp(image) + 1e-9)])
    return float(1.48 * np.median(fine)) + 1e-9 if fine.size else 1e-9


def border(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask, border_value=1)


def across(image: np.ndarray, mask: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """At each voxel of a mask's border the mean inside less the mean outside, within about 2 voxels."""

    def mean(part: np.ndarray) -> np.ndarray:
        return gaussian_filter(image * part, 1.5) / np.maximum(gaussian_filter(part.astype(float), 1.5), 1e-6)

    return (mean(mask) - mean(~mask))[rim]


def lesion_contrast(image: np.ndarray, mask: np.ndarray, around: np.ndarray) -> float:
    if not mask.any() or not around.any():
        return 0.0
    return float((image[mask].mean() - image[around].mean()) / (image[around].std() + 1e-9))


@cache
def visible(s: Scan) -> dict[str, bool]:
    """Which answers can be given at all: label borders and lesion that a person sees."""
    seen = {"anatomy": any(organ.seen for organ in organs(s))}
    if s.lesion is not None:
        seen["pathology"] = abs(lesion_contrast(s.image.astype(float), inside(s), ring(s))) >= SEEN_LESION
    return seen


def unseen(s: Scan) -> bool:
    """Whether the lesion is so faint that nothing can be said about it."""
    return s.lesion is not None and abs(lesion_contrast(s.image.astype(float), inside(s), ring(s))) < UNSEEN_LESION


@dataclass(frozen=True)
class Organ:
    """A label with 30 voxels of border or more, in its box, and the image's steps across its border."""

    value: int
    box: tuple[slice, ...]
    mask: np.ndarray
    rim: np.ndarray
    steps: np.ndarray
    seen: bool

    def kept(self, result: np.ndarray) -> float:
        """The share of the steps across the border that are still there, at least at 0.4 of their height."""
        after = across(result[self.box].astype(float), self.mask, self.rim)
        return float(
            np.abs(self.steps)[after * np.sign(self.steps) > 0.4 * np.abs(self.steps)].sum() / np.abs(self.steps).sum()
        )

    def on_edges(self, image: np.ndarray, label: np.ndarray) -> float:
        """The image's steps across the border of the label as it is now, against those across its border before."""
        mask = label[self.box] == self.value
        rim = border(mask)
        if not rim.any():
            return 0.0
        return float(np.abs(across(image[self.box].astype(float), mask, rim)).mean() / np.abs(self.steps).mean())


@cache
def organs(s: Scan) -> list[Organ]:
    found, noise = [], noise_of(s.image.astype(float))
    for value in s.values:
        places = np.argwhere(s.label == value)
        box = tuple(slice(max(a - 6, 0), b + 7) for a, b in zip(places.min(0), places.max(0), strict=True))
        mask = s.label[box] == value
        rim = border(mask)
        if rim.sum() >= 30:
            steps = across(s.image[box].astype(float), mask, rim)
            found.append(Organ(value, box, mask, rim, steps, bool(np.median(np.abs(steps)) >= SEEN_EDGE * noise)))
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum() + 1e-9))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def slope(image: np.ndarray, where: np.ndarray) -> float:
    gradients = np.gradient(gaussian_filter(image, 0.7))
    return float(np.sqrt(sum(g**2 for g in gradients))[where].mean())


def harm_of(s: Scan, after: dict[str, np.ndarray]) -> Harm:
    """Of arrays on the same grid."""
    seen, figures = visible(s), {}
    image, result = s.image.astype(float), after["image"].astype(float)
    label = after["label"]
    near, overlap, edges = [1.0], [1.0], [1.0]
    for organ in organs(s):
        overlap.append(dice(s.label[organ.box] == organ.value, label[organ.box] == organ.value))
        if organ.seen:
            near.append(organ.kept(result))
            edges.append(organ.on_edges(image, label))
    figures["kept of the worst label's border"] = min(near)
    figures["Dice of the worst label"] = min(overlap)
    figures["edges at the worst label's border"] = min(edges)
    anatomy = []
    if seen["anatomy"] and min(near) < KEPT_BORDER:
        anatomy.append("kept of the worst label's border")
    if min(edges) < 0.85:
        anatomy.append("edges at the worst label's border")
    if min(overlap) < 0.85:
        anatomy.append("Dice of the worst label")
    given = {"image": s.image.astype(np.float32), "label": s.label, "lesion": s.lesion}
    nothing = all(np.array_equal(given[name], changed) for name, changed in after.items())
    return Harm(figures, tuple(anatomy), _lesion_harm(s, image, result, after, seen, figures), nothing)


def _lesion_harm(
    s: Scan, image: np.ndarray, result: np.ndarray, after: dict, seen: dict, figures: dict[str, float]
) -> tuple[str, ...]:
    if s.lesion is None:
        return ()
    mask, around = inside(s), ring(s)
    both = mask | around
    spread, rank, end = image[around].std() + 1e-9, depth(s), halves(s)
    if not both.any() or not around.any():
        return ()
    figures["contrast to noise"] = lesion_contrast(image, mask, around)
    figures["Dice of the lesion"] = dice(mask, after["lesion"] > 0)
    figures["correlation at the lesion"] = correlation(image[both], result[both])
    figures["slope at the lesion's border"] = slope(result, border(mask)) / (slope(image, border(mask)) + 1e-9)
    figures["noise over contrast"] = (result - image)[both].std() / abs(image[mask].mean() - image[around].mean())
    parts = {
        "whole": mask,
        "end": end,
        "other end": mask & ~end,
        "core": mask & (rank > 0.5),
        "rim": mask & (rank <= 0.5),
    }
    harmed = []
    for name, part in parts.items():
        first = image[part].mean() - image[around].mean()
        if abs(first) >= SEEN_LESION * spread:
            ratio = figures[f"contrast of the {name}"] = float((result[part].mean() - result[around].mean()) / first)
            harmed += [f"contrast of the {name}"] * (not 0.5 <= ratio <= 2)
    harmed += ["correlation at the lesion"] * (figures["correlation at the lesion"] < 0.8)
    harmed += ["slope at the lesion's border"] * (figures["slope at the lesion's border"] < 0.5)
    if not seen["pathology"]:
        harmed = []
    return (*harmed, *["Dice of the lesion"] * (figures["Dice of the lesion"] < 0.8))
