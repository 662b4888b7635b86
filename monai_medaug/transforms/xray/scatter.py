"""Scattered radiation in a radiograph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import flag, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.xray.scatter import scatter_change, scatter_share
from monai_medaug.transforms.xray.display import (
    Radiograph,
    detector_spacing,
    display_scale,
    photon_noise,
    photon_span,
    quantum_noise,
)


class RandXRayScatter(Radiograph, RandomOperation):
    """Scattered radiation of the object: haze behind and around thick parts.

    With the primary P = exp(-p) of the display image (see `RandXRayExposure`) the scatter is a superposition of
    kernels, ``S = A sum_k (w_k(p) p exp(-p)) * G_k``: each of four classes of thickness scatters in proportion to its
    attenuation, spread by a Gaussian G_k whose width grows with the thickness. The open field scatters nothing. A sets
    total S / total P of each radiograph to the drawn ratio. The reading is ``p' = -ln(P + S + noise)`` with the quantum
    noise of the scatter alone.

    Images are (C, rows, columns), or stacks of radiographs along the last axis; a missing spacing counts as 1 mm.

    Args:
        scatter_to_primary: range of total S / total P; 0.2 with an anti-scatter grid; without one about 1 for
            extremities and breast, 3 for chest and abdomen.
        fwhm_mm: range of the kernel's full width at half maximum at medium thickness, in mm; the width is 0.6 times as
            large in the thinnest class and 1.4 times in the thickest.
        photons: range of the photons per pixel in the open field, for the scatter's noise, drawn uniformly in the
            logarithm; ``math.inf`` switches the noise off.
        compensate: the detector scales the higher total back to the full exposure: contrast falls, brightness stays.
        max_attenuation: attenuation of the brightest value, in natural log units.
        inverted: bright means little attenuation: stored values of MONOCHROME1.
        value_range: (low, high) of the display scale; None takes each image's own.
        linear: values are photon counts (raw detector data, the open field brightest), not their logarithm.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: B. Ohnesorge et al., Efficient object scatter correction algorithm, Eur. Radiol. 1999; M. Sun & J. M.
    Star-Lack, Improved scatter correction using adaptive scatter kernel superposition, Phys. Med. Biol. 2010.

    Example:
        >>> import math, torch
        >>> image = torch.zeros(1, 64, 64).index_fill(2, torch.arange(32), 4.0)
        >>> hazy = RandXRayScatter(scatter_to_primary=1, photons=math.inf, prob=1.0).set_random_state(0)(image)
        >>> round(float((torch.exp(-hazy) - torch.exp(-image)).sum() / torch.exp(-image).sum()), 3)
        1.0
    """

    gallery = GalleryEntry(({"compensate": True},))
    phrases = {
        "scatter_to_primary": "scatter to primary {:.2f}",
        "quantum_noise": "quantum noise {:.1%} in the open field",
    }
    headline = ("scatter_to_primary",)
    common_pattern = True
    memory = 7
    identity = {"scatter_to_primary": 0.0, "quantum_noise": 0.0}

    def __init__(
        self,
        scatter_to_primary: float | Sequence[float] = (0.2, 3),
        fwhm_mm: float | Sequence[float] = (20, 100),
        photons: float | Sequence[float] = (1e3, 1e5),
        compensate: bool = False,
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        prob: float = 0.3,
    ) -> None:
        super().__init__(prob)
        self.set_display(max_attenuation, inverted, value_range, linear)
        self.scatter_to_primary = span("scatter_to_primary", scatter_to_primary, 0, 100)
        self.fwhm_mm = span("fwhm_mm", fwhm_mm, 1e-3)
        self.photons = photon_span("photons", photons)
        self.compensate = flag("compensate", compensate)

    def draw(self) -> Params:
        return {
            "scatter_to_primary": self.R.uniform(*self.scatter_to_primary),
            "fwhm_mm": self.R.uniform(*self.fwhm_mm),
            "quantum_noise": quantum_noise(self.R, self.photons),
            **self.drawn_range(),
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        return {"compensate": self.compensate, **self.display_settings()}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        scale, ratio = display_scale(image, call), call.column("scatter_to_primary")
        level = call.spread([1 + r if call.settings["compensate"] else 1.0 for r in call.drawn("scatter_to_primary")])
        p = scale.attenuation(image)
        scatter = scatter_share(p, scale.depth, ratio, call.column("fwhm_mm"), detector_spacing(call))
        change = scatter_change(p, scatter, photon_noise(image, call), call.column("quantum_noise"), level)
        return scale.changed(image, change)


RandXRayScatterd = dictionary_twin(RandXRayScatter)
RandXRayScatterD = RandXRayScatterDict = RandXRayScatterd
