"""How a radiograph shows attenuation.

A display image shows the attenuation ``p = -ln T`` on a linear scale. The kernels of this wing work on the transmission
T and return only the *change* of p, which is added to the image: without an effect the image stays bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from monai_medaug.functional.acceleration import cpu_library_serves, loops
from monai_medaug.functional.order import order_statistics

_RANGE_PIXELS, _TAIL = 1 << 15, 1e-3


@dataclass(frozen=True)
class DisplayScale:
    """How an image shows attenuation: ``p = depth (v - low) / (high - low)``, inverted, or as photons.

    Photons are ``v - low = (high - low) exp(-p)`` with p at most ``depth``. All tensors broadcast to the image (B, C,
    *spatial).

    Args:
        low, high: ends of the display range; equal for a constant image.
        depth: attenuation at the bright end, in natural log units.
        inverted: 1 if bright means little attenuation, else 0.
        linear: whether values are photons.

    Example:
        >>> t = torch.tensor
        >>> scale = DisplayScale(t(0.0), t(100.0), t(4.0), t(0.0), False)
        >>> scale.attenuation(t([0.0, 50.0, 100.0])), scale.changed(t([50.0]), t([1.0]))
        (tensor([0., 2., 4.]), tensor([75.]))
    """

    low: torch.Tensor
    high: torch.Tensor
    depth: torch.Tensor
    inverted: torch.Tensor
    linear: bool

    def attenuation(self, image: torch.Tensor) -> torch.Tensor:
        """Attenuation in [0, depth]; 0 everywhere in a constant image."""
        extent = self.high - self.low
        share = ((image - self.low) / torch.where(extent > 0, extent, torch.ones_like(extent))).clamp(0, 1)
        if self.linear:
            return torch.maximum(share, torch.exp(-self.depth)).log().neg() * (extent > 0)
        return torch.addcmul(self.inverted, share, 1 - 2 * self.inverted) * self.depth

    def changed(self, image: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The image with ``change`` added to its attenuation."""
        if self.linear:
            return torch.addcmul(image, image - self.low, torch.expm1(-change))
        return torch.addcmul(image, change, (self.high - self.low) / self.depth * (1 - 2 * self.inverted))


def flat_black(attenuation: torch.Tensor) -> torch.Tensor:
    """Where squares of 3 × 3 pixels (B, C, rows, columns, ...) show no attenuation at all, as a bool mask.

    A detector gives no such area by itself: it is the shutter of the archive, or air that saturates the display. What
    lies outside the image counts as black.

    Example:
        >>> p = torch.ones(1, 1, 5, 6)
        >>> p[..., :4] = 0
        >>> p[0, 0, 2, 5] = 0
        >>> flat_black(p)[0, 0, 2].tolist()
        [True, True, True, True, False, False]
    """
    if (compiled := loops("xray._numba_photons", attenuation, dtypes=[torch.float32])) is not None:
        out = torch.empty(attenuation.shape, dtype=torch.uint8)
        rows, width = attenuation.shape[2], attenuation[0, 0, 0].numel()
        planes = (x.reshape(-1, rows, width).numpy() for x in (attenuation, out))
        compiled.flat_black(next(planes), np.float32(0), False, attenuation[0, 0, 0, 0].numel(), next(planes))
        return out.view(torch.bool)
    dark = attenuation <= 0
    inner = dark.clone()
    for axis in (2, 3):
        inner = _with_neighbours(inner, axis, torch.Tensor.logical_and_)
    for axis in (2, 3):
        inner = _with_neighbours(inner, axis, torch.Tensor.logical_or_)
    return inner & dark


def _with_neighbours(mask: torch.Tensor, axis: int, join: Callable[[torch.Tensor, torch.Tensor], Any]) -> torch.Tensor:
    out, n = mask.clone(), mask.shape[axis]
    if n > 1:
        join(out.narrow(axis, 1, n - 1), mask.narrow(axis, 0, n - 1))
        join(out.narrow(axis, 0, n - 1), mask.narrow(axis, 1, n - 1))
    return out


def robust_range(image: torch.Tensor) -> torch.Tensor:
    """Minimum and maximum of each sample (B, C, *spatial) without outliers, (B, 2).

    An end that lies farther than a tenth of the range from the 0.1th or 99.9th percentile is an outlier, such as dead
    pixels and burnt-in letters, and gives way to it. The percentiles are over 2^15 to 2^16 pixels.

    Example:
        >>> image = torch.arange(10000.0).reshape(1, 1, 100, 100)
        >>> image[..., 0, 0] = -50000.0
        >>> robust_range(image).tolist()
        [[10.0, 9999.0]]
    """
    values = image.flatten(1)
    step = max(1, values.shape[1] // _RANGE_PIXELS)
    if cpu_library_serves(values, dtypes=(torch.float32, torch.float64)):
        return _range_of_rows(values, step)
    low, high = values.amin(1), values.amax(1)  # aminmax along an axis is twenty times as slow
    values = values[:, ::step]
    places = [1 + round(share * (values.shape[1] - 1)) for share in (_TAIL, 1 - _TAIL)]
    least, greatest = order_statistics(values, places)
    slack = 0.1 * (greatest - least)
    return torch.stack(
        [torch.where(low < least - slack, least, low), torch.where(high > greatest + slack, greatest, high)], 1
    )


def _range_of_rows(values: torch.Tensor, step: int) -> torch.Tensor:
    """`robust_range` of (B, n) on the CPU."""
    found = []
    for row in values:
        some = np.sort(row[::step].numpy())
        least, greatest = (float(some[round(share * (len(some) - 1))]) for share in (_TAIL, 1 - _TAIL))
        low, high = (float(end) for end in row.aminmax())  # along an axis it is twenty times as slow
        slack = 0.1 * (greatest - least)
        found.append((least if low < least - slack else low, greatest if high > greatest + slack else high))
    return torch.tensor(found, dtype=values.dtype)
