"""Metal artefact reduction in CT."""

from __future__ import annotations

from collections.abc import Callable

import torch

from monai_medaug.core.arguments import choice, flag, number
from monai_medaug.core.contract import Call, Input, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import Operation
from monai_medaug.core.tensors import say_once
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.metal_mask import MetalPieces, find_metal
from monai_medaug.functional.ct.metal_reduction import METHODS, without_metal
from monai_medaug.functional.ct.slices import SLICES_AT_ONCE, SliceStack, change_slices, slice_axis
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.functional.hounsfield import FLOOR_HU
from monai_medaug.transforms.ct.acquisition import say_if_continued
from monai_medaug.transforms.ct.units import CTImage

_ELEMENT_MM, _ELEMENT = 0.4, 0.7  # at least; of a pixel: finer than it, to see the fine part of streaks


class CTMetalArtifactReduction(CTImage, Operation):
    """Reduce the streaks and dark bands of metal, by interpolation of the rays that passed it.

    Each slice is reprojected. In each view the rays through the metal and its rim are interpolated along the detector,
    and the difference this makes is reconstructed and added. So an image without metal comes back unchanged, bit for
    bit, and so do slices without metal, the metal itself and padding.

    - ``"li"``: linear interpolation: a reference. It blurs edges near the metal, makes new streaks between dense
      structures, and beside lung can be worse than nothing where the metal is mild.
    - ``"nmar"``: the line integrals are divided by those of a prior before, and multiplied after. The prior is the
      image of LI, or the given one where the artefact is mild, classified into air, lung, soft tissue and bone.

    Of the change to a mild artefact, either makes the share that brings the soft tissue and lung around nearest to
    flat.

    The streaks of a fan-beam image are those of its rays, each of which is a ray of some parallel view: the geometry of
    the scanner need not be known. For measured rays, see `functional.ct.metal_reduction.sinogram_without_metal`, and
    `functional.ct.fan` for those of a fan.

    Args:
        threshold_hu: metal begins here, in pieces that reach 1.5 times this, see `find_metal`. Contrast agent, enamel
            and bone below 3000 HU stay, and contrast agent beyond, by its gentle edge. In an image clipped at 3071 HU
            what else reaches the limit counts as metal.
        method: ``"nmar"`` or ``"li"``.
        frequency_split: keep fine details of the given image near the metal (Meyer 2012), with part of the streaks.
        body_mm: diameter of the water-equivalent body assumed round a crop, whose border is tissue; an adult's trunk
            has about 280, a head 200. Where the border is air it has no effect.

    In the dictionary version ``metal_mask_key`` names a mask of the metal, which then is not searched; an empty one
    leaves the image unchanged.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Source: W. A. Kalender et al., Radiology 1987 (LI); E. Meyer et al., Med. Phys. 2010 (NMAR) and 2012 (split).

    Example:
        >>> from monai_medaug.transforms import RandCTMetal
        >>> image = torch.full((1, 96, 96), -1000.0)
        >>> image[:, 16:80, 12:84] = 40.0
        >>> streaky = RandCTMetal("steel", radius_mm=4, rods=1, prob=1.0, body_mm=100).set_random_state(0)(image)
        >>> better = CTMetalArtifactReduction()(streaky)
        >>> outside = (image > 0) & (streaky < 2000)
        >>> bool((better - image)[outside].square().mean() < 0.25 * (streaky - image)[outside].square().mean())
        True
    """

    phrases = {
        "method": "by {}",
        "metal_pieces": "{} pieces of metal",
        "rays_interpolated": "{:.1%} of the rays interpolated",
        "correction_weight": "a weight of {:.2f}",
    }
    headline = ("method",)
    command = "mar"
    example_arguments = {"body_mm": 40}
    reconstructions = 3
    inputs = {
        "metal_mask": Input("a mask of the metal, of the image's shape or of one channel, instead of a search.", "mask")
    }
    gallery = GalleryEntry(
        ({"method": "li"}, {"frequency_split": True}, {"method": "nmar"}),
        "The original is the slice with metal inserted by the first call.",
        ("RandCTMetal", {"material": "steel", "implant": "rods", "rods": 2}),
    )
    memory = 16
    differentiable = False
    dtypes = (
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.int16,
        torch.uint16,
    )  # 8 bit hold no metal

    def __init__(
        self,
        threshold_hu: float = 2000,
        method: str = "nmar",
        frequency_split: bool = False,
        body_mm: float = BODY_MM,
    ) -> None:
        super().__init__()
        self.threshold_hu = number("threshold_hu", threshold_hu, 500, 30000)
        self.method = choice("method", method, METHODS)
        self.frequency_split = flag("frequency_split", frequency_split)
        self.body_mm = number("body_mm", body_mm, 1, 1000)

    def settings(self) -> Params:
        own: Params = {"method": self.method, "threshold_hu": self.threshold_hu, "body_mm": self.body_mm}
        return {**own, "frequency_split": True} if self.frequency_split else own

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        masks, edges, notes = _metal_of(image, call)
        if not any(note["metal_voxels"] for note in notes):
            call.note(notes)
            return image
        found: dict[int, list[tuple[float, float]]] = {}

        def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
            say_if_continued(stack)
            metal = stack.slices_of(masks)
            blurred = None if edges is None else stack.slices_of(edges)
            touched = metal.flatten(1).any(1).tolist()
            beam = stack.beam_of(max(_ELEMENT_MM, _ELEMENT * min(stack.spacing)))
            each = stack.whole[1] * stack.whole[2]

            def part(some: slice) -> torch.Tensor:
                out = torch.zeros_like(stack.slices[some])
                rows = [i + some.start for i, is_metal in enumerate(touched[some]) if is_metal]
                if not rows:
                    return out
                index = sent(rows, image.device)
                few = stack.slices.index_select(0, index)
                body = stack.body_of(few) if stack.body_mm else None
                own = call.settings
                result = without_metal(
                    few,
                    metal.index_select(0, index),
                    beam,
                    own["method"],
                    own.get("frequency_split", False),
                    body,
                    None if blurred is None else blurred.index_select(0, index),
                )
                new = torch.maximum(result.slices, few.clamp_max(FLOOR_HU))
                figures = zip(result.rays.tolist(), result.weight.tolist(), strict=True)
                for row, pair in zip(rows, figures, strict=True):
                    found.setdefault(stack.members[row // each], []).append(pair)
                return out.index_copy_(0, index - some.start, new - few)

            return part

        changed = change_slices(image, call.grids, change, SLICES_AT_ONCE, call.settings["body_mm"])
        for member, pairs in found.items():
            rays, weight = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
            notes[member] |= {"rays_interpolated": round(rays, 4), "correction_weight": round(weight, 3)}
        call.note(notes)
        return changed

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A water disc in air with a metal rod, through two slices of a volume, and a dark band, (1, *spatial)."""
        image = super().example(spatial_dims)
        image[0, 8:15, 6:14] -= 150.0
        image[(0, slice(10, 13), slice(8, 11), slice(8, 10))[: spatial_dims + 1]] = 9000.0
        return image


CTMetalArtifactReductiond = dictionary_twin(CTMetalArtifactReduction)
CTMetalArtifactReductionD = CTMetalArtifactReductionDict = CTMetalArtifactReductiond


def _metal_of(image: torch.Tensor, call: Call) -> tuple[torch.Tensor, torch.Tensor | None, list[Params]]:
    """The metal in each channel, bool of the image's shape, its edges if searched, and figures for records."""
    if "metal_mask" in call.inputs:
        masks = call.inputs["metal_mask"].expand(image.shape)
        counts = masks.flatten(1).sum(1).tolist()
        return masks, None, [{"metal_voxels": n, "metal_from": "mask"} for n in counts]
    given = image.detach().cpu()  # a GPU is awaited once
    masks, edges = torch.zeros((2, *given.shape), dtype=torch.bool)
    notes = []
    for sample, *both, grid in zip(given, masks, edges, call.grids, strict=True):
        axis = slice_axis(grid)
        stacks, found, rims = (x if axis is None else x.movedim(axis + 1, 1) for x in (sample, *both))
        pieces = [find_metal(channel, call.settings["threshold_hu"]) for channel in stacks]
        for own, rim, piece in zip(found, rims, pieces, strict=True):
            own.copy_(piece.voxels)
            rim.copy_(piece.edges)
        notes.append(_metal_notes(pieces))
    return sent(masks, image.device), sent(edges, image.device), notes


def _metal_notes(pieces: list[MetalPieces]) -> Params:
    """What was found in the channels of a sample."""
    note: Params = {"metal_voxels": sum(int(p.voxels.sum()) for p in pieces), "metal_from": "threshold"}
    gentle = sum(p.gentle for p in pieces)
    if gentle:
        note["gentle_edged"] = gentle
        say_once(
            "pieces of a CT reach the values of metal with the gentle edges of contrast agent and are left alone; "
            "give a metal mask if they are metal"
        )
    metal = [p for p in pieces if p.count]
    if not metal:
        return note
    note |= {"metal_pieces": sum(p.count for p in metal), "metal_seed_hu": min(p.seed_hu for p in metal)}
    if any(p.clipped for p in metal):
        note["clipped"] = True
        say_once(
            "the values of a CT are clipped: what reaches the limit with a steep edge counts as metal; "
            "give a metal mask if that is wrong"
        )
    return note
