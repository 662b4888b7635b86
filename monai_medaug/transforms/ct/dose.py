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
    CUTOFF_PER_MM,
    FLOOR_HU,
    add_hu_noise,
    add_noise_above,
    coloured_slices,
    correlated_slices,
    ct_noise_power,
    half_spectrum_shape,
)
from monai_medaug.functional.ct.noise_map import noise_amplitudes
from monai_medaug.functional.ct.slices import SliceStack, slice_stacks
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.functional.precision import put_samples
from monai_medaug.transforms.ct.acquisition import change_of_bodies
from monai_medaug.transforms.ct.units import CTImage

_WINDOWS = {"soft": "hann", "standard": "cosine", "sharp": "ramp"}


class RandCTDose(CTImage, RandomOperation):
    """Quantum noise of a lower dose: zero mean, with the spectrum of filtered back-projection.

    In the ``"image"`` domain each slice gets noise of the drawn standard deviation in soft tissue and of the power
    ``|f| W(f)²``: a ramp over the frequency f in cycles per mm times the square of the reconstruction kernel W, which
    belongs to the scanner and not to the pixels. What they can't resolve is folded back: noise is smooth on pixels of
    0.4 mm and nearly uncorrelated on 3 mm. It is stronger where rays have a long way through the body, and there finest
    across them: in air half as strong as in tissue, streaky between the shoulders. Of a crop only the way inside it
    counts. The kernel ``"white"`` gives the same standard deviation everywhere. Adjacent slices are correlated, as by
    the overlap of their profiles; others are independent.

    In the ``"projection"`` domain the dose is a fraction a of the scan's. Of N0 photons per ray ``N0 exp(-p)`` pass;
    reducing N0 to ``a N0`` adds noise of variance ``(1 / a - 1) exp(p) / N0``, plus electronic noise, to the line
    integrals. It is reconstructed and added to the image: stronger along dense paths, with streaks between the hips.

    Slices lie across the array axis nearest to the scanner's axis (the world's third); without an affine, across the
    last. Padding and what a scanner clipped (at or below -1024 HU) get no noise, and noise makes no value lower than
    that.

    Args:
        noise_hu: range of the standard deviation in HU, root mean square over soft tissue (image domain).
        kernel: ``"soft"``, ``"standard"`` or ``"sharp"``, whose MTF is 50 % at 0.38, 0.45, 0.75 and 10 % at 0.60, 0.72,
            1.19 cycles per mm, as of kernels for the abdomen, chest and bone; or ``"white"`` (image domain).
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
    M. F. Kijewski & P. F. Judy, ibid. 1987; for the local level A. Divel & N. Pelc, IEEE Trans. Med. Imaging 2020; for
    the insertion L. Yu et al., J. Comput. Assist. Tomogr. 2012 and S. Zabic et al., Med. Phys. 2013. Routine body
    protocols have 1 to 10 HU.

    Example:
        >>> import torch
        >>> noise = RandCTDose(noise_hu=10, prob=1.0).set_random_state(0)(torch.zeros(1, 128, 128, 8))
        >>> round(float(noise.std()), 1), abs(round(float(noise.mean()), 2))
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
        kernels = tuple(CUTOFF_PER_MM) if domain == "image" else tuple(_WINDOWS)
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
            sharpness = {} if self.kernel == "white" else {"cutoff_per_mm": CUTOFF_PER_MM[self.kernel]}
            return {
                "kernel": self.kernel,
                **sharpness,
                "slice_correlation": self.slice_correlation,
                "floor_hu": FLOOR_HU,
            }
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
        part = stack.restored(_noise_slices(stack, seeds, call.settings)).to(image.dtype)
        put_samples(noise, stack.members, part)
    if "floor_hu" in call.settings:
        return add_noise_above(image, noise.mul_(call.column("noise_hu")), call.settings["floor_hu"])
    return add_hu_noise(image, noise, call.column("noise_hu"))


def _noise_slices(stack: SliceStack, seeds: Sequence[int], settings: Params) -> torch.Tensor:
    """Noise of unit variance in soft tissue, in the shape of the stack."""
    members, channels, slices, rows, columns = stack.whole
    correlation = settings["slice_correlation"]
    extra = int(correlation > 0 and stack.axis is not None)
    white = stack.noise(half_spectrum_shape(rows, columns), seeds, slices + extra)

    def coloured(power: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
        noise = coloured_slices(white, power, columns).reshape(members, channels, slices + extra, rows, columns)
        return correlated_slices(noise, correlation) if extra else noise

    shape = (rows, columns, stack.spacing)
    if "cutoff_per_mm" not in settings:  # white, or a record of version 0.1.0: a share of the pixel's Nyquist frequency
        end = APODISATION[settings["kernel"]] * 0.5 / min(stack.spacing)
        return coloured(ct_noise_power(*shape, end, False), white)
    amplitudes = noise_amplitudes(stack.slices, stack.spacing, members)
    first, second = (ct_noise_power(*shape, settings["cutoff_per_mm"], axis=axis) for axis in (0, 1))
    # where folding puts both parts on one frequency, a quarter turn keeps them uncorrelated
    turned = torch.stack([-white[..., 1], white[..., 0]], -1)
    noise = coloured(first, turned).mul_(amplitudes[0].reshape(stack.whole))
    return noise.addcmul_(coloured(second, white), amplitudes[1].reshape(stack.whole))


def _thinned(image: torch.Tensor, call: Call) -> torch.Tensor:
    """The image with the noise of the reduced dose, inserted into the line integrals."""
    seeds, fractions = call.seeds(), call.drawn("dose_fraction")

    def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        beam = stack.beam
        fraction = stack.spread(fractions)
        white = stack.noise((beam.views, beam.width), seeds)
        window = _WINDOWS[call.settings["kernel"]]
        photons, electronic = (stack.slices.new_full((), call.settings[n]) for n in ("photons", "electronic_noise"))
        return lambda some: thinning_noise(
            stack.body(some), white[some], fraction[some], photons, electronic, beam, window
        )

    return change_of_bodies(image, call, change)
