"""The photons of a radiograph at another exposure."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows
from monai_medaug.functional.xray.display import DisplayScale, flat_black


def exposed(
    image: torch.Tensor,
    scale: DisplayScale,
    white: torch.Tensor | None,
    numbers: Sequence[torch.Tensor],
    keep_black: bool = True,
) -> torch.Tensor:
    """The image (B, C, rows, columns, ...) at another exposure, see `exposure_change`.

    Args:
        image: as shown on the scale.
        scale: of the display.
        white: normal noise of the image's shape; None without noise.
        numbers: factor, quantum noise, read noise and level, (B, 1, ...) each.
        keep_black: whether flat black areas stay, see `flat_black`.
    """
    compiled = loops("xray._numba_photons", image, dtypes=[torch.float32])
    if compiled is None or white is None or scale.linear:
        p = scale.attenuation(image)
        change = exposure_change(p, white, *numbers)
        return scale.changed(image, torch.where(flat_black(p), 0.0, change) if keep_black else change)
    image, white = image.contiguous(), white.contiguous()
    out, black = torch.empty_like(image), np.zeros(image.shape, np.uint8)
    ends = [x.flatten().numpy() for x in (scale.low, scale.high, scale.depth, scale.inverted)]
    each = [x.flatten().expand(len(image)).numpy().astype(np.float32) for x in numbers]
    rows, step = image.shape[2], math.prod(image.shape[4:])
    for sample, source in enumerate(image.numpy()):
        low, high, depth, inverted, *own = (column[sample] for column in (*ends, *each))
        if keep_black and (not inverted or high > low):
            areas = (x.reshape(len(source), rows, -1) for x in (source, black[sample]))
            compiled.flat_black(next(areas), high if inverted else low, inverted > 0, step, next(areas))
        flat = [x.reshape(-1) for x in (source, white[sample].numpy(), black[sample], out[sample].numpy())]
        fixed = (*flat[:3], low, high, depth, inverted, *own, flat[3])
        over_rows(functools.partial(compiled.expose, *fixed), len(flat[0]), 1 << 16)
    return out


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
