"""The blades of the collimator."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows, sent
from monai_medaug.functional.xray.display import DisplayScale, flat_black


class Blades(NamedTuple):
    """The collimators of a batch in plain numbers, one item a sample.

    Attributes:
        shares: share of the field behind the first and last blade across rows, then across columns; 0 is out of sight.
        degrees: rotation.
        edges: full width at half maximum of the penumbra in mm.
        leakage: transmission of the blades.
        spacings: of rows and columns in mm.
    """

    shares: Sequence[Sequence[float]]
    degrees: Sequence[float]
    edges: Sequence[float]
    leakage: Sequence[float]
    spacings: Sequence[Sequence[float]]


def behind_shutter(image: torch.Tensor, scale: DisplayScale, blades: Blades) -> torch.Tensor:
    """An image behind a collimator, black where it lets less than half through, as archives hold it.

    Flat black areas get no penumbra, see `flat_black`.

    Args:
        image: (B, C, rows, columns) or (B, C, rows, columns, radiographs), of the attenuation.
        scale: of the display, not of photons.
        blades: one collimator a sample.
    """
    if (compiled := loops("xray._numba_collimation", image, dtypes=[torch.float32])) is not None:
        image = image.contiguous()
        out = torch.empty_like(image)
        batch, channels, rows, columns = image.shape[:4]
        limits = np.empty((batch, 4), np.float32)
        for k, end in enumerate((scale.low, scale.high, scale.depth, scale.inverted)):
            limits[:, k] = end.flatten().numpy()
        for sample, (own, source, target) in enumerate(zip(limits, image, out, strict=True)):
            edges, *numbers = _numbers(blades, sample, rows, columns)
            if blades.leakage[sample] >= 1:
                edges[:] = np.inf
            planes = [x.reshape(channels, rows, -1).numpy() for x in (source, target)]
            fixed = (planes[0], own, edges, *numbers, planes[0].shape[2] // columns, planes[1])
            over_rows(functools.partial(compiled.shut, *fixed), rows, 256)
        return out
    p = scale.attenuation(image)
    change, field = collimation_change(p, blades, scale.depth)
    out = scale.changed(image, torch.where(flat_black(p), 0.0, change))  # no rim on an archive's own shutter
    black = torch.where(scale.inverted > 0, scale.high, scale.low)
    leaks = sent(blades.leakage, image.device, image.dtype).reshape(-1, *[1] * (image.ndim - 1))
    return torch.where((field < 0.5) & (leaks < 1), black, out)


def collimation_change(
    attenuation: torch.Tensor, blades: Blades, depth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change of the attenuation behind the four blades of a collimator, up to ``depth`` in all, and the open field.

    The field (B, 1, rows, columns) or (B, 1, rows, columns, 1) falls from 1 to 0 across the edge of each blade. A blade
    with a share of 0 is out of sight.

    Args:
        attenuation: p, (B, C, rows, columns) or (B, C, rows, columns, radiographs).
        blades: one collimator a sample.
        depth: greatest attenuation that the detector resolves.
    """
    if (compiled := loops("xray._numba_collimation", attenuation, dtypes=[torch.float32])) is not None:
        return _behind_blades(compiled, attenuation, blades, depth)
    shares, angle, edge, leakage, spacing = (sent(n, attenuation.device, attenuation.dtype) for n in blades)
    leakage = leakage.reshape(-1, *[1] * (attenuation.ndim - 1))
    middles = [torch.arange(n).to(spacing) - (n - 1) / 2 for n in attenuation.shape[2:4]]
    y, x = middles[0][None, :, None] * spacing[:, :1, None], middles[1][None, None] * spacing[:, 1:, None]
    cos, sin = (f(torch.deg2rad(angle))[:, None, None] for f in (torch.cos, torch.sin))
    across = (y * cos + x * sin, x * cos - y * sin)
    sigma = (edge / math.sqrt(8 * math.log(2)))[:, None, None].clamp_min(1e-6)
    field = torch.ones((), device=spacing.device, dtype=spacing.dtype)
    for axis, position in enumerate(across):
        extent = attenuation.shape[2 + axis] * spacing[:, axis]
        for side in (0, 1):
            edge_at = (extent * (0.5 - shares[:, 2 * axis + side]))[:, None, None]
            inside = edge_at + (position if side == 0 else -position)
            open_side = (shares[:, 2 * axis + side] <= 0)[:, None, None]
            field = field * torch.where(open_side, torch.ones_like(inside), torch.special.ndtr(inside / sigma))
    field = field[:, None] if attenuation.ndim == 4 else field[:, None, ..., None]
    change = -torch.log(leakage + (1 - leakage) * field)
    return torch.minimum(change, (depth - attenuation).clamp_min(0)), field


def shares_beside(
    organ: torch.Tensor, shares: torch.Tensor, angle: torch.Tensor, margin: torch.Tensor, spacing: torch.Tensor
) -> torch.Tensor:
    """Shares of the four blades (B, 4) that leave an organ and a margin open, as a radiographer sets them.

    Args:
        organ: label map or masks (B, C, rows, columns) or (B, C, rows, columns, radiographs); the first of one-hot
            channels is background; empty ones limit nothing.
        shares: wanted, see `collimation_change`.
        angle: of the collimator in degrees, (B, 1).
        margin: between organ and edge in mm, (B, 1).
        spacing: of rows and columns in mm, (B, 2).

    Example:
        >>> organ = torch.zeros(1, 1, 10, 10)
        >>> organ[..., 1:6, 5] = 1
        >>> none, mm = torch.zeros(1, 1), torch.ones(1, 2)
        >>> shares_beside(organ, torch.full((1, 4), 0.3), none, none, mm)
        tensor([[0.1000, 0.3000, 0.3000, 0.3000]])
    """
    there = organ != 0
    if there.shape[1] > 1:
        one_hot = (there.sum(1) == 1).flatten(1).all(1).reshape(-1, *[1] * (there.ndim - 2))
        there = torch.cat([(there[:, 0] & ~one_hot)[:, None], there[:, 1:]], 1)
    there = there.flatten(4).any(4).any(1) if there.ndim > 4 else there.any(1)
    rows, columns = (torch.arange(n, device=spacing.device, dtype=spacing.dtype) - (n - 1) / 2 for n in there.shape[1:])
    y, x = rows[None, :, None] * spacing[:, :1, None], columns[None, None] * spacing[:, 1:, None]
    cos, sin = (f(torch.deg2rad(angle))[:, :, None] for f in (torch.cos, torch.sin))
    most = []
    for axis, position in enumerate((y * cos + x * sin, x * cos - y * sin)):
        extent = there.shape[1 + axis] * spacing[:, axis]
        half = (abs(cos) * spacing[:, axis, None, None] + abs(sin) * spacing[:, 1 - axis, None, None]) / 2
        for outward in (-position, position):
            reach = torch.where(there, outward + half, -torch.inf).amax((1, 2)) + margin[:, 0]
            most.append(0.5 - reach / extent)
    return torch.minimum(shares, torch.stack(most, 1)).clamp_min(0)


def _numbers(blades: Blades, sample: int, rows: int, columns: int) -> tuple[np.ndarray, float, float, float, Any, Any]:
    """What the loops take of a sample: edges, cosine and sine, standard deviation, leakage, spacing."""
    spacing, turn = np.array(blades.spacings[sample], np.float64), math.radians(blades.degrees[sample])
    extents = [n * mm for n, mm in zip((rows, rows, columns, columns), spacing.repeat(2).tolist(), strict=True)]
    edges = [e * (0.5 - s) if s > 0 else math.inf for e, s in zip(extents, blades.shares[sample], strict=True)]
    sigma = max(blades.edges[sample] / math.sqrt(8 * math.log(2)), 1e-6)
    return np.array(edges), math.cos(turn), math.sin(turn), sigma, blades.leakage[sample], spacing


def _behind_blades(
    compiled: ModuleType, attenuation: torch.Tensor, blades: Blades, depth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`collimation_change` by compiled loops, for float32."""
    attenuation = attenuation.contiguous()
    batch, channels, rows, columns = attenuation.shape[:4]
    change = torch.empty_like(attenuation)
    field = torch.empty(batch, 1, rows, columns, *[1] * (attenuation.ndim - 4))
    for i, most in enumerate(depth.flatten().expand(batch).tolist()):
        planes = [x[i].reshape(channels, rows, -1).numpy() for x in (attenuation, change)]
        fixed = (planes[0], *_numbers(blades, i, rows, columns), np.float32(most), planes[0].shape[2] // columns)
        targets = (planes[1], field[i].reshape(rows, columns).numpy())
        over_rows(functools.partial(compiled.close_blades, *fixed, *targets), rows, 256)
    return change, field
