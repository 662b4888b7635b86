"""The photons of a radiograph at another exposure."""

from __future__ import annotations

import torch


def exposure_change(
    attenuation: torch.Tensor,
    white: torch.Tensor | None,
    factor: torch.Tensor,
    quantum_noise: torch.Tensor,
    read_noise: torch.Tensor,
    level: torch.Tensor,
) -> torch.Tensor:
    """Change of the measured attenuation at another exposure.

    Of ``lambda = factor exp(-p) / q²`` expected photons a pixel registers, with z standard normal,
    ``N = lambda + sqrt(lambda + r²) z + (z² - 1) / 6``: the Cornish-Fisher expansion of the Poisson quantile (Giles
    2016), accurate in mean, variance and skewness from about 5 photons on, and continuous, as integrating detectors
    are. The reading is ``-ln(q² N / level)`` with N at least half a photon.

    Args:
        attenuation: p, (B, C, *spatial).
        white: standard normal z of the same shape; None without noise.
        factor: relative exposure.
        quantum_noise: q, the relative noise of an unattenuated pixel, photons^-1/2.
        read_noise: r, in photons.
        level: the detector's full exposure: 1, or ``factor`` if it normalises.

    Example:
        >>> t = torch.tensor
        >>> exposure_change(torch.zeros(1), None, t(0.5), t(0.0), t(0.0), t(1.0))
        tensor([0.6931])
    """
    if white is None:
        return -torch.log(factor / level).expand_as(attenuation)
    thickness = torch.exp(attenuation)
    deviation = quantum_noise * torch.sqrt(thickness * (factor + (read_noise * quantum_noise) ** 2 * thickness))
    skewness = (white * white - 1) * (quantum_noise**2 / 6) * thickness
    share = torch.maximum(factor + deviation * white + skewness, quantum_noise**2 / 2 * thickness)
    return -torch.log(share / level)
