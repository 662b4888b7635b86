"""Scattered radiation in a radiograph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import flag, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.xray.scatter import object_share, scatter_change, scatter_share
from monai_medaug.transforms.xray.display import (
    Radiograph,
    black_kept,
    detector_spacing,
    display_scale,
    of_earlier_version,
    photon_noise,
    photon_span,
    quantum_noise,
)


class RandXRayScatter(Radiograph, RandomOperation):
    """Scattered radiation of the object: haze behind and around thick parts.

    With the primary P = exp(-p) of the display image (see `RandXRayExposure`) the scatter is a superposition of
    kernels, ``S = A sum_k (w_k(p) p exp(-p)) * G_k``: each of four classes of thickness scatters in proportion to its
    attenuation, spread by a Gaussian G_k whose width grows with the thickness. The open field scatters nothing. A sets
    total S / total P behind the object (where p is above a twentieth of ``max_attenuation``) to the drawn ratio. The
    reading is ``p' = -ln(P + S + noise) - c`` with the quantum noise of the scatter alone; automatic exposure and the
    display choose c so that the mean of p' behind the object stays.

    Flat black areas, of 3 × 3 pixels at least, stay: an archive's shutters, and air that saturates the display.

    Images are (C, rows, columns), or stacks of radiographs along the last axis; a missing spacing counts as 1 mm.

    Args:
        scatter_to_primary: range of total S / total P behind the object, in addition to the scatter that the image
            already has; 0.2 with a grid; without one 0.5 for extremities, and for a chest from 1, which is 1.2 behind
            the lungs and 3.5 behind the mediastinum, to 2, which is 2.4 and 7.
        fwhm_mm: range of the kernel's full width at half maximum at medium thickness, in mm; the width is 0.6 times as
            large in the thinnest class and 1.4 times in the thickest.
        photons: range of the photons per mm² of the detector in the open field, for the scatter's noise, drawn
            uniformly in the logarithm; ``math.inf`` switches the noise off.
        compensate: automatic exposure: contrast falls, brightness stays; False leaves c at 0, so that the image gets
            darker.
        max_attenuation: attenuation of the brightest value, in natural log units.
        inverted: bright means little attenuation: stored values of MONOCHROME1.
        value_range: (low, high) of the display scale; None takes each image's own.
        linear: values are photon counts (raw detector data, the open field brightest), not their logarithm.
        mtf50: frequency in cycles/mm at which the detector's MTF, ``1 / (1 + (f / mtf50)²)``, is a half; it smooths the
            noise: 1.3 for caesium iodide, 1000 for white noise, as of selenium.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: B. Ohnesorge et al., Efficient object scatter correction algorithm, Eur. Radiol. 1999; M. Sun & J. M.
    Star-Lack, Improved scatter correction using adaptive scatter kernel superposition, Phys. Med. Biol. 2010.

    Example:
        >>> import math, torch
        >>> image = torch.zeros(1, 64, 64).index_fill(2, torch.arange(32), 4.0)
        >>> film = {"photons": math.inf, "compensate": False}
        >>> hazy = RandXRayScatter(scatter_to_primary=1, **film, prob=1.0).set_random_state(0)(image)
        >>> primary, total = (torch.exp(-x[:, :, :32]) for x in (image, hazy))
        >>> round(float((total - primary).sum() / primary.sum()), 3)
        1.0
    """

    gallery = GalleryEntry(({"scatter_to_primary": (1, 2)},))
    phrases = {
        "scatter_to_primary": "scatter to primary {:.2f}",
        "quantum_noise": "quantum noise {:.2%} of 1 mm² in the open field",
    }
    headline = ("scatter_to_primary",)
    common_pattern = True
    memory = 7
    identity = {"scatter_to_primary": 0.0, "quantum_noise": 0.0}
    magnitudes = (Magnitude("scatter", {"scatter_to_primary": Reach(0, 0.8)}),)

    def __init__(
        self,
        scatter_to_primary: float | Sequence[float] = (0.2, 2),
        fwhm_mm: float | Sequence[float] = (20, 100),
        photons: float | Sequence[float] = (2e4, 2e6),
        compensate: bool = True,
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        mtf50: float = 1.3,
        prob: float = 0.3,
    ) -> None:
        super().__init__(prob)
        self.set_display(max_attenuation, inverted, value_range, linear)
        self.scatter_to_primary = span("scatter_to_primary", scatter_to_primary, 0, 100)
        self.fwhm_mm = span("fwhm_mm", fwhm_mm, 1e-3)
        self.photons = photon_span("photons", photons)
        self.compensate = flag("compensate", compensate)
        self.mtf50 = number("mtf50", mtf50, 0.1, 1000)

    def draw(self) -> Params:
        return {
            "scatter_to_primary": self.R.uniform(*self.scatter_to_primary),
            "fwhm_mm": self.R.uniform(*self.fwhm_mm),
            "quantum_noise": quantum_noise(self.R, self.photons),
            **self.drawn_range(),
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        return {"compensate": self.compensate, "mtf50": self.mtf50, **self.display_settings()}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        scale, ratio, earlier = display_scale(image, call), call.column("scatter_to_primary"), of_earlier_version(call)
        p, (noise, q, _) = scale.attenuation(image), photon_noise(image, call)
        scatter = scatter_share(p, scale.depth, ratio, call.column("fwhm_mm"), detector_spacing(call), whole=earlier)
        compensate = call.settings["compensate"]
        level = 1 + ratio if compensate and earlier else torch.ones_like(ratio)
        change = scatter_change(p, scatter, noise, q, level)
        if compensate and not earlier:
            behind = object_share(p, scale.depth)
            total = behind.sum((2, 3), keepdim=True).clamp_min(1e-6)
            change = change - (behind * change).sum((2, 3), keepdim=True) / total
        return scale.changed(image, black_kept(p, change, call))


RandXRayScatterd = dictionary_twin(RandXRayScatter)
RandXRayScatterD = RandXRayScatterDict = RandXRayScatterd
