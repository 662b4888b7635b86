"""Metal artefact reduction: the rays behind metal interpolated, with or without a prior, and reconstructed.

A ray through metal is too dark, hardened and noisy. In each view these rays, the trace, are replaced along the
detector, never from view to view: linearly (LI: W. A. Kalender, R. Hebel & J. Ebersberger, Radiology 1987), or after
division by the line integrals of a prior, which are flat where the prior is right, and multiplied again (NMAR: E. Meyer
et al., Med. Phys. 2010). `sinogram_without_metal` does so with measured rays. `without_metal` works on slices alone: a
slice and its streaks are what was measured, so that rays of its reprojection beside the trace are as good. Only the
difference within the trace is reconstructed and added: what other rays say of the slice stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch.nn import functional

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.acquisition import bounds, hu_change
from monai_medaug.functional.ct.metal_hardening import hardening_fitted
from monai_medaug.functional.ct.metal_judgement import artefact_strength, beside_metal, share_to_make
from monai_medaug.functional.ct.metal_mask import grown
from monai_medaug.functional.ct.prior import filled, smoothed, tissue_prior
from monai_medaug.functional.ct.projection import ParallelBeam, hu_to_attenuation
from monai_medaug.functional.hounsfield import AIR_HU, PADDING_HU

METHODS = ("nmar", "li")
RIM_MM = 1.5
"""Blur of the metal's edge, by which the mask grows for the trace."""
_WINDOW = "ramp"  # an apodised one would leave the fine part of the streaks
_GIVEN = 0.65  # share of the rays that follow the given slice's prior
_FLOOR = 0.2  # added to line integrals before the division, so that noise of short rays is not blown up
_BODY, _SPARSE = 0.1, 4  # line integral from which a ray passes the body, as every so manieth says
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
    return _trace_of(_ways([metal], beam)[0], beam)


def _ways(masks: list[torch.Tensor], beam: ParallelBeam) -> list[torch.Tensor]:
    """Ways of the rays in mm through masks (N, 1, rows, columns), of which the last holds the others."""
    everything = slice(0, masks[0].shape[2]), slice(0, masks[0].shape[3])
    box = bounds(masks[-1]) if masks[0].device.type == "cpu" else everything  # a GPU is not awaited
    if box is None:
        return [torch.zeros((len(m), 1, beam.views, beam.width), device=m.device) for m in masks]
    inside = torch.cat([m[..., box[0], box[1]] for m in masks]).float()
    return list(beam.part(*box).project(inside).chunk(len(masks)))


def _trace_of(way: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """The trace of what rays have a way through."""
    return _and_neighbours(way > 1e-3 * beam.pitch)


def _and_neighbours(rays: torch.Tensor) -> torch.Tensor:
    """Rays (N, 1, views, detectors) of bool and those next to one."""
    wide = functional.pad(rays, (1, 1))
    return wide[..., :-2] | rays | wide[..., 2:]


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
    edges: torch.Tensor | None = None,
) -> Reduction:
    """Slices with the artefacts of metal reduced; the metal itself and padding stay as they are.

    The metal and its rim of 1.5 mm are filled from around and reprojected with the slice. LI gives the first image,
    NMAR with a `tissue_prior` of that the second, and `artefact_strength` tells how to go on:

    - A strong artefact: the result is the image of the method.
    - A mild one, where interpolation costs more than it gains: `share_to_make` of the change is made, so that the
      result is hardly worse than the given slice anywhere. With NMAR, the given slice is the better prior then, and the
      change is the mean of NMAR with its prior and of NMAR with that of the slice after `hardening_fitted` to the
      second image.

    Between them both are mixed.

    Args:
        hu: slices (N, 1, rows, columns).
        metal: bool of this shape.
        beam: geometry, whose field the slices are.
        method: ``"nmar"`` or ``"li"``.
        split: add the finest details of the given slices near the metal (frequency split: E. Meyer et al., Med. Phys.
            2012): sharper edges, and more of the streaks.
        body: the slices continued beyond their border; None if they hold it.
        edges: bool of this shape, where the blur of the metal is seen, which belongs to the rim.
    """
    body, inner = _around(hu, body)
    outside = is_padding(hu)
    padding = _padded(outside, body)
    masked = _padded(metal, body)
    wide = grown(masked if edges is None else masked | _padded(edges, body), beam.spacing, RIM_MM)
    metal_way, wide_way = _ways([masked, wide], beam)
    trace = _trace_of(wide_way, beam)
    start = filled(torch.where(padding, AIR_HU, body), wide, beam.spacing)
    needed = _and_neighbours(trace).flatten(0, 1).any(0)
    rays = beam.project(hu_to_attenuation(start), needed)

    scan = _Scan(start, wide, metal_way, wide_way, rays, trace, needed, beam, inner)
    linear = scan.reconstructed(sinogram_without_metal(rays, trace))
    new, weight = _normalised(scan, linear) if method == "nmar" else _guarded(scan, linear)
    new = beside_metal(new, hu, scan.rim, beam.spacing)
    if split:
        new = _split(new, hu, metal, beam.spacing)
    share = trace.double().mean((1, 2, 3)) / _share_through(start, beam)
    return Reduction(torch.where(metal | outside, hu, new), share.clamp_max(1), weight)


def _share_through(body: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """The share of all rays that pass the body, (N,), by every fourth in both directions."""
    views, detectors = (-(-n // _SPARSE) for n in (beam.views, beam.width))
    few = replace(beam, views=views, detectors=detectors, detector_spacing=_SPARSE * beam.pitch)
    return (few.project(hu_to_attenuation(body)) > _BODY).double().mean((1, 2, 3)).clamp_min(1e-6)


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


class _Scan(NamedTuple):
    """Slices with metal filled, and the rays through them; ``inner`` is where the given slices lie.

    Ways are those through the metal, and through it and its rim. Rays hold values where ``needed``, bool (views,
    detectors): in the trace of any slice and next to it.
    """

    start: torch.Tensor
    wide: torch.Tensor
    metal_way: torch.Tensor
    wide_way: torch.Tensor
    rays: torch.Tensor
    trace: torch.Tensor
    needed: torch.Tensor
    beam: ParallelBeam
    inner: tuple

    def only(self, rows: list[int]) -> _Scan:
        """Some of the slices."""
        if len(rows) == len(self.rays):
            return self
        index = sent(rows, self.rays.device)
        names = ("start", "wide", "metal_way", "wide_way", "rays", "trace")
        return self._replace(**{name: getattr(self, name).index_select(0, index) for name in names})

    @property
    def given(self) -> torch.Tensor:
        return self.start[self.inner]

    @property
    def rim(self) -> torch.Tensor:
        return self.wide[self.inner]

    def normalised(self, *guesses: torch.Tensor) -> list[torch.Tensor]:
        """The rays after NMAR with the prior of each guess of the slices."""
        priors = []
        for guess in guesses:
            whole = self.start.clone()
            whole[self.inner] = guess
            priors.append(hu_to_attenuation(tissue_prior(whole, self.wide, self.beam.spacing)))
        lines = self.beam.project(torch.cat(priors), self.needed).chunk(len(guesses))
        return [sinogram_without_metal(self.rays, self.trace, prior) for prior in lines]

    def reconstructed(self, replaced: torch.Tensor) -> torch.Tensor:
        """The slices with the rays of the trace replaced."""
        return self.given + hu_change(torch.where(self.trace, replaced - self.rays, 0.0), self.beam, _WINDOW)

    def mild(self, replaced: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices after the correction of a mild artefact, and the share of it that is made."""
        change = hardening_fitted(replaced - self.rays, self.metal_way, self.wide_way, self.rays)
        own, softer = self.normalised(self.given, self.reconstructed(self.rays + change))
        new = self.reconstructed(_GIVEN * own + (1 - _GIVEN) * softer)
        share = share_to_make(self.given, new, self.rim, self.beam.spacing)
        return torch.lerp(self.given, new, share), share.mean((1, 2, 3))


def _guarded(scan: _Scan, linear: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices after LI of which, where the artefact is mild, a share is made, and the mean of that."""
    strength = artefact_strength(scan.given, linear, scan.rim, scan.beam.spacing)
    share = share_to_make(scan.given, linear, scan.rim, scan.beam.spacing)
    share = torch.lerp(share, torch.ones_like(share), strength[:, None, None, None])
    return torch.lerp(scan.given, linear, share), share.mean((1, 2, 3))


def _normalised(scan: _Scan, linear: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices after NMAR from those after LI, and the mean share of the change that is made."""
    (replaced,) = scan.normalised(linear)
    new = scan.reconstructed(replaced)
    strength = artefact_strength(scan.given, new, scan.rim, scan.beam.spacing)
    weight = torch.ones_like(strength)
    rows = [row for row, s in enumerate(strength.tolist()) if s < 1]
    if rows:
        index = sent(rows, new.device)
        slices, share = scan.only(rows).mild(replaced.index_select(0, index))
        strong = strength.index_select(0, index)
        mixed = slices.lerp(new.index_select(0, index), strong[:, None, None, None])
        new, weight = new.index_copy(0, index, mixed), weight.index_copy(0, index, share.lerp(weight[index], strong))
    return new, weight


def _split(new: torch.Tensor, hu: torch.Tensor, metal: torch.Tensor, spacing: tuple[float, float]) -> torch.Tensor:
    """Corrected slices with fine details of the given ones, fading with the distance from the metal."""
    near = smoothed(metal.to(new.dtype), spacing, _SPLIT_REACH_MM / 2)
    near = (near / near.amax((2, 3), keepdim=True).clamp_min(1e-12)).clamp(0, 1)
    given = torch.where(metal, new, hu)
    return new + near * ((given - smoothed(given, spacing, _SPLIT_MM)) - (new - smoothed(new, spacing, _SPLIT_MM)))
