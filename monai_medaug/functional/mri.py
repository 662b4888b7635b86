"""Kernels of MR acquisition in image space: coil fields and magnitude noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.grid import VoxelGrid

FOREGROUND = 0.1
"""Foreground begins at this share of the 99th percentile above the zero point."""

EXPONENTS = tuple(e for e in itertools.product(range(4), repeat=3) if 1 <= sum(e) <= 3)
"""Degrees along the three world axes of the terms of a cubic polynomial without its constant, 19 of them."""


def zero_point(image: torch.Tensor) -> torch.Tensor:
    """The value that stands for no signal, (B, C, 1, ...): 0, or the minimum where there are negative values."""
    return image.amin(tuple(range(2, image.ndim)), keepdim=True).clamp_max(0)


def foreground(image: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """Where there is signal, a mask of the image's shape: see `foreground_level`.

    Example:
        >>> image = torch.tensor([0.0, 1.0, 80.0, 100.0]).reshape(1, 1, 2, 2)
        >>> foreground(image, zero_point(image)).flatten().tolist()
        [False, False, True, True]
    """
    return image > foreground_level(image, zero)


def foreground_level(image: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """Above this is foreground, (B, C, 1, ...): a tenth of the way from the zero point to the 99th percentile.

    The percentile is that of some 30 000 voxels of an even subgrid.
    """
    side = 32 if image.ndim == 5 else 180
    few = image
    for axis in range(2, image.ndim):
        step = max(1, image.shape[axis] // side)
        few = few[(slice(None),) * axis + (slice(step // 2, None, step),)]
    ordered = few.flatten(2).sort(-1).values
    high = ordered[..., round(0.99 * (ordered.shape[-1] - 1))].reshape(zero.shape)
    return zero + FOREGROUND * (high - zero)


def foreground_mean(image: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """Mean signal above the zero point over the foreground, (B, C, 1, ...); 0 where there is no signal."""
    mask = foreground(image, zero)
    axes = tuple(range(2, image.ndim))
    count = mask.sum(axes, keepdim=True).to(image.dtype)
    total = torch.where(mask, image, zero).sub_(zero).sum(axes, keepdim=True)
    return total / count.clamp_min(1)


def index_polynomial(coefficients: Sequence[float], grid: VoxelGrid) -> np.ndarray:
    """A cubic polynomial in world positions as one of the array index, (4, 4, 4).

    World positions count from the grid's centre, in half its longest side; the index of each axis is scaled to
    [-1, 1]. Entry (a, b, c) belongs to ``z**a * y**b * x**c``.

    Args:
        coefficients: of products of Legendre polynomials, in the order of `EXPONENTS`.
        grid: the grid, embedded as a volume.
    """
    size, spacing = np.asarray(grid.size), np.asarray(grid.embedded_spacing)
    radius = float((size * spacing)[size > 1].max(initial=1e-6)) / 2
    to_world = grid.matrix[:3, :3] * ((size - 1) / 2) / radius
    nodes = np.linspace(-1, 1, 4)
    where = np.stack(np.meshgrid(nodes, nodes, nodes, indexing="ij"), -1) @ to_world.T
    powers = np.polynomial.legendre.legvander(where, 3)
    values = sum(
        c * powers[..., 0, i] * powers[..., 1, j] * powers[..., 2, k]
        for c, (i, j, k) in zip(coefficients, EXPONENTS, strict=True)
    )
    solve = np.linalg.inv(np.vander(nodes, 4, increasing=True))
    return np.einsum("ai,bj,ck,ijk->abc", solve, solve, solve, values)


def polynomial_field(coefficients: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Evaluate (B, 4, 4, 4) of `index_polynomial` on a grid, (B, 1, *shape), by products along one axis at a time."""
    powers, planes = _separated(coefficients, shape)
    return (powers @ planes).reshape(-1, 1, *shape)


def _separated(coefficients: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of the field: (n, 4) along the first axis, (B, 4, rest) for the others; n is 1 in 2D."""
    size = (1, *shape) if len(shape) == 2 else tuple(shape)
    z, y, x = (
        torch.linspace(-1, 1, n, dtype=torch.float64).mul(n > 1)[:, None].pow(torch.arange(4)).to(coefficients)
        for n in size
    )
    return z, (y @ (coefficients @ x.T)).flatten(2)


def bias(image: torch.Tensor, coefficients: torch.Tensor, peak_to_peak: torch.Tensor) -> torch.Tensor:
    """Multiply by exp(s (field - mean)), of geometric mean 1 and a given max - min over the foreground.

    Args:
        image: (B, C, *spatial).
        coefficients: (B, 4, 4, 4) of `index_polynomial`, of any scale.
        peak_to_peak: max - min of the factor over the foreground, broadcasts to (B, 1, ...).

    Without foreground the whole image counts as such; without any variation of the field nothing happens. The CPU
    goes through the volume in slabs that stay in its cache, twice.
    """
    batch, shape = len(image), image.shape
    zero = zero_point(image).reshape(batch, -1, 1, 1)
    level = foreground_level(image, zero_point(image)).reshape(batch, -1, 1, 1)
    powers, planes = _separated(coefficients, shape[2:])
    x = image.reshape(batch, shape[1], len(powers), -1)
    step = max(1, 2**16 // planes.shape[-1]) if image.device.type == "cpu" else len(powers)
    slabs = [slice(i, i + step) for i in range(0, len(powers), step)]

    def statistics(everywhere: torch.Tensor | None = None) -> list[torch.Tensor]:
        sums = []
        for slab in slabs:
            field = powers[slab] @ planes
            mask = (x[:, :, slab] > level).any(1) if shape[1] > 1 else x[:, 0, slab] > level[:, 0]
            if everywhere is not None:
                mask = mask | everywhere
            top = torch.where(mask, field, -torch.inf).amax((1, 2))
            bottom = torch.where(mask, field, torch.inf).amin((1, 2))
            sums.append(torch.stack([mask.sum((1, 2)).double(), (field * mask).sum((1, 2)).double(), bottom, top]))
        table = torch.stack(sums)
        return [table[:, 0].sum(0), table[:, 1].sum(0), table[:, 2].amin(0), table[:, 3].amax(0)]

    count, total, low, high = statistics()
    if bool((count == 0).any()):
        count, total, low, high = statistics((count == 0)[:, None, None])
    mean = total / count
    low, high, wanted = low - mean, high - mean, peak_to_peak.reshape(-1).double()
    flat = high - low <= 1e-6
    scale = wanted / torch.where(flat, 1.0, high - low)
    for _ in range(8):  # Newton for exp(s high) - exp(s low) = peak to peak
        up, down = torch.exp(scale * high), torch.exp(scale * low)
        scale = scale - (up - down - wanted) / torch.where(flat, 1.0, high * up - low * down)
    scale = torch.where(flat, 0.0, scale)
    planes = planes * scale.to(planes)[:, None, None]
    planes[:, 0] -= (scale * mean).to(planes)[:, None]
    out = torch.empty_like(x)
    for slab in slabs:
        part, gain = x[:, :, slab], torch.expm1(powers[slab] @ planes)[:, None]
        out[:, :, slab] = torch.addcmul(part, part - zero, gain)
    return out.reshape(shape)


def magnitude_noise(image: torch.Tensor, sigma: torch.Tensor, real: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """Magnitude of the signal plus complex Gaussian noise: Rice distributed, or non-central chi.

    ``sqrt((x + sigma n)² + sigma² rest)`` with x the signal above the zero point, which comes back afterwards.

    Args:
        image: (B, C, *spatial).
        sigma: of each component, broadcasts to (B, C, ...).
        real: standard normal n of the image's shape; used up.
        rest: the sum of the squares of the 2 L - 1 other components for L coils; used up.
    """
    zero = zero_point(image)
    real.mul_(sigma).add_(image - zero if image.device.type != "cpu" or bool((zero < 0).any()) else image)
    return real.square_().add_(rest.mul_(sigma**2)).sqrt_().add_(zero)
