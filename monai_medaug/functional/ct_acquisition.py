"""What happens in a CT scanner between the patient and the slice, as changes of the sinogram.

A reprojected slice is not the raw sinogram: a round trip costs tens of HU. So each function reconstructs only the
*change* that it makes to the line integrals, and the caller adds it to the slice; where nothing changes, nothing is
touched. Stacks are HU slices (N, 1, rows, columns), per-slice parameters broadcast as (N, 1, 1, 1).
"""

from __future__ import annotations

import math

import torch

from monai_medaug.functional.ct import PADDING_HU
from monai_medaug.functional.projection import WATER_PER_MM, ParallelBeam, hu_to_attenuation

# Attenuation per mm at these photon energies, and the share of each in a 120 kV spectrum behind the patient's entry
SPECTRUM_KEV = (40.0, 55.0, 70.0, 85.0, 105.0)
_REFERENCE = 2  # 70 keV, at which HU are defined here
SPECTRUM = (0.12, 0.28, 0.30, 0.20, 0.10)
WATER = (0.0268, 0.0214, 0.0192, 0.0180, 0.0167)
BONE = (0.128, 0.070, 0.049, 0.0398, 0.0331)
METALS = {
    "titanium": (0.997, 0.428, 0.245, 0.163, 0.115),
    "steel": (2.86, 1.22, 0.65, 0.42, 0.27),
}
"""From the mass attenuation of titanium (4.5 g/cm³) and iron (7.87 g/cm³), Hubbell & Seltzer 1995."""
SCANNER_HU = 3071.0
"""Greatest value that a scanner of 12 bit stores."""
BONE_HU = (150.0, 400.0)
"""Between these a voxel goes from water-like to bone-like."""


def line_integrals(hu: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """Line integrals of the attenuation, padding taken as air."""
    return beam.project(hu_to_attenuation(torch.where(hu > PADDING_HU, hu, -1000.0)))


def hu_change(sinogram_change: torch.Tensor, beam: ParallelBeam, window: str) -> torch.Tensor:
    """The change in HU that a change of the line integrals makes."""
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
    """The noise that a scan of full dose lacks to look like one at a fraction of it, in HU.

    Of N0 photons a ray lets N0 exp(-p) through, so that p has the variance exp(p) / N0 + e² exp(2 p) / N0² with the
    electronic noise e. At the dose fraction a N0 becomes a N0; the difference of the two variances is inserted. For
    e = 0 that is sigma0² (1 / a - 1) (Yu et al. 2012; Zabic et al. 2013).

    Args:
        hu: slices.
        white: standard normal (N, 1, views, detectors).
        fraction: a in (0, 1].
        photons: N0 per ray of the scan at hand.
        electronic: e in photons.
        beam: geometry.
        window: apodisation of the reconstruction.
    """
    transmission = torch.exp(-line_integrals(hu, beam))
    quantum = (1 / fraction - 1) / (photons * transmission)
    readout = (1 / fraction**2 - 1) * (electronic / (photons * transmission)) ** 2
    return hu_change(white * torch.sqrt(quantum + readout), beam, window)


def beam_hardening(hu: torch.Tensor, amount: torch.Tensor, beam: ParallelBeam, window: str) -> torch.Tensor:
    """The cupping and dark bands of a polychromatic beam after the scanner's water correction, in HU.

    Each ray crosses the lengths Lw of water and Lb of bone (Joseph & Spital 1978); the detector sees ``-ln sum_e w_e
    exp(-mu_w,e Lw - mu_b,e Lb)``. The scanner maps that to the line integral of the water that would give it. What
    remains against the monochromatic truth is times ``amount`` reconstructed. Water alone is corrected exactly.
    """
    water, bone = tissue_lengths(hu, beam)
    measured = polychromatic([(water, WATER), (bone, BONE)])
    return hu_change(amount * (water_corrected(measured) - monochromatic(water, bone)), beam, window)


def tissue_lengths(hu: torch.Tensor, beam: ParallelBeam) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths in mm of water and of bone along each ray, from the HU of the slices."""
    clean = torch.where(hu > PADDING_HU, hu, -1000.0)
    share = ((clean - BONE_HU[0]) / (BONE_HU[1] - BONE_HU[0])).clamp(0, 1)
    attenuation = hu_to_attenuation(clean)
    water = beam.project(attenuation * (1 - share)).clamp_min(0) / WATER[_REFERENCE]
    return water, beam.project(attenuation * share) / BONE[_REFERENCE]


def monochromatic(water: torch.Tensor, bone: torch.Tensor) -> torch.Tensor:
    """Line integrals at 70 keV of these lengths."""
    return water * WATER[_REFERENCE] + bone * BONE[_REFERENCE]


def metal_artefact(
    hu: torch.Tensor,
    metal: torch.Tensor,
    white: torch.Tensor,
    attenuation: tuple[float, ...],
    photons: torch.Tensor,
    scatter: torch.Tensor,
    beam: ParallelBeam,
    window: str,
) -> torch.Tensor:
    """Slices with metal in them, as a scanner reconstructs them, in HU up to 3071.

    Rays are traced at each energy through tissue, bone and metal; of N0 photons few are left behind the metal, a floor
    of scattered ones joins them, and their Poisson noise (taken as normal, at least one photon counted) makes the
    starvation streaks. The water-corrected result against the clean monochromatic one is reconstructed and added, so
    that slices without metal come out as they were.

    Args:
        hu: slices.
        metal: share of each pixel that is metal, of the same shape.
        white: standard normal (N, 1, views, detectors).
        attenuation: of the metal per mm at each energy, see `METALS`.
        photons: N0 per ray.
        scatter: scattered photons as a share of N0.
        beam: geometry.
        window: apodisation of the reconstruction.
    """
    water, bone = tissue_lengths(torch.lerp(hu, torch.full_like(hu, -1000.0), metal), beam)
    clean = monochromatic(*tissue_lengths(hu, beam))
    length = beam.project(metal)
    measured = polychromatic([(water, WATER), (bone, BONE), (length, attenuation)])
    counts = photons * (torch.exp(-measured) + scatter)
    counts = torch.where(length > 0, counts + torch.sqrt(counts) * white, photons * torch.exp(-measured)).clamp_min(1)
    seen = torch.log(photons / counts)
    touched = length.flatten(1).amax(1).reshape(-1, 1, 1, 1) > 0
    # beam hardening of bone alone is not metal's doing: only rays through metal change
    change = torch.where(length > 0, water_corrected(seen), monochromatic(water, bone)) - clean
    added = torch.where(touched, hu_change(change, beam, window), 0.0)
    return torch.where(touched, (hu + added).clamp_max(SCANNER_HU), hu)


def polychromatic(lengths: list[tuple[torch.Tensor, tuple[float, ...]]]) -> torch.Tensor:
    """-ln of the transmission of the spectrum through lengths (mm) of materials with these attenuations."""
    exponents = [
        sum((length * attenuation[e] for length, attenuation in lengths), torch.zeros_like(lengths[0][0]))
        for e in range(len(SPECTRUM))
    ]
    weights = [math.log(w) for w in SPECTRUM]
    return -torch.logsumexp(torch.stack([w - x for w, x in zip(weights, exponents, strict=True)]), dim=0)


def water_corrected(measured: torch.Tensor) -> torch.Tensor:
    """The monochromatic line integral of the water that gives a polychromatic measurement, by a table to 800 mm.

    Example:
        >>> seen = polychromatic([(torch.tensor([0.0, 100.0, 300.0]), WATER)])
        >>> (water_corrected(seen) / WATER[2]).round()
        tensor([  0., 100., 300.])
    """
    length = torch.linspace(0, 800, 4001, device=measured.device, dtype=torch.float64)
    table = polychromatic([(length, WATER)])
    m = measured.double().clamp_min(0).contiguous()
    upper = torch.searchsorted(table, m).clamp(1, len(table) - 1)
    low, high = table[upper - 1], table[upper]
    found = length[upper - 1] + (m - low) / (high - low) * (length[1] - length[0])
    return (found * WATER[_REFERENCE]).to(measured.dtype)


def ring_artefact(gain: torch.Tensor, beam: ParallelBeam, window: str) -> torch.Tensor:
    """The rings of detector elements whose gain is off, in HU: p changes by -ln(1 + gain) in all or some views.

    Args:
        gain: relative gain error (N, 1, views or 1, detectors).
        beam: geometry.
        window: apodisation of the reconstruction.
    """
    change = -torch.log1p(gain).expand(-1, -1, beam.views, -1)
    return hu_change(change, beam, window)


def motion_artefact(
    hu: torch.Tensor, shift: torch.Tensor, turn: torch.Tensor, beam: ParallelBeam, window: str
) -> torch.Tensor:
    """The change in HU when the patient moves during the scan.

    View theta of an object that is turned by phi and shifted by d sees the sinogram at theta - phi, displaced by
    d · (cos, sin)(theta).

    Args:
        hu: slices.
        shift: (N, views, 2) along x (columns) and y (rows) in mm at each view.
        turn: (N, views) in degrees at each view.
        beam: geometry.
        window: apodisation of the reconstruction.
    """
    sinogram = line_integrals(hu, beam)
    angles = torch.from_numpy(beam.angles).to(shift)
    # rows of the sinogram that are seen, continued over 180° by its mirror image
    row = torch.arange(beam.views, device=hu.device, dtype=torch.float64) - turn.double() * (beam.views / 180)
    below = torch.floor(row)
    offset = (shift[..., 0] * torch.cos(angles) + shift[..., 1] * torch.sin(angles)).double() / beam.pitch
    detector = torch.arange(beam.width, device=hu.device, dtype=torch.float64)
    moved = torch.zeros_like(sinogram)
    for step in (0, 1):
        index = (below + step).long()
        weight = 1 - (row - (below + step)).abs()
        mirrored = torch.div(index, beam.views, rounding_mode="floor") % 2 == 1
        position = detector - offset[..., None]
        position = torch.where(mirrored[..., None], beam.width - 1 - position, position)
        rows = torch.gather(sinogram[:, 0], 1, (index % beam.views)[..., None].expand(-1, -1, beam.width))
        moved[:, 0] += (weight[..., None] * _along_detector(rows, position)).to(moved.dtype)
    return hu_change(moved - sinogram, beam, window)


def apparent_shift(shift: torch.Tensor, beam: ParallelBeam) -> torch.Tensor:
    """Where a moving object appears: the shift (N, 2) that explains its shifts (N, views, 2) best.

    A view sees the component along its detector direction n, and least squares over the views gives (2 / V) sum n (n ·
    d): a movement counts where it is seen.
    """
    angles = torch.from_numpy(beam.angles).to(shift)
    normal = torch.stack([torch.cos(angles), torch.sin(angles)], dim=-1)
    return 2 * (normal * (shift * normal).sum(-1, keepdim=True)).mean(1)


def _along_detector(rows: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of rows (N, views, detectors) at positions of the same shape, 0 outside."""
    low = torch.floor(position)
    fraction = position - low
    total = torch.zeros_like(position)
    for step, weight in ((0, 1 - fraction), (1, fraction)):
        index = (low + step).long()
        inside = (index >= 0) & (index < rows.shape[-1])
        total = total + weight * inside * torch.gather(rows, 2, index.clamp(0, rows.shape[-1] - 1)).double()
    return total
