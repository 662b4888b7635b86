"""Operations on the line integrals of CT slices: their base, and beam hardening."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from monai_medaug.core.arguments import number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import say_once
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.ct.acquisition import beam_hardening
from monai_medaug.functional.ct.slices import SLICES_AT_ONCE, SliceStack, change_slices
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.functional.hounsfield import FLOOR_HU, PADDING_HU
from monai_medaug.transforms.ct.units import CTImage

WINDOW = "cosine"
_VIEWS = 180  # the change by beam hardening is smooth from view to view: within 1 HU of 360 views in soft tissue


def change_of_bodies(
    image: torch.Tensor,
    call: Call,
    change: Callable[[SliceStack], Callable[[slice], torch.Tensor]],
    at_once: int = SLICES_AT_ONCE,
) -> torch.Tensor:
    """The image plus what a function computes for its slices, so many at once; padding stays unchanged.

    Where tissue touches the border, slices go on beyond it, and a notice says so. Old records lack ``body_mm``.
    """

    def noticed(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        say_if_continued(stack)
        return change(stack)

    changed = change_slices(image, call.grids, noticed, at_once, call.settings.get("body_mm", 0.0))
    return as_stored(changed, image, call)


def say_if_continued(stack: SliceStack) -> None:
    """A notice if tissue touches the border of the slices, so that they go on beyond it."""
    if stack.body_mm:
        say_once(
            "tissue touches the border of a CT slice: operations in the sinogram continue it to a body of body_mm, at "
            "the middle of which the image is taken to lie"
        )


def as_stored(changed: torch.Tensor, image: torch.Tensor, call: Call) -> torch.Tensor:
    """A changed image not below the least value that scanners store, ``floor_hu``; padding as it was."""
    if "floor_hu" in call.settings:
        changed = torch.maximum(changed, image.clamp_max(call.settings["floor_hu"]))
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
    magnitudes = (Magnitude("beam_hardening", {"amount": Reach(0, 1)}),)

    def __init__(self, amount: float | Sequence[float] = (0.2, 1), prob: float = 0.3, body_mm: float = BODY_MM) -> None:
        super().__init__(prob)
        self.amount = span("amount", amount, 0, 5)
        self.body_mm = number("body_mm", body_mm, 1, 1000)

    def draw(self) -> Params:
        return {"amount": self.R.uniform(*self.amount)}

    def settings(self) -> Params:
        seen = {"views": _VIEWS, "beyond": "coarse"}
        return {"tissue": "mixture", "body_mm": self.body_mm, **seen, "floor_hu": FLOOR_HU}

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """With a bone, without which there is no effect."""
        image = super().example(spatial_dims)
        image[:, 9:13, 7:10] = 180.0  # in the range of all types, and not that of a picture
        return image

    @classmethod
    def change(cls, stack: SliceStack, call: Call) -> Callable[[slice], torch.Tensor]:
        amount, beam = stack.spread(call.drawn("amount")), stack.beam
        beam = replace(beam, views=call.settings.get("views", beam.views))
        coarse = "beyond" in call.settings  # not in old records
        if coarse:
            beam = stack.smoothly_seen(beam)
        tissue = call.settings.get("tissue", "ramp")
        return lambda some: beam_hardening(stack.body(some), amount[some], beam, WINDOW, tissue, coarse)


RandCTBeamHardeningd = dictionary_twin(RandCTBeamHardening)
RandCTBeamHardeningD = RandCTBeamHardeningDict = RandCTBeamHardeningd
