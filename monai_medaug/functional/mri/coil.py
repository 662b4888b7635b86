"""MR acquisition in image space: coil fields and magnitude noise."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, one_thread, over_rows, sent
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.signal import foreground_level

EXPONENTS = tuple(e for e in itertools.product(range(4), repeat=3) if 1 <= sum(e) <= 3)
"""Degrees along the three world axes of the terms of a cubic polynomial without its constant, 19 of them."""

_FLAT = 1e-6  # a field that varies less is constant
_DARK = -1e38  # a level that every voxel exceeds
_EXPONENTS = np.array(EXPONENTS)
_TERMS = tuple(_EXPONENTS.T)
_LINE = np.linspace(-1, 1, 4)  # nodes of a cubic's interpolation along an axis
_NODES = np.array(list(itertools.product(_LINE, repeat=3)))  # (64, 3)
_SOLVE = np.linalg.inv(np.vander(_LINE, 4, increasing=True))


def index_polynomial(coefficients: Sequence[float], grid: VoxelGrid) -> np.ndarray:
    """A cubic polynomial of the world position as one of the array index, (4, 4, 4).

    World positions are relative to the grid's centre, in half its longest side; each index is scaled to [-1, 1]. Entry
    (a, b, c) belongs to ``z**a * y**b * x**c``.

    Args:
        coefficients: of products of Legendre polynomials, in the order of `EXPONENTS`.
        grid: the grid, embedded as a volume.
    """
    lengths = [n * spacing for n, spacing in zip(grid.size, grid.embedded_spacing, strict=True) if n > 1]
    radius = max(lengths, default=1e-6) / 2
    steps = grid.matrix[:3, :3] * [(n - 1) / 2 / radius for n in grid.size]
    if (compiled := loops("mri._numba_coil")) is not None:
        out = np.empty((4, 4, 4))
        compiled.index_polynomial(np.array(coefficients, np.float64), _EXPONENTS, steps, _LINE, _SOLVE, out)
        return out
    x = _NODES @ steps.T
    square = x * x
    first, second, third = np.moveaxis(
        np.array([np.ones_like(x), x, 1.5 * square - 0.5, (2.5 * square - 1.5) * x]), 2, 0
    )
    cube = np.zeros((4, 4, 4))
    cube[_TERMS] = coefficients
    values = (first.T @ cube.reshape(4, 16)).reshape(64, 4, 4)
    values = (second.T[:, None] @ values)[:, 0]
    values = (values * third.T).sum(1).reshape(4, 16)
    return _SOLVE @ (_SOLVE @ values).reshape(4, 4, 4) @ _SOLVE.T


def polynomial_field(coefficients: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Evaluate (B, 4, 4, 4) of `index_polynomial` on a grid, (B, 1, *shape)."""
    rows, x = _row_cubics(coefficients, shape)
    return (rows @ _monomials(x).T).to(coefficients).reshape(-1, 1, *shape)


def _row_cubics(coefficients: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The field as a cubic along each row of voxels, (B, rows, 4), and the positions (n,) along a row; float64."""
    size = (1, *shape) if len(shape) == 2 else tuple(shape)
    device = coefficients.device
    z, y, x = (torch.linspace(-1, 1, n, dtype=torch.float64, device=device).mul(n > 1) for n in size)
    planes = (_monomials(y) @ coefficients.double()).flatten(2)
    return (_monomials(z) @ planes).reshape(len(coefficients), -1, 4), x


@functools.lru_cache(maxsize=64)
def _positions(n: int) -> np.ndarray:
    """Of the voxels along an axis, in [-1, 1]; 0 for a single one."""
    return np.linspace(-1, 1, n) * (n > 1)


def _monomials(positions: torch.Tensor) -> torch.Tensor:
    return positions[:, None].pow(torch.arange(4, device=positions.device))


def bias(image: torch.Tensor, coefficients: torch.Tensor, peak_to_peak: torch.Tensor) -> torch.Tensor:
    """Multiply by exp(s (field - mean)), of geometric mean 1 and a given max - min over the foreground.

    Args:
        image: (B, C, *spatial) magnitudes.
        coefficients: (B, 4, 4, 4) of `index_polynomial`, of any scale.
        peak_to_peak: max - min of the factor over the foreground, broadcasts to (B, 1, ...).

    Without foreground the whole image counts as such. A field of less than 1e-6 max - min does nothing.
    """
    batch, channels = image.shape[:2]
    lines = image.reshape(batch, channels, -1, image.shape[-1]).contiguous()
    level, wanted = foreground_level(image).flatten(1), peak_to_peak.flatten().expand(batch).double().cpu()
    if loops("mri._numba_coil", lines, coefficients, dtypes=[torch.float32]) is not None:
        return _compiled_bias(lines, level, coefficients, wanted.tolist(), image.shape).reshape(image.shape)
    with one_thread():
        cubics, x = _row_cubics(coefficients, image.shape[2:])
        fields = sent(cubics, image.device, image.dtype)
    table = _field_statistics(lines, level, fields, sent(x, image.device, image.dtype))
    if bool((empty := table[:, 0] == 0).any()):
        level = torch.where(empty[:, None].to(level.device), _DARK, level)
        table = _field_statistics(lines, level, fields, sent(x, image.device, image.dtype))
    with one_thread():
        mean = table[:, 1:2] / table[:, :1]
        scale, _ = peak_scale(table[:, 2:] - mean, wanted)
        cubics[..., 0] -= sent(mean, cubics.device, cubics.dtype)
        cubics *= sent(scale, cubics.device, cubics.dtype)[:, None, None]
        fields = sent(cubics, image.device, image.dtype)
    return _multiplied(lines, fields, sent(x, image.device, image.dtype)).reshape(image.shape)


def _compiled_bias(
    lines: torch.Tensor, level: torch.Tensor, coefficients: torch.Tensor, wanted: list[float], shape: Sequence[int]
) -> torch.Tensor:
    """`bias` of float32 images (B, C, rows, n) by compiled loops."""
    compiled = loops("mri._numba_coil", lines)
    assert compiled is not None
    z, y, x = (_positions(n) for n in (*[1] * (5 - len(shape)), *shape[2:]))
    out = torch.empty_like(lines)
    for sample, (image, above, cubic) in enumerate(
        zip(lines.numpy(), level.numpy(), coefficients.numpy(), strict=True)
    ):
        field = (cubic.astype(np.float64), z, y, x.astype(np.float32))
        count = 0
        while count == 0:  # without foreground again, with the whole image
            each = np.empty((image.shape[1], 4))
            over_rows(functools.partial(compiled.field_statistics, image, above, *field, each), len(each))
            count, total = each[:, :2].sum(0).tolist()
            above = np.full_like(above, _DARK)
        mean = total / count
        ends = (float(each[:, 2].min()) - mean, float(each[:, 3].max()) - mean)
        field[0][0, 0, 0] -= mean
        field[0][:] *= _peak_scale(*ends, wanted[sample], False)[0]
        over_rows(functools.partial(compiled.multiply_field, image, *field, out[sample].numpy()), len(each))
    return out


def peak_scale(
    ends: torch.Tensor, wanted: torch.Tensor, shrink_only: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The factor s with exp(s high) - exp(s low) = wanted, and that difference; 0 where high - low <= 1e-6.

    Args:
        ends: low <= 0 <= high, (B, 2).
        wanted: (B,).
        shrink_only: s is at most 1.

    Example:
        >>> scale, peak = peak_scale(torch.tensor([[-1.0, 2.0]]), torch.tensor([0.4]))
        >>> [round(float(v), 4) for v in (scale, peak)]
        [0.1246, 0.4]
    """
    rows = torch.cat([ends, wanted[:, None]], 1).tolist()
    pairs = [_peak_scale(low, high, peak, shrink_only) for low, high, peak in rows]
    scale, difference = torch.tensor(pairs, dtype=ends.dtype).unbind(1)
    return scale, difference


def _peak_scale(low: float, high: float, wanted: float, shrink_only: bool) -> tuple[float, float]:
    if high - low <= _FLAT:
        return 0.0, 0.0
    scale = wanted / (high - low)
    for _ in range(20):  # Newton's method, from a scale that is too great
        up, down = math.exp(scale * high), math.exp(scale * low)
        step = (up - down - wanted) / (high * up - low * down)
        scale -= step
        if abs(step) <= 1e-15 * scale:
            break
    if shrink_only:
        scale = min(scale, 1.0)
    return scale, math.exp(scale * high) - math.exp(scale * low)


def _field_statistics(lines: torch.Tensor, level: torch.Tensor, cubics: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Count, sum, min and max of the field where any channel exceeds its level, float64 (B, 4) on the CPU."""
    table = []
    for image, above, cubic in zip(lines, level, cubics, strict=True):
        parts = []
        for rows in _slabs(lines):
            field = cubic[rows] @ _monomials(x).T
            mask = (image[:, rows] > above[:, None, None]).any(0)
            extrema = [torch.where(mask, field, torch.inf).amin(), torch.where(mask, field, -torch.inf).amax()]
            parts.append(torch.stack([mask.sum().double(), (field * mask).sum().double(), *extrema]))
        figures = torch.stack(parts)
        table.append(torch.cat([figures[:, :2].sum(0), figures[:, 2].amin(0)[None], figures[:, 3].amax(0)[None]]))
    return torch.stack(table).cpu()


def _multiplied(lines: torch.Tensor, cubics: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``lines exp(field)``, exactly ``lines`` where the field is 0."""
    out = torch.empty_like(lines)
    for sample, (image, cubic) in enumerate(zip(lines, cubics, strict=True)):
        for rows in _slabs(lines):
            part, gain = image[:, rows], torch.expm1(cubic[rows] @ _monomials(x).T)
            out[sample, :, rows] = torch.addcmul(part, part, gain)
    return out


def _slabs(lines: torch.Tensor) -> list[slice]:
    """All rows, on the CPU in slabs that fit its cache."""
    step = max(1, 2**16 // lines.shape[-1]) if lines.device.type == "cpu" else lines.shape[2]
    return [slice(i, i + step) for i in range(0, lines.shape[2], step)]


def magnitude_noise(image: torch.Tensor, sigma: torch.Tensor, real: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """Magnitude of the signal plus complex Gaussian noise: Rice distributed, or non-central chi.

    ``sqrt((x + sigma n)² + sigma² rest)``.

    Args:
        image: (B, C, *spatial) magnitudes x.
        sigma: of each component, broadcasts to (B, C, ...).
        real: standard normal n of the image's shape; overwritten.
        rest: the sum of the squares of the 2 L - 1 other components for L coils; overwritten.
    """
    if (compiled := loops("mri._numba_signal", image, real, rest, dtypes=[torch.float32])) is not None:
        real = real.contiguous()
        flat = [x.flatten(0, 1).flatten(1).numpy() for x in (image, real, rest)]
        each = sigma.to(image).expand(*image.shape[:2], *[1] * (image.ndim - 2)).reshape(-1).numpy()
        kernel = functools.partial(compiled.magnitude_noise, flat[0], each, *flat[1:])
        over_rows(kernel, flat[0].shape[1], 1 << 16)
        return real
    real.mul_(sigma).add_(image)
    return real.square_().add_(rest.mul_(sigma**2)).sqrt_()
