"""The mix of each sample of a batch, on any grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from monai_medaug.core.contract import Call, Params
from monai_medaug.functional.acceleration import one_thread
from monai_medaug.functional.mixing.lesion_body import dark_levels, outside_body
from monai_medaug.functional.mixing.lesion_paste import box_sparing_lesions, lesion_mask, lesion_parts
from monai_medaug.functional.mixing.lesion_place import (
    OWN,
    PASTED,
    LesionPatch,
    fitting_place,
    lesion_patches,
    paste_of_patch,
    smoothed_against_noise,
)
from monai_medaug.functional.mixing.mix import Corner, Paste, box_of_share, box_on_grid

_PLACES = 400
"""Places that are tried for each lesion."""


@dataclass
class SampleMix:
    """The mix of one sample, on any grid."""

    method: str
    partner: int
    weight: float = 1.0
    box: tuple[Corner, Corner] | None = None
    placed: list[tuple[LesionPatch, tuple[int, ...], np.ndarray]] = field(default_factory=list)
    """Patches, their shifts, and which voxels of their rings are healthy in the sample."""
    grid: tuple[int, ...] = ()
    growth_mm: float | None = None

    def pastes(self, shape: tuple[int, ...], labels: bool = False) -> list[Paste]:
        """The partner's voxels to paste on a grid; labels without a seam."""
        if self.box is not None:
            return [Paste(box_on_grid(*self.box, shape))]
        found = [paste_of_patch(patch, shift, clear, self.grid, shape) for patch, shift, clear in self.placed]
        return [p._replace(seam=None) if labels else p for p in found if p is not None]

    def params(self) -> dict[str, Any]:
        """Plain values for the trace."""
        plain: dict[str, Any] = {"method": self.method, "weight": self.weight, "partner": self.partner}
        if self.box is not None:
            plain |= {"box_low_fraction": list(self.box[0]), "box_high_fraction": list(self.box[1])}
        if self.growth_mm is not None:
            plain["growth_mm"] = self.growth_mm
        if self.placed:
            plain["shifts_voxel"] = [list(shift) for _, shift, _ in self.placed]
        return plain


class BatchLesions:
    """The lesions of a batch, and pastes that respect them.

    Args:
        settings: of the operation.
        lesion: the call of the mask that shows them.
        images: the calls of the images that lesions are pasted into.
    """

    def __init__(self, settings: Params, lesion: Call | None, images: Sequence[Call]) -> None:
        self.mode, self.tries = settings["lesions"], settings["tries"]
        if lesion is None:
            raise ValueError(f"lesions={self.mode!r} needs the lesions' mask")
        self.shape, self.grids = tuple(lesion.image.shape[2:]), lesion.grids
        self.masks = [lesion_mask(m, settings["lesion_labels"], lesion.name) for m in lesion.image]
        self.parts = [lesion_parts(m) for m in self.masks] if self.mode == "whole" else []
        self.images = images
        self.smooth: dict[int, np.ndarray] = {}

    def plan(self, plan: SampleMix, sample: int, drawn: Mapping[str, Any]) -> None:
        """Complete a sample's plan, which stays unchanged if nothing can be pasted."""
        if self.mode != "whole":
            self._place(plan, sample, drawn)
            return
        more = np.random.RandomState(drawn["seed"]).uniform(size=(self.tries - 1, 3))
        centres = [drawn["centre"], *more.tolist()]
        boxes = [box_of_share(1 - drawn["weight"], c[: len(self.shape)]) for c in centres]
        edges: dict[Any, tuple[Corner, Corner]] = {}
        for box in boxes:
            at = box_on_grid(*box, self.shape)
            edges.setdefault((tuple(s.start for s in at), tuple(s.stop for s in at)), box)
        best = box_sparing_lesions(edges, [*self.parts[sample], *self.parts[plan.partner]], self.shape)
        if best is not None:
            low, high = (tuple(e / n for e, n in zip(corner, self.shape, strict=True)) for corner in best)
            plan.method, plan.box = "cutmix", edges.get(best, (low, high))

    def _place(self, plan: SampleMix, sample: int, drawn: Mapping[str, Any]) -> None:
        """Find places for the partner's lesions."""
        growth = drawn["growth"] if self.mode == "carve" else 0.0
        patches, threshold = lesion_patches(self.masks[plan.partner], growth, self.grids[plan.partner].spacing)
        if not patches or plan.partner == sample:
            return
        marks = self.masks[sample].cpu().numpy() * np.uint8(OWN)
        random = np.random.RandomState(drawn["seed"])
        source, smooth = self.values(plan.partner), [self._smooth(i) for i in (plan.partner, sample)]
        outside = outside_body(self.values(sample), smooth[1], self.dark, self.grids[sample])
        marks[outside & (marks == 0)] = PASTED
        for patch in patches:
            draws = random.uniform(size=(_PLACES, marks.ndim))
            shift = fitting_place(patch, source, smooth[0], smooth[1], marks, self.dark, draws)
            if shift is None:
                continue
            at = tuple(slice(a + d, a + d + n) for a, d, n in zip(patch.low, shift, patch.region.shape, strict=True))
            plan.placed.append((patch, shift, patch.ring & (marks[at] == 0)))
            marks[at][patch.region] = PASTED
        if plan.placed:
            plan.method, plan.grid = self.mode, self.shape
            plan.growth_mm = threshold if self.mode == "carve" else None

    def values(self, sample: int) -> np.ndarray:
        """All channels of a sample's images on the mask's grid, (C, *spatial)."""
        found = [call.image[sample].detach() for call in self.images]
        found = [f if tuple(f.shape[1:]) == self.shape else _on_grid(f, self.shape) for f in found]
        return torch.cat([f.cpu().float() for f in found]).numpy()

    @cached_property
    def dark(self) -> np.ndarray:
        """See `dark_levels`."""
        return dark_levels([self.values(i) for i in range(len(self.masks))])

    def _smooth(self, sample: int) -> np.ndarray:
        if sample not in self.smooth:
            self.smooth[sample] = smoothed_against_noise(self.values(sample), self.grids[sample].spacing)
        return self.smooth[sample]


def _on_grid(image: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.nn.functional.interpolate(image[None].float(), shape, mode="nearest-exact")[0]


def pastes_on(plans: Sequence[SampleMix], shape: tuple[int, ...], name: str, labels: bool) -> list[list[Paste]]:
    """The pastes of each sample on a grid."""
    for plan in plans:
        axes = len(plan.grid) if plan.placed else len(plan.box[0]) if plan.box else len(shape)
        if axes != len(shape):
            raise ValueError(f"{name} must have {axes} spatial axes as the first image, got {len(shape)}")
    with one_thread():
        return [plan.pastes(shape, labels) for plan in plans]
