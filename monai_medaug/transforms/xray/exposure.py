"""Another exposure of a radiograph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import flag, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.xray.exposure import exposure_change
from monai_medaug.transforms.xray.display import Radiograph, display_scale, photon_noise, photon_span, quantum_noise


class RandXRayExposure(Radiograph, RandomOperation):
    """A different exposure of the same radiograph: its brightness and quantum noise.

    Display values are logarithmic, ``p = max_attenuation (v - low) / (high - low)``, and become transmission by the law
    of Lambert and Beer, ``T = exp(-p)``. At the exposure a the detector counts N ~ Poisson(a photons T) + Normal(0,
    read_noise) photons and reads ``p' = -ln(N / photons)`` on the same display scale, without normalisation: half the
    exposure makes an image brighter by ``ln 2``, and values may leave the old range. Thick parts get the most noise,
    ``var(p') = 1 / (a photons T)``, in addition to the noise of the input. A factor of 1 with infinitely many photons
    changes nothing.

    Poisson counts are drawn as continuous values of the right mean, variance and skewness (Giles 2016), at least half a
    photon. Images are (C, rows, columns), or stacks of radiographs along the last axis.

    Args:
        factor: range of the exposure; automatic exposure control varies by 0.7 to 1.3, a gross error of technique by
            0.5 to 2.
        photons: range of the photons per pixel in the open field, drawn uniformly in the logarithm; 1e3 (fluoroscopy)
            to 1e5 (large pixels, high dose). ``math.inf`` switches the noise off.
        read_noise: standard deviation of the detector's electronic noise, in photons.
        compensate: the detector divides by the exposure, as systems with a fixed exposure index do, so that only the
            noise differs.
        max_attenuation: attenuation of the brightest value, in natural log units; 4 is 1:55, a chest radiograph.
        inverted: bright means little attenuation: stored values of MONOCHROME1, or unprocessed log images.
        value_range: (low, high) of the display scale; None takes each image's own, without outliers.
        linear: values are photon counts (raw detector data, the open field brightest), not their logarithm.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: J. T. Bushberg et al., The essential physics of medical imaging, 2011; M. B. Giles, Algorithm 955, ACM
    Trans. Math. Softw. 2016.

    Example:
        >>> import math, torch
        >>> image = torch.tensor([[[0.0, 50.0, 100.0]]])
        >>> RandXRayExposure(factor=0.5, photons=math.inf, max_attenuation=math.log(16), prob=1.0)(image)
        tensor([[[ 25.,  75., 125.]]])
    """

    gallery = GalleryEntry(({"factor": (0.5, 0.7), "photons": (1e3, 3e3)},))
    phrases = {"factor": "exposure × {:.2f}", "quantum_noise": "quantum noise {:.1%} in the open field"}
    memory = 7
    identity = {"factor": 1.0, "quantum_noise": 0.0}

    def __init__(
        self,
        factor: float | Sequence[float] = (0.7, 1.3),
        photons: float | Sequence[float] = (1e3, 1e5),
        read_noise: float = 2,
        compensate: bool = False,
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        prob: float = 0.5,
    ) -> None:
        super().__init__(prob)
        self.set_display(max_attenuation, inverted, value_range, linear)
        self.factor = span("factor", factor, 1e-3)
        self.photons = photon_span("photons", photons)
        self.read_noise = number("read_noise", read_noise, 0)
        self.compensate = flag("compensate", compensate)

    def draw(self) -> Params:
        return {
            "factor": self.R.uniform(*self.factor),
            "quantum_noise": quantum_noise(self.R, self.photons),
            **self.drawn_range(),
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        return {"read_noise": self.read_noise, "compensate": self.compensate, **self.display_settings()}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        scale, factor = display_scale(image, call), call.column("factor")
        level = factor if call.settings["compensate"] else torch.ones_like(factor)
        noise, read_noise = call.column("quantum_noise"), call.spread([call.settings["read_noise"]] * len(image))
        change = exposure_change(scale.attenuation(image), photon_noise(image, call), factor, noise, read_noise, level)
        return scale.changed(image, change)


RandXRayExposured = dictionary_twin(RandXRayExposure)
RandXRayExposureD = RandXRayExposureDict = RandXRayExposured
