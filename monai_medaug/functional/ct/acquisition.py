"""Effects of a CT scan between patient and slice, as changes of the sinogram.

Reprojecting and reconstructing a slice costs tens of HU. So each function reconstructs only the *change* of the line
integrals, and the caller adds it to the slice: without change the slice stays as it is. Stacks are HU slices (N, 1,
rows, columns), per-slice parameters broadcast as (N, 1, 1, 1).
"""

from __future__ import annotations

import torch

from monai_medaug.functional.ct.projection import WATER_PER_MM, ParallelBeam, at_elements, hu_to_attenuation
from monai_medaug.functional.ct.quantum_noise import NoiseKernel
from monai_medaug.functional.ct.spectrum import (
    BONE,
    REFERENCE,
    TISSUES,
    WATER,
    monochromatic,
    polychromatic,
    water_corrected,
)
from monai_medaug.functional.ct.truncation import continued_lines
from monai_medaug.functional.hounsfield import PADDING_HU

_REACH = 64  # elements, beyond which a reconstruction kernel has died away


def line_integrals(hu: torch.Tensor, beam: ParallelBeam, coarse: bool = False) -> torch.Tensor:
    """Line integrals of the attenuation; padding counts as air. ``coarse``: by `continued_lines`, for their changes."""
    attenuation = hu_to_attenuation(torch.where(hu > PADDING_HU, hu, -1000.0))
    return continued_lines(attenuation, beam) if coarse else beam.project(attenuation)


def bounds(image: torch.Tensor) -> tuple[slice, slice] | None:
    """Rows and columns that hold all that is not 0 in slices (N, C, rows, columns); None if all is.

    Example:
        >>> image = torch.zeros(2, 1, 9, 9)
        >>> image[0, 0, 3:5, 2] = image[1, 0, 4, 7] = 1.0
        >>> bounds(image)
        (slice(3, 5, None), slice(2, 8, None))
    """
    seen = image.flatten(0, 1).ne(0).any(0)
    spans = []
    for axis in (1, 0):
        index = torch.nonzero(seen.any(axis))[:, 0]
        if not len(index):
            return None
        spans.append(slice(int(index[0]), int(index[-1]) + 1))
    return spans[0], spans[1]


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
    variance = _missing_variance(line_integrals(hu, beam), fraction, photons, electronic)
    return hu_change(white * torch.sqrt(variance), beam, window)


def inserted_noise(
    hu: torch.Tensor,
    white: torch.Tensor,
    fraction: torch.Tensor,
    photons: torch.Tensor,
    electronic: torch.Tensor,
    seen: ParallelBeam,
    beam: ParallelBeam,
    kernel: NoiseKernel,
) -> torch.Tensor:
    """The noise of `thinning_noise`, reconstructed with a kernel that is a property of the scanner.

    The kernel apodises the ramp, whatever the pixels and the elements.

    Args:
        hu: slices.
        white: standard normal (N, 1, views, detectors of ``beam``).
        fraction: a in (0, 1].
        photons: N0 per ray of ``beam`` in the given scan.
        electronic: e in photons.
        seen: geometry for the line integrals, with as many views; wide elements are faster.
        beam: geometry of the noise, with elements of at most half a period of the frequency at which the kernel ends.
        kernel: in cycles per mm.
    """
    paths = at_elements(line_integrals(hu, seen), seen, beam)
    noise = white * torch.sqrt(_missing_variance(paths, fraction, photons, electronic))
    width = noise.shape[-1]
    size = width + _REACH
    f = torch.fft.rfftfreq(size, beam.pitch, dtype=torch.float64)
    passed = kernel(f) / torch.sinc(f * beam.pitch) ** 2  # back-projection interpolates linearly
    smooth = torch.fft.irfft(torch.fft.rfft(noise, n=size) * passed.to(noise), n=size)[..., :width]
    return hu_change(smooth, beam, "ramp")


def _missing_variance(
    paths: torch.Tensor, fraction: torch.Tensor, photons: torch.Tensor, electronic: torch.Tensor
) -> torch.Tensor:
    """Variance by which the line integrals of a thinned scan exceed those of the given one."""
    transmitted = photons * torch.exp(-paths)
    return (1 / fraction - 1) / transmitted + (1 / fraction**2 - 1) * (electronic / transmitted) ** 2


def beam_hardening(
    hu: torch.Tensor,
    amount: torch.Tensor,
    beam: ParallelBeam,
    window: str,
    tissue: str = "mixture",
    coarse: bool = False,
) -> torch.Tensor:
    """The cupping and dark bands of a polychromatic beam after the scanner's water correction, in HU.

    A ray through the lengths Lw of water and Lb of bone (Joseph & Spital 1978) measures ``-ln sum_e w_e exp(-mu_w,e Lw
    - mu_b,e Lb)``. The scanner maps that to the line integral of the water that would give it. The difference to the
    monochromatic line integral, times ``amount``, is reconstructed. Water alone is corrected exactly, so that only rays
    through bone are looked at. ``coarse``: what lies beyond the beam's field is seen by `continued_lines`.
    """
    water, bone = _tissue_parts(hu, tissue)
    box = bounds(bone)
    if box is None:
        return hu.new_zeros(len(hu), 1, *(beam.field or beam.shape))
    bone = beam.part(*box).project(bone[..., box[0], box[1]]) / BONE[REFERENCE]
    shaded = bone > 0
    needed = shaded.flatten(0, 1).any(0)
    water = continued_lines(water, beam, needed) if coarse else beam.project(water, needed)
    water = water.clamp_min(0) / WATER[REFERENCE]
    measured = polychromatic([(water, WATER), (bone, BONE)])
    change = water_corrected(measured) - monochromatic(water, bone)
    return hu_change(amount * torch.where(shaded, change, 0.0), beam, window)


def tissue_lengths(
    hu: torch.Tensor, beam: ParallelBeam, tissue: str, needed: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths in mm of water and of bone along each ray, from the HU of the slices and a model of `TISSUES`.

    ``needed`` is the rays that matter, see `ParallelBeam.project`.
    """
    # one stack, so that all slices share the geometry
    water, bone = beam.project(torch.cat(_tissue_parts(hu, tissue)), needed).chunk(2)
    return water.clamp_min(0) / WATER[REFERENCE], bone / BONE[REFERENCE]


def _tissue_parts(hu: torch.Tensor, tissue: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Attenuation per mm of the water and of the bone in slices; padding counts as air."""
    return TISSUES[tissue](torch.where(hu > PADDING_HU, hu, -1000.0))


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
