"""CT artefacts simulated in the sinogram: patient motion, beam hardening and detector gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import say_once
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.acquisition import apparent_shift, beam_hardening, motion_artefact, ring_artefact
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.slices import SliceStack, change_slices, isocentre_offset
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.hounsfield import PADDING_HU
from monai_medaug.transforms.ct.units import CTImage

WINDOW = "cosine"
TRAJECTORIES = ("sinusoid", "step", "drift")


def change_of_bodies(
    image: torch.Tensor, call: Call, change: Callable[[SliceStack], Callable[[slice], torch.Tensor]]
) -> torch.Tensor:
    """The image plus what a function computes for its slices; padding stays unchanged.

    Where tissue touches the border, slices go on beyond it, and a notice says so. Old records lack ``body_mm``.
    """

    def noticed(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        if stack.body_mm:
            say_once(
                "tissue touches the border of a CT slice: operations in the sinogram continue it to a body of body_mm, "
                "at the middle of which the image is taken to lie"
            )
        return change(stack)

    changed = change_slices(image, call.grids, noticed, body_mm=call.settings.get("body_mm", 0.0))
    return torch.where(image > PADDING_HU, changed, image)


class SinogramOperation(CTImage, RandomOperation):
    """Base of the operations that change the line integrals of each slice; padding stays unchanged."""

    abstract = True

    @classmethod
    def change(cls, stack: SliceStack, call: Call) -> Callable[[slice], torch.Tensor]:
        """A function that returns the change in HU of a range of the stack's slices."""
        raise NotImplementedError

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return change_of_bodies(image, call, lambda stack: cls.change(stack, call))


class RandCTMotion(SinogramOperation):
    """Motion of the patient in the slice plane during the scan: a rigid pose for each view.

    With the object rotated by phi(theta) and translated by d(theta), view theta is the sinogram at theta - phi,
    displaced by ``d · (cos theta, sin theta)``. The change of the sinogram is reconstructed and added, so that without
    motion every voxel keeps its value. Poses are relative to the one in the reconstruction, so that labels stay
    aligned.

    Args:
        shift_mm: range of the greatest translation from the mean position, in mm, in a random direction.
        rotate_degrees: range of the greatest rotation from the mean pose.
        trajectory: ``"sinusoid"`` (breathing, one to three cycles), ``"step"`` or ``"drift"``; None draws one.
        prob: probability of applying it.
        body_mm: diameter of the water-equivalent body assumed round a crop, whose border is tissue; an adult's trunk
            has about 280, a head 200. Where the border is air it has no effect.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Source: view-dependent poses as in motion simulation for CT, e.g. Y. Ko et al., Rigid and non-rigid motion artifact
    reduction in X-ray CT, Med. Image Anal. 2021. A restless head moves by up to 3 mm and 2°.

    Example:
        >>> import torch
        >>> image = torch.full((1, 32, 32), -1000.0)
        >>> image[:, 8:24, 8:24] = 40.0
        >>> still = RandCTMotion(shift_mm=0, rotate_degrees=0, prob=1.0)(image)
        >>> bool((still - image).abs().max() < 1e-3)
        True
    """

    phrases = {"shift_mm": "motion of {:.1f} mm", "rotate_degrees": "rotated by {:.1f}°"}
    headline = ("shift_mm",)
    memory = 8
    identity = {"shift_mm": 0.0, "rotate_degrees": 0.0}

    def __init__(
        self,
        shift_mm: float | Sequence[float] = (0, 3),
        rotate_degrees: float | Sequence[float] = (0, 2),
        trajectory: str | None = None,
        prob: float = 0.3,
        body_mm: float = BODY_MM,
    ) -> None:
        super().__init__(prob)
        self.body_mm = number("body_mm", body_mm, 1, 1000)
        self.shift_mm = span("shift_mm", shift_mm, 0)
        self.rotate_degrees = span("rotate_degrees", rotate_degrees, 0, 90)
        self.trajectory = choice("trajectory", trajectory, (*TRAJECTORIES, None))

    def draw(self) -> Params:
        chosen = TRAJECTORIES[self.R.randint(len(TRAJECTORIES))]
        return {
            "shift_mm": self.R.uniform(*self.shift_mm),
            "direction_degrees": self.R.uniform(0, 360),
            "rotate_degrees": self.R.uniform(*self.rotate_degrees) * (1 if self.R.random_sample() < 0.5 else -1),
            "trajectory": self.trajectory or chosen,
            "cycles": self.R.uniform(1, 3),
            "phase": self.R.uniform(0, 1),
        }

    def settings(self) -> Params:
        return {"body_mm": self.body_mm}

    @classmethod
    def change(cls, stack: SliceStack, call: Call) -> Callable[[slice], torch.Tensor]:
        beam = stack.beam
        mine = [call.draws[i] for i in stack.members]
        courses = torch.tensor(np.stack([pose_course(p, beam.views) for p in mine]), dtype=torch.float32)
        heading = torch.tensor([math.radians(p["direction_degrees"]) for p in mine])
        shift = torch.stack([torch.cos(heading), torch.sin(heading)], dim=-1)[:, None] * courses[..., None]
        shift = shift * torch.tensor([p["shift_mm"] for p in mine])[:, None, None]
        shift = shift - apparent_shift(shift, beam)[:, None]
        turn = courses * torch.tensor([p["rotate_degrees"] for p in mine])[:, None]
        repeats = stack.whole[1] * stack.whole[2]
        shift, turn = (sent(x, stack.slices.device).repeat_interleave(repeats, 0) for x in (shift, turn))
        return lambda some: motion_artefact(stack.body(some), shift[some], turn[some], beam, WINDOW)


RandCTMotiond = dictionary_twin(RandCTMotion)
RandCTMotionD = RandCTMotionDict = RandCTMotiond


def pose_course(params: Params, views: int) -> np.ndarray:
    """Distance from the mean pose at each view, within [-1, 1].

    Example:
        >>> pose_course({"trajectory": "drift"}, 5)
        array([-1. , -0.5,  0. ,  0.5,  1. ])
    """
    time = np.linspace(0, 1, views)
    if params["trajectory"] == "drift":
        course = time
    elif params["trajectory"] == "step":
        course = (time > 0.2 + 0.6 * params["phase"]).astype(np.float64)
    else:
        course = np.sin(2 * np.pi * (params["cycles"] * time + params["phase"]))
    course = course - course.mean()
    return course / np.abs(course).max()


class RandCTBeamHardening(SinogramOperation):
    """Beam hardening: dark bands between bones, and cupping, that remain after the water correction.

    A ray through the lengths Lw of water and Lb of bone measures ``-ln sum_e w_e exp(-mu_w,e Lw - mu_b,e Lb)`` at five
    energies of a 120 kV spectrum. The scanner's correction assumes water alone, which stays unchanged; the difference
    from the monochromatic line integral is reconstructed and added. Up to 100 HU there is no bone; above, a voxel is a
    mixture of soft tissue with cortical bone, which is pure at 1765 HU.

    Args:
        amount: range of the share of this effect that the scanner leaves, 0 to 1; above 1 for a softer beam.
        prob: probability of applying it.
        body_mm: diameter of the water-equivalent body assumed round a crop, whose border is tissue; an adult's trunk
            has about 280, a head 200. Where the border is air it has no effect.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Source: P. M. Joseph & R. D. Spital, A method for correcting bone induced artifacts in computed tomography scanners,
    J. Comput. Assist. Tomogr. 1978.

    Example:
        >>> import torch
        >>> image = torch.full((1, 48, 48), -1000.0)
        >>> image[:, 8:40, 8:40] = 0.0
        >>> bool((RandCTBeamHardening(amount=1, prob=1.0)(image) - image).abs().max() < 0.1)
        True
    """

    phrases = {"amount": "{:.0%} of the beam hardening left"}
    memory = 7
    identity = {"amount": 0.0}

    def __init__(self, amount: float | Sequence[float] = (0.2, 1), prob: float = 0.3, body_mm: float = BODY_MM) -> None:
        super().__init__(prob)
        self.amount = span("amount", amount, 0, 5)
        self.body_mm = number("body_mm", body_mm, 1, 1000)

    def draw(self) -> Params:
        return {"amount": self.R.uniform(*self.amount)}

    def settings(self) -> Params:
        return {"tissue": "mixture", "body_mm": self.body_mm}

    @classmethod
    def change(cls, stack: SliceStack, call: Call) -> Callable[[slice], torch.Tensor]:
        amount, beam = stack.spread(call.drawn("amount")), stack.beam
        tissue = call.settings.get("tissue", "ramp")
        return lambda some: beam_hardening(stack.body(some), amount[some], beam, WINDOW, tissue)


RandCTBeamHardeningd = dictionary_twin(RandCTBeamHardening)
RandCTBeamHardeningD = RandCTBeamHardeningDict = RandCTBeamHardeningd


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
        return {"elements": self.elements, "drift": self.drift, "turn_degrees": 360, "body_mm": BODY_MM, **axis}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        seeds = call.seeds()

        def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
            rings = []
            for i in stack.members:
                beam = stack.beam_about(_rotation_axis(stack, call.settings, call.draws[i], call.grids[i]))
                gain = sent(_gain_errors(call.draws[i], call.settings, seeds[i], beam), stack.slices.device)
                rings.append(ring_artefact(gain[None, None], beam, WINDOW))
            each = torch.cat(rings).repeat_interleave(stack.whole[1] * stack.whole[2], 0)
            return lambda some: each[some]

        changed = change_slices(image, call.grids, change, body_mm=call.settings.get("body_mm", 0.0))
        return torch.where(image > PADDING_HU, changed, image)


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
