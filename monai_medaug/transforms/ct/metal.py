"""Metal rods in CT with their streaks, to train and test metal artefact reduction."""

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
from monai_medaug.functional.ct.acquisition import FLOOR_HU, metal_artefact
from monai_medaug.functional.ct.slices import SliceStack, change_slices, slice_axis, slice_stacks
from monai_medaug.functional.ct.spectrum import METALS
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.hounsfield import PADDING_HU
from monai_medaug.transforms.ct.units import CTImage

_REACH = 0.25  # greatest distance of a rod from the centre, as a share of the field of view
_WINDOW = "cosine"


class RandCTMetal(CTImage, RandomOperation):
    """One or two metal rods across the slices, with streaks, dark bands and photon starvation.

    Every ray passes tissue, bone and metal at five energies of a 120 kV spectrum. Few of N0 photons remain behind
    metal, plus a floor of scattered ones; both get Poisson noise, and the water-corrected result is reconstructed.
    Slices without metal stay unchanged. The input serves as the clean image, `inserted_metal` returns the mask.

    Args:
        material: ``"titanium"``, ``"steel"``, ``"cocr"`` (cobalt-chromium), ``"amalgam"`` or ``"gold"``; None draws
            one.
        radius_mm: range of each rod's radius in mm; screws have 2 to 4, nails 5 to 6, hip stems and heads up to 16.
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
    ) -> None:
        super().__init__(prob)
        self.material = choice("material", material, (*METALS, None))
        self.rods = choice("rods", rods, (1, 2, None))
        self.radius_mm = span("radius_mm", radius_mm, 0)
        self.photons = number("photons", photons, 1)
        self.scatter = number("scatter", scatter, 0, 1)

    def draw(self) -> Params:
        rods = self.rods or int(self.R.randint(1, 3))
        radii = [self.R.uniform(*self.radius_mm) for _ in range(2)]
        return {
            "material": self.material or sorted(METALS)[self.R.randint(len(METALS))],
            "radius_mm": [radii[0], radii[1] if rods == 2 else 0.0],
            "place": [float(v) for v in self.R.uniform(-_REACH, _REACH, size=4)],
            "depth": [float(v) for v in sorted(self.R.uniform(0, 1, size=2))],
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        return {"photons": self.photons, "scatter": self.scatter, "tissue": "mixture", "floor_hu": FLOOR_HU}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        metal = torch.cat([rods_of(p, g, image.device) for p, g in zip(call.draws, call.grids, strict=True)])
        metal = metal.to(image.dtype).expand_as(image)
        out = image.clone()
        materials = call.drawn("material")
        for name in set(materials):
            mine = [i for i, material in enumerate(materials) if material == name]
            out[mine] = _with_metal(image[mine], metal[mine], name, call.of(mine))
        return torch.where(image > PADDING_HU, out, image)


RandCTMetald = dictionary_twin(RandCTMetal)
RandCTMetalD = RandCTMetalDict = RandCTMetald


def _with_metal(image: torch.Tensor, metal: torch.Tensor, name: str, call: Call) -> torch.Tensor:
    """Samples with rods of one material."""
    masks = {tuple(s.members): s.slices for s in slice_stacks(metal, call.grids)}
    seeds = call.seeds()

    def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        beam = stack.beam
        mask = masks[tuple(stack.members)]
        white = stack.noise((beam.views, beam.width), seeds)
        photons, scatter = (stack.slices.new_tensor(call.settings[n]) for n in ("photons", "scatter"))
        tissue, floor = call.settings.get("tissue", "ramp"), call.settings.get("floor_hu", -math.inf)

        def part(some: slice) -> torch.Tensor:
            hu = stack.slices[some]
            given = (hu, mask[some], white[some], METALS[name], photons, scatter, beam, _WINDOW, tissue, floor)
            return metal_artefact(*given) - hu

        return part

    return change_slices(image, call.grids, change, at_once=16)


def rods_of(params: Params, grid: VoxelGrid, device: torch.device) -> torch.Tensor:
    """The share of metal in each voxel, (1, 1, *shape), from the draw and the grid alone."""
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
        >>> bool((inserted_metal(out).sum() - 78.5).abs() < 8)
        True
    """
    trace = image.applied_operations if isinstance(image, MetaTensor) else []
    for record in reversed(trace):
        if is_ours(record) and record["class"] in ("RandCTMetal", "RandCTMetald"):
            tensor = plain_tensor(image, "image")
            mask = torch.zeros((1, *tensor.shape[1:]), dtype=torch.uint8, device=tensor.device)
            if record["do_transforms"]:
                grid = VoxelGrid(tuple(tensor.shape[1:]), affine_of(image))
                mask = (rods_of(record["extra_info"]["params"], grid, tensor.device)[0] > 0.5).to(torch.uint8)
            return with_meta(mask, image)
    raise ValueError("image must be a MetaTensor with a record of RandCTMetal")
