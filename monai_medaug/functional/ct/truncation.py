"""Slices whose border cuts through the body, as training crops and narrow fields of view do."""

from __future__ import annotations

import math

import torch

from monai_medaug.functional.ct.hu import BODY_HU
from monai_medaug.functional.ct.projection import ParallelBeam, at_elements
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

BODY_MM = 280.0
"""Water-equivalent diameter of an adult's trunk; a head with its skull has about 200."""
_TOUCHING = 0.02  # least share of the border that is tissue; less is a table, a line or noise
_BEYOND_MM = 20.0  # at least this far the slice goes on, for a body that is wider than the assumed one
_FADE_MM = 10.0  # over which border values become water or air, and over which the assumed body ends
_LUNG_HU = -900.0  # air lies below, lung above
_AROUND_MM = 20.0  # width over which border values decide between body and air
_COARSE_MM = 4.0  # pixels for what is smooth
_WORTH = 3  # as many times larger than the slice's own; less saves little and errs more
_WIDE = 2  # detector elements are as many times wider for it


def touches_border(slices: torch.Tensor) -> list[bool]:
    """For each sample, whether tissue lies at the border of one of its slices (samples, ..., rows, columns).

    Example:
        >>> touches_border(torch.stack([torch.zeros(1, 8, 8), torch.full((1, 8, 8), -1000.0)]))
        [True, False]
    """
    border = torch.cat([slices[..., 0, :], slices[..., -1, :], slices[..., 0], slices[..., -1]], dim=-1)
    touching = (border > BODY_HU).sum(-1) > _TOUCHING * border.shape[-1]
    return touching.flatten(1).any(1).tolist()


def margins(shape: tuple[int, int], spacing: tuple[float, float], body_mm: float) -> tuple[int, int]:
    """Rows and columns to add at each side."""
    rows, columns = (math.ceil(max((body_mm - n * s) / 2, _BEYOND_MM) / s) for n, s in zip(shape, spacing, strict=True))
    return rows, columns


def reach(shape: tuple[int, int], spacing: tuple[float, float], body_mm: float) -> float:
    """Diameter in mm of the circle that holds a continued slice."""
    return max(body_mm, math.hypot(*(n * s for n, s in zip(shape, spacing, strict=True))) + 2 * _BEYOND_MM)


def continued(slices: torch.Tensor, spacing: tuple[float, float], body_mm: float) -> torch.Tensor:
    """Slices continued beyond their border, within a disc of the assumed body and at least 20 mm.

    Border values go over into water, or into air where the border is air, over a distance of 10 mm: what lies close
    resembles the border, and the body's width is that of a plausible patient.

    Args:
        slices: in HU, (N, 1, rows, columns); padding counts as air.
        spacing: in mm along rows and columns.
        body_mm: diameter of the body.

    Returns:
        (N, 1, rows + 2 m, columns + 2 n) with the `margins` m and n.
    """
    shape = (slices.shape[2], slices.shape[3])
    extra = margins(shape, spacing, body_mm)
    clean = torch.where(slices > PADDING_HU, slices, AIR_HU)
    body = (clean > _LUNG_HU).to(slices.dtype)
    for axis in (0, 1):
        half = round(_AROUND_MM / 2 / spacing[axis])
        size, pad = ((2 * half + 1, 1), (half, 0)) if axis == 0 else ((1, 2 * half + 1), (0, half))
        body = torch.nn.functional.avg_pool2d(body, size, 1, pad, count_include_pad=False)
    sides = (extra[1], extra[1], extra[0], extra[0])
    edge, far = (torch.nn.functional.pad(x, sides, mode="replicate") for x in (clean, (1 - body) * AIR_HU))
    across = [
        (torch.arange(n + 2 * m, device=slices.device, dtype=slices.dtype) - m - (n - 1) / 2).abs() * s
        for n, m, s in zip(shape, extra, spacing, strict=True)
    ]
    outside = [(x - (n - 1) / 2 * s).clamp_min(0) for x, n, s in zip(across, shape, spacing, strict=True)]
    away = torch.hypot(outside[0][:, None], outside[1])
    inwards = torch.maximum(body_mm / 2 - torch.hypot(across[0][:, None], across[1]), _BEYOND_MM - away)
    share = (inwards / _FADE_MM).clamp(0, 1)
    beyond = AIR_HU + share * (torch.lerp(far, edge, torch.exp(-away / _FADE_MM)) - AIR_HU)
    return torch.where(away > 0, beyond, edge)


def continued_lines(image: torch.Tensor, beam: ParallelBeam, needed: torch.Tensor | None = None) -> torch.Tensor:
    """Line integrals as by `ParallelBeam.project`, for slices that go on beyond the beam's field as `continued` does.

    The slices, smoothed over some 10 mm, are seen with pixels of about 4 mm; what is left of the field and 10 mm about
    it, with the slice's own. Beyond, where they are smooth, nothing is left. A reconstruction of crops of real scans
    differs by 0.4 to 1.5 HU RMS from that of all the pixels: use it where only changes of the line integrals matter.
    Where pixels are larger than 1.6 mm it is `ParallelBeam.project` itself.

    Args:
        image: (B, C, rows, columns), 0 at the border.
        beam: with the field in the middle; without one it is `ParallelBeam.project`.
        needed: rays that matter, see there.
    """
    factors = [max(1, round(_COARSE_MM / s)) for s in beam.spacing]
    if beam.field is None or max(factors) < _WORTH:
        return beam.project(image, needed)
    shape = (image.shape[2], image.shape[3])
    count = [-(-n // f) for n, f in zip(shape, factors, strict=True)]
    missing = [c * f - n for c, f, n in zip(count, factors, shape, strict=True)]
    coarse = torch.nn.functional.pad(image, (0, missing[1], 0, missing[0]))
    coarse = torch.nn.functional.avg_pool2d(coarse, factors)
    for _ in range(2):
        coarse = torch.nn.functional.avg_pool2d(coarse, 3, 1, 1)
    wide = ParallelBeam(
        (count[0], count[1]),
        (beam.spacing[0] * factors[0], beam.spacing[1] * factors[1]),
        beam.views,
        math.ceil((beam.width - 1) / _WIDE) + 3,
        beam.pitch * _WIDE,
        (beam.centre[0] - missing[0] / 2 * beam.spacing[0], beam.centre[1] - missing[1] / 2 * beam.spacing[1]),
    )
    some = []  # coarse rows and columns that hold the field and what is about it
    for n, own, s, f, c in zip(shape, beam.field, beam.spacing, factors, count, strict=True):
        first = (n - own) // 2 - round(_FADE_MM / s)
        some.append(slice(max(1, first // f), min(c - 1, -(-(n - first) // f))))
    rows, columns = (slice(a.start * f, a.stop * f) for a, f in zip(some, factors, strict=True))
    around = coarse[..., some[0].start - 1 : some[0].stop + 1, some[1].start - 1 : some[1].stop + 1]
    smooth = torch.nn.functional.interpolate(around, scale_factor=[float(f) for f in factors], mode="bilinear")
    smooth = smooth[..., factors[0] : -factors[0], factors[1] : -factors[1]]
    left = beam.part(rows, columns).project(image[..., rows, columns] - smooth, needed)
    return left + at_elements(wide.project(coarse), wide, beam)
