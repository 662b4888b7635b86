"""Motion correction of MR images from their complex data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import Operation
from monai_medaug.core.tensors import require_finite
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.mri.autofocus import MotionBounds, autofocus
from monai_medaug.functional.mri.focus import gradient_entropy
from monai_medaug.functional.mri.kspace import line_positions
from monai_medaug.functional.mri.rigid_image import image_at_rest
from monai_medaug.functional.mri.rigid_kspace import SegmentedKSpace

ORDERS = ("sequential", "interleaved")
MAGNITUDE = (
    "must be complex: motion of the patient can't be undone from a magnitude image. The lines of k-space that were "
    "acquired in one pose are known only together with the phase, which the magnitude has lost. Give the complex image "
    "of the scanner, or its k-space with kspace=True"
)


class MRIMotionCorrection(Operation):
    """Undo rigid motion between segments of a scan, from the complex image or k-space: autofocus."""

    modality = "mri"
    accepts_complex = True
    differentiable = False
    dtypes = (torch.complex64, torch.complex128)
    gallery = GalleryEntry()
    memory = 8

    def __init__(
        self,
        segments: int | Sequence[Sequence[int]],
        phase_axis: int = 0,
        translate_mm: float = 10.0,
        rotate_degrees: float = 5.0,
        order: str = "sequential",
        kspace: bool = False,
    ) -> None:
        super().__init__()
        self.segments = _segments_argument(segments)
        self.phase_axis = choice("phase_axis", phase_axis, range(-3, 3))
        self.translate_mm = number("translate_mm", translate_mm, 0)
        self.rotate_degrees = number("rotate_degrees", rotate_degrees, 0, 45)
        self.order = choice("order", order, ORDERS)
        self.kspace = flag("kspace", kspace)

    def settings(self) -> Params:
        return {
            "segments": self.segments,
            "phase_axis": self.phase_axis,
            "largest_translation_mm": self.translate_mm,
            "largest_rotation_degrees": self.rotate_degrees,
            "order": self.order,
            "kspace": self.kspace,
        }

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        if not image.is_complex():
            raise ValueError(f"{name} {MAGNITUDE}, got {image.dtype}")
        require_finite(image, name)

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        out, notes = image.clone(), []
        dims = tuple(range(1, image.ndim - 1))
        for i, x in enumerate(image):
            y = _centred(torch.fft.ifftn, x, dims) if call.settings["kspace"] else x
            known = None if call.known is None else call.known[i]
            corrected, note = cls._corrected(y, call, call.grids[i].spacing, known)
            notes.append(note)
            if corrected is not None:
                out[i] = _centred(torch.fft.fftn, corrected, dims) if call.settings["kspace"] else corrected
        call.note(notes)
        return out

    @classmethod
    def _corrected(
        cls, image: torch.Tensor, call: Call, spacing: Sequence[float], known: Params | None
    ) -> tuple[torch.Tensor | None, Params]:
        own = call.settings
        dims = image.ndim - 1
        axis = own["phase_axis"]
        if not -dims <= axis < dims:
            raise ValueError(f"phase_axis must be within [{-dims}, {dims - 1}] for {call.name}, got {axis}")
        axis %= dims
        first = image.movedim(axis + 1, 1)
        lines = _lines_of(own["segments"], own["order"], first.shape[1], call.name)
        order = [axis, *[a for a in range(dims) if a != axis]]
        model = SegmentedKSpace.of(
            torch.fft.fftn(first, dim=tuple(range(1, dims + 1))), lines, [spacing[a] for a in order]
        )
        bounds = MotionBounds(own["largest_translation_mm"], float(np.deg2rad(own["largest_rotation_degrees"])))
        poses = autofocus(model, bounds)
        out = image_at_rest(model, poses, bounds.turns)
        before, after = float(gradient_entropy(first)), float(gradient_entropy(out))
        note = {"focus_before": before, "focus_after": after, "poses": poses.tolist()}
        return out.movedim(1, axis + 1), note

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        inside = torch.stack(axes).square().sum(0) < 0.7
        return torch.polar(torch.where(inside, 100 + 50 * torch.sin(4 * axes[0]), 0.5), axes[1])[None]


MRIMotionCorrectiond = dictionary_twin(MRIMotionCorrection)
MRIMotionCorrectionD = MRIMotionCorrectionDict = MRIMotionCorrectiond


def _segments_argument(value: Any) -> int | list[list[int]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return whole_number("segments", value, 2)
    found = [[whole_number("segments", line, 0) for line in segment] for segment in value]
    return found


def _lines_of(segments: Any, order: str, lines: int, name: str) -> list[list[int]]:
    """The lines of each segment in the order of `torch.fft`."""
    if isinstance(segments, int):
        numbers = np.arange(lines)
        split = [numbers[i::segments] for i in range(segments)]
        if order == "sequential":
            split = np.array_split(numbers, segments)
    else:
        split = [np.array(s) for s in segments]
    positions = line_positions(lines)
    return [(positions[s] % lines).tolist() for s in split]


def _centred(transform: Any, x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """A Fourier transform with the zero position and frequency in the middle."""
    return torch.fft.fftshift(transform(torch.fft.ifftshift(x, dim=dims), dim=dims), dim=dims)
