"""Quantum noise of a reduced CT dose, in the image or in the sinogram."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.ct.acquisition import thinning_noise
from monai_medaug.functional.ct.hu import (
    APODISATION,
    add_hu_noise,
    coloured_slices,
    correlated_slices,
    ct_noise_power,
    half_spectrum_shape,
)
from monai_medaug.functional.ct.slices import SliceStack, slice_stacks
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.transforms.ct.acquisition import change_of_bodies
from monai_medaug.transforms.ct.units import CTImage

_WINDOWS = {"soft": "hann", "standard": "cosine", "sharp": "ramp"}


class RandCTDose(CTImage, RandomOperation):
    """Quantum noise of a lower dose: zero mean, with the spectrum of filtered back-projection.

    In the ``"image"`` domain each slice gets noise of the drawn standard deviation and of the power ``|f| W(f)²``: a
    ramp over the frequency f in cycles per mm times the squared apodisation W of the reconstruction kernel. Adjacent
    slices are correlated, as by the overlap of their profiles; others are independent.

    In the ``"projection"`` domain the dose is a fraction a of the scan's. Of N0 photons per ray ``N0 exp(-p)`` pass;
    reducing N0 to ``a N0`` adds noise of variance ``(1 / a - 1) exp(p) / N0``, plus electronic noise, to the line
    integrals. It is reconstructed and added to the image: stronger along dense paths, with streaks between the hips.

    Slices lie across the array axis nearest to the scanner's axis (the world's third); without an affine, across the
    last. Padding outside the reconstructed circle (at or below -1400 HU) gets no noise.

    Args:
        noise_hu: range of the standard deviation in HU (image domain).
        kernel: ``"soft"``, ``"standard"``, ``"sharp"`` (increasing peak frequency), or ``"white"`` (image domain).
        slice_correlation: correlation of adjacent slices, in [0, 0.5] (image domain).
        prob: probability of applying it.
        domain: ``"image"`` or ``"projection"``.
        dose_fraction: range of a, in (0, 1]; 1 adds no noise (projection domain).
        photons: N0 per ray of the given scan, 1e4 to 1e7; thick slices collect more (projection domain).
        electronic_noise: standard deviation of the readout in photons, 3 to 10 (projection domain).
        body_mm: diameter of the water-equivalent body assumed round a crop, whose border is tissue; an adult's trunk
            has about 280, a head 200. Where the border is air it has no effect (projection domain).

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Source: S. J. Riederer et al., The noise power spectrum in computed X-ray tomography, Phys. Med. Biol. 1978;
    M. F. Kijewski & P. F. Judy, ibid. 1987; for the insertion L. Yu et al., J. Comput. Assist. Tomogr. 2012 and
    S. Zabic et al., Med. Phys. 2013. Routine body protocols have 1 to 10 HU.

    Example:
        >>> import torch
        >>> noise = RandCTDose(noise_hu=10, prob=1.0).set_random_state(0)(torch.zeros(1, 128, 128, 8))
        >>> round(float(noise.std()), 1), abs(round(float(noise.mean()), 3))
        (10.0, 0.0)
    """

    phrases = {"noise_hu": "noise of {:.1f} HU"}
    memory = 4
    identity = {"noise_hu": 0.0, "dose_fraction": 1.0}
    variants = ({}, {"domain": "projection"})

    def __init__(
        self,
        noise_hu: float | Sequence[float] = (1, 10),
        kernel: str = "standard",
        slice_correlation: float = 0.1,
        prob: float = 0.8,
        domain: str = "image",
        dose_fraction: float | Sequence[float] = (0.1, 1),
        photons: float = 1e6,
        electronic_noise: float = 5,
        body_mm: float = BODY_MM,
    ) -> None:
        super().__init__(prob)
        self.domain = choice("domain", domain, ("image", "projection"))
        kernels = (*APODISATION, "white") if domain == "image" else tuple(_WINDOWS)
        self.kernel = choice(f"kernel in the {domain} domain", kernel, kernels)
        self.noise_hu = span("noise_hu", noise_hu, 0)
        self.slice_correlation = number("slice_correlation", slice_correlation, 0, 0.5)
        self.dose_fraction = span("dose_fraction", dose_fraction, 1e-3, 1)
        self.photons = number("photons", photons, 1)
        self.electronic_noise = number("electronic_noise", electronic_noise, 0)
        self.body_mm = number("body_mm", body_mm, 1, 1000)

    def draw(self) -> Params:
        name = "noise_hu" if self.domain == "image" else "dose_fraction"
        return {name: self.R.uniform(*getattr(self, name)), "seed": int(self.R.randint(2**31 - 1))}

    def settings(self) -> Params:
        if self.domain == "image":
            return {"kernel": self.kernel, "slice_correlation": self.slice_correlation}
        scan = {"photons": self.photons, "electronic_noise": self.electronic_noise, "body_mm": self.body_mm}
        return {"kernel": self.kernel, **scan}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return _thinned(image, call) if "photons" in call.settings else _noisy(image, call)


RandCTDosed = dictionary_twin(RandCTDose)
RandCTDoseD = RandCTDoseDict = RandCTDosed


def _noisy(image: torch.Tensor, call: Call) -> torch.Tensor:
    """The image with noise of the drawn level."""
    seeds, noise = call.seeds(), torch.empty_like(image)
    for stack in slice_stacks(image, call.grids):
        noise[stack.members] = _noise_slices(stack, seeds, call.settings["kernel"], call.settings["slice_correlation"])
    return add_hu_noise(image, noise, call.column("noise_hu"))


def _noise_slices(stack: SliceStack, seeds: Sequence[int], kernel: str, correlation: float) -> torch.Tensor:
    """Noise of unit variance in the shape of the stack's samples."""
    members, channels, slices, rows, columns = stack.whole
    extra = int(correlation > 0 and stack.axis is not None)
    white = stack.noise(half_spectrum_shape(rows, columns), seeds, slices + extra)
    noise = coloured_slices(white, ct_noise_power(rows, columns, stack.spacing, kernel), columns)
    noise = noise.reshape(members, channels, slices + extra, rows, columns)
    if extra:
        noise = correlated_slices(noise, correlation)
    return stack.restored(noise).to(stack.slices.dtype)


def _thinned(image: torch.Tensor, call: Call) -> torch.Tensor:
    """The image with the noise of the reduced dose, inserted into the line integrals."""
    seeds, fractions = call.seeds(), call.drawn("dose_fraction")

    def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        beam = stack.beam
        fraction = stack.spread(fractions)
        white = stack.noise((beam.views, beam.width), seeds)
        window = _WINDOWS[call.settings["kernel"]]
        photons, electronic = (stack.slices.new_tensor(call.settings[n]) for n in ("photons", "electronic_noise"))
        return lambda some: thinning_noise(
            stack.body(some), white[some], fraction[some], photons, electronic, beam, window
        )

    return change_of_bodies(image, call, change)
