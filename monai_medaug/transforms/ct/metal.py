"""Metal implants in CT with their streaks, to train and test metal artefact reduction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import affine_of, plain_tensor, with_meta
from monai_medaug.core.trace import is_ours
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.implant_kinds import IMPLANTS, MATERIALS, choose_implant, implant_pieces
from monai_medaug.functional.ct.implants import rod_share
from monai_medaug.functional.ct.metal import APERTURE, metal_artefact
from monai_medaug.functional.ct.slices import SliceStack, slice_axis
from monai_medaug.functional.ct.spectrum import METALS
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.hounsfield import FLOOR_HU
from monai_medaug.transforms.ct.acquisition import WINDOW, change_of_bodies
from monai_medaug.transforms.ct.units import CTImage


class RandCTMetal(CTImage, RandomOperation):
    """Metal implants with streaks, dark bands and photon starvation.

    - ``"rods"``: one or two in bone above 300 HU and the marrow within, thick bone more often, like screws, nails and
      hip stems. What has no cortical bone (600 HU) within 4 mm is contrast agent. They lie mostly through the slices,
      of several directions along most bone, and end with the bone, or where air or lung begins. Without bone, as in
      many crops, they lie in soft tissue.
    - ``"dental"``: one or two fillings of half a rod's radius and a tenth of its length, in enamel (above 1800 HU, in
      front) if there is any, otherwise in bone.
    - ``"clips"``: one or two of 0.3 of a rod's radius and a fifth of its length in bone, like the screws of a plate.
    - ``"wires"``: steel loops of 0.8 mm round the sternum, 32 by 16 mm, one every 30 mm.
    - ``"pacemaker"``: a can of 42 by 7 mm under the skin of the left front of the chest, with a lead to the heart.

    Rods, fillings and clips take at most a tenth of the tissue in a slice: in a small crop they are thinner than drawn
    (the record's ``radii_mm``). Where there is no place for it, nothing changes. All keys share the place, found in the
    first.

    Every ray passes tissue, bone and metal at five energies of a 120 kV spectrum. Few of N0 photons remain behind
    metal, plus a floor of scattered ones; both get Poisson noise, and the water-corrected result is reconstructed,
    from -1024 to 3071 HU. Slices without metal stay unchanged. The input serves as the clean image, `inserted_metal`
    returns the mask.

    Args:
        material: ``"titanium"``, ``"steel"``, ``"cocr"`` (cobalt-chromium), ``"amalgam"`` or ``"gold"``; None draws
            one that suits the implant.
        radius_mm: range of each rod's radius in mm; screws, nails and stems are 5 to 8 thick, a hip's head up to 32.
        rods: 1 or 2, with a dark band between two; None draws the number.
        photons: N0 per ray, 1e5 to 1e7.
        scatter: scattered photons that the scanner's correction leaves, as a share of N0; 1e-4 without correction.
        prob: probability of applying it.
        length_mm: range of each rod's length in mm.
        implant: one of the above; None takes fillings where there are teeth, clips in other heads, wires, a pacemaker
            or rods in a chest, and rods elsewhere and in crops.
        body_mm: diameter of the water-equivalent body assumed round a crop, whose border is tissue; an adult's trunk
            has about 280, a head 200. Where the border is air it has no effect.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Source: B. De Man et al., Metal streak artifacts in X-ray computed tomography: a simulation study, IEEE Trans. Nucl.
    Sci. 1999; Y. Zhang & H. Yu, IEEE Trans. Med. Imaging 2018 (training data from such simulations).

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 64, 64)
        >>> out = RandCTMetal("steel", radius_mm=5, prob=1.0).set_random_state(0)(image)
        >>> float(out.max()), bool(out.min() < -50)
        (3071.0, True)
    """

    phrases = {"implant": "{}", "material": "of {}", "radius_mm": "radii {:.1f} and {:.1f} mm"}
    headline = ("implant", "material")
    common_pattern = True
    plans_by_image = True
    memory = 14
    identity = {"radius_mm": [0.0, 0.0], "size": 0.0}

    def __init__(
        self,
        material: str | None = None,
        radius_mm: float | Sequence[float] = (2.5, 4),
        rods: int | None = None,
        photons: float = 1e6,
        scatter: float = 2e-5,
        prob: float = 0.2,
        length_mm: float | Sequence[float] = (30, 60),
        implant: str | None = None,
        body_mm: float = BODY_MM,
    ) -> None:
        super().__init__(prob)
        self.material = choice("material", material, (*METALS, None))
        self.rods = choice("rods", rods, (1, 2, None))
        self.radius_mm = span("radius_mm", radius_mm, 0)
        self.length_mm = span("length_mm", length_mm, 0)
        self.photons = number("photons", photons, 1)
        self.scatter = number("scatter", scatter, 0, 1)
        self.implant = choice("implant", implant, (*IMPLANTS, None))
        self.body_mm = number("body_mm", body_mm, 1, 1000)

    def draw(self) -> Params:
        rods = self.rods or int(self.R.randint(1, 3))
        radii = [self.R.uniform(*self.radius_mm) for _ in range(2)]
        return {
            "material": self.material or "by implant",
            "radius_mm": [radii[0], radii[1] if rods == 2 else 0.0],
            "length_mm": [self.R.uniform(*self.length_mm) for _ in range(2)],
            "share": [self.R.uniform(0, 1) for _ in range(2)],
            "seed": int(self.R.randint(2**31 - 1)),
            "implant": self.implant or "by anatomy",
            "picks": [self.R.uniform(0, 1) for _ in range(2)],
            "size": 1.0,
        }

    def settings(self) -> Params:
        scan = {"photons": self.photons, "scatter": self.scatter, "tissue": "mixture", "floor_hu": FLOOR_HU}
        return {**scan, "aperture": list(APERTURE), "body_mm": self.body_mm}

    @classmethod
    def plan(cls, call: Call) -> dict[int, Params]:
        """The implant's pieces, by sample; nothing for old records, which hold their places."""
        first = call.keys[0]
        if call.known is not None:
            return dict(zip(first.samples, call.known, strict=True))
        images = first.image[:, :1].detach().cpu()  # a GPU is awaited once
        found = {}
        for i, sample in enumerate(first.samples):
            drawn = call.draws[i]
            found[sample] = {} if "place" in drawn else _placed(images[i], first.grids[i], drawn)
        return found

    @classmethod
    def figures(cls, plan: dict[int, Params]) -> list[Params]:
        return list(plan.values())

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return _with_metal(image, [call.plan[sample] for sample in call.samples], call)


RandCTMetald = dictionary_twin(RandCTMetal)
RandCTMetalD = RandCTMetalDict = RandCTMetald


def _with_metal(image: torch.Tensor, found: list[Params], call: Call) -> torch.Tensor:
    """Samples with their implants."""
    seeds, settings = call.seeds(), call.settings
    old = {"tissue": "ramp", "floor": -math.inf, "aperture": (1.0,)}  # of records that lack them
    model = {
        "tissue": settings.get("tissue", old["tissue"]),
        "floor": settings.get("floor_hu", old["floor"]),
        "aperture": tuple(settings.get("aperture", old["aperture"])),
    }
    materials: list[Any] = [f.get("material", p["material"]) for f, p in zip(found, call.draws, strict=True)]

    def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        beam, device = stack.beam, stack.slices.device
        metal = torch.cat([_metal_slices(call.draws[i], found[i], call.grids[i], stack) for i in stack.members])
        white = stack.noise((beam.views, beam.width), seeds)
        photons, scatter = (stack.slices.new_full((), settings[n]) for n in ("photons", "scatter"))
        touched = metal.flatten(1).any(1).tolist()
        attenuation: Sequence[float | torch.Tensor] = METALS[materials[stack.members[0]]]
        if len({materials[i] for i in stack.members}) > 1:
            attenuation = [stack.spread(of_energy) for of_energy in zip(*(METALS[m] for m in materials), strict=True)]

        def part(some: slice) -> torch.Tensor:
            out = torch.zeros_like(stack.slices[some])
            rows = [i + some.start for i, is_metal in enumerate(touched[some]) if is_metal]
            if rows:
                index = sent(rows, device)
                few, noise = stack.slices.index_select(0, index), white.index_select(0, index)
                own = [mu.index_select(0, index) if torch.is_tensor(mu) else mu for mu in attenuation]
                given = (metal[rows], noise, [own], photons, scatter, beam, WINDOW)
                new = metal_artefact(few, *given, body=stack.body_of(few), **model)
                out.index_copy_(0, index - some.start, new - few)
            return out

        return part

    return change_of_bodies(image, call, change, at_once=16)


def _metal_slices(drawn: Params, found: Params, grid: VoxelGrid, stack: SliceStack) -> torch.Tensor:
    """The share of metal in a sample's slices as the scanner sees them, (C * S, 1, rows, columns), on the CPU."""
    share = metal_share(drawn, found, stack.body_grid(grid), torch.device("cpu"))[0, 0]
    slices = share[None] if stack.axis is None else torch.movedim(share, stack.axis, 0)
    return slices.repeat(stack.whole[1], 1, 1)[:, None]


def _placed(image: torch.Tensor, grid: VoxelGrid, drawn: Params) -> Params:
    """The kind of a sample's implant, its material and its pieces in mm in the world."""
    first, second = drawn["picks"]
    rods = (drawn["share"], drawn["length_mm"], drawn["radius_mm"], drawn["seed"])
    given = drawn["implant"] in IMPLANTS
    kind = drawn["implant"] if given else choose_implant(image, grid, first)
    pieces = implant_pieces(kind, image, grid, *rods)
    if not (pieces or given):  # no sternum in sight, say
        kind, pieces = "rods", implant_pieces("rods", image, grid, *rods)
    suited = MATERIALS[kind]
    material = drawn["material"] if drawn["material"] in METALS else suited[int(second * len(suited))]
    size = drawn["size"] if kind in ("wires", "pacemaker") else 1.0  # of rods the radius itself is drawn
    return {
        "implant": kind,
        "material": material,
        "ends_mm": [piece.ends for piece in pieces],
        "radii_mm": [piece.radius * size for piece in pieces],
    }


def metal_share(params: Params, figures: Params, grid: VoxelGrid, device: torch.device) -> torch.Tensor:
    """The share of metal in each voxel, (1, 1, *shape), from a record."""
    if "place" in params:
        return rods_of(params, grid, device)
    if "radii_mm" in figures:
        return rod_share(figures["ends_mm"], figures["radii_mm"], grid, device)
    return rod_share(figures["ends_mm"], params["radius_mm"], grid, device, thin=False)


def rods_of(params: Params, grid: VoxelGrid, device: torch.device) -> torch.Tensor:
    """The share of metal in each voxel for old records: rods across the slices at a share of the field of view."""
    axis = slice_axis(grid)
    plane = [a for a in range(len(grid.shape)) if a != axis]
    positions = []
    for a in plane:
        n, spacing = grid.shape[a], grid.spacing[a]
        line = (torch.arange(n, device=device, dtype=torch.float32) - (n - 1) / 2) * spacing
        positions.append(line.reshape([-1 if b == a else 1 for b in range(len(grid.shape))]))
    extents = [grid.shape[a] * grid.spacing[a] for a in plane]
    pixel = max(grid.spacing[a] for a in plane)
    share = torch.zeros(grid.shape, device=device)
    for rod, radius in enumerate(params["radius_mm"]):
        centre = [params["place"][2 * rod + k] * extents[k] for k in range(2)]
        distance = torch.sqrt((positions[0] - centre[0]) ** 2 + (positions[1] - centre[1]) ** 2)
        disc = ((radius - distance) / pixel + 0.5).clamp(0, 1) if radius > 0 else torch.zeros_like(distance)
        share = torch.maximum(share, disc.expand(grid.shape))
    if axis is not None:
        n = grid.shape[axis]
        first, last = (round(d * (n - 1)) for d in params["depth"])
        index = torch.arange(n, device=device).reshape([-1 if b == axis else 1 for b in range(len(grid.shape))])
        share = share * ((index >= first) & (index <= last))
    return share[None, None]


def inserted_metal(image: MetaTensor) -> MetaTensor:
    """Mask of the metal that `RandCTMetal` inserted, from the image's trace: 1 inside the implant, else 0.

    A voxel counts from a share of half on; of wires and leads, which are thinner than a voxel, from a fifth on.

    Args:
        image: its result, a MetaTensor (C, *spatial), before another step moves the voxels.

    Raises:
        ValueError: the image lacks its record.

    Example:
        >>> insert = RandCTMetal("steel", radius_mm=5, rods=1, prob=1.0).set_random_state(0)
        >>> out = insert(MetaTensor(torch.zeros(1, 64, 64)))
        >>> bool(inserted_metal(out).sum() > 70)  # a disc of 78.5 mm² across, longer if oblique
        True
    """
    trace = image.applied_operations if isinstance(image, MetaTensor) else []
    for record in reversed(trace):
        if is_ours(record) and record["class"] in ("RandCTMetal", "RandCTMetald"):
            tensor = plain_tensor(image, "image")
            mask = torch.zeros((1, *tensor.shape[1:]), dtype=torch.uint8, device=tensor.device)
            if record["do_transforms"]:
                grid = VoxelGrid(tuple(tensor.shape[1:]), affine_of(image))
                info = record["extra_info"]
                figures = info.get("figures", {})
                share = metal_share(info["params"], figures, grid, tensor.device)
                least = 0.2 if figures.get("implant") in ("wires", "pacemaker") else 0.5
                mask = (share[0] > least).to(torch.uint8)
            return with_meta(mask, image)
    raise ValueError("image must be a MetaTensor with a record of RandCTMetal")
