"""Rings from gain errors of detector elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.acquisition import ring_artefact
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.slices import SliceStack, change_slices, isocentre_offset
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.hounsfield import FLOOR_HU
from monai_medaug.transforms.ct.acquisition import WINDOW, as_stored
from monai_medaug.transforms.ct.units import CTImage


class RandCTRing(CTImage, RandomOperation):
    """Rings round the rotation axis, from detector elements with gain errors.

    An element with the relative gain error g reads ``p - ln(1 + g)`` in a full turn, whose opposite views are averaged.
    An error in all views makes a full ring, one that sets in during the turn an arc. The errors are independent and
    normally distributed, and the same for all slices.

    Args:
        gain: range of the standard deviation of the relative gain error.
        elements: share of the elements with an error, in [0, 1], but at least one element.
        drift: share of the error that sets in at a random view, in [0, 1]; the rest lasts the whole scan.
        prob: probability of applying it.
        isocentre_mm: x and y of the rotation axis in the image's world, which a crop keeps in its affine; (row, column)
            in mm without an affine. None takes the middle of the slice; for a crop, whose border is tissue, a random
            place for which the crop lies within a body of 280 mm about the axis.

    Raises:
        ValueError: an argument is out of its range, the image cannot be in HU, or the isocentre lies more than 500 mm
            away.

    Source: J. Sijbers & A. Postnov, Reduction of ring artefacts in high resolution micro-CT reconstructions, Phys. Med.
    Biol. 2004. A calibrated detector has errors of a few per mille.

    Example:
        >>> import torch
        >>> rings = RandCTRing(gain=0.01, prob=1.0).set_random_state(0)(torch.zeros(1, 64, 64))
        >>> bool(rings.std() > 1)
        True
    """

    phrases = {"gain": "rings, gain errors of {:.2%}"}
    memory = 3
    identity = {"gain": 0.0}
    magnitudes = (Magnitude("ring", {"gain": Reach(0, 0.01)}),)

    def __init__(
        self,
        gain: float | Sequence[float] = (0.002, 0.01),
        elements: float = 0.1,
        drift: float = 0.2,
        prob: float = 0.2,
        isocentre_mm: Sequence[float] | None = None,
    ) -> None:
        super().__init__(prob)
        self.gain = span("gain", gain, 0, 0.2)
        self.elements = number("elements", elements, 0, 1)
        self.drift = number("drift", drift, 0, 1)
        self.isocentre_mm = None if isocentre_mm is None else _isocentre(isocentre_mm)

    def draw(self) -> Params:
        return {
            "gain": self.R.uniform(*self.gain),
            "onset": self.R.uniform(0, 1),
            "seed": int(self.R.randint(2**31 - 1)),
            "aside": [float(v) for v in self.R.uniform(-1, 1, size=2)],
        }

    def settings(self) -> Params:
        axis = {} if self.isocentre_mm is None else {"isocentre_mm": list(self.isocentre_mm)}
        course = {"elements": self.elements, "drift": self.drift, "turn_degrees": 360}
        return {**course, "body_mm": BODY_MM, "floor_hu": FLOOR_HU, **axis}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        seeds = call.seeds()

        def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
            rings = []
            for i in stack.members:
                beam = stack.beam_about(_rotation_axis(stack, call.settings, call.draws[i], call.grids[i]))
                gain = sent(_gain_errors(call.draws[i], call.settings, seeds[i], beam), stack.slices.device)
                rings.append(ring_artefact(gain[None, None], beam, WINDOW))
            each, slices = torch.cat(rings), stack.whole[1] * stack.whole[2]
            places = torch.arange(len(stack.slices), device=each.device) // slices
            return lambda some: each.index_select(0, places[some])

        changed = change_slices(image, call.grids, change, body_mm=call.settings.get("body_mm", 0.0))
        return as_stored(changed, image, call)


RandCTRingd = dictionary_twin(RandCTRing)
RandCTRingD = RandCTRingDict = RandCTRingd


def _isocentre(value: Sequence[float]) -> tuple[float, float]:
    """The argument as two finite numbers."""
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)) or len(value) != 2:
        raise ValueError(f"isocentre_mm must be two numbers, x and y in mm, got {value!r}")
    return number("isocentre_mm", value[0]), number("isocentre_mm", value[1])


def _rotation_axis(stack: SliceStack, settings: Params, drawn: Params, grid: VoxelGrid) -> tuple[float, float]:
    """The rotation axis in mm from the middle of a sample's slices, along rows and columns."""
    if "isocentre_mm" in settings:
        return isocentre_offset(grid, settings["isocentre_mm"])
    # a whole slice is taken to be centred; the middle of a crop lies anywhere in the body
    rows, columns = (
        part * max(stack.body_mm - n * s, 0) / 2
        for part, n, s in zip(drawn.get("aside", (0.0, 0.0)), stack.shape, stack.spacing, strict=True)
    )
    return rows, columns


def _gain_errors(drawn: Params, settings: Params, seed: int, beam: ParallelBeam) -> torch.Tensor:
    """The relative gain error (views, detectors) of a sample; old records are of half a turn."""
    count = max(1, round(settings["elements"] * beam.width))
    views = beam.views * settings.get("turn_degrees", 180) // 180
    generator = torch.Generator().manual_seed(seed)
    error = torch.zeros(beam.width)
    off = torch.randperm(beam.width, generator=generator)[:count]
    error[off] = drawn["gain"] * torch.randn(count, generator=generator)
    lasting = 1 - settings["drift"] * (torch.linspace(0, 1, views)[:, None] < drawn["onset"])
    return error.clamp(-0.5, 0.5) * lasting
