"""The photons of a radiograph at another exposure."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows


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
    if (compiled := loops("xray._numba_photons", attenuation, white, dtypes=[torch.float32])) is not None:
        return _change_of_pixels(compiled, attenuation, white, (factor, quantum_noise, read_noise, level))
    thickness = torch.exp(attenuation)
    deviation = quantum_noise * torch.sqrt(thickness * (factor + (read_noise * quantum_noise) ** 2 * thickness))
    skewness = (white * white - 1) * (quantum_noise**2 / 6) * thickness
    share = torch.maximum(factor + deviation * white + skewness, quantum_noise**2 / 2 * thickness)
    return -torch.log(share / level)


def _change_of_pixels(
    compiled: ModuleType, attenuation: torch.Tensor, white: torch.Tensor, numbers: Sequence[torch.Tensor]
) -> torch.Tensor:
    """By compiled loops, for float32 and one of each number a sample."""
    out = torch.empty_like(attenuation, memory_format=torch.contiguous_format)
    each = [n.flatten().expand(len(attenuation)).numpy().astype(np.float32) for n in numbers]
    for p, z, target, *own in zip(attenuation, white, out, *each, strict=True):
        fixed = (p.reshape(-1).numpy(), z.reshape(-1).numpy(), *own, target.reshape(-1).numpy())
        over_rows(functools.partial(compiled.change_exposure, *fixed), p.numel(), 1 << 16)
    return out
