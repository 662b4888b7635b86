"""Another exposure of a radiograph."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monai_medaug.core.arguments import flag, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.xray.exposure import exposed
from monai_medaug.transforms.xray.display import (
    Radiograph,
    display_scale,
    of_earlier_version,
    photon_noise,
    photon_span,
    quantum_noise,
)


class RandXRayExposure(Radiograph, RandomOperation):
    """A different exposure of the same radiograph: its quantum noise, and its brightness if nothing compensates it.

    Display values are logarithmic, ``p = max_attenuation (v - low) / (high - low)``, and become transmission by the law
    of Lambert and Beer, ``T = exp(-p)``. At the exposure a a pixel of area A counts N ~ Poisson(a photons A T) +
    Normal(0, read_noise) photons and reads ``p' = -ln(N / (a photons A))``: automatic exposure and display keep the
    level, and only the noise changes. Thick parts get the most, ``var(p') = m / (a photons A T)``, in addition to the
    noise of the input; m is the share of the variance that the detector's MTF leaves, .56 in a pixel of 0.7 mm and .08
    in one of 0.14 mm, where noise is correlated. A factor of 1 with infinitely many photons changes nothing.

    Flat black areas, of 3 × 3 pixels at least, stay: an archive's shutters, and air that saturates the display.

    Poisson counts are drawn as continuous values of the right mean, variance and skewness (Giles 2016), at least half a
    photon. Images are (C, rows, columns), or stacks of radiographs along the last axis; a missing spacing counts as
    1 mm.

    Args:
        factor: range of the exposure; automatic exposure control varies by 0.7 to 1.3, a gross error of technique by
            0.5 to 2.
        photons: range of the photons per mm² of the detector in the open field, drawn uniformly in the logarithm;
            2e4 to 2e6 (1e4 to 1e6 in a pixel of 0.7 mm) is what chest and skeleton get. ``math.inf`` switches the noise
            off.
        read_noise: standard deviation of a pixel's electronic noise, in photons.
        compensate: the reading is divided by the exposure, as digital systems do, so that only the noise differs; False
            leaves brightness to the exposure, as film did: half of it makes an image brighter by ``ln 2``, ``p' = -ln(N
            / (photons A))``, and values may leave the old range.
        max_attenuation: attenuation of the brightest value, in natural log units; 4 is 1:55, a chest radiograph.
        inverted: bright means little attenuation: stored values of MONOCHROME1, or unprocessed log images.
        value_range: (low, high) of the display scale; None takes each image's own, without outliers.
        linear: values are photon counts (raw detector data, the open field brightest), not their logarithm.
        mtf50: frequency in cycles/mm at which the detector's MTF, ``1 / (1 + (f / mtf50)²)``, is a half; it smooths the
            noise: 1.3 for caesium iodide, 1000 for white noise, as of selenium.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: J. T. Bushberg et al., The essential physics of medical imaging, 2011; E. Samei & M. J. Flynn, An
    experimental comparison of detector performance, Med. Phys. 2003; M. B. Giles, Algorithm 955, ACM Trans. Math.
    Softw. 2016.

    Example:
        >>> import math, torch
        >>> image = torch.tensor([[[0.0, 50.0, 100.0]]])
        >>> film = {"photons": math.inf, "compensate": False, "max_attenuation": math.log(16)}
        >>> RandXRayExposure(factor=0.5, **film, prob=1.0)(image)
        tensor([[[ 25.,  75., 125.]]])
    """

    gallery = GalleryEntry(({"factor": (0.5, 0.7), "photons": (2e4, 4e4)},))
    phrases = {"factor": "exposure × {:.2f}", "quantum_noise": "quantum noise {:.2%} of 1 mm² in the open field"}
    memory = 7
    identity = {"factor": 1.0, "quantum_noise": 0.0}
    magnitudes = (
        Magnitude("photon_noise", {"photons": Reach(2e6, 2e4, "inverse_square")}, {"factor": 1}, "photons per mm²"),
        Magnitude("film_exposure", {"factor": Reach(1, 2, "ratio")}, {"photons": 2e6, "compensate": False}),
    )

    def __init__(
        self,
        factor: float | Sequence[float] = (0.7, 1.3),
        photons: float | Sequence[float] = (2e4, 2e6),
        read_noise: float = 2,
        compensate: bool = True,
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        mtf50: float = 1.3,
        prob: float = 0.5,
    ) -> None:
        super().__init__(prob)
        self.set_display(max_attenuation, inverted, value_range, linear)
        self.factor = span("factor", factor, 1e-3)
        self.photons = photon_span("photons", photons)
        self.read_noise = number("read_noise", read_noise, 0)
        self.compensate = flag("compensate", compensate)
        self.mtf50 = number("mtf50", mtf50, 0.1, 1000)

    def draw(self) -> Params:
        return {
            "factor": self.R.uniform(*self.factor),
            "quantum_noise": quantum_noise(self.R, self.photons),
            **self.drawn_range(),
            "seed": int(self.R.randint(2**31 - 1)),
        }

    def settings(self) -> Params:
        own = {"read_noise": self.read_noise, "compensate": self.compensate, "mtf50": self.mtf50}
        return {**own, **self.display_settings()}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        scale, factor = display_scale(image, call), call.column("factor")
        level = factor if call.settings["compensate"] else torch.ones_like(factor)
        noise, q, share = photon_noise(image, call)
        read_noise = call.settings["read_noise"] / share.sqrt()  # in the photons that q stands for
        return exposed(image, scale, noise, (factor, q, read_noise, level), not of_earlier_version(call))


RandXRayExposured = dictionary_twin(RandXRayExposure)
RandXRayExposureD = RandXRayExposureDict = RandXRayExposured
