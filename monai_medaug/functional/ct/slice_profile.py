"""The slice profile of a CT along z, as far as it correlates the noise of neighbouring slices."""

from __future__ import annotations

import functools
import math

import numpy as np

THINNEST_MM = 1.0
"""Slices are assumed to be this thick at least: thinner spacing is overlap."""

_NARROWER = 0.9  # of the slice thickness: the profile of the noise, which no detector row's aperture widens
_CIRCLE = 1024  # slices, longer than any correlation
_EMPTIEST = 1e-5  # least power of a frequency along z, of which the logarithm is taken
_NEGLIGIBLE = 1e-3


@functools.lru_cache(maxsize=64)
def slice_taps(spacing_mm: float, thickness_mm: float) -> tuple[float, ...]:
    """Weights that mix independent slices to slices whose noise correlates as that of slices of a thickness.

    The data of a helical scan are weighted by a triangle along z (Kalender & Polacin 1991), here of a full width at
    half maximum of 0.9 of the slice thickness: the aperture of the detector's rows makes up the rest. Noise so filtered
    has the correlation of a cubic B-spline: 0.18 between slices that lie side by side (0.13 to 0.25 in five scans),
    0.67 where they overlap by half, 0 from 1.8 thicknesses on. The weights are its causal factor with all zeros within
    the unit circle.

    Args:
        spacing_mm: distance of the slices.
        thickness_mm: full width of the slice profile at half maximum; 0 for independent slices.

    Returns:
        Weights of unit energy, for slice k, k + 1, ...; (1,) where slices are independent.

    Example:
        >>> taps = slice_taps(5.0, 5.0)
        >>> len(taps), round(taps[0] * taps[1], 3)
        (2, 0.176)
    """
    distance = np.arange(_CIRCLE // 2 + 1) * spacing_mm / max(_NARROWER * thickness_mm, 1e-6)
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    one_sided = np.where(distance < 1, near, far) * 1.5
    power = np.fft.hfft(one_sided, _CIRCLE)
    cepstrum = np.fft.ifft(np.log(np.maximum(power, _EMPTIEST))).real
    cepstrum[0] /= 2
    cepstrum[_CIRCLE // 2] /= 2
    cepstrum[_CIRCLE // 2 + 1 :] = 0
    taps = np.fft.ifft(np.exp(np.fft.fft(cepstrum))).real[: int((one_sided > 0).sum())]
    taps = taps[: int(np.flatnonzero(np.abs(taps) > _NEGLIGIBLE)[-1]) + 1]
    return tuple(float(t) for t in taps / np.linalg.norm(taps))


def pair_taps(correlation: float) -> tuple[float, ...]:
    """Weights for a given correlation of adjacent slices, none between others: cos(a) and sin(a), sin(2 a) = 2 c.

    Example:
        >>> [round(t, 3) for t in pair_taps(0.5)]
        [0.707, 0.707]
    """
    angle = 0.5 * math.asin(2 * correlation)
    return (math.cos(angle), math.sin(angle)) if correlation else (1.0,)
