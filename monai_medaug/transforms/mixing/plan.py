"""The mix of each sample of a batch, on any grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from monai_medaug.core.contract import Call, Params
from monai_medaug.functional.acceleration import one_thread
from monai_medaug.functional.mixing.lesion_paste import box_sparing_lesions, lesion_mask, lesion_parts, lesion_region
from monai_medaug.functional.mixing.mix import Corner, Paste, box_of_share, box_on_grid, paste_of_region


@dataclass
class SampleMix:
    """The mix of one sample, on any grid."""

    method: str
    partner: int
    weight: float = 1.0
    box: tuple[Corner, Corner] | None = None
    region: torch.Tensor | None = None
    growth_mm: float | None = None

    def paste(self, shape: tuple[int, ...]) -> Paste | None:
        """The partner's voxels to paste, on a grid; None without a paste."""
        if self.region is not None:
            return paste_of_region(self.region, shape)
        return None if self.box is None else Paste(box_on_grid(*self.box, shape))

    def params(self) -> dict[str, Any]:
        """Plain values for the trace."""
        plain: dict[str, Any] = {"method": self.method, "weight": self.weight, "partner": self.partner}
        if self.box is not None:
            plain |= {"box_low_fraction": list(self.box[0]), "box_high_fraction": list(self.box[1])}
        if self.growth_mm is not None:
            plain["growth_mm"] = self.growth_mm
        return plain


class BatchLesions:
    """The lesions of a batch, and pastes that respect them."""

    def __init__(self, settings: Params, lesion: Call | None) -> None:
        self.mode, self.tries = settings["lesions"], settings["tries"]
        if lesion is None:
            raise ValueError(f"lesions={self.mode!r} needs the lesions' mask")
        self.shape, self.grids = tuple(lesion.image.shape[2:]), lesion.grids
        self.masks = [lesion_mask(m, settings["lesion_labels"], lesion.name) for m in lesion.image]
        self.parts = [lesion_parts(m) for m in self.masks] if self.mode == "whole" else []

    def plan(self, plan: SampleMix, sample: int, drawn: Mapping[str, Any]) -> None:
        """Complete a sample's plan, which stays unchanged if nothing can be pasted."""
        if self.mode != "whole":
            growth = drawn["growth"] if self.mode == "carve" else 0.0
            region, threshold = lesion_region(self.masks[plan.partner], growth, self.grids[plan.partner].spacing)
            if bool(region.any()):
                plan.method, plan.region = self.mode, region
                plan.growth_mm = threshold if self.mode == "carve" else None
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


def pastes_on(plans: Sequence[SampleMix], shape: tuple[int, ...], name: str) -> list[Paste | None]:
    """The paste of each sample on a grid."""
    for plan in plans:
        axes = plan.region.ndim if plan.region is not None else len(plan.box[0]) if plan.box else len(shape)
        if axes != len(shape):
            raise ValueError(f"{name} must have {axes} spatial axes as the first image, got {len(shape)}")
    with one_thread():
        return [plan.paste(shape) for plan in plans]
