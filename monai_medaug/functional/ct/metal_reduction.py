"""Metal artefact reduction: the rays behind metal interpolated, with or without a prior, and reconstructed.

A ray through metal is too dark, hardened and noisy. In each view these rays, the trace, are replaced along the
detector, never from view to view: linearly (LI: W. A. Kalender, R. Hebel & J. Ebersberger, Radiology 1987), or after
division by the line integrals of a prior, which are flat where the prior is right, and multiplied again (NMAR: E. Meyer
et al., Med. Phys. 2010). `sinogram_without_metal` does so with measured rays. `without_metal` works on slices alone: a
slice and its streaks are what was measured, so that rays of its reprojection beside the trace are as good. Only the
difference within the trace is reconstructed and added: what other rays say of the slice stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from monai_medaug.functional.ct.acquisition import bounds, hu_change
from monai_medaug.functional.ct.metal_mask import grown
from monai_medaug.functional.ct.prior import filled, smoothed, tissue_prior
from monai_medaug.functional.ct.projection import ParallelBeam, hu_to_attenuation
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

METHODS = ("nmar", "li")
RIM_MM = 1.5
"""Blur of the metal's edge, by which the mask grows for the trace."""
_WINDOW = "ramp"  # an apodised one would leave the fine part of the streaks
_FLOOR = 0.2  # added to line integrals before the division, so that noise of short rays is not blown up
_BODY = 0.1  # line integral from which a ray passes the body
_DOUBT = 1.0  # times the error of the interpolation beside the trace that it is taken to have in it
_VIEWS_ABOUT = 15
_SPLIT_MM, _SPLIT_REACH_MM = 1.2, 15.0


class Reduction(NamedTuple):
    """Corrected slices, and figures of each: (N,) in [0, 1].

    Attributes:
        slices: (N, 1, rows, columns).
        rays: share of the rays through the body that were interpolated.
        weight: mean weight of the interpolation against the given rays.
    """

    slices: torch.Tensor
    rays: torch.Tensor
    weight: torch.Tensor


def metal_trace(metal: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """The rays that pass metal, or run next to one that does: (N, 1, views, detectors) of bool.

    Args:
        metal: bool (N, 1, rows, columns).
        beam: geometry.
    """
    box = bounds(metal)
    if box is None:
        return torch.zeros((len(metal), 1, beam.views, beam.width), dtype=torch.bool, device=metal.device)
    lengths = beam.part(*box).project(metal[..., box[0], box[1]].float())
    hit = (lengths > 1e-3 * beam.pitch).float()
    return functional.max_pool2d(hit, (1, 3), 1, (0, 1)) > 0


def interpolated(sinogram: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
    """Missing values linear between the nearest ones of the same view; 0 beyond the last detector.

    Args:
        sinogram: (..., detectors).
        missing: bool of this shape.

    Example:
        >>> view = torch.tensor([0.0, 2.0, 9.0, 9.0, 5.0])
        >>> interpolated(view, view > 8)
        tensor([0., 2., 3., 4., 5.])
    """
    n = sinogram.shape[-1]
    values, hidden = functional.pad(sinogram, (1, 1)), functional.pad(missing, (1, 1))
    place = torch.arange(n + 2, device=sinogram.device)
    before = torch.where(hidden, 0, place).cummax(-1).values
    after = torch.where(hidden, n + 1, place).flip(-1).cummin(-1).values.flip(-1)
    share = (place - before).to(sinogram) / (after - before).clamp_min(1)
    line = torch.lerp(values.gather(-1, before), values.gather(-1, after), share)
    return torch.where(hidden, line, values)[..., 1:-1]


def sinogram_without_metal(
    sinogram: torch.Tensor, trace: torch.Tensor, prior: torch.Tensor | None = None
) -> torch.Tensor:
    """Measured line integrals with those of a trace interpolated: NMAR with the line integrals of a prior, else LI.

    Args:
        sinogram: line integrals (N, 1, views, detectors), parallel or fan.
        trace: bool of this shape, where metal was met.
        prior: line integrals of a slice without metal, such as `tissue_prior`, along the same rays.

    Example:
        >>> rays = torch.tensor([2.0, 4.0, 9.0, 8.0]).reshape(1, 1, 1, 4)
        >>> prior = torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
        >>> float(sinogram_without_metal(rays, rays > 8, prior)[..., 2].round(decimals=1))
        5.9
    """
    if prior is None:
        return interpolated(sinogram, trace)
    scale = prior.clamp_min(0) + _FLOOR
    return torch.where(trace, interpolated((sinogram + _FLOOR) / scale, trace) * scale - _FLOOR, sinogram)


def without_metal(
    hu: torch.Tensor,
    metal: torch.Tensor,
    beam: ParallelBeam,
    method: str = "nmar",
    rounds: int = 1,
    split: bool = False,
    body: torch.Tensor | None = None,
) -> Reduction:
    """Slices with the artefacts of metal reduced; the metal itself and padding stay as they are.

    The metal and its rim of 1.5 mm are filled from around and reprojected with the slice. The first image is that of
    LI; NMAR takes a `tissue_prior` from it, a further round one from the result before.

    Never worse: the same interpolation is tried on known rays, those beside the trace at the distance of its width. If
    its mean square error there is e, and d the mean square by which it changes the trace of a view, a share of max(0, 1
    - e / d) of the change is made, which is best where the errors of given and interpolated rays are unrelated.

    Args:
        hu: slices (N, 1, rows, columns).
        metal: bool of this shape.
        beam: geometry, whose field the slices are.
        method: ``"nmar"`` or ``"li"``.
        rounds: priors, one after another.
        split: add the finest details of the given slices near the metal (frequency split: E. Meyer et al., Med. Phys.
            2012): sharper edges, and more of the streaks.
        body: the slices continued beyond their border; None if they hold it.
    """
    body, inner = _around(hu, body)
    outside = is_padding(hu)
    padding = _padded(outside, body)
    masked = _padded(metal, body)
    wide = grown(masked, beam.spacing, RIM_MM)
    trace = metal_trace(wide, beam)
    start = filled(torch.where(padding, AIR_HU, body), wide, beam.spacing)
    rays = beam.project(hu_to_attenuation(start))

    def reconstructed(replaced: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return start[inner] + hu_change(torch.where(trace, (replaced - rays) * weight, 0.0), beam, _WINDOW)

    replaced, weight = sinogram_without_metal(rays, trace), _trust(rays, trace, None)
    new = reconstructed(replaced, weight if method == "li" else torch.ones_like(weight))
    for number in range(rounds if method == "nmar" else 0):
        guess = start.clone()
        guess[inner] = new
        prior = beam.project(hu_to_attenuation(tissue_prior(guess, wide, beam.spacing)))
        replaced, weight = sinogram_without_metal(rays, trace, prior), _trust(rays, trace, prior)
        new = reconstructed(replaced, weight if number == rounds - 1 else torch.ones_like(weight))
    if split:
        new = _split(new, hu, metal, beam.spacing)
    through = trace | (rays > _BODY)
    share = trace.sum((1, 2, 3)) / through.sum((1, 2, 3)).clamp_min(1)
    mean = (weight * trace).sum((1, 2, 3)) / trace.sum((1, 2, 3)).clamp_min(1)
    return Reduction(torch.where(metal | outside, hu, new), share, mean)


def is_padding(hu: torch.Tensor) -> torch.Tensor:
    """Where slices (N, 1, rows, columns) are padding: the value of a corner at -1400 HU or below, and pixels next to it.

    Dark streaks beside metal reach such values too and are none.

    Example:
        >>> hu = torch.tensor([[-3024.0, -2000.0, -1000.0], [-1000.0, -1500.0, -1000.0]])
        >>> is_padding(hu[None, None])[0, 0].int()
        tensor([[1, 1, 0],
                [0, 1, 0]], dtype=torch.int32)
    """
    low = hu <= PADDING_HU
    corners = hu[..., [0, 0, -1, -1], [0, -1, 0, -1]].flatten(1)
    same = torch.zeros_like(low)
    for value in corners.unbind(1):
        same |= hu == value.reshape(-1, 1, 1, 1)
    return low & (functional.max_pool2d((same & low).float(), 3, 1, 1) > 0)


def _around(hu: torch.Tensor, body: torch.Tensor | None) -> tuple[torch.Tensor, tuple]:
    """The whole body, and where in it the slices lie."""
    if body is None:
        return hu, (...,)
    spans = [slice((big - n) // 2, (big - n) // 2 + n) for big, n in zip(body.shape[2:], hu.shape[2:], strict=True)]
    return body, (..., *spans)


def _padded(mask: torch.Tensor, body: torch.Tensor) -> torch.Tensor:
    """A mask of slices as one of the bodies that hold them."""
    rows, columns = ((big - n) // 2 for big, n in zip(body.shape[2:], mask.shape[2:], strict=True))
    return functional.pad(mask, (columns, columns, rows, rows)) if rows or columns else mask


def _trust(rays: torch.Tensor, trace: torch.Tensor, prior: torch.Tensor | None) -> torch.Tensor:
    """Weight of the interpolation in each view, (N, 1, views, 1), see `without_metal`."""
    new = sinogram_without_metal(rays, trace, prior)
    change = _mean_square(new - rays, trace)
    seen = trace.any(-1).sum((1, 2)).clamp_min(1)
    starts = (trace & ~functional.pad(trace, (1, 0))[..., :-1]).sum((1, 2, 3)).clamp_min(1)
    width = trace.sum((1, 2, 3)) / starts  # of one piece
    step = (width * (starts / seen).clamp(1, 1.5)).ceil().long() + 1
    place = torch.arange(trace.shape[-1], device=trace.device)
    error, count = torch.zeros_like(change[0]), torch.zeros_like(change[1])
    for sign in (-1, 1):
        index = place - sign * step.reshape(-1, 1, 1, 1)
        inside = (index >= 0) & (index < len(place))
        moved = trace.gather(-1, index.clamp(0, len(place) - 1).expand(trace.shape)) & inside
        guess = sinogram_without_metal(rays, trace | moved, prior)
        squares, number = _mean_square(guess - rays, moved & ~trace & (rays > _BODY))
        error, count = error + squares, count + number
    e, d = (_over_views(s) / _over_views(n).clamp_min(1e-6) for s, n in ((error, count), change))
    return torch.where(d > 0, 1 - _DOUBT * e / d.clamp_min(1e-12), 0.0).clamp(0, 1)


def _mean_square(values: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of squares and count in each view, (N, 1, views, 1)."""
    return (values.square() * where).sum(-1, keepdim=True), where.sum(-1, keepdim=True).to(values.dtype)


def _over_views(values: torch.Tensor) -> torch.Tensor:
    """Means over neighbouring views, (N, 1, views, 1); half a turn ends where it begins."""
    half = min(_VIEWS_ABOUT // 2, values.shape[2] - 1)
    around = functional.pad(values.squeeze(-1), (half, half), mode="circular")
    return functional.avg_pool1d(around, 2 * half + 1, 1)[..., None]


def _split(new: torch.Tensor, hu: torch.Tensor, metal: torch.Tensor, spacing: tuple[float, float]) -> torch.Tensor:
    """Corrected slices with fine details of the given ones, fading with the distance from the metal."""
    near = smoothed(metal.to(new.dtype), spacing, _SPLIT_REACH_MM / 2)
    near = (near / near.amax((2, 3), keepdim=True).clamp_min(1e-12)).clamp(0, 1)
    given = torch.where(metal, new, hu)
    return new + near * ((given - smoothed(given, spacing, _SPLIT_MM)) - (new - smoothed(new, spacing, _SPLIT_MM)))
