"""The bilateral filter, with borders repeated, in 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import elements_at_once, loops, over_rows, sent
from monai_medaug.functional.denoise.smoothing import as_volumes, repeated_border
from monai_medaug.functional.denoise.windows import Windows

_FALL = (1.0, -0.99999972, 0.499993279, -0.166611465, 0.0414537957, -0.00790840587, 0.00095404053, 0.75)
"""Coefficients of exp(-u) on [0, 0.75], within 4e-9 (its 32nd power 6e-8), and the end of that range."""


def bilateral_smooth(
    image: torch.Tensor, diameter: int, range_sigma: torch.Tensor, space_sigma: torch.Tensor
) -> torch.Tensor:
    """Mean of the neighbours, weighted by distance and by difference of values.

    ``out(p) = I(p) + sum_q w(q) (I(q) - I(p)) / sum_q w(q)`` with
    ``w(q) = exp(-(I(q) - I(p))² / (2 range²)) exp(-sum_a (q_a - p_a)² / (2 space_a²))`` over the disc or ball of
    ``diameter`` voxels, in 2D as OpenCV: C. Tomasi and R. Manduchi, Bilateral filtering for gray and color images,
    ICCV 1998. The border voxel is repeated outside.

    Args:
        image: (B, C, *spatial), float32 or float64.
        diameter: of the window in voxels; its radius is ``diameter // 2``.
        range_sigma: (B,), in the image's units; up to 0 the sample stays as it is.
        space_sigma: (B, axes), in voxels; up to 0 there are no neighbours along the axis.

    Example:
        >>> step = torch.tensor([[[[0.0, 2.0, 0.0, 100.0, 102.0, 100.0]]]])
        >>> smooth = bilateral_smooth(step, 3, torch.tensor([5.0]), torch.tensor([[9.0, 9.0]]))
        >>> [round(float(v), 1) for v in smooth.flatten()]
        [0.4, 1.2, 0.5, 100.5, 101.2, 100.4]
    """
    axes = image.ndim - 2
    if diameter < 1:
        raise ValueError(f"diameter must be positive, got {diameter}")
    if tuple(range_sigma.shape) != (len(image),) or tuple(space_sigma.shape) != (len(image), axes):
        raise ValueError(
            f"range_sigma and space_sigma must have the shapes {(len(image),)} and {(len(image), axes)}, "
            f"got {tuple(range_sigma.shape)} and {tuple(space_sigma.shape)}"
        )
    image = image.contiguous()
    compiled = loops("denoise._numba_smoothing", image, dtypes=[torch.float32])
    if compiled is None:
        some = max(1, elements_at_once(image.device) // max(1, math.prod(image.shape[1:])))
        parts = zip(*(t.split(some) for t in (image, range_sigma, space_sigma)), strict=True)
        return torch.cat([_bilateral_by_windows(x, diameter // 2, r, s.tolist()) for x, r, s in parts])
    out = image.clone()
    for b, (reach, space) in enumerate(zip(range_sigma.tolist(), space_sigma.tolist(), strict=True)):
        offsets, spaces = _ball(diameter // 2, space)
        if reach > 0 and offsets and image[b].numel():
            _bilateral_by_loops(compiled, image[b : b + 1], out[b : b + 1], offsets, spaces, reach)
    return out


def _ball(radius: int, space: Sequence[float]) -> tuple[list[tuple[int, ...]], list[float]]:
    """Offsets within the radius, without the voxel itself, and their spatial weights.

    An axis of one voxel keeps its offsets: as in OpenCV, the repeated border counts there.
    """
    offsets, weights = [], []
    for place in np.ndindex(*(2 * radius + 1,) * len(space)):
        offset = tuple(i - radius for i in place)
        if not 0 < sum(i * i for i in offset) <= radius * radius:
            continue
        if any(s <= 0 and i for s, i in zip(space, offset, strict=True)):
            continue
        offsets.append(offset)
        weights.append(math.exp(-0.5 * sum((i / s) ** 2 for i, s in zip(offset, space, strict=True) if i)))
    return offsets, weights


def _bilateral_by_loops(
    compiled: ModuleType,
    image: torch.Tensor,
    out: torch.Tensor,
    offsets: list[tuple[int, ...]],
    spaces: list[float],
    reach: float,
) -> None:
    """One sample (1, C, *spatial) by the compiled loops, into ``out``."""
    source, target = as_volumes(image).numpy(), as_volumes(out).numpy()
    places = np.array([(0,) * (3 - len(o)) + o for o in offsets], np.int64)
    weights = np.array(spaces, np.float32)
    poly = np.array(_FALL, np.float32)
    scale = np.float32(1 / (64 * reach * reach))

    def kernel(first: int, last: int) -> None:
        compiled.bilateral_rows(source, target, places, weights, scale, poly, first, last)

    over_rows(kernel, math.prod(source.shape[:3]), least=32)


def _bilateral_by_windows(
    image: torch.Tensor, radius: int, range_sigma: torch.Tensor, space: Sequence[Sequence[float]]
) -> torch.Tensor:
    """The torch path: some offsets at a time, so that memory does not grow with the window."""
    balls = [dict(zip(*_ball(radius, each), strict=True)) for each in space]
    offsets = sorted({offset for ball in balls for offset in ball})
    flat = image.flatten(0, 1)
    if not offsets or not flat.numel():
        return image.clone()
    spaces = sent([[ball.get(offset, 0.0) for offset in offsets] for ball in balls], image.device, image.dtype)
    places = sent(offsets, image.device) + radius
    windows = Windows.of(repeated_border(flat, [radius] * flat[0].ndim), flat.shape[1:])
    reach = range_sigma.to(image).reshape(-1, *[1] * (image.ndim - 1))
    safe = torch.where(reach > 0, reach, 1.0).repeat_interleave(image.shape[1], 0)
    numerator, denominator = torch.zeros_like(flat), torch.ones_like(flat)
    at_once = max(1, elements_at_once(image.device) // flat.numel())
    for k in range(0, len(offsets), at_once):
        some = slice(k, k + at_once)
        difference = windows.at(places[some]) - flat[:, None]
        # subnormal weights would be far slower
        weight = torch.exp(((difference / safe).square() * -0.5).clamp(min=-60))
        weight = weight * spaces[:, some].repeat_interleave(image.shape[1], 0).reshape(
            *weight.shape[:2], *[1] * (flat.ndim - 1)
        )
        numerator = numerator + (weight * difference).sum(1)
        denominator = denominator + weight.sum(1)
    return torch.where(reach > 0, (flat + numerator / denominator).reshape(image.shape), image)
