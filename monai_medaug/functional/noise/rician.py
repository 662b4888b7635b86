"""Variance stabilisation of MR magnitude images, and its exact unbiased inverse.

From A. Foi, "Noise estimation and removal in MR imaging: the variance-stabilization approach", ISBI 2011: a function f
of the magnitude z with standard deviation 1 for any signal ν, and the inverse that takes E{f(z) | ν} to ν. The tables
are computed from the Rice distribution at first use.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy.special import i0e

from monai_medaug.functional.precision import computing_dtype

_TABLE_END = 24.0  # in sigma; beyond it the asymptotes hold within 1e-3
_STEP = 0.01
_SMOOTHNESS = 0.4  # a curve steeper at 0 would stabilise better (0.2 %), but skew the background's noise
_KNOTS = np.concatenate([np.arange(0, 4, 0.2), np.arange(4, 7, 0.5), [7, 8, 10]])


def rician_stabilised(image: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    r"""Variance-stabilising transform of Rician magnitudes.

    :math:`f(z) = \sqrt{\max(z^2 - 1/2, 0)} + c` for z = image / sigma above 10; below, f is a smooth rising curve
    fitted to a deviation of 1 for signals from 0 to 12 sigma, which it keeps within 0.02.

    Args:
        image: (B, C, *spatial) magnitudes; negative values count as 0.
        sigma: (B,) standard deviation of the real and of the imaginary part, above 0.

    Returns:
        f(image / sigma), with noise of deviation 1, in the image's dtype (float32 at least).

    Example:
        >>> f = rician_stabilised(torch.tensor([[[0.0, 1.0, 100.0]]]), torch.ones(1))
        >>> bool((f[0, 0].diff() > 0).all()), round(float(f[0, 0, 2]), 1)
        (True, 100.0)
    """
    z = image.to(computing_dtype(image.dtype))
    z = z.clamp_min(0) / _per_sample(sigma, z)
    table = _stabilising_tables()[0]
    far = (z.square() - 0.5).clamp_min(0).sqrt() + float(table[-1] - math.sqrt(_TABLE_END**2 - 0.5))
    return torch.where(z < _TABLE_END, _looked_up(z / _STEP, table), far)


def rician_unstabilised(stabilised: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    r"""Exact unbiased inverse of `rician_stabilised`: the signal ν with this expected stabilised value.

    The expectation :math:`\int f(z)\, p(z \mid \nu)\, dz` is integrated numerically. Values up to its
    minimum, that of pure noise, give 0, which removes the background's bias. It begins as a parabola: a background 0.04
    above the minimum gives 0.3 sigma.

    Args:
        stabilised: (B, C, *spatial), denoised.
        sigma: (B,) as given to `rician_stabilised`.

    Returns:
        Signal in image units, at least 0.

    Example:
        >>> noise = torch.randn(2, 1, 1, 100000, generator=torch.Generator().manual_seed(0))
        >>> magnitude = (noise[:1] + 3).hypot(noise[1:])
        >>> mean = rician_stabilised(magnitude, torch.ones(1)).mean(-1, keepdim=True)
        >>> round(float(rician_unstabilised(mean, torch.ones(1))), 1)
        3.0
    """
    value = stabilised.to(computing_dtype(stabilised.dtype))
    _, mean, place = _stabilising_tables()
    # equal steps in the square root of the excess over pure noise, as the mean begins as a parabola
    root = (value - float(mean[0])).clamp_min(0).sqrt()
    near = _looked_up(root * ((len(place) - 1) / math.sqrt(mean[-1] - mean[0])), place)
    # mean = ν + 1 / (4 ν) + constant
    end = _TABLE_END - 6
    rest = value - float(mean[-1] - end - 1 / (4 * end))
    far = 0.5 * (rest + (rest.square() - 1).clamp_min(0).sqrt())
    return torch.where(value < float(mean[-1]), near, far) * _per_sample(sigma, value)


def rician_bias_removed(denoised: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    r"""Signal from a denoised magnitude by its second moment, :math:`\nu = \sqrt{\max(d^2 - 2\sigma^2, 0)}`.

    Right for d² the mean of squared magnitudes, :math:`E z^2 = \nu^2 + 2\sigma^2`. The square of a mean magnitude is
    smaller: 1.57 σ² in the background, which gives 0, and :math:`\nu^2 + \sigma^2` for strong signals, of which 1/2
    σ²/ν is lost.

    Args:
        denoised: (B, C, *spatial) denoised magnitude d.
        sigma: (B,) standard deviation of the real and of the imaginary part.

    Returns:
        Signal in image units, at least 0.

    Example:
        >>> rician_bias_removed(torch.tensor([[[1.0, 3.0]]]), torch.ones(1))
        tensor([[[0.0000, 2.6458]]])
    """
    value = denoised.to(computing_dtype(denoised.dtype))
    return (value.square() - 2 * _per_sample(sigma, value).square()).clamp_min(0).sqrt()


@functools.cache
def _stabilising_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The curve f at z = 0, 0.01, ...; E{f | ν} at ν = 0, 0.01, ...; ν at equal steps of sqrt(E{f | ν} - E{f | 0}).

    f is piecewise linear in its slope between knots. The slopes at the knots are fitted by the Gauss-Newton method, as
    the variance is a quadratic form of f; small second differences keep f smooth and rising.
    """
    z = np.arange(0, _TABLE_END + _STEP / 2, _STEP)
    signals = np.concatenate([np.arange(0, 4, 0.05), np.arange(4, 12.1, 0.25)])
    weights = rician_density(z, signals) * _STEP
    weights /= weights.sum(1, keepdims=True)
    slope_far = z / np.sqrt(np.maximum(z**2 - 0.5, 0.25))
    hats = np.stack([np.interp(z, _KNOTS, row) for row in np.eye(len(_KNOTS))])
    integrals = np.concatenate([np.zeros((len(hats), 1)), np.cumsum((hats[:, 1:] + hats[:, :-1]) / 2, 1) * _STEP], 1)
    beyond = np.where(z > _KNOTS[-1], slope_far - slope_far[round(_KNOTS[-1] / _STEP)], 0)
    fixed = np.concatenate([[0], np.cumsum((beyond[1:] + beyond[:-1]) / 2) * _STEP])
    slopes = np.interp(_KNOTS, z, slope_far)
    smooth = _SMOOTHNESS * np.diff(np.eye(len(slopes)), 2, axis=0)
    last = np.eye(len(slopes))[-1:]  # continuous with the slope beyond
    for _ in range(12):
        f = fixed + slopes @ integrals
        mean = weights @ f
        deviation = np.sqrt(weights @ f**2 - mean**2)
        gradient = (weights @ (f * integrals).T - mean[:, None] * (weights @ integrals.T)) / deviation[:, None]
        matrix = np.concatenate([gradient, smooth, last])
        wanted = np.concatenate([1 - deviation, -smooth @ slopes, slope_far[round(_KNOTS[-1] / _STEP)] - last @ slopes])
        slopes = np.maximum(slopes + np.linalg.lstsq(matrix, wanted, rcond=None)[0], 0.05)
    f = fixed + slopes @ integrals
    f += math.sqrt(_TABLE_END**2 - 0.5) - f[-1]
    nu = np.arange(0, _TABLE_END - 6 + _STEP / 2, _STEP)
    density = rician_density(z, nu)
    mean = density @ f / density.sum(1)
    excess = np.sqrt(np.maximum.accumulate(mean - mean[0]))
    place = np.interp(np.linspace(0, excess[-1], 4 * len(nu)), excess, nu)
    return f, mean, place


def rician_density(z: np.ndarray, signals: np.ndarray) -> np.ndarray:
    """Density of magnitudes z for each signal, (signals, z), both in units of sigma.

    Example:
        >>> z = np.linspace(0, 12, 1201)
        >>> np.allclose(rician_density(z, np.array([0.0, 3.0])).sum(1) * 0.01, 1)
        True
    """
    return z * np.exp(-((z - signals[:, None]) ** 2) / 2) * i0e(z * signals[:, None])


def _looked_up(position: torch.Tensor, table: np.ndarray) -> torch.Tensor:
    """Linear interpolation at positions in steps of the table."""
    values = torch.as_tensor(table).to(position)
    position = position.clamp(0, len(table) - 1)
    index = position.to(torch.int64).clamp_max(len(table) - 2)
    low = values[index]
    return low + (position - index) * (values[index + 1] - low)


def _per_sample(sigma: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return sigma.to(image).reshape(-1, *[1] * (image.ndim - 1))
