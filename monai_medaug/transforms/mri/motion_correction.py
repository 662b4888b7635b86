"""Motion correction of MR images from their complex data."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.core.contract import Call, Input, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import Operation
from monai_medaug.core.tensors import require_finite
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import one_thread
from monai_medaug.functional.mri.autofocus import MotionBounds, autofocus
from monai_medaug.functional.mri.focus import body_region, gradient_entropy
from monai_medaug.functional.mri.kspace import line_positions
from monai_medaug.functional.mri.rigid_image import image_at_rest
from monai_medaug.functional.mri.rigid_kspace import SegmentedKSpace, rotation
from monai_medaug.functional.mri.sense_motion import SenseModel, consistent_motion

ORDERS = ("sequential", "interleaved")
_BODY = 0.05  # of the greatest magnitude, see `body_region`
_SHARPER = 0.015
"""Entropy in nats by which a result must be less. Without motion it was at most 0.003 less, with motion that could be
undone 0.02 to 0.6."""
_EXPLAINED, _INEXACT = 0.7, 1e-5  # of the unexplained energy before; of all energy, which nothing explains
_ALONE = 1 << 18  # elements of an image up to which threads lose more by waiting for each other than they gain
_SOLVES = 12  # rounds of conjugate gradients
_SHARP_NAMES = ("entropy_before", "entropy_after")
_EXPLAINED_NAMES = ("unexplained_before", "unexplained_after")
MAGNITUDE = (
    "must be complex: motion of the patient can't be undone from a magnitude image. The lines of k-space that were "
    "acquired in one pose are known only together with the phase, which the magnitude has lost. Give the complex image "
    "of the scanner, or its k-space with kspace=True"
)


class MRIMotionCorrection(Operation):
    """Undo the patient's rigid motion in a scan, from the complex image or its k-space: autofocus.

    A segment of phase-encoding lines is acquired in one pose: ``K_j = M_j F T_j x``, with the anatomy x, its
    translation and rotation T_j about the centre of the image, and the segment's lines M_j. The poses that make the
    image sharpest, by the entropy of its gradient, are searched from the centre of k-space outwards on a grid and
    refined by gradient descent; that of the segment with the zero frequency is the reference, so that the anatomy
    stays where this one saw it. All channels are coils with the same motion. Translations are undone exactly; where
    rotations leave parts of k-space empty, a least squares image within the body fills them.

    With the coils' ``maps``, motion and image are those that explain the data of all coils best (SENSE), and the
    result is ``maps * image``. Without, each coil's image moves with its sensitivity, which is nearly so.

    A result counts only if it is clearly sharper (explains the data clearly better), and else the input comes back bit
    for bit; the record says which, with every pose. A volume is one 3D acquisition: give slices of a 2D scan one by
    one, each has its own motion. Motion within a segment, through the slice of a 2D scan, or of parts of the body is
    not modelled.

    A magnitude image is refused. The lines of one pose are known only together with the phase, and a magnitude's
    k-space mixes them: published corrections by networks leave blur, and simulated motion on magnitudes exaggerates
    what they do. The same search on the magnitude's k-space changed six slices with simulated translations by -0.1 to
    1.9 dB (mean 0.5), where the complex image gained 13 to 27; a low-pass (`LowPassDenoise`) gained at most 0.4 at half
    the frequencies.

    Args:
        segments: number of segments, in which the lines are split evenly; or the lines of each, numbered from 0, the
            most negative frequency; ``lines // 2`` is the zero frequency. Lines in none are taken as unmoved.
        phase_axis: phase-encoding axis, 0 for the first spatial one.
        translate_mm: greatest translation along an axis that is searched.
        rotate_degrees: greatest angle; 0 searches translations alone and is several times faster.
        order: of the lines over the segments: ``"sequential"``, or ``"interleaved"`` (every n-th line).
        kspace: whether the input, and then the result too, is k-space instead of an image: zero frequency in the
            middle of each axis, position zero in the middle of the image.

    Raises:
        ValueError: an argument is out of its range, the image is real, not finite, or lacks the axis, there are more
            segments than lines, or segments repeat lines.

    Source: D. Atkinson et al., Automatic correction of motion artifacts in magnetic resonance images using an entropy
    focus criterion, IEEE Trans. Med. Imaging 1997; A. Loktyushin et al., Blind retrospective motion correction of MR
    images, Magn. Reson. Med. 2013; with maps L. Cordero-Grande et al., Sensitivity encoding for aligned multishot
    magnetic resonance reconstruction, IEEE Trans. Comput. Imaging 2016.

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 64, 64, dtype=torch.complex64)
        >>> image[:, 16:48, 20:44], image[:, 24:32, 24:40] = 1.0, 2.0
        >>> k = torch.fft.fft2(image)
        >>> k[:, 16:32] *= torch.exp(2j * torch.pi * 3 * torch.fft.fftfreq(64))  # a quarter of the lines moved by 3
        >>> out = MRIMotionCorrection(segments=4, rotate_degrees=0)(torch.fft.ifft2(k))
        >>> bool((out.abs() - image.abs()).abs().max() < 0.1 * (torch.fft.ifft2(k).abs() - image.abs()).abs().max())
        True
    """

    modality = "mri"
    accepts_complex = True
    command = "motion"
    differentiable = False
    dtypes = (torch.complex64, torch.complex128)
    phrases = {"segments": "motion of {} segments"}
    inputs = {"maps": Input("complex sensitivity maps of the coils, of the shape of the image")}
    gallery = GalleryEntry(
        tuple({"segments": n, "rotate_degrees": 0} for n in (8, 12, 4)),
        "There were 8 segments. More do no harm here; with fewer, lines of two poses stay together.",
    )
    example_arguments = {"segments": 2, "rotate_degrees": 0}
    least_shape = (2,)
    searches = True
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
        own, dims = call.settings, image.ndim - 2
        axis = own["phase_axis"]
        if not -dims <= axis < dims:
            raise ValueError(f"phase_axis must be within [{-dims}, {dims - 1}] for {call.name}, got {axis}")
        lines = segment_lines(own["segments"], own["order"], image.shape[2 + axis % dims], call.name)
        bounds = MotionBounds(own["largest_translation_mm"], math.radians(own["largest_rotation_degrees"]))
        axes = tuple(range(1, dims + 1))
        results, found = [], []
        small = image[0].numel() <= _ALONE
        with one_thread() if small else contextlib.nullcontext():
            for i, x in enumerate(image):
                given = _centred(torch.fft.ifftn, x, axes) if own["kspace"] else x
                maps = call.inputs["maps"][i].to(x.dtype) if "maps" in call.inputs else None
                out, figures, poses = _at_rest(given, axis % dims, lines, call.grids[i].spacing, bounds, maps)
                if own["kspace"]:
                    out = _centred(torch.fft.fftn, out, axes)
                results.append(torch.where(figures[0] > 0, out, x))
                found.append(torch.cat([figures, poses.flatten()]))
        numbers = torch.stack(found).double().cpu()  # of all samples at once: a GPU is waited for but once
        names = _EXPLAINED_NAMES if "maps" in call.inputs else _SHARP_NAMES
        call.note(_note(row, names, dims, axis % dims) for row in numbers)
        return torch.stack(results)

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A complex ellipsoid of 50..150 with a smooth phase, (1, *spatial)."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (14, 13, 12)[:spatial_dims]], indexing="ij")
        inside = torch.stack(axes).square().sum(0) < 0.7
        return torch.polar(torch.where(inside, 100 + 50 * torch.sin(4 * axes[0]), 0.5), axes[1])[None]


MRIMotionCorrectiond = dictionary_twin(MRIMotionCorrection)
MRIMotionCorrectionD = MRIMotionCorrectionDict = MRIMotionCorrectiond


def _at_rest(
    image: torch.Tensor,
    axis: int,
    lines: list[list[int]],
    spacing: Sequence[float],
    bounds: MotionBounds,
    maps: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The image (C, *spatial) at rest; whether it is better (0 or 1), and the measure before and after; the poses."""
    first = image.movedim(axis + 1, 1)
    steps = [spacing[axis], *[s for a, s in enumerate(spacing) if a != axis]]
    kspace = SegmentedKSpace.of(torch.fft.fftn(first, dim=tuple(range(1, first.ndim))), lines, steps)
    poses = autofocus(kspace, bounds)
    if maps is None:
        out = image_at_rest(kspace, poses, bounds.turns)
        region = torch.maximum(body_region(first, _BODY), body_region(out, _BODY))
        before, after = gradient_entropy(first, region), gradient_entropy(out, region)
        better = before - after > _SHARPER
    else:
        own_maps = maps.movedim(axis + 1, 1).expand_as(first)
        model = SenseModel(kspace, own_maps)
        poses = consistent_motion(model, poses, bounds)
        anatomy, still = model.solved(poses, bounds.turns, None, _SOLVES), torch.zeros_like(poses)
        unmoved = model.solved(still, False, None, _SOLVES)
        before, after = model.unexplained(unmoved, still, False), model.unexplained(anatomy, poses, bounds.turns)
        better = (after < _EXPLAINED * before) & (before > _INEXACT)
        out = own_maps * anatomy
    return out.movedim(1, axis + 1), torch.stack([better.to(before), before, after]), poses


def _note(numbers: torch.Tensor, names: tuple[str, str], dims: int, axis: int) -> Params:
    """The record's figures, from those of `_at_rest` and the poses in a row.

    Translations are in mm along the image's axes, and rotations in degrees: an angle, or in 3D a rotation vector.
    """
    better, before, after = numbers[:3].tolist()
    order = [axis, *[a for a in range(dims) if a != axis]]
    moved, turned = [], []
    for pose in numbers[3:].reshape(-1, dims * (dims + 1) // 2):
        shift, matrix = np.zeros(dims), np.eye(3)
        shift[order] = pose[:dims].numpy()
        matrix[np.ix_(order, order)] = rotation(pose, dims).numpy()
        vector = np.degrees(Rotation.from_matrix(matrix).as_rotvec())
        moved.append([round(float(v), 3) for v in shift])
        turned.append([round(float(v), 3) for v in vector] if dims == 3 else round(float(vector[2]), 3))
    measured = dict(zip(names, (before, after), strict=True))
    return {"corrected": better > 0, **measured, "translations_mm": moved, "rotations_degrees": turned}


def _segments_argument(value: Any) -> int | list[list[int]]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return whole_number("segments", value, 2)
    if any(not isinstance(s, (Sequence, np.ndarray)) or isinstance(s, str) for s in value):
        raise ValueError(f"segments must be a number or the lines of each segment, got {value!r}")
    found = [[whole_number("segments", line, 0) for line in segment] for segment in value]
    every = [line for segment in found for line in segment]
    if len(found) < 2 or not all(found) or len(set(every)) < len(every):
        raise ValueError(f"segments must be two or more lists of lines, each line in one of them, got {value!r}")
    return found


def segment_lines(segments: int | list[list[int]], order: str, lines: int, name: str) -> list[list[int]]:
    """The lines of each segment in the order of `torch.fft`; those that no segment holds join the central one.

    Example:
        >>> segment_lines(2, "sequential", 6, "image"), segment_lines(2, "interleaved", 6, "image")
        ([[3, 4, 5], [0, 1, 2]], [[3, 5, 1], [4, 0, 2]])
    """
    numbers, middle = np.arange(lines), lines // 2
    if isinstance(segments, int):
        if segments > lines:
            raise ValueError(f"segments must be at most the {lines} lines of {name}, got {segments}")
        interleaved = [numbers[i::segments] for i in range(segments)]
        split = np.array_split(numbers, segments) if order == "sequential" else interleaved
    else:
        split = [np.array(s) for s in segments]
        most = max(int(s.max()) for s in split)
        if most >= lines:
            raise ValueError(f"segments must hold lines below the {lines} of {name}, got {most}")
        central = next((i for i, s in enumerate(split) if middle in s), None)
        if central is None:
            raise ValueError(f"segments must hold line {middle}, the zero frequency of {name}: it is the reference")
        split[central] = np.union1d(split[central], np.setdiff1d(numbers, np.concatenate(split)))
    return [(line_positions(lines)[s] % lines).tolist() for s in split]


def _centred(transform: Any, x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """A Fourier transform with the zero position and frequency in the middle."""
    return torch.fft.fftshift(transform(torch.fft.ifftshift(x, dim=dims), dim=dims), dim=dims)
