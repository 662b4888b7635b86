"""CT artefacts simulated in the sinogram: patient motion, beam hardening and detector gain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.ct.acquisition import apparent_shift, beam_hardening, motion_artefact, ring_artefact
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.slices import SliceStack, change_slices
from monai_medaug.functional.hounsfield import PADDING_HU
from monai_medaug.transforms.ct.units import CTImage

WINDOW = "cosine"
TRAJECTORIES = ("sinusoid", "step", "drift")


class SinogramOperation(CTImage, RandomOperation):
    """Base of the operations that change the line integrals of each slice; padding stays unchanged."""

    abstract = True

    @classmethod
    def change(cls, stack: SliceStack, beam: ParallelBeam, call: Call) -> Callable[[slice], torch.Tensor]:
        """A function that returns the change in HU of a range of the stack's slices."""
        raise NotImplementedError

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
            return cls.change(stack, stack.beam, call)

        changed = change_slices(image, call.grids, change)
        return torch.where(image > PADDING_HU, changed, image)


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
    ) -> None:
        super().__init__(prob)
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

    @classmethod
    def change(cls, stack: SliceStack, beam: ParallelBeam, call: Call) -> Callable[[slice], torch.Tensor]:
        mine = [call.draws[i] for i in stack.members]
        courses = torch.tensor(np.stack([pose_course(p, beam.views) for p in mine]), dtype=torch.float32)
        heading = torch.tensor([math.radians(p["direction_degrees"]) for p in mine])
        shift = torch.stack([torch.cos(heading), torch.sin(heading)], dim=-1)[:, None] * courses[..., None]
        shift = shift * torch.tensor([p["shift_mm"] for p in mine])[:, None, None]
        shift = shift - apparent_shift(shift, beam)[:, None]
        turn = courses * torch.tensor([p["rotate_degrees"] for p in mine])[:, None]
        repeats = stack.whole[1] * stack.whole[2]
        shift, turn = (x.to(stack.slices.device).repeat_interleave(repeats, 0) for x in (shift, turn))
        return lambda some: motion_artefact(stack.slices[some], shift[some], turn[some], beam, WINDOW)


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

    def __init__(self, amount: float | Sequence[float] = (0.2, 1), prob: float = 0.3) -> None:
        super().__init__(prob)
        self.amount = span("amount", amount, 0, 5)

    def draw(self) -> Params:
        return {"amount": self.R.uniform(*self.amount)}

    def settings(self) -> Params:
        return {"tissue": "mixture"}

    @classmethod
    def change(cls, stack: SliceStack, beam: ParallelBeam, call: Call) -> Callable[[slice], torch.Tensor]:
        amount = stack.spread(call.drawn("amount"))
        tissue = call.settings.get("tissue", "ramp")
        return lambda some: beam_hardening(stack.slices[some], amount[some], beam, WINDOW, tissue)


RandCTBeamHardeningd = dictionary_twin(RandCTBeamHardening)
RandCTBeamHardeningD = RandCTBeamHardeningDict = RandCTBeamHardeningd


class RandCTRing(SinogramOperation):
    """Rings round the rotation axis, from detector elements with gain errors.

    An element with the relative gain error g reads ``p - ln(1 + g)``. An error in all views makes a ring, one that sets
    in during the scan an arc. The errors are independent and normally distributed, and the same for all slices.

    Args:
        gain: range of the standard deviation of the relative gain error.
        elements: share of the elements with an error, in [0, 1], but at least one element.
        drift: share of the error that sets in at a random view, in [0, 1]; the rest lasts the whole scan.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

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
    ) -> None:
        super().__init__(prob)
        self.gain = span("gain", gain, 0, 0.2)
        self.elements = number("elements", elements, 0, 1)
        self.drift = number("drift", drift, 0, 1)

    def draw(self) -> Params:
        return {
            "gain": self.R.uniform(*self.gain),
            "onset": self.R.uniform(0, 1),
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        return {"elements": self.elements, "drift": self.drift}

    @classmethod
    def change(cls, stack: SliceStack, beam: ParallelBeam, call: Call) -> Callable[[slice], torch.Tensor]:
        seeds = call.seeds()
        count = max(1, round(call.settings["elements"] * beam.width))
        time = torch.linspace(0, 1, beam.views, device=stack.slices.device)[:, None]
        rings = []
        for i in stack.members:
            drawn = call.draws[i]
            generator = torch.Generator().manual_seed(seeds[i])
            error = torch.zeros(beam.width)
            off = torch.randperm(beam.width, generator=generator)[:count]
            error[off] = drawn["gain"] * torch.randn(count, generator=generator)
            lasting = 1 - call.settings["drift"] * (time < drawn["onset"])
            gain = error.clamp(-0.5, 0.5).to(stack.slices.device) * lasting
            rings.append(ring_artefact(gain[None, None], beam, WINDOW))
        each = torch.cat(rings).repeat_interleave(stack.whole[1] * stack.whole[2], 0)
        return lambda some: each[some]


RandCTRingd = dictionary_twin(RandCTRing)
RandCTRingD = RandCTRingDict = RandCTRingd
