"""Resolution limited by the acquisition: thick slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import choice, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import say_once
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.padded import padding_levels
from monai_medaug.functional.geometry.resolution import (
    PROFILES,
    along_axis,
    joined_matrices,
    thick_slice_matrices,
    thick_slices,
)
from monai_medaug.functional.mri.signal import least_values
from monai_medaug.functional.noise.white import white_noise
from monai_medaug.transforms.mri.magnitude import background_to_keep, recorded_choice

_SLICE, _THROUGH, _RANDOM = "slice", "through", "random"
_ROUNDED = 1e-4  # the profile's weights, some negative, sum to 1 up to this


class RandThickSlice(RandomOperation):
    """Thicker slices: lower resolution along one axis, on the original grid.

    The image is averaged with the slice profile ``w``, sampled once per slice, and interpolated linearly to the grid:
    ``y(z) = sum_j hat((z - z_j) / t) (sum_k w(z_k - z_j) x(z_k) + n_j)`` with slices of thickness t at ``z_j = centre +
    (phase + j) t`` and the noise n. A linear ramp is preserved and no structure moves. Border values are repeated
    outside. Slices up to one voxel thick do not blur, and an image of one voxel along the axis stays unchanged. Where a
    slice would mix the padding of a CT (coherent values up to -1400 HU) with tissue, the image stays as it is.

    Args:
        thickness_mm: range of the slice thickness, the full width at half maximum of the profile, in mm. 3 to 8 mm
            spans clinical body CT and 2D MRI.
        axis: ``"through"``: across the slices, the array axis nearest to the scanner's axis (the world's third), the
            last without an affine; a single slice stays unchanged, which is said once. ``"slice"``: the same in 3D; in
            2D the axis nearest to the scanner's if within 45°, as in a reformatted image, else the first. A number:
            that spatial axis. None draws one.
        profile: ``"gaussian"``, for selective pulses and helical CT, or ``"trapezoid"``, nearer to a box.
        noise: range of the standard deviation of white noise in the thick slices, in the image's units.
        prob: probability of applying it.
        keep_zeros: whether exact zeros stay, as those round a skull-stripped MR image; None keeps them where they are
            many and coherent. In HU a zero is water: False.

    Raises:
        ValueError: an argument is out of its range, the image lacks the axis, or is not finite.

    Source: H. Greenspan, Super-resolution in medical imaging, Comput. J. 2009; C. Zhao et al., SMORE, IEEE Trans. Med.
    Imaging 2021, on the need for the scanner's profile.

    Example:
        >>> import torch
        >>> line = torch.zeros(1, 1, 1, 13).index_fill(3, torch.tensor(6), 1.0)
        >>> thick = RandThickSlice(thickness_mm=4, prob=1.0).set_random_state(0)(line)
        >>> round(float(thick.max()), 2), round(float(thick.sum()), 1)
        (0.21, 1.0)
    """

    gallery = GalleryEntry(({"axis": 1},), "The thick axis is vertical, as in a reformatted slice.")
    phrases = {"thickness_mm": "slices of {:.1f} mm"}
    identity = {"thickness_mm": 0.0, "noise": 0.0}
    magnitudes = (Magnitude("thick_slice", {"thickness_mm": Reach(0, 6)}, unit="mm", spatial_dims=(3,)),)
    example_arguments = {"thickness_mm": (12.0, 20.0), "axis": "slice"}

    def __init__(
        self,
        thickness_mm: float | Sequence[float] = (3, 8),
        axis: str | int | None = "through",
        profile: str = "gaussian",
        noise: float | Sequence[float] = 0,
        prob: float = 0.3,
        keep_zeros: bool | None = False,
    ) -> None:
        super().__init__(prob)
        self.keep_zeros = choice("keep_zeros", keep_zeros, (True, False, None))
        self.thickness_mm = span("thickness_mm", thickness_mm, 0)
        self.axis = _RANDOM if axis in (None, _RANDOM) else choice("axis", axis, (_SLICE, _THROUGH, None, 0, 1, 2))
        self.profile = choice("profile", profile, PROFILES)
        self.noise = span("noise", noise, 0)

    def draw(self) -> Params:
        return {
            "thickness_mm": self.R.uniform(*self.thickness_mm),
            "phase": self.R.uniform(-0.5, 0.5),
            "direction": int(self.R.randint(6)),
            "noise": self.R.uniform(*self.noise),
            **({"seed": int(self.R.randint(2**31 - 1))} if self.noise[1] > 0 else {}),
        }

    def settings(self) -> Params:
        return {"axis": self.axis, "profile": self.profile, "keep_zeros": recorded_choice(self.keep_zeros)}

    @classmethod
    def plan(cls, call: Call) -> list[Params]:
        """The thick axis of the reference grid, for the record; ``"none"`` for a sample that stays unchanged."""
        return [{"thick_axis": "none" if axis is None else axis} for axis in _thick_axes_of(call)]

    @classmethod
    def figures(cls, plan: list[Params]) -> list[Params]:
        return plan

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        axes = _thick_axes_of(call)
        background = background_to_keep(image, call, least_values(image)) if call.settings.get("keep_zeros") else None
        if any(a is None or grid.shape[a] == 1 for a, grid in zip(axes, call.grids, strict=True)):
            say_once(
                "RandThickSlice leaves a single slice unchanged: its thickness lies across it; axis names one within"
            )
        out = image.clone() if None in axes else torch.empty_like(image)
        for axis in {a for a in axes if a is not None}:
            members = [i for i, a in enumerate(axes) if a == axis]
            if len(members) == len(image):
                out = _thick(image, call, axis)
            else:
                out[members] = _thick(image[members], call.of(members), axis)
        return out if background is None else torch.where(background, image, out)


RandThickSliced = dictionary_twin(RandThickSlice)
RandThickSliceD = RandThickSliceDict = RandThickSliced


def _thick_axes_of(call: Call) -> list[int | None]:
    """The thick spatial axis of each sample; None for a sample that stays unchanged."""
    return [_thick_axis(call.settings["axis"], d, g) for d, g in zip(call.drawn("direction"), call.grids, strict=True)]


def _thick_axis(axis: str | int, direction: int, grid: VoxelGrid) -> int | None:
    dims = len(grid.shape)
    if axis == _THROUGH and dims == 2:
        return None
    if axis == _RANDOM:
        return direction % dims
    if axis not in (_SLICE, _THROUGH):
        if int(axis) >= dims:
            raise ValueError(f"axis must be below {dims}, the number of spatial axes of the image, got {axis}")
        return int(axis)
    if grid.affine is None:
        return 2 if dims == 3 else 0
    along = np.abs(grid.matrix[2, 3 - dims : 3] / np.asarray(grid.spacing))
    return int(np.argmax(along)) if dims == 3 or along.max() > np.sqrt(0.5) else 0


def _thick(image: torch.Tensor, call: Call, axis: int) -> torch.Tensor:
    """The thick slices of samples that share the axis."""
    voxels, profile = image.shape[axis + 2], call.settings["profile"]
    widths = [p["thickness_mm"] / grid.spacing[axis] for p, grid in zip(call.draws, call.grids, strict=True)]
    levels = padding_levels(image)
    padded, noisy = bool(torch.isfinite(levels).any()), any(level > 0 for level in call.drawn("noise"))
    if not padded and not noisy:
        return thick_slices(image, axis, widths, call.drawn("phase"), profile)
    down, up = joined_matrices(
        [thick_slice_matrices(voxels, w, p, profile) for w, p in zip(widths, call.drawn("phase"), strict=True)]
    )
    thick = along_axis(image, down, axis)
    if noisy:
        shape = list(image.shape[1:])
        shape[axis + 1] = voxels + 1  # the greatest number of slices, so that a sample's noise is the same in any batch
        noise = white_noise(shape, call.seeds(), image.device).narrow(axis + 2, 0, thick.shape[axis + 2])
        thick = thick + noise.to(image.dtype) * call.column("noise")
    out = along_axis(thick, up, axis)
    if not padded:
        return out
    share = along_axis((image <= levels).to(image.dtype), up @ down, axis)
    return torch.where(share.abs() > _ROUNDED, image, out)
