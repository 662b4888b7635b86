"""Kinds of implants and where they lie: rods in bone, dental fillings, sternum wires, a pacemaker.

Each is a list of pieces, rods with ends in mm in the world and a radius; a pacemaker's can is a short, wide rod. The
world is RAS: x to the patient's right, y to the front, z to the head.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from monai_medaug.functional.ct.body import PatientMask, find_patient
from monai_medaug.functional.ct.implants import Anatomy, place_rod
from monai_medaug.functional.ct.slices import slice_axis
from monai_medaug.functional.ct.truncation import touches_border
from monai_medaug.functional.geometry.grid import VoxelGrid

IMPLANTS = ("rods", "dental", "clips", "wires", "pacemaker")
MATERIALS = {
    "rods": ("titanium", "steel", "cocr"),
    "dental": ("amalgam", "gold"),
    "clips": ("titanium", "steel"),
    "wires": ("steel",),
    "pacemaker": ("titanium",),
}
"""What each kind is made of."""
_ENAMEL_HU, _BONE_HU = 1800.0, 300.0
_TEETH_MM3 = 200.0
_SKULL_SHARE = 0.1  # of a section: a limb's bone is less
_TILT = math.tan(math.radians(25))  # of rods against the scanner's axis
_PARTS = {"rods": (1.0, 1.0), "dental": (0.5, 0.1), "clips": (0.3, 0.2)}  # radius and length as parts of a rod's
_METAL_SHARE = 0.1  # of the tissue in a slice: a hip's head is a fortieth of a thigh
_WIRE_MM, _LOOP_MM, _LOOPS_APART_MM = 0.4, (16.0, 8.0), 30.0
_CAN_MM, _CAN_THICK_MM, _LEAD_MM = 21.0, 7.0, 0.8
_SKIN_MM = 8.0


@dataclass(frozen=True)
class Piece:
    """A rod from one end to the other in mm in the world."""

    ends: list[float]
    radius: float


def choose_implant(image: torch.Tensor, grid: VoxelGrid, pick: float) -> str:
    """The kind that fits an image (C, *spatial).

    Fillings where there are teeth, clips in another head, wires, a pacemaker or rods in a chest, else rods.

    Args:
        image: in HU; only the first channel counts.
        grid: of the image.
        pick: in [0, 1), chooses among the kinds.
    """
    volume, patient = _sections(image, grid)
    if patient.has_lung and patient.is_wide:
        return "wires" if pick < 0.4 else "pacemaker" if pick < 0.7 else "rods"
    bone = ((volume > _BONE_HU) & patient.voxels).sum() / patient.voxels.sum().clamp_min(1)
    if patient.is_trunk or touches_border(volume[None])[0] or float(bone) < _SKULL_SHARE:
        return "rods"
    teeth = (_with_teeth_alone(image, grid) > _ENAMEL_HU).sum() * math.prod(grid.spacing)
    return "dental" if float(teeth) > _TEETH_MM3 else "clips"


def implant_pieces(
    kind: str,
    image: torch.Tensor,
    grid: VoxelGrid,
    share: list[float],
    lengths: list[float],
    radii: list[float],
    seed: int,
) -> list[Piece]:
    """The pieces of an implant of one of the `IMPLANTS`, none if the image has no place for it.

    Rods, fillings and clips are thinner than asked for where they would take more than a tenth of the tissue in sight.

    Args:
        kind: of the implant.
        image: (C, *spatial) in HU.
        grid: of the image.
        share: where in the bone each rod lies, see `Anatomy.place`.
        lengths: of each rod in mm.
        radii: of each rod in mm; 0 for none.
        seed: of the rods' directions.
    """
    if kind in ("wires", "pacemaker"):
        volume, patient = _sections(image, grid)
        chest = _Chest(volume, patient, grid)
        return chest.wires() if kind == "wires" else chest.pacemaker(share[0])
    thick, long = _PARTS[kind]
    if kind == "dental":
        image = _with_teeth_alone(image, grid)
    dense = kind == "dental" and bool((image[0] > _ENAMEL_HU).any())
    anatomy = Anatomy(image, grid, _ENAMEL_HU if dense else _BONE_HU)
    tilt = _TILT if kind == "rods" else None
    rods = zip(share, lengths, radii, strict=True)
    found = [(place_rod(anatomy, s, n * long, seed + k, tilt), r * thick) for k, (s, n, r) in enumerate(rods)]
    widest = math.sqrt(_METAL_SHARE * anatomy.section_mm2 / math.pi / max(1, sum(r > 0 for r in radii)))
    return [Piece(ends, min(radius, widest)) for ends, radius in found if ends and radius > 0]


def _with_teeth_alone(image: torch.Tensor, grid: VoxelGrid) -> torch.Tensor:
    """The image (1, *spatial) without dense bone behind the middle of its tissue, such as the petrous bone."""
    volume = image[:1].detach().reshape(1, *grid.size)
    lines = [torch.arange(n, device=image.device) * grid.matrix[1, a] for a, n in enumerate(grid.size)]
    front = lines[0][:, None, None] + lines[1][:, None] + lines[2]
    tissue = front[volume[0] > _BONE_HU]
    middle = tissue.median() if len(tissue) else 0.0
    return torch.where(front > middle, volume, volume.clamp_max(1000.0)).reshape(1, *grid.shape)


def _sections(image: torch.Tensor, grid: VoxelGrid) -> tuple[torch.Tensor, PatientMask]:
    """The image's first channel as slices (S, rows, columns), and the patient in it."""
    axis = slice_axis(grid)
    axis = 0 if axis is None else axis
    volume = image[0].detach().reshape(grid.size).movedim(axis, 0)
    rows, columns = (s for a, s in enumerate(grid.embedded_spacing) if a != axis)
    return volume, find_patient(volume, (rows, columns))


class _Chest:
    """Landmarks of a chest: its midline, and the front wall at any place."""

    def __init__(self, volume: torch.Tensor, patient: PatientMask, grid: VoxelGrid) -> None:
        axis = slice_axis(grid)
        self._order = [0 if axis is None else axis, *(a for a in range(3) if a != (0 if axis is None else axis))]
        self._matrix = grid.matrix
        step = [max(1, round(2.0 / grid.embedded_spacing[a])) for a in self._order]
        thin = tuple(slice(None, None, n) for n in step)
        bone, inside = (volume > _BONE_HU)[thin], patient.voxels[thin]
        self._bone, self._inside = (self._world(x.cpu().numpy(), step) for x in (bone & inside, inside))
        self.middle = float(np.median(self._inside[:, 0])) if len(self._inside) else 0.0
        span = self._inside[:, 2] if len(self._inside) else np.zeros(1)
        self.low, self.high = float(span.min()), float(span.max())

    def _world(self, mask: np.ndarray, step: list[int]) -> np.ndarray:
        index = np.zeros((int(mask.sum()), 3))
        index[:, self._order] = np.argwhere(mask) * np.array(step)
        return index @ self._matrix[:3, :3].T + self._matrix[:3, 3]

    def _front(self, points: np.ndarray, x: float, z: float, wide: float, high: float) -> np.ndarray | None:
        """The points within 15 mm of the front-most of those near x and z."""
        near = points[(np.abs(points[:, 0] - x) < wide) & (np.abs(points[:, 2] - z) <= high)]
        return near[near[:, 1] > near[:, 1].max() - 15] if len(near) else None

    def wires(self) -> list[Piece]:
        """Loops round the sternum, one every 30 mm, each with its twisted ends in front."""
        pieces = []
        count = max(1, int((self.high - self.low) / _LOOPS_APART_MM))
        for k in range(count):
            z = self.low + (k + 0.5) / count * (self.high - self.low)
            bone = self._front(self._bone, self.middle, z, 25, 3)
            skin = self._front(self._inside, self.middle, z, 25, 3)
            if bone is None or skin is None or skin[:, 1].max() - bone[:, 1].max() > 40:
                continue  # no sternum there
            x, y = np.median(bone[:, 0]), (bone[:, 1].max() + bone[:, 1].min()) / 2
            turn = np.linspace(0, 2 * np.pi, 15)
            ring = np.stack(
                [x + _LOOP_MM[0] * np.cos(turn), y + _LOOP_MM[1] * np.sin(turn), z + 2 * np.cos(turn + k)], 1
            )
            pieces += [Piece([*map(float, a), *map(float, b)], _WIRE_MM) for a, b in itertools.pairwise(ring)]
            knot = [float(x), float(y + _LOOP_MM[1]), float(z)]
            pieces.append(Piece([*knot, knot[0] + 5, knot[1] + 1, knot[2] + 3], 2 * _WIRE_MM))
        return pieces

    def pacemaker(self, share: float) -> list[Piece]:
        """A can under the skin of the left chest, in the upper half, with a lead to the heart."""
        x, z = self.middle - 65.0, self.low + (0.55 + 0.35 * share) * (self.high - self.low)
        skin = self._front(self._inside, x, z, 15, 5)
        if skin is None:
            return []
        normal = np.array([-0.3, 1.0, 0.0]) / math.hypot(0.3, 1.0)
        centre = np.array([x, np.median(skin[:, 1]) - _SKIN_MM - _CAN_THICK_MM / 2, z])
        half = normal * _CAN_THICK_MM / 2
        can = Piece([*map(float, centre - half), *map(float, centre + half)], _CAN_MM)
        depth = self._inside[:, 1].mean()
        course = np.array(
            [
                centre + np.array([_CAN_MM, 0.0, 8.0]),
                [self.middle - 40, centre[1] - 25, z + 25],
                [self.middle + 15, depth + 20, z + 15],
                [self.middle + 25, depth + 15, z - 40],
                [self.middle - 10, depth + 35, z - 90],
                [self.middle - 45, depth + 50, z - 105],
            ]
        )
        lead = [Piece([*map(float, a), *map(float, b)], _LEAD_MM) for a, b in itertools.pairwise(course)]
        return [can, *lead]
