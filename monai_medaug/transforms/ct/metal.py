"""Metal implants in CT with their streaks, to train and test metal artefact reduction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import affine_of, plain_tensor, with_meta
from monai_medaug.core.trace import is_ours
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.acquisition import FLOOR_HU, metal_artefact
from monai_medaug.functional.ct.implants import Anatomy, bone_and_tissue, place_rod, rod_share
from monai_medaug.functional.ct.slices import SliceStack, change_slices, slice_axis, slice_stacks
from monai_medaug.functional.ct.spectrum import METALS
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.hounsfield import PADDING_HU
from monai_medaug.transforms.ct.units import CTImage

_WINDOW = "cosine"


class RandCTMetal(CTImage, RandomOperation):
    """One or two metal implants in bone, with streaks, dark bands and photon starvation.

    Each is a rod in any direction, centred in bone above 300 HU and the marrow within, thick bone more often: in hips,
    teeth, vertebrae. Of several directions it takes the one along most bone, and it ends with the bone, or where air or
    lung begins. Without bone, as in many crops, it lies in soft tissue; without tissue nothing changes. All keys share
    the place, found in the first.

    Every ray passes tissue, bone and metal at five energies of a 120 kV spectrum. Few of N0 photons remain behind
    metal, plus a floor of scattered ones; both get Poisson noise, and the water-corrected result is reconstructed,
    from -1024 to 3071 HU. Slices without metal stay unchanged. The input serves as the clean image, `inserted_metal`
    returns the mask.

    Args:
        material: ``"titanium"``, ``"steel"``, ``"cocr"`` (cobalt-chromium), ``"amalgam"`` or ``"gold"``; None draws
            one.
        radius_mm: range of each rod's radius in mm; screws have 2 to 4, nails 5 to 6, hip stems and heads up to 16.
        length_mm: range of each rod's length in mm.
        rods: 1 or 2, with a dark band between two; None draws the number.
        photons: N0 per ray, 1e5 to 1e7.
        scatter: scattered photons that the scanner's correction leaves, as a share of N0; 1e-4 without correction.
        prob: probability of applying it.

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

    phrases = {"material": "rods of {}", "radius_mm": "radii {:.1f} and {:.1f} mm"}
    headline = ("material",)
    common_pattern = True
    plans_by_image = True
    memory = 14
    identity = {"radius_mm": [0.0, 0.0]}

    def __init__(
        self,
        material: str | None = None,
        radius_mm: float | Sequence[float] = (3, 10),
        rods: int | None = None,
        photons: float = 1e6,
        scatter: float = 1e-5,
        prob: float = 0.2,
        length_mm: float | Sequence[float] = (20, 120),
    ) -> None:
        super().__init__(prob)
        self.material = choice("material", material, (*METALS, None))
        self.rods = choice("rods", rods, (1, 2, None))
        self.radius_mm = span("radius_mm", radius_mm, 0)
        self.length_mm = span("length_mm", length_mm, 0)
        self.photons = number("photons", photons, 1)
        self.scatter = number("scatter", scatter, 0, 1)

    def draw(self) -> Params:
        rods = self.rods or int(self.R.randint(1, 3))
        radii = [self.R.uniform(*self.radius_mm) for _ in range(2)]
        return {
            "material": self.material or sorted(METALS)[self.R.randint(len(METALS))],
            "radius_mm": [radii[0], radii[1] if rods == 2 else 0.0],
            "length_mm": [self.R.uniform(*self.length_mm) for _ in range(2)],
            "share": [self.R.uniform(0, 1) for _ in range(2)],
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        return {"photons": self.photons, "scatter": self.scatter, "tissue": "mixture", "floor_hu": FLOOR_HU}

    @classmethod
    def plan(cls, call: Call) -> dict[int, Params]:
        """The ends of the rods, by sample; nothing for old records, which hold their places."""
        first = call.keys[0]
        if call.known is not None:
            return dict(zip(first.samples, call.known, strict=True))
        found: dict[int, Params] = {sample: {} for sample in first.samples}
        new = [i for i, draw in enumerate(call.draws) if "place" not in draw]
        cells = bone_and_tissue([first.image[i] for i in new], [first.grids[i] for i in new])
        for i, own in zip(new, cells, strict=True):
            found[first.samples[i]] = _placed(own, first.grids[i], call.draws[i])
        return found

    @classmethod
    def figures(cls, plan: dict[int, Params]) -> list[Params]:
        return list(plan.values())

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        found = [call.plan[sample] for sample in call.samples]
        each = zip(call.draws, found, call.grids, strict=True)
        metal = torch.cat([metal_share(p, f, g, image.device) for p, f, g in each])
        metal = metal.to(image.dtype).expand_as(image)
        return torch.where(image > PADDING_HU, _with_metal(image, metal, call), image)


RandCTMetald = dictionary_twin(RandCTMetal)
RandCTMetalD = RandCTMetalDict = RandCTMetald


def _with_metal(image: torch.Tensor, metal: torch.Tensor, call: Call) -> torch.Tensor:
    """Samples with their rods."""
    attenuation = list(zip(*(METALS[name] for name in call.drawn("material")), strict=True))
    masks = {tuple(s.members): s.slices for s in slice_stacks(metal, call.grids)}
    seeds = call.seeds()

    def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        beam = stack.beam
        mask = masks[tuple(stack.members)]
        white = stack.noise((beam.views, beam.width), seeds)
        figures = [call.settings[n] for n in ("photons", "scatter")]
        photons, scatter = sent(figures, stack.slices.device, stack.slices.dtype)
        each = [stack.spread(of_energy) for of_energy in attenuation]
        touched = mask.flatten(1).any(1).tolist()
        tissue, floor = call.settings.get("tissue", "ramp"), call.settings.get("floor_hu", -math.inf)

        def part(some: slice) -> torch.Tensor:
            hu = stack.slices[some]
            out = torch.zeros_like(hu)
            rows = [i for i, metal in enumerate(touched[some]) if metal]
            if rows:
                index = sent(rows, hu.device)
                clean, share, noise = (x[some].index_select(0, index) for x in (stack.slices, mask, white))
                own = [of_energy[some].index_select(0, index) for of_energy in each]
                given = (own, photons, scatter, beam, _WINDOW, tissue, floor)
                out.index_copy_(0, index, metal_artefact(clean, share, noise, *given) - clean)
            return out

        return part

    return change_slices(image, call.grids, change, at_once=16)


def _placed(cells: torch.Tensor, grid: VoxelGrid, drawn: Params) -> Params:
    """The ends of a sample's rods in mm in the world."""
    anatomy = Anatomy(cells, grid)
    rods = zip(drawn["share"], drawn["length_mm"], strict=True)
    return {"ends_mm": [place_rod(anatomy, s, n, drawn["seed"] + k) for k, (s, n) in enumerate(rods)]}


def metal_share(params: Params, figures: Params, grid: VoxelGrid, device: torch.device) -> torch.Tensor:
    """The share of metal in each voxel, (1, 1, *shape), from a record."""
    if "place" in params:
        return rods_of(params, grid, device)
    return rod_share(figures["ends_mm"], params["radius_mm"], grid, device)


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
    """Mask of the metal that `RandCTMetal` inserted, from the image's trace: 1 inside the rods, else 0.

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
                share = metal_share(info["params"], info.get("figures", {}), grid, tensor.device)
                mask = (share[0] > 0.5).to(torch.uint8)
            return with_meta(mask, image)
    raise ValueError("image must be a MetaTensor with a record of RandCTMetal")
