"""Parallel-beam projection of slices, its exact adjoint and filtered back-projection.

A slice (rows, columns) has a spacing in mm; its first axis is y, its second x, both counted from the rotation axis. In
view ``theta`` the detector position s (mm from the axis) measures the line ``x cos(theta) + y sin(theta) = s``. Line
integrals follow Joseph's method (P. M. Joseph, IEEE Trans. Med. Imaging 1982): linear interpolation on each row, or on
each column for steep views, times the length of the step. `ParallelBeam.adjoint` is the exact transpose, so that both
are differentiable; `ParallelBeam.fbp` uses pixel-driven back-projection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows, sent
from monai_medaug.functional.ct.crossings import RayLines, crossings_of, shadows_of

WATER_PER_MM = 0.0192
"""Attenuation of water at 70 keV."""
FILTERS = ("ramp", "shepp-logan", "cosine", "hann")

_LOOPS = "ct._numba_projection"  # for float32
_LANES = 2  # from 2 slices on, slices are the last axis in memory: a ray's geometry is computed once for all
_BLOCK = 32  # slices at a time; more lanes are not faster


def hu_to_attenuation(hu: torch.Tensor, water: float = WATER_PER_MM) -> torch.Tensor:
    """Attenuation per mm, water (1 + HU / 1000); negative below -1000 HU, which noise reaches.

    Example:
        >>> hu_to_attenuation(torch.tensor([-1000.0, 0.0]))
        tensor([0.0000, 0.0192])
    """
    return water * (1 + hu / 1000)


def attenuation_to_hu(attenuation: torch.Tensor, water: float = WATER_PER_MM) -> torch.Tensor:
    """The inverse of `hu_to_attenuation`."""
    return 1000 * (attenuation / water - 1)


@dataclass(frozen=True)
class ParallelBeam:
    """A scanner geometry for slices of one shape.

    Args:
        shape: rows and columns.
        spacing: in mm along rows and columns.
        views: number of views, evenly over 180°.
        detectors: number of detector elements; None covers the slice.
        detector_spacing: in mm; None is the finer pixel spacing.
        centre: the rotation axis in mm from the middle of the slice, along rows and columns.
        field: rows and columns that `fbp` reconstructs, in the middle of the slice; None is the whole slice.

    Example:
        >>> beam = ParallelBeam((32, 32), (1.0, 1.0), views=48)
        >>> disc = torch.zeros(1, 1, 32, 32)
        >>> disc[..., 12:20, 12:20] = 1.0
        >>> sinogram = beam.project(disc)
        >>> sinogram.shape, round(float(sinogram[0, 0, 0].sum()), 2)
        (torch.Size([1, 1, 48, 47]), 64.0)
    """

    shape: tuple[int, int]
    spacing: tuple[float, float] = (1.0, 1.0)
    views: int = 360
    detectors: int | None = None
    detector_spacing: float | None = None
    centre: tuple[float, float] = (0.0, 0.0)
    field: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.spacing) <= 0 or self.views < 1:
            raise ValueError(
                f"shape, spacing and views must be positive, got {self.shape}, {self.spacing}, {self.views}"
            )

    @cached_property
    def angles(self) -> np.ndarray:
        """Angle of each view in radians."""
        return np.arange(self.views) * (math.pi / self.views)

    @cached_property
    def pitch(self) -> float:
        """Detector spacing in mm."""
        return float(self.detector_spacing or min(self.spacing))

    @cached_property
    def width(self) -> int:
        """Number of detector elements."""
        if self.detectors is not None:
            return self.detectors
        sides = zip(self.shape, self.spacing, self.centre, strict=True)
        return math.ceil(math.hypot(*(n * s + 2 * abs(c) for n, s, c in sides)) / self.pitch) + 1

    def _axis(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Row and column of the rotation axis in a part of this shape in the middle of the slice."""
        (rows, columns), (y, x), (dy, dx) = shape, self.centre, self.spacing
        return (rows - 1) / 2 + y / dy, (columns - 1) / 2 + x / dx

    def part(self, rows: slice, columns: slice) -> ParallelBeam:
        """The same rays through some rows and columns of the slice alone."""
        spans = (rows, columns)
        centre = [
            c + ((n - 1) - (span.start + span.stop - 1)) / 2 * s
            for c, n, s, span in zip(self.centre, self.shape, self.spacing, spans, strict=True)
        ]
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        return ParallelBeam(shape, self.spacing, self.views, self.width, self.pitch, (centre[0], centre[1]))

    @cached_property
    def _rays(self) -> tuple[RayLines, RayLines]:
        """The views along rows and those along columns."""
        cos, sin = np.cos(self.angles), np.sin(self.angles)
        along_rows = np.abs(cos) >= np.abs(sin)
        middle = (self.width - 1) / 2 * self.pitch
        (row, column), (dy, dx) = self._axis(self.shape), self.spacing
        with np.errstate(divide="ignore", invalid="ignore"):
            # on row r at y from the axis: x = (s - y sin) / cos, in columns from the first
            flat = RayLines(
                np.flatnonzero(along_rows),
                ((-middle + row * dy * sin) / cos) / dx + column,
                -dy * sin / cos / dx,
                self.pitch / cos / dx,
                dy / np.abs(cos),
            )
            steep = RayLines(
                np.flatnonzero(~along_rows),
                ((-middle + column * dx * cos) / sin) / dy + row,
                -dx * cos / sin / dy,
                self.pitch / sin / dy,
                dx / np.abs(sin),
            )
        return flat, steep

    def project(self, image: torch.Tensor, needed: torch.Tensor | None = None) -> torch.Tensor:
        """Line integrals (B, C, views, detectors) of (B, C, rows, columns), in the image's unit times mm.

        ``needed`` is True for the rays that matter, bool (views, detectors): the others are undefined, and often left
        out to save time.
        """
        return _Project.apply(image, self, needed)

    def adjoint(self, sinogram: torch.Tensor) -> torch.Tensor:
        """The transpose of `project`: (B, C, views, detectors) to (B, C, rows, columns)."""
        return _Adjoint.apply(sinogram, self)

    def fbp(self, sinogram: torch.Tensor, window: str = "ramp") -> torch.Tensor:
        """Filtered back-projection: the image whose line integrals these are, (B, C, rows, columns) of the field.

        Args:
            sinogram: (B, C, views, detectors).
            window: apodisation of the ramp: ``"ramp"`` (none), ``"shepp-logan"``, ``"cosine"`` or ``"hann"``.
        """
        filtered = filter_views(sinogram, self.pitch, window)
        return _in_blocks(_back_projected, filtered, self) * (math.pi / self.views)


def at_elements(sinogram: torch.Tensor, seen: ParallelBeam, beam: ParallelBeam) -> torch.Tensor:
    """A sinogram at the detector elements of another beam of as many views, linearly interpolated."""
    index = torch.arange(beam.width, device=sinogram.device, dtype=torch.float64)
    place = (index - (beam.width - 1) / 2) * (beam.pitch / seen.pitch) + (seen.width - 1) / 2
    place = place.clamp(0, seen.width - 1)
    below = place.long().clamp(max=max(seen.width - 2, 0))
    return torch.lerp(sinogram[..., below], sinogram[..., below + min(1, seen.width - 1)], (place - below).to(sinogram))


def filter_views(sinogram: torch.Tensor, pitch: float, window: str = "ramp") -> torch.Tensor:
    """Filter along the detector with the band-limited ramp (Kak & Slaney 1988, eq. 3.61) times a window."""
    if window not in FILTERS:
        raise ValueError(f"window must be one of {FILTERS}, got {window!r}")
    width = sinogram.shape[-1]
    size = 1 << (2 * width - 1).bit_length()
    response = sent(_filter_response(size, pitch, window), sinogram.device, sinogram.dtype)
    return torch.fft.irfft(torch.fft.rfft(sinogram, n=size) * response, n=size)[..., :width]


def _filter_response(size: int, pitch: float, window: str) -> np.ndarray:
    """The filter at the frequencies of ``rfft``."""
    taps = np.zeros(size)
    taps[0] = 1 / (4 * pitch**2)
    odd = np.arange(1, size // 2, 2)
    taps[odd] = taps[-odd] = -1 / (math.pi * odd * pitch) ** 2
    response = np.fft.rfft(taps).real * pitch
    share = np.linspace(0, 1, size // 2 + 1)  # of the Nyquist frequency
    if window == "shepp-logan":
        return response * np.sinc(share / 2)
    if window == "cosine":
        return response * np.cos(math.pi / 2 * share)
    return response * (0.5 + 0.5 * np.cos(math.pi * share)) if window == "hann" else response


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image, beam, needed=None):  # type: ignore[no-untyped-def]
        ctx.beam = beam
        return _in_blocks(partial(_projected, needed=needed), image.detach(), beam)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return _Adjoint.apply(gradient, ctx.beam), None, None


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, sinogram, beam):  # type: ignore[no-untyped-def]
        ctx.beam = beam
        return _in_blocks(_spread, sinogram.detach(), beam)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return _Project.apply(gradient, ctx.beam), None


def _in_blocks(
    function: Callable[[torch.Tensor, ParallelBeam], torch.Tensor], stack: torch.Tensor, beam: ParallelBeam
) -> torch.Tensor:
    """Apply a function of stacks (N, ...) to slices or sinograms (B, C, ...), block by block for the compiled loops."""
    flat = stack.reshape(-1, *stack.shape[2:])
    blocks = flat.split(_BLOCK) if loops(_LOOPS, flat, dtypes=[torch.float32]) is not None else [flat]
    parts = [function(block, beam) for block in blocks]
    out = parts[0] if len(parts) == 1 else torch.cat(parts)
    return out.reshape(*stack.shape[:2], *out.shape[1:])


def _projected(slices: torch.Tensor, beam: ParallelBeam, needed: torch.Tensor | None = None) -> torch.Tensor:
    compiled = loops(_LOOPS, slices, dtypes=[torch.float32])
    lanes = compiled is not None and len(slices) >= _LANES
    out = _arranged(slices.new_zeros(len(slices), beam.views, beam.width), lanes)
    runs = None if compiled is None else _runs(needed, beam)
    for lines, source in zip(beam._rays, (slices, slices.transpose(1, 2)), strict=True):
        padded = _arranged(torch.nn.functional.pad(source, (1, 2)), lanes)
        if compiled is not None:
            kernel = compiled.project_lanes if lanes else compiled.project_lines
            table = (lines.start, lines.shift, lines.step, lines.weight, lines.views)
            over_rows(partial(kernel, padded.numpy(), out.numpy(), *table, runs), len(lines.views), 8)
            continue
        flat = padded.flatten(1)
        for crossings in crossings_of(lines, padded.shape, beam.width, padded):
            near, far = (crossings.taken(flat, step) for step in (0, 1))
            sums = torch.lerp(near, far, crossings.fraction).sum(2)
            out.index_copy_(1, crossings.views, sums * crossings.weight[:, None])
    return out.permute(2, 0, 1) if lanes else out


def _runs(needed: torch.Tensor | None, beam: ParallelBeam) -> np.ndarray:
    """First and last (exclusive) detector of each run of needed ones: (views, runs, 2), empty ones at the end."""
    if needed is None:
        return np.tile(np.array([0, beam.width]), (beam.views, 1, 1))
    edges = np.diff(needed.cpu().numpy().astype(np.int8), axis=1, prepend=0, append=0)
    (views, first), (_, last) = np.nonzero(edges > 0), np.nonzero(edges < 0)
    count = np.bincount(views, minlength=beam.views)
    runs = np.zeros((beam.views, max(1, count.max()), 2), np.int64)
    runs[views, np.arange(len(views)) - np.repeat(count.cumsum() - count, count)] = np.stack([first, last], 1)
    return runs


def _spread(sinograms: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    compiled = loops(_LOOPS, sinograms, dtypes=[torch.float32])
    lanes = compiled is not None and len(sinograms) >= _LANES
    given = _arranged(sinograms, lanes)
    parts = []
    for lines, (count, n) in zip(beam._rays, (beam.shape, beam.shape[::-1]), strict=True):
        padded = _arranged(sinograms.new_zeros(len(sinograms), count, n + 3), lanes)
        if compiled is not None:
            kernel = compiled.spread_lanes if lanes else compiled.spread_lines
            fixed = (given.numpy(), padded.numpy(), lines.start, lines.shift, lines.step, lines.weight, lines.views)
            over_rows(partial(kernel, *fixed), count, 8)
        else:
            flat = padded.view(len(padded), -1)
            for crossings in crossings_of(lines, padded.shape, beam.width, given):
                value = (given.index_select(1, crossings.views) * crossings.weight[:, None])[:, :, None]
                for step, share in ((0, 1 - crossings.fraction), (1, crossings.fraction)):
                    flat.index_add_(1, crossings.index.flatten() + step, (value * share).flatten(1))
        parts.append((padded.permute(2, 0, 1) if lanes else padded)[..., 1:-2])
    return parts[0] + parts[1].transpose(1, 2)


def _arranged(stack: torch.Tensor, lanes: bool) -> torch.Tensor:
    """Contiguous, with the slices first or last, as the loops expect."""
    return (stack.permute(1, 2, 0) if lanes else stack).contiguous()


def _back_projected(filtered: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    compiled = loops(_LOOPS, filtered, dtypes=[torch.float32])
    lanes = compiled is not None and len(filtered) >= _LANES
    padded = _arranged(torch.nn.functional.pad(filtered, (1, 1)), lanes)
    (rows, columns), (dy, dx) = beam.field or beam.shape, beam.spacing
    row, column = beam._axis((rows, columns))
    cos, sin = np.cos(beam.angles) / beam.pitch, np.sin(beam.angles) / beam.pitch
    origin = (beam.width - 1) / 2 + 1 - row * dy * sin - column * dx * cos
    out = _arranged(filtered.new_zeros(len(filtered), rows, columns), lanes)
    if compiled is not None:
        kernel = compiled.back_project_lanes if lanes else compiled.back_project
        over_rows(partial(kernel, padded.numpy(), out.numpy(), origin, dy * sin, dx * cos), rows, 8)
        return out.permute(2, 0, 1) if lanes else out
    table, flat = np.stack([origin, dy * sin, dx * cos]), padded.flatten(1)
    for shadows in shadows_of(table, (rows, columns), padded.shape, padded):
        near, far = (shadows.taken(flat, step) for step in (0, 1))
        out += torch.lerp(near, far, shadows.fraction).sum(1)
    return out
