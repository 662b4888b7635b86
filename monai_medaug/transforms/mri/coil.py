"""Coil field and magnitude noise, on MR magnitude images of any scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.core.arguments import choice, flag, span, whole_number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.gallery_entry import GalleryEntry
from monai_medaug.core.magnitude import Magnitude, Reach
from monai_medaug.core.tensors import say_once
from monai_medaug.core.twin import dictionary_twin
from monai_medaug.functional.acceleration import over_rows, sent
from monai_medaug.functional.mri.coil import EXPONENTS, bias, index_polynomial, magnitude_noise
from monai_medaug.functional.mri.signal import foreground_mean
from monai_medaug.functional.mri.support import band_limited, line_supports
from monai_medaug.functional.noise.white import white_noise
from monai_medaug.transforms.mri.magnitude import MagnitudeOperation

SIGNALS = ("foreground", "deviation")
_NEARLY_FULL = 0.95
_DEGREES = np.array([sum(e) for e in EXPONENTS])


class RandMRIBiasField(MagnitudeOperation):
    """Smooth multiplicative shading of the receive coil.

    ``y = x exp(s (f - m))`` with a cubic polynomial f of the world position, relative to the image's centre and scaled
    by half its longest side, so that the field does not depend on the voxel size. m is the mean of f over the
    foreground, where the factor then has the geometric mean 1; s gives the factor the drawn maximum minus minimum over
    the foreground. All keys share the coefficients; each has its own foreground (above a tenth of the 99th percentile
    in any channel). Zeros stay zero. In an image with negative values their 0.1th percentile counts as zero signal,
    with a notice; a masked background stays as it is.

    Args:
        peak_to_peak: range of maximum minus minimum of the factor, in [0, 2]; 0.2 and 0.4 are the 20 % and 40 % of
            BrainWeb, 0.8 suits 7 T.
        prob: probability of applying it.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: D. L. Collins et al., Design and construction of a realistic digital brain phantom, IEEE Trans. Med.
    Imaging 1998 (BrainWeb); U. Vovk et al., A review of methods for correction of intensity inhomogeneity in MRI,
    ibid. 2007. Fields at 1.5 and 3 T usually have 10 to 40 %.

    Example:
        >>> import torch
        >>> field = RandMRIBiasField(peak_to_peak=0.3, prob=1.0).set_random_state(0)(torch.ones(1, 64, 64))
        >>> round(float(field.max() - field.min()), 3), abs(round(float(field.log().mean()), 4))
        (0.3, 0.0)
    """

    gallery = GalleryEntry(({"peak_to_peak": (0.6, 0.8)},), "A field as strong as at 7 T.")
    phrases = {"peak_to_peak": "bias field, {:.0%} peak to peak"}
    identity = {"peak_to_peak": 0.0}
    magnitudes = (Magnitude("bias_field", {"peak_to_peak": Reach(0, 0.8)}),)
    multiplies = True

    def __init__(self, peak_to_peak: float | Sequence[float] = (0.1, 0.4), prob: float = 0.8) -> None:
        super().__init__(prob)
        self.peak_to_peak = span("peak_to_peak", peak_to_peak, 0, 2)

    def draw(self) -> Params:
        return {
            "peak_to_peak": self.R.uniform(*self.peak_to_peak),
            "coefficients": (self.R.normal(size=len(EXPONENTS)) / _DEGREES).tolist(),
        }

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        terms = [index_polynomial(c, g) for c, g in zip(call.drawn("coefficients"), call.grids, strict=True)]
        return bias(magnitude, sent(np.stack(terms), magnitude.device, magnitude.dtype), call.column("peak_to_peak"))


RandMRIBiasFieldd = dictionary_twin(RandMRIBiasField)
RandMRIBiasFieldD = RandMRIBiasFieldDict = RandMRIBiasFieldd


class RandMRINoise(MagnitudeOperation):
    """Noise of a magnitude image: Rician for one coil, non-central chi for several.

    Each of L coils receives an equal share of the signal and complex Gaussian noise of standard deviation sigma in both
    parts: ``y = sqrt(sum_l |x / sqrt(L) + sigma (n_l + i m_l)|²)``. It is drawn in the equivalent form ``sqrt((x +
    sigma n)² + sigma² c)`` with c chi-square distributed with 2 L - 1 degrees of freedom. sigma is the signal divided
    by the SNR; the signal is each channel's mean over its foreground (above a tenth of the 99th percentile). Zeros
    become the noise floor, of mean sigma sqrt(pi / 2) for one coil, unless they are a masked background.

    In an image with negative values their 0.1th percentile counts as zero signal, with a notice: it is subtracted
    before the noise is applied and then added again. Put this transform before the normalisation if possible.

    A scan that was interpolated by zeros in k-space, or filtered, holds no power at the highest frequencies, its own
    noise included. There the added noise has none either (``band_limited``), at the same sigma, with a notice.

    Args:
        snr: range of signal / sigma, at least 0.1. The record holds its inverse, ``noise_to_signal``.
        coils: number of receive coils L, 1 to 64, combined by the root of the sum of squares.
        signal: the signal in the SNR: ``"foreground"``, the foreground's mean, or ``"deviation"``, the standard
            deviation of the whole image.
        prob: probability of applying it.
        keep_zeros: whether exact zeros stay; None keeps them where they are many and coherent, as the background of a
            skull-stripped or padded image, with a notice.
        band_limited: whether the noise keeps to the frequencies that the image holds; False: it is always white.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: H. Gudbjartsson & S. Patz, The Rician distribution of noisy MRI data, Magn. Reson. Med. 1995;
    C. D. Constantinides et al., ibid. 1997; S. Aja-Fernández & G. Vegas-Sánchez-Ferrero, Statistical Analysis of Noise
    in MRI, 2016. Clinical images have an SNR of about 5 (diffusion) to 40.

    Example:
        >>> import torch
        >>> image = torch.cat([torch.full((1, 64, 64), 100.0), torch.zeros(1, 64, 64)], dim=1)
        >>> noisy = RandMRINoise(snr=20, prob=1.0, keep_zeros=False).set_random_state(0)(image)
        >>> round(float(noisy[:, :64].std())), round(float(noisy[:, 64:].mean()) / 5, 1)
        (5, 1.2)
    """

    gallery = GalleryEntry(({"snr": (5, 10)},))
    phrases = {"noise_to_signal": "Rician noise, {:.1%} of the signal"}
    memory = 3
    identity = {"noise_to_signal": 0.0}
    magnitudes = (Magnitude("mri_noise", {"snr": Reach(80, 8, "inverse")}),)

    def __init__(
        self,
        snr: float | Sequence[float] = (5, 40),
        coils: int = 1,
        prob: float = 0.8,
        signal: str = "foreground",
        keep_zeros: bool | None = None,
        band_limited: bool = True,
    ) -> None:
        super().__init__(prob, keep_zeros)
        self.band_limited = flag("band_limited", band_limited)
        self.snr = span("snr", snr, 0.1)
        self.coils = whole_number("coils", coils, 1, 64)
        self.signal = choice("signal", signal, SIGNALS)

    def draw(self) -> Params:
        return {"noise_to_signal": 1 / self.R.uniform(*self.snr), "seed": int(self.R.randint(2**31 - 1))}

    def settings(self) -> Params:
        own = {"coils": self.coils, "signal": self.signal, "band_limited": self.band_limited}
        return {**own, **super().settings()}

    @classmethod
    def changed(cls, magnitude: torch.Tensor, call: Call) -> torch.Tensor:
        axes = range(magnitude.ndim - 2) if call.settings.get("band_limited", False) else ()
        shares = [line_supports(magnitude, axis) for axis in axes]
        real, rest = (torch.empty(magnitude.shape, device=magnitude.device) for _ in range(2))
        for i, seed in enumerate(call.seeds()):
            parts = np.random.SeedSequence(seed).generate_state(2 * call.settings["coils"], np.uint64) >> np.uint64(1)
            _normal_into((real[i], rest[i]), parts[:2].tolist())
            supports = _supports([of_axis[i] for of_axis in shares])
            real[i], rest[i] = band_limited(real[i], supports), band_limited(rest[i], supports)
            rest[i].square_()
            for part in parts[2:]:
                more = band_limited(white_noise(rest.shape[1:], [int(part)], magnitude.device)[0], supports)
                rest[i].addcmul_(more, more)
        sigma = call.column("noise_to_signal") * _signal(magnitude, call.settings["signal"])
        return magnitude_noise(magnitude, sigma, real.to(magnitude), rest.to(magnitude))


RandMRINoised = dictionary_twin(RandMRINoise)
RandMRINoiseD = RandMRINoiseDict = RandMRINoised


def _supports(measured: Sequence[float]) -> tuple[float, ...]:
    """How far the k-space of a sample reaches along each axis, 1 where it is nearly full; nothing for white noise."""
    if min(measured, default=1.0) >= _NEARLY_FULL:
        return ()
    say_once(
        "an MR image without power at its highest frequencies, as after interpolation or a filter: the noise has none "
        "there either; band_limited=False makes it white"
    )
    return tuple(1.0 if share >= _NEARLY_FULL else share for share in measured)


def _signal(image: torch.Tensor, kind: str) -> torch.Tensor:
    """The signal in the SNR, (B, C, 1, ...)."""
    if kind == "foreground":
        return foreground_mean(image)
    return image.std(tuple(range(2, image.ndim)), correction=0, keepdim=True)


def _normal_into(pair: Sequence[torch.Tensor], seeds: Sequence[int]) -> None:
    """Fill two tensors, each from its own seed; on the CPU in parallel, since torch draws in a single thread."""

    def fill(first: int, last: int) -> None:
        for target, seed in zip(pair[first:last], seeds[first:last], strict=True):
            target.normal_(generator=torch.Generator(target.device).manual_seed(seed))

    over_rows(fill, 2, least=1 if pair[0].device.type == "cpu" else 2)
