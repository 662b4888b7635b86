"""The blades of the collimator."""

from __future__ import annotations

import functools
import math
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows


def collimation_change(
    attenuation: torch.Tensor,
    shares: torch.Tensor,
    angle: torch.Tensor,
    edge: torch.Tensor,
    leakage: torch.Tensor,
    spacing: torch.Tensor,
    depth: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change of the attenuation behind the four blades of a collimator, up to ``depth`` in all, and the open field.

    The field (B, 1, rows, columns) or (B, 1, rows, columns, 1) falls from 1 to 0 across the edge of each blade. A blade
    with a share of 0 is out of sight.

    Args:
        attenuation: p, (B, C, rows, columns) or (B, C, rows, columns, radiographs).
        shares: share of the field behind the first and last blade across rows, then across columns, (B, 4).
        angle: of the collimator in degrees, (B,).
        edge: full width at half maximum of the penumbra in mm, (B,).
        leakage: transmission of the blades.
        spacing: of rows and columns in mm, (B, 2).
        depth: greatest attenuation that the detector resolves.
    """
    if (compiled := loops("xray._numba_collimation", attenuation, spacing, dtypes=[torch.float32])) is not None:
        return _behind_blades(compiled, attenuation, shares, angle, edge, leakage, spacing, depth)
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


def _behind_blades(
    compiled: ModuleType,
    attenuation: torch.Tensor,
    shares: torch.Tensor,
    angle: torch.Tensor,
    edge: torch.Tensor,
    leakage: torch.Tensor,
    spacing: torch.Tensor,
    depth: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`collimation_change` by compiled loops, for float32."""
    attenuation = attenuation.contiguous()
    batch, channels, rows, columns = attenuation.shape[:4]
    change = torch.empty_like(attenuation)
    field = torch.empty(batch, 1, rows, columns, *[1] * (attenuation.ndim - 4))
    leaks, depths = (x.flatten().expand(batch).tolist() for x in (leakage, depth))
    for i, (degrees, width) in enumerate(zip(angle.tolist(), edge.tolist(), strict=True)):
        own, turn = spacing[i].double().numpy(), math.radians(degrees)
        share = shares[i].double().numpy().reshape(2, 2)
        edges = np.where(share > 0, (own * (rows, columns))[:, None] * (0.5 - share), np.inf).ravel()
        sigma = max(width / math.sqrt(8 * math.log(2)), 1e-6)
        planes = [x[i].reshape(channels, rows, -1).numpy() for x in (attenuation, change)]
        blades = (edges, math.cos(turn), math.sin(turn), sigma, leaks[i], own, np.float32(depths[i]))
        fixed = (planes[0], *blades, planes[0].shape[2] // columns, planes[1], field[i].reshape(rows, columns).numpy())
        over_rows(functools.partial(compiled.close_blades, *fixed), rows, 256)
    return change, field
