"""The correction of MR motion in the gallery: a real slice, the same with motion, the results, and their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.operation import Operation
from monai_medaug.core.tensors import affine_of
from monai_medaug.figures.gallery.images import GalleryImage
from monai_medaug.figures.gallery.rows import (
    RowPicture,
    draw_lines,
    png_content,
    psnr_text,
    round_scale,
    row_window_text,
    setting_text,
)
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid

_SEED, _SEGMENTS, _FARTHEST_MM, _SATURATED = 0, 8, 3.0, 99.5
MOTION_TEXT = (
    "The slice gets a smooth phase, as coils give it, and its k-space is put together from "
    f"{_SEGMENTS} segments of lines, each from another place of the patient, by up to {_FARTHEST_MM:g} mm along each "
    "axis: ramps of phase, not the model of the correction. Shown are magnitudes, and below each what is wrong in it. "
    "PSNR compares it with the slice as it came, both clipped to the window shown, whose width is the peak."
)


def draw_motion(settings: Sequence[Mapping[str, Any]], operations: Sequence[Operation], source: GalleryImage) -> bytes:
    """The pictures as the content of a PNG."""
    lines = motion_lines(settings, operations, source)
    rows, columns = lines[0][0].values.shape
    return png_content(draw_lines(lines, columns, round(rows * DisplayPlane.through(_grid(source)).aspect)))


def motion_lines(
    settings: Sequence[Mapping[str, Any]], operations: Sequence[Operation], source: GalleryImage
) -> list[list[RowPicture]]:
    """The line of magnitudes, and below it the phase and the line of errors."""
    grid = _grid(source)
    phase = smooth_phase(grid.shape)
    moved = moving_scan(torch.polar(source.image.as_tensor()[0].double(), phase), grid.spacing)
    given = MetaTensor(moved[None].to(torch.complex64), affine=source.image.affine)
    results = [operation(given) for operation in operations]

    plane = DisplayPlane.through(grid)
    images = [source.image.as_tensor(), *(image.as_tensor().abs() for image in (given, *results))]
    clean, before, *after = (plane.cut(image[0].numpy()) for image in images)
    half = round_scale(float(np.percentile(np.abs(before - clean), _SATURATED)))
    window = source.window
    above = [
        RowPicture("as it came", clean, row_window_text(source, window), window),
        RowPicture("the patient moved", before, [psnr_text(clean, before, window)], window),
    ]
    below = [
        RowPicture("its phase", plane.cut(phase.numpy()), ["shown from −π to π"], (-math.pi, math.pi)),
        RowPicture(
            "moved − as it came",
            before - clean,
            [f"blue −{half:g}, red +{half:g} in this line"],
            (-half, half),
            colours=True,
        ),
    ]
    for setting, picture in zip(settings, after, strict=True):
        above.append(RowPicture(setting_text(setting), picture, [psnr_text(clean, picture, window)], window))
        below.append(RowPicture("result − as it came", picture - clean, [], (-half, half), colours=True))
    return [above, below]


def _grid(source: GalleryImage) -> VoxelGrid:
    return VoxelGrid(tuple(source.image.shape[1:]), affine_of(source.image))


def smooth_phase(shape: Sequence[int]) -> torch.Tensor:
    """Radians, within -π and π.

    Example:
        >>> bool(smooth_phase((8, 9)).abs().max() < torch.pi)
        True
    """
    x, y = torch.meshgrid(*[torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape], indexing="ij")
    return 1.2 * x - 0.8 * y + x * y


def moving_scan(still: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """A complex slice (X, Y) whose segments of lines along the first axis saw the anatomy at different places.

    That with the zero frequency saw it where it is.

    Example:
        >>> still = torch.zeros(32, 32, dtype=torch.complex128)
        >>> still[8:24, 8:24] = 1
        >>> moved = moving_scan(still, (1.0, 1.0))
        >>> bool(torch.isclose(moved.abs().square().sum(), still.abs().square().sum()))
        True
    """
    shifts = np.random.RandomState(_SEED).uniform(-_FARTHEST_MM, _FARTHEST_MM, (_SEGMENTS, len(spacing)))
    u, v = (np.fft.fftshift(np.fft.fftfreq(n, step)) for n, step in zip(still.shape, spacing, strict=True))
    segments = np.array_split(np.arange(len(u)), _SEGMENTS)
    shifts[[len(u) // 2 in own for own in segments]] = 0
    turns = np.concatenate(
        [u[own, None] * down + v * right for own, (down, right) in zip(segments, shifts, strict=True)]
    )
    ramp = torch.from_numpy(np.fft.ifftshift(np.exp(-2j * np.pi * turns)))
    return torch.fft.ifft2(torch.fft.fft2(still) * ramp)
