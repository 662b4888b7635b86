"""Motion of the patient during a CT scan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.body import PatientMask, find_patient
from monai_medaug.functional.ct.motion import apparent_shift, breath, motion_artefact, view_times
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.slices import SliceStack, slice_axis
from monai_medaug.functional.ct.truncation import BODY_MM, touches_border
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.hounsfield import AIR_HU, FLOOR_HU
from monai_medaug.transforms.ct.acquisition import WINDOW, SinogramOperation

TRAJECTORIES = ("breathing", "step", "drift")
_BREATHES_MM = 230.0  # a crop of a body this wide is of a trunk
_MOVING_DEGREES = (10.0, 45.0)  # from full inspiration: there the wall has at least half its greatest speed


class RandCTMotion(SinogramOperation):
    """Motion of the patient in the slice plane during the scan; the table stays where it is.

    - Breathing is slow against a turn of the gantry: within a slice the body drifts, in each by another phase, so that
      the slices between breaths stay sharp and those in a breath get double contours: bands along the scanner's axis.
      A helical scan measures a view of the slice at z at the time ``t = turn_seconds * (z / feed_mm + a)``, with a
      within a quarter turn; the image's middle is passed within a breath. The body is stretched towards the front (the
      world's second axis): the back lies still, the front wall moves by ``shift_mm * (2 cos⁴(pi (t / breath_seconds +
      p)) - 1)``.
    - A jerk (``"step"``) at some view, or a drift, moves a head or limb as a whole, by a translation and a rotation.

    View theta of an object rotated by phi and translated by d is the sinogram at theta - phi, displaced by ``d · (cos
    theta, sin theta)``. The change of the sinogram is reconstructed and added, so that without motion every voxel
    keeps its value. Poses are relative to the one in the reconstruction, so that labels stay aligned: the stairs that
    breathing cuts into outlines along z are left out.

    Args:
        shift_mm: range of the greatest translation from the mean position, in mm; of the front wall in a breath, whose
            excursion is twice that, otherwise in a random direction.
        rotate_degrees: range of the greatest rotation from the mean pose; not in a breath.
        trajectory: ``"breathing"``, ``"step"`` or ``"drift"``; None takes breathing in a trunk (with lungs, or wider
            than 230 mm), in a head or a limb one of the others.
        prob: probability of applying it.
        body_mm: diameter of the water-equivalent body assumed round a crop, whose border is tissue; an adult's trunk
            has about 280, a head 200. Where the border is air it has no effect.
        breath_seconds: range of the duration of a breath.
        turn_seconds: range of the duration of a turn of the gantry.
        feed_mm: range of the way of the table in a turn, pitch times collimation: from 16 rows of 1.25 mm at pitch 1 to
            64 of 0.6 mm at 1.3.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Source: view-dependent poses as in motion simulation for CT, e.g. Y. Ko et al., Rigid and non-rigid motion artifact
    reduction in X-ray CT, Med. Image Anal. 2021; A. E. Lujan et al., Med. Phys. 1999 (breathing). A restless head moves
    by up to 3 mm and 2°.

    Example:
        >>> import torch
        >>> image = torch.full((1, 32, 32), -1000.0)
        >>> image[:, 8:24, 8:24] = 40.0
        >>> still = RandCTMotion(shift_mm=0, rotate_degrees=0, prob=1.0)(image)
        >>> bool((still - image).abs().max() < 1e-3)
        True
    """

    phrases = {"shift_mm": "motion of {:.1f} mm", "rotate_degrees": "rotated by {:.1f}°", "course": "{}"}
    headline = ("course", "shift_mm")
    memory = 8
    identity = {"shift_mm": 0.0, "rotate_degrees": 0.0}
    magnitudes = (Magnitude("ct_motion", {"shift_mm": Reach(0, 3), "rotate_degrees": Reach(0, 2)}, unit="mm"),)
    plans_by_image = True
    variants = ({}, {"trajectory": "breathing"})

    def __init__(
        self,
        shift_mm: float | Sequence[float] = (0, 3),
        rotate_degrees: float | Sequence[float] = (0, 2),
        trajectory: str | None = None,
        prob: float = 0.3,
        body_mm: float = BODY_MM,
        breath_seconds: float | Sequence[float] = (3, 5),
        turn_seconds: float | Sequence[float] = (0.3, 0.5),
        feed_mm: float | Sequence[float] = (20, 50),
    ) -> None:
        super().__init__(prob)
        self.body_mm = number("body_mm", body_mm, 1, 1000)
        self.shift_mm = span("shift_mm", shift_mm, 0)
        self.rotate_degrees = span("rotate_degrees", rotate_degrees, 0, 90)
        self.trajectory = choice("trajectory", trajectory, (*TRAJECTORIES, None))
        self.breath_seconds = span("breath_seconds", breath_seconds, 0.5)
        self.turn_seconds = span("turn_seconds", turn_seconds, 0.05)
        self.feed_mm = span("feed_mm", feed_mm, 0.1)

    def draw(self) -> Params:
        jerk = TRAJECTORIES[1 + self.R.randint(2)]
        return {
            "shift_mm": self.R.uniform(*self.shift_mm),
            "direction_degrees": self.R.uniform(0, 360),
            "rotate_degrees": self.R.uniform(*self.rotate_degrees) * (1 if self.R.random_sample() < 0.5 else -1),
            "trajectory": self.trajectory or jerk,
            "phase": self.R.uniform(0, 1),
            "breath_seconds": self.R.uniform(*self.breath_seconds),
            "turn_seconds": self.R.uniform(*self.turn_seconds),
            "feed_mm": self.R.uniform(*self.feed_mm),
        }

    def settings(self) -> Params:
        course = {"trunks_breathe": self.trajectory is None, "table": "still"}
        return {"body_mm": self.body_mm, **course, "floor_hu": FLOOR_HU, "beyond": "coarse"}

    @classmethod
    def plan(cls, call: Call) -> dict[int, Params]:
        """The course of the motion and the place of the body, by sample; nothing for old records."""
        first = call.keys[0]
        if call.known is not None:
            return dict(zip(first.samples, call.known, strict=True))
        if "table" not in call.settings:
            return {sample: {} for sample in first.samples}
        images = first.image[:, :1].detach().cpu()  # a GPU is awaited once
        return {
            sample: _course(images[i], first.grids[i], call.draws[i], call.settings)
            for i, sample in enumerate(first.samples)
        }

    @classmethod
    def figures(cls, plan: dict[int, Params]) -> list[Params]:
        return list(plan.values())

    @classmethod
    def change(cls, stack: SliceStack, call: Call) -> Callable[[slice], torch.Tensor]:
        beam, device = stack.beam, stack.slices.device
        coarse = "beyond" in call.settings  # not in old records
        smooth = all(call.plan[call.samples[i]].get("course") == "breathing" for i in stack.members)
        if smooth and (coarse or not stack.body_mm):
            beam = stack.smoothly_seen(beam)
        poses = []
        for i in stack.members:
            found = call.plan[call.samples[i]]
            if found.get("course") == "breathing":
                poses.append(_breathing(call.draws[i], found, call.grids[i], beam, stack.whole))
            else:
                poses.append(_jerking(call.draws[i], beam, stack.whole))
        breathes = any(bool(p[2].any()) for p in poses)
        shift, turn, stretch, along = (sent(torch.cat(part), device) for part in zip(*poses, strict=True))
        patient = _patients(stack) if "table" in call.settings else None

        def part(some: slice) -> torch.Tensor:
            moving = stack.slices[some]
            body = stack.body_of(moving if patient is None else torch.where(patient[some], moving, AIR_HU))
            breath = {"stretch": stretch[some], "along": along[some]} if breathes else {}
            return motion_artefact(body, shift[some], turn[some], beam, WINDOW, coarse=coarse, **breath)

        return part


RandCTMotiond = dictionary_twin(RandCTMotion)
RandCTMotionD = RandCTMotionDict = RandCTMotiond

_Poses = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Of the slices of a sample: shift (N, views, 2) in mm, turn (N, views) in degrees, stretch (N, views), its direction
(N, 2)."""


def _jerking(drawn: Params, beam: ParallelBeam, whole: tuple[int, ...]) -> _Poses:
    """Rigid poses, the same in all slices."""
    course = torch.from_numpy(pose_course(drawn, beam.views)).float()
    heading = math.radians(drawn["direction_degrees"])
    shift = course[:, None] * torch.tensor([math.cos(heading), math.sin(heading)]) * drawn["shift_mm"]
    shift = shift - apparent_shift(shift[None], beam)
    n = whole[1] * whole[2]
    turn = (course * drawn["rotate_degrees"]).expand(n, -1)
    return shift.expand(n, -1, -1), turn, torch.zeros(n, beam.views), torch.zeros(n, 2)


def _breathing(drawn: Params, found: Params, grid: VoxelGrid, beam: ParallelBeam, whole: tuple[int, ...]) -> _Poses:
    """Stretches from the back to the front, each slice at its own phase and from its own mean position."""
    across, rows, columns = _axes(grid)
    front, side = _front(grid)
    middle = grid.matrix[:3, :3] @ ((np.asarray(grid.size) - 1) / 2) + grid.matrix[:3, 3]
    place = middle[2] + (torch.arange(whole[2]) - (whole[2] - 1) / 2) * grid.matrix[2, across]
    unit = grid.matrix[:3, [columns, rows]] / np.array([grid.embedded_spacing[a] for a in (columns, rows)])
    normals = torch.from_numpy(np.stack([np.cos(beam.angles), np.sin(beam.angles)], 1) @ unit.T)  # in the world
    towards, beside = normals @ torch.from_numpy(front), normals @ torch.from_numpy(side)
    seconds = view_times(
        place - found["middle_mm"],
        torch.atan2(beside, towards),
        drawn["turn_seconds"],
        drawn["feed_mm"],
        drawn["direction_degrees"],
    )
    aside = 2 * drawn["phase"] - 1
    phase = math.copysign(_MOVING_DEGREES[0] + _MOVING_DEGREES[1] * abs(aside), aside) / 180
    stretch = breath(seconds, drawn["breath_seconds"], phase) * drawn["shift_mm"] / found["depth_mm"]
    weight = towards.square().float()
    stretch = stretch - (stretch * weight).sum(1, keepdim=True) / weight.sum()  # each slice at its mean position
    along = torch.from_numpy(unit.T @ front).float()
    shift = -stretch[..., None] * along * (found["back_mm"] - float(front @ middle))
    slices = whole[1] * whole[2]
    turn = torch.zeros(slices, beam.views)
    return shift.repeat(whole[1], 1, 1), turn, stretch.repeat(whole[1], 1), along.expand(slices, 2)


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
    else:  # a sinusoid, in old records
        course = np.sin(2 * np.pi * (params["cycles"] * time + params["phase"]))
    course = course - course.mean()
    return course / np.abs(course).max()


def _course(image: torch.Tensor, grid: VoxelGrid, drawn: Params, settings: Params) -> Params:
    """What moves the patient in an image (C, *spatial), and where its back lies along the front direction."""
    across, rows, columns = _axes(grid)
    volume = image[0].detach().reshape(grid.size).movedim(across, 0)
    patient = find_patient(volume, (grid.embedded_spacing[rows], grid.embedded_spacing[columns]))
    crop = touches_border(volume[None])[0]
    trunk = patient.has_lung or (settings["body_mm"] if crop else patient.diameter_mm) >= _BREATHES_MM
    if drawn["trajectory"] != "breathing" and not (settings["trunks_breathe"] and trunk):
        return {"course": drawn["trajectory"]}
    front, _ = _front(grid)
    ends = np.array([patient.extent(1), patient.extent(2)], dtype=float)
    corners = np.zeros((4, 3))
    corners[:, across] = (grid.size[across] - 1) / 2
    corners[:, rows] = ends[0, [0, 0, 1, 1]]
    corners[:, columns] = ends[1, [0, 1, 0, 1]]
    along = (corners @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]) @ front
    back, depth = float(along.min()), float(np.ptp(along))
    if crop and depth < settings["body_mm"]:
        back, depth = back + (depth - settings["body_mm"]) / 2, settings["body_mm"]
    middle = grid.matrix[:3, :3] @ ((np.asarray(grid.size) - 1) / 2) + grid.matrix[:3, 3]
    place = {"back_mm": back, "depth_mm": max(depth, 1.0), "middle_mm": float(middle[2])}
    return {"course": "breathing", "rotate_degrees": 0.0, **place}  # for the report: a breath doesn't rotate


def _axes(grid: VoxelGrid) -> tuple[int, int, int]:
    """The axes of the embedded volume across the slices, along their rows and along their columns."""
    across = slice_axis(grid)
    across = 0 if across is None else across
    rows, columns = (a for a in range(3) if a != across)
    return across, rows, columns


def _front(grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """The directions within the slices to the front and beside it in the world, unit vectors.

    In coronal slices, the direction to the head takes the place of the front.
    """
    across, *_ = _axes(grid)
    normal = np.linalg.inv(grid.matrix[:3, :3])[across]
    normal /= np.linalg.norm(normal) * (1 if normal[2] >= 0 else -1)
    in_plane = [e - (e @ normal) * normal for e in np.eye(3)[1:]]
    front = in_plane[0] if np.linalg.norm(in_plane[0]) > 0.5 else in_plane[1]
    front /= np.linalg.norm(front)
    return front, np.cross(front, normal)


def _patients(stack: SliceStack) -> torch.Tensor:
    """Where the patients are in the slices of a stack, (N, 1, rows, columns)."""
    volumes = stack.slices.detach().reshape(-1, *stack.whole[2:]).cpu()  # a GPU is awaited once
    found: list[PatientMask] = [find_patient(v, stack.spacing) for v in volumes]
    return sent(torch.cat([f.voxels for f in found])[:, None], stack.slices.device)
