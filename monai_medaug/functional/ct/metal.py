"""Metal in CT slices: beam hardening, photon starvation and partial volume of the rays behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.acquisition import bounds, hu_change, tissue_lengths
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.spectrum import (
    BONE,
    REFERENCE,
    TISSUES,
    WATER,
    monochromatic,
    polychromatic,
    water_corrected,
)
from monai_medaug.functional.hounsfield import FLOOR_HU, PADDING_HU

SCANNER_HU = 3071.0
"""Greatest value in 12 bit."""
APERTURE = (1 / 9, 2 / 9, 3 / 9, 2 / 9, 1 / 9)
"""Weights of rays a third of an element apart: an element, seen from a focal spot as wide at the isocentre."""


def metal_artefact(
    hu: torch.Tensor,
    metal: torch.Tensor,
    white: torch.Tensor,
    attenuations: Sequence[Sequence[float | torch.Tensor]],
    photons: torch.Tensor,
    scatter: torch.Tensor,
    beam: ParallelBeam,
    window: str,
    tissue: str = "mixture",
    floor: float = FLOOR_HU,
    aperture: tuple[float, ...] = APERTURE,
    body: torch.Tensor | None = None,
) -> torch.Tensor:
    """Slices with metal inserted, as a scanner reconstructs them, in HU from -1024 to 3071.

    Rays pass tissue, bone and metal at each energy. An element counts the mean transmission over its aperture, so that
    a thin or sharp piece attenuates less than its mean length would. Behind metal few of N0 photons remain, plus a
    floor of scattered ones, and their Poisson noise (normal approximation, at least one photon) makes the starvation
    streaks. The difference of the water-corrected to the clean monochromatic line integrals is reconstructed and
    added; slices without metal stay as they are. Only rays through metal change: beam hardening of bone alone belongs
    to `beam_hardening`.

    Args:
        hu: slices (N, 1, rows, columns).
        metal: share of each pixel that is metal, (N, materials, rows, columns) of the body; on the CPU, so that its
            place is known without waiting for a GPU, or where the slices are.
        white: standard normal (N, 1, views, detectors).
        attenuations: of each material per mm at each energy, see `METALS`; of all slices or (N, 1, 1, 1).
        photons: N0 per ray, a number.
        scatter: scattered photons as a share of N0, a number.
        beam: geometry, whose field the slices are.
        window: apodisation of the reconstruction.
        tissue: model of `TISSUES` for the slices.
        floor: least value of the result; what lay below stays.
        aperture: weights of an odd number of rays, a third of an element apart; (1,) for a ray per element.
        body: the slices continued beyond their border; None if they hold it.
    """
    body = hu if body is None else body
    box = bounds(metal)
    if box is None:
        return hu
    touched = sent(metal.flatten(1).any(1), hu.device)
    metal = sent(metal[..., box[0], box[1]], hu.device, hu.dtype)
    small = beam.part(*box)
    fine = 3 if len(aperture) > 1 else 1
    rays = replace(small, detectors=beam.width * fine, detector_spacing=beam.pitch / fine).project(metal)
    taps = _neighbours(rays.movedim(1, -1)[:, None], len(aperture), fine)
    hit = taps.flatten(4).amax(-1) > 0
    share = metal.sum(1, keepdim=True).clamp_max(1)
    around = torch.where(body[..., box[0], box[1]] > PADDING_HU, body[..., box[0], box[1]], -1000.0)
    changed = [b - a for a, b in zip(TISSUES[tissue](around), _displaced_tissue(around, share, tissue), strict=True)]
    changes = small.project(torch.cat(changed)).chunk(2)
    rays_hit = hit.nonzero(as_tuple=True)  # a GPU is awaited here alone
    clean_water, clean_bone = (x[rays_hit] for x in tissue_lengths(body, beam, tissue, hit.flatten(0, 1).any(0)))
    water = (clean_water + changes[0][rays_hit] / WATER[REFERENCE]).clamp_min(0)
    bone = clean_bone + changes[1][rays_hit] / BONE[REFERENCE]
    lengths = taps[rays_hit].unbind(1)  # of each material
    each = [[mu.flatten()[rays_hit[0]] if torch.is_tensor(mu) else mu for mu in own] for own in attenuations]
    transmitted = torch.zeros_like(water)
    for k, weight in enumerate(aperture):
        metals = zip((length[:, k] for length in lengths), each, strict=True)
        through = polychromatic([(water, WATER), (bone, BONE), *metals])
        transmitted.add_(through.neg_().exp_(), alpha=weight)
    counts = photons.reshape(-1) * (transmitted + scatter.reshape(-1))
    counts = (counts + torch.sqrt(counts) * white[rays_hit]).clamp_min(1)
    seen = water_corrected(torch.log(photons.reshape(-1) / counts))
    change = torch.zeros_like(taps[..., 0, 0])
    change[rays_hit] = seen - monochromatic(clean_water, clean_bone)
    added = hu_change(change, beam, window)
    new = torch.maximum((hu + added).clamp_max(SCANNER_HU), hu.clamp_max(floor))
    return torch.where(touched.reshape(-1, 1, 1, 1), new, hu)


def _displaced_tissue(hu: torch.Tensor, share: torch.Tensor, tissue: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Attenuation of soft tissue and bone where metal takes its share of the pixels."""
    return TISSUES[tissue](torch.lerp(hu, torch.full_like(hu, -1000.0), share))


def _neighbours(rays: torch.Tensor, count: int, step: int) -> torch.Tensor:
    """For each element the ``count`` rays about its middle one, of ``step`` per element: (..., elements, M, count).

    Of rays (..., step * elements, M).
    """
    side = (count - step) // 2
    return torch.nn.functional.pad(rays, (0, 0, side, side)).unfold(-2, count, step)
