"""Non-local means by shifts and box filters; memory does not grow with the search window."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import (
    cpu_library_serves,
    elements_at_once,
    loops,
    one_thread,
    over_rows,
    sent,
)
from monai_medaug.functional.denoise.windows import Windows

CUT = 8.0
"""Weights below exp(-8) of the voxel's own count as 0."""

PILOT_NOISE, PILOT_STRENGTH = 0.2, 0.5
"""Share of the noise left by the first pass, and h of the second pass as a share of the first one's: the best on T1, T2
and CT slices with noise of 10 to 50 of 255."""


def non_local_means(
    image: torch.Tensor,
    sigma: torch.Tensor,
    patch: int | Sequence[int],
    distance: int | Sequence[int],
    strength: float | torch.Tensor,
    guide: torch.Tensor | None = None,
    guide_sigma: torch.Tensor | None = None,
    passes: int = 2,
) -> torch.Tensor:
    """Average of each voxel with those of similar surroundings in a search window.

    ``y(r) = sum_s w(r, s) x(s) / sum_s w(r, s)``, ``w = exp(-max(d² - 2 sigma², 0) / h²)`` with the mean squared
    difference d² of the patches around r and s, and ``h = strength sigma``; the voxel itself has weight 1. The second
    pass takes d² from single voxels of the first result, which has a fifth of the noise, and averages the noisy image
    again with half of h. Borders are mirrored.

    Args:
        image: (B, C, *spatial); each channel has its own weights.
        sigma: noise level, (B,); at 0 the sample stays as it is.
        patch: side of the patches in voxels, odd, one for all axes or one per axis.
        distance: of the search to either side, one for all axes or one per axis.
        strength: h as a multiple of sigma, one for all or (B,).
        guide: an image of the same shape for the weights of the first pass.
        guide_sigma: its noise level, (B,).
        passes: 1 or 2.

    Source: A. Buades, B. Coll & J.-M. Morel, CVPR 2005; J. Darbon et al., ISBI 2008 (box sums for each shift).

    Example:
        >>> image = 100 + torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
        >>> bool(non_local_means(image, torch.ones(1), 5, 7, 0.8).std() < 0.3)
        True
    """
    axes = image.ndim - 2
    sides = [patch] * axes if isinstance(patch, int) else list(patch)
    reach = [distance] * axes if isinstance(distance, int) else list(distance)
    reach = [min(r, n - 1) for r, n in zip(reach, image.shape[2:], strict=True)]
    sides = [min(s, 2 * n - 1) if n > 1 else 1 for s, n in zip(sides, image.shape[2:], strict=True)]
    channels = image.shape[1]
    x = image.reshape(-1, *image.shape[2:])
    level = x.flatten(1)[:, :1].reshape(-1, *[1] * axes)
    x = x - level  # sums of large values would lose precision
    noise = sigma.to(x).repeat_interleave(channels)
    factor = torch.as_tensor(strength, dtype=x.dtype, device=x.device).expand(len(sigma)).repeat_interleave(channels)
    if guide is not None:
        if guide_sigma is None:
            raise ValueError("guide_sigma must be given with guide, got None")
        known = guide_sigma.to(x).repeat_interleave(channels)
        out = _averaged(x, guide.reshape(x.shape), known, factor * known, sides, reach)
    else:
        out = _averaged(x, x, noise, factor * noise, sides, reach)
    if passes == 2:
        out = _averaged(x, out, PILOT_NOISE * noise, PILOT_STRENGTH * factor * noise, [1] * axes, reach)
    clean = (noise <= 0).reshape(-1, *[1] * axes)
    return torch.where(clean, image.reshape(x.shape), out + level).reshape(image.shape)


def _averaged(
    x: torch.Tensor, source: torch.Tensor, noise: torch.Tensor, h: torch.Tensor, sides: list[int], reach: list[int]
) -> torch.Tensor:
    """One pass over images (N, *spatial) with the weights of ``source``."""
    compiled = loops("denoise._numba_nlm", x, dtypes=[torch.float32]) if cpu_library_serves(source, noise, h) else None
    safe = h.clamp_min(torch.finfo(x.dtype).tiny ** 0.5)
    if compiled is not None:
        return _averaged_compiled(compiled, x, source, noise, safe, sides, reach)
    if x.device.type == "cpu":
        with one_thread():  # hundreds of small operations
            return _averaged_by_shifts(x, source, noise, safe, sides, reach)
    return _averaged_by_windows(x, source, noise, safe, sides, reach)


def _averaged_by_shifts(
    x: torch.Tensor, source: torch.Tensor, noise: torch.Tensor, safe: torch.Tensor, sides: list[int], reach: list[int]
) -> torch.Tensor:
    """One pass in torch on the CPU, offset by offset: each pair of voxels is compared once."""
    total, weight = x.clone(), torch.ones_like(x)
    shape = x.shape[1:]
    wide = _mirrored(source, sides)
    column = [-1, *[1] * len(shape)]
    for offset in itertools.product(*[range(-r, r + 1) for r in reach]):
        if offset <= (0,) * len(shape):
            continue  # the opposite offset has the same weights
        first = [slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, shape, strict=True)]
        second = [slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, shape, strict=True)]
        patches = [slice(s.start, s.stop + p - 1) for s, p in zip(first, sides, strict=True)]
        partners = [slice(s.start, s.stop + p - 1) for s, p in zip(second, sides, strict=True)]
        d = (wide[(slice(None), *patches)] - wide[(slice(None), *partners)]).square_()
        d = _box_mean(d, sides, 1)
        w = d.sub_(2 * noise.square().reshape(column)).clamp_min_(0).div_(safe.square().reshape(column)).neg_().exp_()
        w = (w - math.exp(-CUT)).clamp_min_(0)
        a, b = (slice(None), *first), (slice(None), *second)
        total[a] += w * x[b]
        total[b] += w * x[a]
        weight[a] += w
        weight[b] += w
    return total / weight


def _averaged_by_windows(
    x: torch.Tensor, source: torch.Tensor, noise: torch.Tensor, safe: torch.Tensor, sides: list[int], reach: list[int]
) -> torch.Tensor:
    """One pass in torch on a GPU, many offsets at a time: pairs are compared from both ends, in few launches."""
    total, weight = x.clone(), torch.ones_like(x)
    column = [-1, *[1] * x.ndim]
    wide = _mirrored(source, sides)
    around = [m for r in reversed(reach) for m in (r, r)]
    partners, values, inside = (
        Windows.of(torch.nn.functional.pad(t, around), t.shape[1:]) for t in (wide, x, torch.ones_like(x[:1]))
    )
    offsets = [o for o in itertools.product(*[range(2 * r + 1) for r in reach]) if list(o) != reach]
    at_once = max(1, elements_at_once(x.device) // wide.numel())
    floor, width = 2 * noise.square().reshape(column), safe.square().reshape(column)
    for k in range(0, len(offsets), at_once):
        some = sent(offsets[k : k + at_once], x.device)
        d = _box_mean((partners.at(some) - wide[:, None]).square_(), sides, 2)
        w = d.sub_(floor).clamp_min_(0).div_(width).neg_().exp_()
        w = (w - math.exp(-CUT)).clamp_min_(0) * inside.at(some)
        total = total + (values.at(some) * w).sum(1)
        weight = weight + w.sum(1)
    return total / weight


def _box_mean(d: torch.Tensor, sides: Sequence[int], lead: int) -> torch.Tensor:
    """Mean over boxes inside, by sums of shifted copies, as running sums drift; the first ``lead`` axes stay."""
    for axis, side in enumerate(sides, lead):
        n = d.shape[axis] - side + 1
        if side > 1:
            d = sum((d.narrow(axis, k, n) for k in range(1, side)), d.narrow(axis, 0, n)) / side
    return d


def _mirrored(x: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Images (N, *spatial) extended by half a patch of their mirror image on every side."""
    for axis, side in enumerate(sides):
        n, half = x.shape[axis + 1], side // 2
        index = torch.arange(-half, n + half, device=x.device).abs()
        index = torch.where(index >= n, 2 * (n - 1) - index, index).clamp(0, n - 1)
        x = x.index_select(axis + 1, index)
    return x


def _averaged_compiled(
    compiled: ModuleType,
    x: torch.Tensor,
    source: torch.Tensor,
    noise: torch.Tensor,
    h: torch.Tensor,
    sides: list[int],
    reach: list[int],
) -> torch.Tensor:
    """The same by integer sums in compiled loops, with the longest axis last."""
    order = sorted(range(x.ndim - 1), key=lambda a: x.shape[a + 1])
    while len(order) < 3:
        order.insert(0, -1)
    kept = [a for a in order if a >= 0]
    patch, distance = (tuple(v[a] if a >= 0 else 1 - k for a in order) for k, v in ((0, sides), (1, reach)))

    def volumes(t: torch.Tensor) -> torch.Tensor:
        moved = t.permute(0, *[a + 1 for a in kept])
        return moved.reshape(len(t), *[1] * (3 - len(kept)), *moved.shape[1:]).contiguous()

    voxels = int(np.prod(patch))
    values, width = volumes(x), h.double()
    reachable = voxels * (2 * noise.double().square() + CUT * width.square())
    cap = 2**30 // voxels
    scale = cap / reachable  # squares become integers whose sum over a patch fits 32 bits
    padded = _mirrored(volumes(source), patch) * scale.sqrt().to(x).reshape(-1, 1, 1, 1)
    first, second, third, last = _sixteenth_power(CUT)
    tables = np.empty((len(x), 7), np.float32)
    tables[:, 0] = (1 / (scale * voxels * width.square() * 16)).numpy()
    tables[:, 1] = (2 * noise.double().square() / width.square() / 16).numpy()
    tables[:, 2:] = CUT / 16, first, second, third, last
    total, weight = values.clone(), torch.ones_like(values)
    arrays = [t.numpy() for t in (padded.contiguous(), values, total, weight)]
    rows = len(x) * values.shape[2]
    over_rows(lambda a, b: compiled.nonlocal_sums(*arrays, patch, distance, np.float32(cap), tables, a, b), rows, 8)
    out = (total / weight).reshape(len(x), *[x.shape[a + 1] for a in kept])
    return out.permute(0, *[kept.index(a) + 1 for a in range(x.ndim - 1)])


@functools.cache
def _sixteenth_power(cut: float) -> tuple[float, float, float, float]:
    """Coefficients of ``1 + a u + b u² + c u³``, whose 16th power is exp(-16 u) for 16 u up to ``cut``, and that value.

    Least squares for the error of the power.
    """
    u = np.linspace(0, cut / 16, 400)
    terms, weight = np.stack([u, u**2, u**3], 1), 16 * np.exp(-15 * u)
    a, b, c = np.linalg.lstsq(terms * weight[:, None], (np.exp(-u) - 1) * weight, rcond=None)[0]
    end = cut / 16
    return float(a), float(b), float(c), float((1 + end * (a + end * (b + end * c))) ** 16)
