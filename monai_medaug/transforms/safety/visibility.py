"""Whether a lesion can be seen as before: contrast of its border and parts, sharpness, detectability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_medaug.functional.borders import MARGIN, REACH, BorderLines
from monai_medaug.functional.edges import EdgesKept, displacement, edges_kept
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.lesion import LesionContrast, LesionParts, divided_lesion, lesion_contrast
from monai_medaug.functional.preservation import of_each
from monai_medaug.functional.transfer import TransferCurve
from monai_medaug.functional.voxels import holds_at, values_at
from monai_medaug.transforms.safety.finding import INTENSITY, Finding, Limits
from monai_medaug.transforms.safety.shown import ShownImage

_POINTS = 1500
_RING = 4  # voxels
_FEWEST_PLACES = 3
_MOVED = 1.5  # voxels
_EDGES_KEPT = 0.6  # least share of the edges at the lesion's border
_CERTAIN = {"border contrast": 3.0, "contrast to noise": 3.0, "detectability": 5.0}  # nobody overlooks that (Rose 1948)


@dataclass(frozen=True)
class LesionMask:
    """A lesion mask before and after a call.

    Attributes:
        key: its name.
        first: the mask before.
        last: the mask after.
        voxels: of the latter, (N, axes).
        component: number of each one's connected component.
        lines: across the latter's border.
        grid: of the latter.
    """

    key: Any
    first: np.ndarray
    last: np.ndarray
    voxels: np.ndarray
    component: np.ndarray
    lines: BorderLines | None
    grid: VoxelGrid

    def moved(self, edges: EdgesKept) -> float:
        """By how many voxels the lesion moved against its mask, by the shifts of the edges at its border."""
        if self.lines is None or edges.visible < _FEWEST_PLACES:
            return 0.0
        matrix = self.grid.matrix[:3, :3]
        steps = (self.lines.index[:, 1] - self.lines.index[:, 0]) @ matrix.T
        normals = np.stack([steps[self.lines.place == place].mean(0) for place in edges.seen])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        by = displacement(normals / np.maximum(lengths, 1e-9), edges.shift * lengths[:, 0])
        return float(np.linalg.norm(np.linalg.inv(matrix) @ by))


def judge_visibility(
    lesion: LesionMask, images: Sequence[ShownImage], limits: Limits, ours: bool, finding: Finding
) -> None:
    """Compare the lesion in each image before and after; adds to what was found.

    Args:
        lesion: its mask.
        images: of the call.
        limits: what is allowed.
        ours: whether all steps are of this package.
        finding: about the lesion.
    """
    parts = _divided(lesion)
    visible = False
    for image in images:
        if not image.in_place:
            finding.violated(f"{lesion.key}: moved otherwise than {image.key}")
            continue
        view = _View(lesion, parts, image)
        for name, channel in image.channels():
            found = view.contrast(channel)
            if found is None:
                continue
            contrast, edges = found
            finding.checks[f"{name}: lesion border contrast"] = list(contrast.border)
            finding.checks[f"{name}: lesion contrast to noise"] = list(contrast.contrast_to_noise)
            finding.checks[f"{name}: lesion detectability"] = list(contrast.detectability)
            if not contrast.was_visible:
                continue
            visible = True
            finding.checks[f"{name}: contrast kept of the lesion's parts"] = contrast.parts
            if edges.visible:
                finding.checks[f"{name}: edges kept of the lesion"] = edges.kept
            by = finding.checks[f"{name}: voxels by which the lesion moved"] = lesion.moved(edges)
            wrong = [*_wrong(contrast, limits), *_blurred(edges, contrast, limits)]
            if by > _MOVED:
                wrong.append(f"the lesion lies {by:.1f} voxels off its mask")
            for sentence in wrong:
                finding.violated(f"{name}: {sentence}", *([INTENSITY] if ours else []))
            if not wrong:
                low, high = (f(contrast.parts.values(), default=1.0) for f in (min, max))
                finding.checked.append(
                    f"visible in {name}, border contrast {contrast.border[0]:.1f} to {contrast.border[1]:.1f}, "
                    f"its parts' contrast {low:.0%} to {high:.0%}"
                )
    if not visible and images and not finding.violations:
        finding.unchecked = "the lesion was not visible before"


class _View:
    """The places at a lesion in one image."""

    def __init__(self, lesion: LesionMask, parts: LesionParts, image: ShownImage) -> None:
        self.parts, self.image, self.lines = parts, image, lesion.lines
        self.lesion, self.ring = (image.places(v.astype(float)) for v in (parts.lesion, parts.ring))
        self.elsewhere = holds_at(lesion.first, image.passage.everywhere[0])
        self.around = ~holds_at(lesion.first, self.ring[0])
        self.across = None if self.lines is None else image.places(self.lines.index)

    def contrast(self, channel: int) -> tuple[LesionContrast, EdgesKept] | None:
        """What a channel shows; None if too little of the lesion lies in the image."""
        if self.lines is None or self.across is None:
            return None
        lesion, ring, across = (self.image.values(channel, p) for p in (self.lesion, self.ring, self.across))
        inside, around = lesion[2], ring[2] & self.around
        known = np.all(across[2][:, MARGIN:-MARGIN], axis=1)
        if inside.sum() < 3 or around.sum() < 8 or known.sum() < 3:
            return None
        curve: TransferCurve = self.image.curve(channel, self.elsewhere)
        contrast = lesion_contrast(
            self.parts.within(inside, around, known),
            (lesion[0][inside], lesion[1][inside]),
            (ring[0][around], ring[1][around]),
            (across[0][known], across[1][known]),
            curve,
        )
        return contrast, edges_kept(self.lines.place, across[0], across[1], known, curve)


def _wrong(contrast: LesionContrast, limits: Limits) -> list[str]:
    """Sentences on lost or changed contrast."""
    least = limits.min_contrast_kept
    wrong = [
        f"the lesion's {what} fell from {was:.2f} to {is_now:.2f}"
        for what, (was, is_now) in contrast.compared.items()
        if is_now / was < least and is_now * np.sign(was) < _CERTAIN[what]
    ]
    off = {part: kept for part, kept in contrast.parts.items() if least and not least <= kept <= 1 / least}
    if off:
        said = ", ".join(f"{part} {kept:.2f}" for part, kept in list(off.items())[:4])
        wrong.append(f"parts of the lesion have another contrast, as shares of that before: {said}")
    return wrong


def _blurred(edges: EdgesKept, contrast: LesionContrast, limits: Limits) -> list[str]:
    """Sentences on the lesion's border."""
    if edges.visible < _FEWEST_PLACES:
        return []
    wrong = []
    if edges.kept < _EDGES_KEPT:
        wrong.append(f"only {edges.kept:.0%} of the {edges.visible} edges at the lesion's border are where they were")
    before, expected = contrast.steps
    sharp = edges.steepness * before / expected if expected else 0.0
    if sharp < limits.min_contrast_kept:
        wrong.append(f"the lesion's border keeps {sharp:.0%} of its steepness")
    return wrong


def _divided(lesion: LesionMask) -> LesionParts:
    """The parts of a lesion, and voxels around it: beside its rim, at random within 4 voxels."""
    some = of_each(lesion.component)
    axes = lesion.last.ndim
    voxels = np.pad(lesion.voxels[some], ((0, 0), (3 - axes, 0)))
    rim = ~holds_at(lesion.last, voxels, everywhere=True)
    reach = [_RING * (n > 1) for n in (1,) * (3 - axes) + lesion.last.shape]
    steps = np.random.RandomState(0).uniform(-1, 1, (_POINTS, 3)) * reach
    beside = np.flatnonzero(rim)[np.arange(_POINTS * rim.any()) % max(rim.sum(), 1)]
    ring = voxels[beside] + np.rint(steps[: len(beside)]).astype(int)
    inside, there = values_at(lesion.last, ring, linear=False)
    around = ~inside & there
    border = np.zeros((0, 3)) if lesion.lines is None else lesion.lines.index[:, REACH]
    return divided_lesion(voxels, rim, lesion.component[some], ring[around], beside[around], border)
