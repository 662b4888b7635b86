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
_SOFT_HU = (-990.0, 40.0)  # of a prior: soft tissue and lung, whose classes have one value each
_LOCAL_MM = 6.0  # details finer than about this are judged, so that fat and muscle don't count
_NEAR_MM, _TREMOR_HU2 = 20.0, 10.0  # over which a change is judged, and the mean square from which it is
_SPLIT_MM, _SPLIT_REACH_MM = 1.2, 15.0


class Reduction(NamedTuple):
    """Corrected slices, and figures of each: (N,) in [0, 1].

    Attributes:
        slices: (N, 1, rows, columns).
        rays: share of the rays through the body that were interpolated.
        weight: mean share of the change that was made.
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
        6.0
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
    split: bool = False,
    body: torch.Tensor | None = None,
) -> Reduction:
    """Slices with the artefacts of metal reduced; the metal itself and padding stay as they are.

    The metal and its rim of 1.5 mm are filled from around and reprojected with the slice. LI gives the first image.
    NMAR is tried with a `tissue_prior` of that image, and with one of the given slice, which is better where the metal
    is mild and hides bone: the result that is flatter in soft tissue and lung is taken.

    Never worse (NMAR): with the given slice x, its change c and the flat tissue p of the result, the share t of the
    change that minimises the sum of (x + t c - p)² over the soft tissue around is made, in [0, 1]: a change that adds
    more streaks than it removes has t = 0. Sums are weighted by a Gaussian of 20 mm, over differences less their mean
    around, by one of 6 mm.

    Args:
        hu: slices (N, 1, rows, columns).
        metal: bool of this shape.
        beam: geometry, whose field the slices are.
        method: ``"nmar"`` or ``"li"``.
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

    def reconstructed(replaced: torch.Tensor) -> torch.Tensor:
        return start[inner] + hu_change(torch.where(trace, replaced - rays, 0.0), beam, _WINDOW)

    given, rim = start[inner], wide[inner]
    new = reconstructed(sinogram_without_metal(rays, trace))
    weight = torch.ones_like(rays[:, 0, 0, 0])
    if method == "nmar":
        tried = []
        for guess in (new, given):
            whole = start.clone()
            whole[inner] = guess
            prior = beam.project(hu_to_attenuation(tissue_prior(whole, wide, beam.spacing)))
            tried.append(reconstructed(sinogram_without_metal(rays, trace, prior)))
        new, flat, soft = _flattest(tried, rim, beam.spacing)
        made = _share_to_make(given, new - given, flat, soft, beam.spacing)
        new, weight = torch.lerp(given, new, made), made.mean((1, 2, 3))
    if split:
        new = _split(new, hu, metal, beam.spacing)
    through = trace | (rays > _BODY)
    share = trace.sum((1, 2, 3)) / through.sum((1, 2, 3)).clamp_min(1)
    return Reduction(torch.where(metal | outside, hu, new), share, weight)


def is_padding(hu: torch.Tensor) -> torch.Tensor:
    """Where slices (N, 1, rows, columns) are padding: pixels of the value of a corner, -1400 HU or less, and next ones.

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


def _flattest(
    tried: list[torch.Tensor], rim: torch.Tensor, spacing: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each slice the one of two results that is nearer to flat tissue, where both find soft tissue or lung.

    With that flat tissue, and where it is.
    """
    flats = [tissue_prior(slices, rim, spacing) for slices in tried]
    softs = [(flat > _SOFT_HU[0]) & (flat < _SOFT_HU[1]) & ~rim for flat in flats]
    common = softs[0] & softs[1]
    first, second = (
        ((slices - flat).square() * common).sum((1, 2, 3), keepdim=True)
        for slices, flat in zip(tried, flats, strict=True)
    )
    return tuple(torch.where(second < first, b, a) for a, b in (tried, flats, softs))  # type: ignore[return-value]


def _share_to_make(
    given: torch.Tensor, change: torch.Tensor, flat: torch.Tensor, soft: torch.Tensor, spacing: tuple[float, float]
) -> torch.Tensor:
    """The share of a change in each pixel that brings soft tissue around nearest to flat, see `without_metal`."""
    weight = soft.to(given.dtype)
    around = smoothed(weight, spacing, _LOCAL_MM).clamp_min(1e-3)
    excess, fine = ((x - smoothed(x * weight, spacing, _LOCAL_MM) / around) * weight for x in (flat - given, change))
    wanted, made = excess * fine, fine.square()
    whole = wanted.sum((2, 3), keepdim=True) / made.sum((2, 3), keepdim=True).clamp_min(1e-6)
    near = smoothed(wanted, spacing, _NEAR_MM) + _TREMOR_HU2 * whole.clamp(0, 1)
    return (near / (smoothed(made, spacing, _NEAR_MM) + _TREMOR_HU2)).clamp(0, 1)


def _split(new: torch.Tensor, hu: torch.Tensor, metal: torch.Tensor, spacing: tuple[float, float]) -> torch.Tensor:
    """Corrected slices with fine details of the given ones, fading with the distance from the metal."""
    near = smoothed(metal.to(new.dtype), spacing, _SPLIT_REACH_MM / 2)
    near = (near / near.amax((2, 3), keepdim=True).clamp_min(1e-12)).clamp(0, 1)
    given = torch.where(metal, new, hu)
    return new + near * ((given - smoothed(given, spacing, _SPLIT_MM)) - (new - smoothed(new, spacing, _SPLIT_MM)))
