"""Effects of a CT scan between patient and slice, as changes of the sinogram.

Reprojecting and reconstructing a slice costs tens of HU. So each function reconstructs only the *change* of the line
integrals, and the caller adds it to the slice: without change the slice stays as it is. Stacks are HU slices (N, 1,
rows, columns), per-slice parameters broadcast as (N, 1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.functional.acceleration import sent
from monai_medaug.functional.ct.projection import WATER_PER_MM, ParallelBeam, hu_to_attenuation
from monai_medaug.functional.ct.spectrum import (
    BONE,
    REFERENCE,
    TISSUES,
    WATER,
    monochromatic,
    polychromatic,
    water_corrected,
)
from monai_medaug.functional.hounsfield import PADDING_HU

FLOOR_HU, SCANNER_HU = -1024.0, 3071.0
"""Least and greatest value in 12 bit."""


def line_integrals(hu: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """Line integrals of the attenuation; padding counts as air."""
    return beam.project(hu_to_attenuation(torch.where(hu > PADDING_HU, hu, -1000.0)))


def hu_change(sinogram_change: torch.Tensor, beam: ParallelBeam, window: str) -> torch.Tensor:
    """The change in HU for a change of the line integrals."""
    return beam.fbp(sinogram_change, window) * (1000 / WATER_PER_MM)


def thinning_noise(
    hu: torch.Tensor,
    white: torch.Tensor,
    fraction: torch.Tensor,
    photons: torch.Tensor,
    electronic: torch.Tensor,
    beam: ParallelBeam,
    window: str,
) -> torch.Tensor:
    """Noise in HU that turns a scan of full dose into one at a fraction of it.

    Of N0 photons, N0 exp(-p) pass along a ray; with the electronic noise e, p has the variance exp(p) / N0 + e² exp(2
    p) / N0². At the dose fraction a, N0 becomes a N0; the difference of the two variances is inserted, for e = 0
    sigma0² (1 / a - 1) (Yu et al. 2012; Zabic et al. 2013).

    Args:
        hu: slices.
        white: standard normal (N, 1, views, detectors).
        fraction: a in (0, 1].
        photons: N0 per ray of the given scan.
        electronic: e in photons.
        beam: geometry.
        window: apodisation of the reconstruction.
    """
    transmission = torch.exp(-line_integrals(hu, beam))
    quantum = (1 / fraction - 1) / (photons * transmission)
    readout = (1 / fraction**2 - 1) * (electronic / (photons * transmission)) ** 2
    return hu_change(white * torch.sqrt(quantum + readout), beam, window)


def beam_hardening(
    hu: torch.Tensor, amount: torch.Tensor, beam: ParallelBeam, window: str, tissue: str = "mixture"
) -> torch.Tensor:
    """The cupping and dark bands of a polychromatic beam after the scanner's water correction, in HU.

    A ray through the lengths Lw of water and Lb of bone (Joseph & Spital 1978) measures ``-ln sum_e w_e exp(-mu_w,e Lw
    - mu_b,e Lb)``. The scanner maps that to the line integral of the water that would give it. The difference to the
    monochromatic line integral, times ``amount``, is reconstructed. Water alone is corrected exactly.
    """
    water, bone = tissue_lengths(hu, beam, tissue)
    measured = polychromatic([(water, WATER), (bone, BONE)])
    return hu_change(amount * (water_corrected(measured) - monochromatic(water, bone)), beam, window)


def tissue_lengths(hu: torch.Tensor, beam: ParallelBeam, tissue: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths in mm of water and of bone along each ray, from the HU of the slices and a model of `TISSUES`."""
    parts = TISSUES[tissue](torch.where(hu > PADDING_HU, hu, -1000.0))
    # one stack, so that all slices share the geometry
    water, bone = beam.project(torch.cat(parts)).chunk(2)
    return water.clamp_min(0) / WATER[REFERENCE], bone / BONE[REFERENCE]


def metal_artefact(
    hu: torch.Tensor,
    metal: torch.Tensor,
    white: torch.Tensor,
    attenuation: Sequence[float | torch.Tensor],
    photons: torch.Tensor,
    scatter: torch.Tensor,
    beam: ParallelBeam,
    window: str,
    tissue: str = "mixture",
    floor: float = FLOOR_HU,
) -> torch.Tensor:
    """Slices with metal inserted, as a scanner reconstructs them, in HU from -1024 to 3071.

    Rays pass tissue, bone and metal at each energy; behind metal few of N0 photons remain, plus a floor of scattered
    ones, and their Poisson noise (normal approximation, at least one photon) makes the starvation streaks. The
    difference of the water-corrected to the clean monochromatic line integrals is reconstructed and added; slices
    without metal stay as they are.

    Args:
        hu: slices.
        metal: share of each pixel that is metal, of the same shape.
        white: standard normal (N, 1, views, detectors).
        attenuation: of the metal per mm at each energy, see `METALS`; of all slices or (N, 1, 1, 1).
        photons: N0 per ray.
        scatter: scattered photons as a share of N0.
        beam: geometry.
        window: apodisation of the reconstruction.
        tissue: model of `TISSUES` for the slices.
        floor: least value of the result; what lay below stays.
    """
    inserted = torch.lerp(hu, torch.full_like(hu, -1000.0), metal)
    (water, clean_water), (bone, clean_bone) = (
        x.chunk(2) for x in tissue_lengths(torch.cat([inserted, hu]), beam, tissue)
    )
    clean = monochromatic(clean_water, clean_bone)
    length = beam.project(metal)
    measured = polychromatic([(water, WATER), (bone, BONE), (length, attenuation)])
    counts = photons * (torch.exp(-measured) + scatter)
    counts = torch.where(length > 0, counts + torch.sqrt(counts) * white, photons * torch.exp(-measured)).clamp_min(1)
    seen = torch.log(photons / counts)
    touched = length.flatten(1).amax(1).reshape(-1, 1, 1, 1) > 0
    # only rays through metal change: beam hardening of bone alone belongs to `beam_hardening`
    change = torch.where(length > 0, water_corrected(seen), monochromatic(water, bone)) - clean
    added = torch.where(touched, hu_change(change, beam, window), 0.0)
    lowest = hu.clamp_max(floor)
    return torch.where(touched, torch.maximum((hu + added).clamp_max(SCANNER_HU), lowest), hu)


def ring_artefact(gain: torch.Tensor, beam: ParallelBeam, window: str) -> torch.Tensor:
    """Rings in HU of detector elements with a gain error: p changes by -ln(1 + gain).

    In a full turn the element at s measures each of its lines twice, the second time as -s: opposite views are
    averaged. In half a turn it paints half a ring.

    Args:
        gain: relative gain error (N, 1, 2 views, detectors) in the views of a full turn, or in those of half a turn;
            one row stands for all views of a full turn.
        beam: geometry.
        window: apodisation of the reconstruction.
    """
    change = -torch.log1p(gain)
    if gain.shape[2] != beam.views:
        first, second = change.expand(-1, -1, 2 * beam.views, -1).chunk(2, 2)
        change = (first + second.flip(-1)) / 2
    return hu_change(change, beam, window)


def motion_artefact(
    hu: torch.Tensor, shift: torch.Tensor, turn: torch.Tensor, beam: ParallelBeam, window: str
) -> torch.Tensor:
    """The change in HU when the patient moves during the scan.

    View theta of an object rotated by phi and translated by d is the sinogram at theta - phi, displaced by
    d · (cos, sin)(theta).

    Args:
        hu: slices.
        shift: (N, views, 2) along x (columns) and y (rows) in mm at each view.
        turn: (N, views) in degrees at each view.
        beam: geometry.
        window: apodisation of the reconstruction.
    """
    sinogram = line_integrals(hu, beam)
    angles = sent(beam.angles, shift.device, shift.dtype)
    row = torch.arange(beam.views, device=hu.device, dtype=torch.float64) - turn.double() * (beam.views / 180)
    below = torch.floor(row).long()
    seen = torch.lerp(_views(sinogram, below), _views(sinogram, below + 1), (row - below).to(hu)[..., None])
    offset = (shift[..., 0] * torch.cos(angles) + shift[..., 1] * torch.sin(angles)).double() / beam.pitch
    return hu_change(_displaced(seen, offset)[:, None] - sinogram, beam, window)


def _views(sinogram: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Views (N, views, detectors) of any index (N, views): beyond 180° a sinogram continues as its mirror image."""
    views = sinogram.shape[2]
    rows = torch.take_along_dim(sinogram[:, 0], (index % views)[..., None], 1)
    mirrored = torch.div(index, views, rounding_mode="floor") % 2 == 1
    return torch.where(mirrored[..., None], rows.flip(-1), rows)


def _displaced(rows: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Rows (N, views, detectors) displaced by an offset (N, views) in detectors, linearly interpolated, 0 outside."""
    width = rows.shape[-1]
    start = torch.floor(-offset)
    index = torch.arange(width, device=rows.device) + start.long()[..., None]
    padded = torch.nn.functional.pad(rows, (1, 1))
    near, far = (torch.gather(padded, 2, (index + step).clamp(-1, width) + 1) for step in (0, 1))
    return torch.lerp(near, far, (-offset - start).to(rows)[..., None])


def apparent_shift(shift: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """Where a moving object appears: the translation (N, 2) that fits its translations (N, views, 2) best.

    A view measures the component along its detector direction n; least squares over V views gives (2 / V) sum n (n ·
    d).
    """
    angles = sent(beam.angles, shift.device, shift.dtype)
    normal = torch.stack([torch.cos(angles), torch.sin(angles)], dim=-1)
    return 2 * (normal * (shift * normal).sum(-1, keepdim=True)).mean(1)
