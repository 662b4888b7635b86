"""MR motion: lines of k-space see different poses of the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import choice, span, whole_number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.mri.motion import breathing_path, drift_path, line_shares, motion, step_path
from monai_medaug.transforms.mri.magnitude import MagnitudeOperation
from monai_medaug.transforms.mri.phase_axis import phase_axes, phase_axis_argument

BREATHS = (5, 20)  # per scan
TRAJECTORIES = ("step", "drift", "breathing")


class RandMRIMotion(MagnitudeOperation):
    """Motion of the patient during the scan: different poses for the phase-encoding lines of k-space.

    Lines are acquired from one edge of k-space to the other. A pose is a translation in a random direction and a
    rotation about a random axis through the image's centre, in world mm and degrees; a single slice moves in its plane.
    The image is resampled linearly in each pose, its lines enter the k-space of the result (zero frequency in the
    middle of the scan), and the magnitude is taken. The mean pose, weighted toward the lines near the centre of
    k-space, is subtracted, so that the anatomy stays aligned with its labels.

    Args:
        translate_mm: range of the distance of each pose from rest, in mm.
        rotate_degrees: range of its angle.
        prob: probability of applying it.
        movements: number of poses besides rest, 1 to 20; breathing uses one.
        trajectory: ``"step"``: jumps at random times; ``"drift"``: constant speed from rest through the poses;
            ``"breathing"``: from rest to a pose and back as cos⁶, 5 to 20 breaths per scan. Drift and breathing are
            approximated by 8 poses.
        phase_axis: phase-encoding axis, 0 for the first spatial one; None draws one, within the slices if these lie at
            least twice as far apart as the voxels within them (2D multislice), and of at least 16 voxels if there is.
        keep_zeros: whether exact zeros stay; None keeps them where they are many and coherent, as the background of a
            skull-stripped or padded image, with a notice.

    Raises:
        ValueError: an argument is out of its range, the image lacks the axis, or is not finite.

    Source: R. Shaw et al., MRI k-space motion artefact augmentation, MIDL 2019; removal of the mean pose:
    G. Reguig et al., Global displacement induced by rigid motion simulation during MRI acquisition, 2022;
    breathing: A. E. Lujan et al., Med. Phys. 1999. Patients move by up to about 5 mm and 5° within a scan.

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 32, 32)
        >>> image[:, 8:24, 8:24] = 1.0
        >>> moved = RandMRIMotion(translate_mm=3, rotate_degrees=2, prob=1.0).set_random_state(0)(image)
        >>> moved.shape, bool((moved - image).abs().max() > 0.1)
        (torch.Size([1, 32, 32]), True)
    """

    gallery = GalleryEntry(({"trajectory": "breathing"},))
    phrases = {"translate_mm": "motion of {:.1f} mm", "rotate_degrees": "rotated by {:.1f}°"}
    headline = ("translate_mm",)
    identity = {"translate_mm": 0.0, "rotate_degrees": 0.0}
    magnitudes = (Magnitude("mri_motion", {"translate_mm": Reach(0, 4), "rotate_degrees": Reach(0, 4)}, unit="mm"),)

    def __init__(
        self,
        translate_mm: float | Sequence[float] = (0, 5),
        rotate_degrees: float | Sequence[float] = (0, 5),
        prob: float = 0.3,
        movements: int = 2,
        trajectory: str = "step",
        phase_axis: int | None = None,
        keep_zeros: bool | None = None,
    ) -> None:
        super().__init__(prob, keep_zeros)
        self.translate_mm = span("translate_mm", translate_mm, 0)
        self.rotate_degrees = span("rotate_degrees", rotate_degrees, 0, 90)
        self.movements = whole_number("movements", movements, 1, 20)
        self.trajectory = choice("trajectory", trajectory, TRAJECTORIES)
        self.phase_axis = phase_axis_argument(phase_axis)

    def draw(self) -> Params:
        return {
            "translate_mm": self.R.uniform(*self.translate_mm),
            "rotate_degrees": self.R.uniform(*self.rotate_degrees),
            "directions": [_unit(self.R) for _ in range(self.movements)],
            "axes": [_unit(self.R) for _ in range(self.movements)],
            "times": sorted(self.R.uniform(size=self.movements).tolist()),
            "cycles": self.R.uniform(*BREATHS),
            "phase": self.R.uniform(),
            "any_axis": self.R.uniform(),
        }

    def settings(self) -> Params:
        return {"trajectory": self.trajectory, "phase_axis": self.phase_axis, **super().settings()}

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        out = torch.empty_like(magnitude)
        trajectory = call.settings["trajectory"]
        axes = phase_axes(call)
        shares = {axis: line_shares(magnitude, axis) for axis in set(axes)}
        for i, (x, p, grid, axis) in enumerate(zip(magnitude, call.draws, call.grids, axes, strict=True)):
            shifts = p["translate_mm"] * np.asarray(p["directions"])
            knots = np.concatenate([shifts, p["rotate_degrees"] * np.asarray(p["axes"])], 1)
            lines = magnitude.shape[2 + axis]
            if trajectory == "step":
                path = step_path(knots, np.asarray(p["times"]), lines)
            elif trajectory == "drift":
                path = drift_path(knots, lines)
            else:
                path = breathing_path(knots[0], p["cycles"], p["phase"], lines)
            out[i] = motion(x, *path, axis, grid, shares[axis][i])
        return out


RandMRIMotiond = dictionary_twin(RandMRIMotion)
RandMRIMotionD = RandMRIMotionDict = RandMRIMotiond


def _unit(random: np.random.RandomState) -> list[float]:
    """A uniformly distributed direction in space."""
    vector = random.normal(size=3)
    return (vector / np.linalg.norm(vector)).tolist()
