"""Quantum noise of a reduced CT dose, in the image or in the sinogram."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from monai_medaug.core.arguments import choice, number, span
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.ct.acquisition import inserted_noise, thinning_noise
from monai_medaug.functional.ct.noise_field import add_quantum_noise, bits_shape, directional_amplitudes
from monai_medaug.functional.ct.noise_map import noise_amplitudes, noise_levels
from monai_medaug.functional.ct.quantum_noise import (
    APODISATION,
    HALF_PER_MM,
    NoiseKernel,
    add_hu_noise,
    add_noise_above,
    coloured_slices,
    ct_noise_power,
    half_spectrum_shape,
    mixed_slices,
)
from monai_medaug.functional.ct.slice_profile import THINNEST_MM, pair_taps, slice_taps
from monai_medaug.functional.ct.slices import SliceStack, slice_stacks
from monai_medaug.functional.ct.truncation import BODY_MM
from monai_medaug.functional.hounsfield import FLOOR_HU
from monai_medaug.functional.noise.white import uniform_integers
from monai_medaug.functional.precision import put_samples, samples_at
from monai_medaug.transforms.ct.acquisition import change_of_bodies
from monai_medaug.transforms.ct.units import CTImage

_WINDOWS = {"soft": "hann", "standard": "cosine", "sharp": "ramp"}  # of records without a cutoff
_SCANNER_VIEWS = 1000  # in a turn, for which photons are counted
_NOISE_ELEMENT_MM = 0.5  # of the detector at the isocentre, at most
_SINOGRAMS_AT_ONCE = 16  # they are large, as the elements are small
_PATH_MM = 2.0  # width of the rays along which attenuation is summed
_SINGLE_MM = 3.0  # thickness of a slice without neighbours


class RandCTDose(CTImage, RandomOperation):
    """Quantum noise of a lower dose: zero mean, with the spectrum of filtered back-projection.

    In the ``"image"`` domain each slice gets noise of the drawn standard deviation in soft tissue and of the power
    ``|f| W(f)²``: a ramp over the frequency f in cycles per mm times the square of the reconstruction kernel W, which
    belongs to the scanner and not to the pixels. What they can't resolve is folded back: noise is smooth on pixels of
    0.4 mm and nearly uncorrelated on 3 mm. It is stronger where rays have a long way through the body, and there finest
    across them: in air half as strong as in tissue, streaky between the shoulders. Of a crop only the way inside it
    counts. The kernel ``"white"`` gives the same standard deviation everywhere.

    In the ``"projection"`` domain the dose is a fraction a of the scan's. Of N0 photons per ray ``N0 exp(-p)`` pass;
    reducing N0 to ``a N0`` adds noise of variance ``(1 / a - 1) exp(p) / N0``, plus electronic noise, to the line
    integrals. It is reconstructed with the kernel W and added to the image: stronger along dense paths, with streaks
    between the hips.

    Slices that overlap share noise: side by side, as thick as their spacing, they have a correlation of 0.18, as
    measured on helical scans; it rises to 0.67 at half the spacing and falls to 0 at 1.8 times it (`slice_taps`).
    They lie across the array axis nearest to the scanner's axis (the world's third); without an affine, across the
    last. Padding and what a scanner clipped (at or below -1024 HU) get no noise, and noise makes no value lower than
    that.

    Args:
        noise_hu: range of the standard deviation in HU, root mean square over soft tissue (image domain).
        kernel: ``"soft"``, ``"standard"`` or ``"sharp"``, as for the abdomen, chest and bone: they pass 50 % at
            0.275, 0.336, 0.57 and 10 % at 0.61, 0.75, 1.27 cycles per mm; or ``"white"`` (image domain).
        slice_correlation: correlation of adjacent slices in [0, 0.5], instead; a sequential scan has 0.
        prob: probability of applying it.
        domain: ``"image"`` or ``"projection"``.
        dose_fraction: range of a, in (0, 1]; 1 adds no noise (projection domain).
        photons: of the given scan, per mm² of a detector at the isocentre and view, of 1000 views in a turn: 1e5 (a
            screening chest) to 1e6. Rays collect more where slices are thicker (projection domain).
        electronic_noise: standard deviation of the readout in photons per mm² and view, 3 to 10 (projection domain).
        body_mm: diameter of the water-equivalent body assumed round a crop, whose border is tissue; an adult's trunk
            has about 280, a head 200. Where the border is air it has no effect (projection domain).
        thickness_mm: of the slices (full width of their profile at half maximum); None takes them for as thick as their
            spacing, at least 1 mm, and single ones for 3 mm.

    Raises:
        ValueError: an argument is out of its range, or the image cannot be in HU.

    Source: S. J. Riederer et al., The noise power spectrum in computed X-ray tomography, Phys. Med. Biol. 1978;
    M. F. Kijewski & P. F. Judy, ibid. 1987; for the slice profile W. A. Kalender & A. Polacin, Med. Phys. 1991; for the
    local level A. Divel & N. Pelc, IEEE Trans. Med. Imaging 2020; for the insertion L. Yu et al., J. Comput. Assist.
    Tomogr. 2012 and S. Zabic et al., Med. Phys. 2013. Routine body protocols have 1 to 10 HU.

    Example:
        >>> import torch
        >>> noise = RandCTDose(noise_hu=10, prob=1.0).set_random_state(0)(torch.zeros(1, 128, 128, 8))
        >>> round(float(noise.std()), 1), abs(round(float(noise.mean()), 2))
        (10.0, 0.0)
    """

    phrases = {"noise_hu": "noise of {:.1f} HU"}
    memory = 4
    identity = {"noise_hu": 0.0, "dose_fraction": 1.0}
    magnitudes = (Magnitude("ct_noise", {"noise_hu": Reach(0, 25)}, unit="HU"),)
    variants = ({}, {"domain": "projection"})

    def __init__(
        self,
        noise_hu: float | Sequence[float] = (1, 10),
        kernel: str = "standard",
        slice_correlation: float | None = None,
        prob: float = 0.8,
        domain: str = "image",
        dose_fraction: float | Sequence[float] = (0.1, 1),
        photons: float = 5e5,
        electronic_noise: float = 5,
        body_mm: float = BODY_MM,
        thickness_mm: float | None = None,
    ) -> None:
        super().__init__(prob)
        self.domain = choice("domain", domain, ("image", "projection"))
        kernels = (*HALF_PER_MM, "white") if domain == "image" else tuple(HALF_PER_MM)
        self.kernel = choice(f"kernel in the {domain} domain", kernel, kernels)
        self.noise_hu = span("noise_hu", noise_hu, 0)
        if slice_correlation is not None:
            number("slice_correlation", slice_correlation, 0, 0.5)
        if thickness_mm is not None:
            number("thickness_mm", thickness_mm, 1e-3, 100)
        self.slice_correlation, self.thickness_mm = slice_correlation, thickness_mm
        self.dose_fraction = span("dose_fraction", dose_fraction, 1e-3, 1)
        self.photons = number("photons", photons, 1)
        self.electronic_noise = number("electronic_noise", electronic_noise, 0)
        self.body_mm = number("body_mm", body_mm, 1, 1000)

    def draw(self) -> Params:
        name = "noise_hu" if self.domain == "image" else "dose_fraction"
        return {name: self.R.uniform(*getattr(self, name)), "seed": int(self.R.randint(2**31 - 1))}

    def settings(self) -> Params:
        common: Params = {
            "kernel": self.kernel,
            "thickness_mm": "spacing" if self.thickness_mm is None else self.thickness_mm,
        }
        if self.kernel != "white":
            common["half_per_mm"] = HALF_PER_MM[self.kernel]
        if self.slice_correlation is not None:
            common["slice_correlation"] = self.slice_correlation
        common["floor_hu"] = FLOOR_HU
        if self.domain == "image":
            return common
        scan = {"photons_per_mm2": self.photons, "electronic_noise": self.electronic_noise, "body_mm": self.body_mm}
        return {**common, **scan}

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        return (
            _thinned(image, call) if "body_mm" in call.settings or "photons" in call.settings else _noisy(image, call)
        )


RandCTDosed = dictionary_twin(RandCTDose)
RandCTDoseD = RandCTDoseDict = RandCTDosed


def _noisy(image: torch.Tensor, call: Call) -> torch.Tensor:
    """The image with noise of the drawn level."""
    kernel = _kernel(call.settings)
    if kernel is not None and "thickness_mm" in call.settings:
        return _coloured(image, call, kernel)
    seeds, noise = call.seeds(), torch.empty_like(image)
    for stack in slice_stacks(image, call.grids):
        part = stack.restored(_noise_slices(stack, seeds, call.settings)).to(image.dtype)
        put_samples(noise, stack.members, part)
    if "floor_hu" in call.settings:
        return add_noise_above(image, noise.mul_(call.column("noise_hu")), call.settings["floor_hu"])
    return add_hu_noise(image, noise, call.column("noise_hu"))


def _coloured(image: torch.Tensor, call: Call, kernel: NoiseKernel) -> torch.Tensor:
    """The image with noise of the kernel and the local level."""
    seeds, sigma, parts = call.seeds(), call.column("noise_hu").flatten(), []
    for stack in slice_stacks(image, call.grids):
        _, channels, slices, rows, columns = stack.whole
        taps = _taps(stack, call.settings)
        shape = (channels, *bits_shape(slices + len(taps) - 1, rows, columns))
        noisy = add_quantum_noise(
            stack.volumes,
            uniform_integers(shape, [seeds[i] for i in stack.members], image.device),
            taps,
            directional_amplitudes(rows, columns, stack.spacing, kernel),
            noise_levels(stack.volumes, stack.spacing, stack.across_mm or 1.0),
            samples_at(sigma, stack.members),
            call.settings["floor_hu"],
        )
        parts.append((stack.members, stack.image_of(noisy)))
    if len(parts) == 1:
        return parts[0][1]
    out = torch.empty_like(image)
    for members, part in parts:
        put_samples(out, members, part)
    return out


def _kernel(settings: Params) -> NoiseKernel | None:
    """Of the scanner; None for white noise and for records of version 0.1.0, whose kernels depend on the pixels."""
    if "half_per_mm" in settings:
        return NoiseKernel.of_half(settings["half_per_mm"])
    return NoiseKernel(settings["cutoff_per_mm"]) if "cutoff_per_mm" in settings else None


def _taps(stack: SliceStack, settings: Params) -> tuple[float, ...]:
    """The weights that correlate adjacent slices."""
    if stack.axis is None:
        return (1.0,)
    if "slice_correlation" in settings:
        return pair_taps(settings["slice_correlation"])
    return slice_taps(stack.across_mm, _thickness(stack, settings))


def _thickness(stack: SliceStack, settings: Params) -> float:
    """Of the slices in mm; a single slice is taken for a thick one."""
    if settings["thickness_mm"] != "spacing":
        return settings["thickness_mm"]
    return max(stack.across_mm, THINNEST_MM) if stack.axis is not None else _SINGLE_MM


def _noise_slices(stack: SliceStack, seeds: Sequence[int], settings: Params) -> torch.Tensor:
    """White noise of unit variance in the shape of the stack, or that of an older record."""
    members, channels, slices, rows, columns = stack.whole
    taps = _taps(stack, settings)
    many = slices + len(taps) - 1
    white = stack.noise(half_spectrum_shape(rows, columns), seeds, many)

    def coloured(power: torch.Tensor, white: torch.Tensor) -> torch.Tensor:
        noise = coloured_slices(white, power, columns).reshape(members, channels, many, rows, columns)
        return mixed_slices(noise, taps) if len(taps) > 1 else noise

    shape = (rows, columns, stack.spacing)
    kernel = _kernel(settings)
    if kernel is None:  # white, or a record of version 0.1.0: a share of the pixel's Nyquist frequency
        end = APODISATION[settings["kernel"]] * 0.5 / min(stack.spacing)
        return coloured(ct_noise_power(*shape, NoiseKernel(end), False), white)
    amplitudes = noise_amplitudes(stack.slices, stack.spacing, members)
    first, second = (ct_noise_power(*shape, kernel, axis=axis) for axis in (0, 1))
    # where folding puts both parts on one frequency, a quarter turn keeps them uncorrelated
    turned = torch.stack([-white[..., 1], white[..., 0]], -1)
    noise = coloured(first, turned).mul_(amplitudes[0].reshape(stack.whole))
    return noise.addcmul_(coloured(second, white), amplitudes[1].reshape(stack.whole))


def _thinned(image: torch.Tensor, call: Call) -> torch.Tensor:
    """The image with the noise of the reduced dose, inserted into the line integrals."""
    seeds, fractions, settings = call.seeds(), call.drawn("dose_fraction"), call.settings

    def former(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        beam = stack.beam
        fraction = stack.spread(fractions)
        white = stack.noise((beam.views, beam.width), seeds)
        window = _WINDOWS[settings["kernel"]]
        photons, electronic = (stack.volumes.new_full((), settings[n]) for n in ("photons", "electronic_noise"))
        return lambda some: thinning_noise(
            stack.body(some), white[some], fraction[some], photons, electronic, beam, window
        )

    kernel = _kernel(settings)
    if kernel is None:
        return change_of_bodies(image, call, former)

    def change(stack: SliceStack) -> Callable[[slice], torch.Tensor]:
        beam = stack.beam_of(min(_NOISE_ELEMENT_MM, 0.5 / kernel.end))
        seen = stack.beam_of(max(_PATH_MM, *stack.spacing))
        collected = beam.pitch * _thickness(stack, settings) * _SCANNER_VIEWS / beam.views
        photons = stack.volumes.new_full((), settings["photons_per_mm2"] * collected)
        electronic = stack.volumes.new_full((), settings["electronic_noise"] * collected**0.5)
        fraction, taps = stack.spread(fractions), _taps(stack, settings)

        def added(some: slice) -> torch.Tensor:
            white = stack.mixed_noise((beam.views, beam.width), seeds, some, taps)
            return inserted_noise(stack.body(some), white, fraction[some], photons, electronic, seen, beam, kernel)

        return added

    noisy = change_of_bodies(image, call, change, _SINOGRAMS_AT_ONCE)
    return torch.where(image > settings["floor_hu"], noisy.clamp_min(settings["floor_hu"]), image)
