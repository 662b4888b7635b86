"""Exposure, scatter and collimation of radiographs, on display images of the attenuation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from monai_medaug.core.arguments import flag, number, span, wide_span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import say_once
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.noise.white import white_noise
from monai_medaug.functional.xray import (
    DisplayScale,
    collimation_change,
    exposure_change,
    robust_range,
    scatter_change,
    scatter_share,
)


class Radiograph:
    """Mixin of the operations on radiographs: the arguments that relate display values to attenuation."""

    modality = "xray"
    max_attenuation: float
    inverted: bool
    linear: bool
    value_range: tuple[float, float] | None

    def set_display(
        self, max_attenuation: float, inverted: bool, value_range: Sequence[float] | None, linear: bool
    ) -> None:
        """Check and keep the arguments that the radiographic operations share."""
        self.inverted, self.linear = flag("inverted", inverted), flag("linear", linear)
        if self.inverted and self.linear:
            raise ValueError("inverted must be False with linear: photons are bright where little is attenuated")
        self.max_attenuation = number("max_attenuation", max_attenuation, 0.1, 20)
        self.value_range = None if value_range is None else wide_span("value_range", value_range)

    def display_settings(self) -> Params:
        """Those arguments except the range."""
        return {"max_attenuation": self.max_attenuation, "inverted": self.inverted, "linear": self.linear}

    def drawn_range(self) -> Params:
        """The range as part of the draw, since a preset sets it for each sample."""
        return {} if self.value_range is None else {"value_range": list(self.value_range)}

    @classmethod
    def example(cls, spatial_dims: int = 3) -> torch.Tensor:
        """A soft body with a bony rod before an open field, 0..4000, (1, *spatial)."""
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in (24, 21, 18)[:spatial_dims]], indexing="ij")
        body = (0.8 - torch.stack(axes).square().sum(0)).clamp_min(0).sqrt()
        return (3000 * body + 1000 * torch.exp(-((axes[0] - 0.3 * axes[1]) ** 2) / 0.02) * (body > 0))[None]


def display_scale(image: torch.Tensor, call: Call) -> DisplayScale:
    """The scale of each sample, from the given range or that of its own values."""
    _require_grey(image, call.name)
    ends = list(robust_range(image))
    for i, p in enumerate(call.draws):
        if "value_range" in p:
            ends[i] = ends[i].new_tensor(p["value_range"])
        elif call.settings["linear"]:
            ends[i] = ends[i] * ends[i].new_tensor([0, 1])  # photon counts start at 0
    low, high = (e.reshape(-1, *[1] * (image.ndim - 1)) for e in torch.stack(ends, 1))
    constants = (call.settings[n] for n in ("max_attenuation", "inverted", "linear"))
    return DisplayScale(low, high, *(call.spread([float(c)] * len(image)) for c in constants))


def _require_grey(image: torch.Tensor, name: str) -> None:
    """Refuse an alpha channel; notice several channels that differ, of which each counts as a radiograph."""
    channels = image.shape[1]
    if channels == 1:
        return
    last = image[:, -1].flatten(1)
    if channels in (2, 4) and bool((last == last[:, :1]).all()):
        raise ValueError(
            f"{name} must be greyscale, got {channels} channels, of which the last is constant, as opacity"
        )
    say_once(
        f"{name} has {channels} different channels: each counts as a radiograph of its own, with its own noise; "
        "convert one stored in colour to grey"
    )


def photon_span(name: str, value: float | Sequence[float]) -> tuple[float, float] | None:
    """A range of photon counts; None for infinitely many."""
    ends = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if all(isinstance(v, float) and v == math.inf for v in ends):
        return None
    return span(name, value, 1)


def _quantum_noise(random: Any, photons: tuple[float, float] | None) -> float:
    """Relative noise of one pixel for a photon count drawn uniformly in the logarithm."""
    if photons is None:
        return 0.0
    return math.exp(-0.5 * random.uniform(math.log(photons[0]), math.log(photons[1])))


def _noise(image: torch.Tensor, call: Call) -> torch.Tensor | None:
    """Standard normal noise for the samples; None if no sample has noise."""
    if not any(level > 0 for level in call.drawn("quantum_noise")):
        return None
    return white_noise(image.shape[1:], call.seeds(), image.device).to(image.dtype)


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
            "quantum_noise": _quantum_noise(self.R, self.photons),
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
        change = exposure_change(scale.attenuation(image), _noise(image, call), factor, noise, read_noise, level)
        return scale.changed(image, change)


RandXRayExposured = dictionary_twin(RandXRayExposure)
RandXRayExposureD = RandXRayExposureDict = RandXRayExposured


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
            "quantum_noise": _quantum_noise(self.R, self.photons),
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
        scatter = scatter_share(p, scale.depth, ratio, call.column("fwhm_mm"), _detector_spacing(call))
        change = scatter_change(p, scatter, _noise(image, call), call.column("quantum_noise"), level)
        return scale.changed(image, change)


RandXRayScatterd = dictionary_twin(RandXRayScatter)
RandXRayScatterD = RandXRayScatterDict = RandXRayScatterd


class RandXRayCollimation(Radiograph, RandomOperation):
    """Field limited by the four blades of the collimator, slightly rotated, with a penumbra.

    ``p' = p - ln(leakage + (1 - leakage) F)``, up to ``max_attenuation``, where the open field F is the product of four
    straight edges, each the integral of a Gaussian penumbra. The display scale is that of `RandXRayExposure`; images
    are (C, rows, columns), or stacks of radiographs along the last axis.

    Args:
        share: range of the share of the image behind a blade, drawn for each of the four.
        rotate_degrees: range of the collimator's rotation.
        edge_mm: range of the penumbra's full width at half maximum in mm; focal spot and magnification give 0.5 to 3.
        leakage: range of the transmission outside, of leakage and scatter together; 1 changes nothing.
        max_attenuation: attenuation of the brightest value, in natural log units.
        inverted: bright means little attenuation: stored values of MONOCHROME1.
        value_range: (low, high) of the display scale; None takes each image's own.
        linear: values are photon counts (raw detector data, the open field brightest), not their logarithm.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: J. T. Bushberg et al., The essential physics of medical imaging, 2011.

    Example:
        >>> import torch
        >>> image = torch.zeros(1, 40, 40).index_fill(2, torch.tensor(20), 1.0)
        >>> closed = RandXRayCollimation(share=0.1, prob=1.0).set_random_state(0)(image)
        >>> round(float(closed[0, 10, 10]), 3), float(closed[0, 0, 0]) > 0.5
        (0.0, True)
    """

    phrases = {"leakage": "transmission behind the blades {:.0%}", "rotate_degrees": "rotated by {:.1f}°"}
    headline = ("leakage",)
    memory = 4
    identity = {"leakage": 1.0}

    def __init__(
        self,
        share: float | Sequence[float] = (0.02, 0.2),
        rotate_degrees: float | Sequence[float] = 3,
        edge_mm: float | Sequence[float] = (0.5, 3),
        leakage: float | Sequence[float] = (0.01, 0.05),
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        prob: float = 0.3,
    ) -> None:
        super().__init__(prob)
        self.set_display(max_attenuation, inverted, value_range, linear)
        self.share = span("share", share, 0, 0.45)
        self.rotate_degrees = span("rotate_degrees", rotate_degrees, -45, 45, signed=True)
        self.edge_mm = span("edge_mm", edge_mm, 0)
        self.leakage = span("leakage", leakage, 1e-6, 1)

    def draw(self) -> Params:
        return {
            "shares": [self.R.uniform(*self.share) for _ in range(4)],
            "rotate_degrees": self.R.uniform(*self.rotate_degrees),
            "edge_mm": self.R.uniform(*self.edge_mm),
            "leakage": self.R.uniform(*self.leakage),
            **self.drawn_range(),
        }

    def settings(self) -> Params:
        return self.display_settings()

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        scale = display_scale(image, call)
        shares, angle, edge = (image.new_tensor(call.drawn(n)) for n in ("shares", "rotate_degrees", "edge_mm"))
        blades = (shares, angle, edge, call.column("leakage"), _detector_spacing(call))
        return scale.changed(image, collimation_change(scale.attenuation(image), *blades, scale.depth))


RandXRayCollimationd = dictionary_twin(RandXRayCollimation)
RandXRayCollimationD = RandXRayCollimationDict = RandXRayCollimationd


def _detector_spacing(call: Call) -> torch.Tensor:
    """Spacing of rows and columns in mm, (B, 2)."""
    return call.image.new_tensor([grid.spacing[:2] for grid in call.grids])
