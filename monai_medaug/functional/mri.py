"""Kernels of MR acquisition: coil fields, magnitude noise, and what is done to lines of k-space.

A line of k-space is complete along all axes but the phase-encoding one: the other transforms cancel, and every weight
of lines is a circulant matrix along that axis. No transform of the whole image is needed, and an image to which
nothing happens comes back as it was.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch

from monai_medaug.functional.grid import VoxelGrid, rotation_matrix
from monai_medaug.functional.warp import PullBack, warp

FOREGROUND = 0.1
"""Foreground begins at this share of the 99th percentile above the zero point."""

EXPONENTS = tuple(e for e in itertools.product(range(4), repeat=3) if 1 <= sum(e) <= 3)
"""Degrees along the three world axes of the terms of a cubic polynomial without its constant, 19 of them."""

SEGMENTS = 8
"""Poses by which a continuous movement is approximated."""


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


# ---- coil field ----------------------------------------------------------------------------------------------


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


# ---- noise ---------------------------------------------------------------------------------------------------


def magnitude_noise(
    image: torch.Tensor, noise_to_signal: torch.Tensor, real: torch.Tensor, rest: torch.Tensor
) -> torch.Tensor:
    """Magnitude of the signal plus complex Gaussian noise: Rice distributed, or non-central chi.

    ``sqrt((x + sigma n)² + sigma² rest)`` with sigma = noise to signal times the mean of the foreground, x the signal
    above the zero point, which comes back afterwards.

    Args:
        image: (B, C, *spatial).
        noise_to_signal: 1 / SNR, broadcasts to (B, C, ...).
        real: standard normal n of the image's shape; used up.
        rest: the sum of the squares of the 2 L - 1 other components for L coils; used up.
    """
    zero = zero_point(image)
    sigma = noise_to_signal * foreground_mean(image, zero)
    real.mul_(sigma).add_(image - zero if image.device.type != "cpu" or bool((zero < 0).any()) else image)
    return real.square_().add_(rest.mul_(sigma**2)).sqrt_().add_(zero)


# ---- k-space lines -------------------------------------------------------------------------------------------


def line_positions(lines: int) -> np.ndarray:
    """Distance of each line from the centre of k-space, in the order of acquisition from one edge to the other.

    Example:
        >>> line_positions(6)
        array([-3, -2, -1,  0,  1,  2])
    """
    return np.arange(lines) - lines // 2


def line_matrix(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Real and imaginary part (n, n) of the matrix that weights the lines of k-space of a column of n voxels.

    ``A = F⁻¹ diag(w) F``, circulant. The imaginary part is None if the weights are symmetric about the centre.

    Args:
        weights: (n,) in the order of `line_positions`.

    Example:
        >>> real, imaginary = line_matrix(np.array([0.0, 0, 1, 0]))  # the centre alone: the mean
        >>> real[0].tolist(), imaginary
        ([0.25, 0.25, 0.25, 0.25], None)
    """
    n = len(weights)
    kernel = np.fft.ifft(np.fft.ifftshift(weights))
    place = (np.arange(n)[:, None] - np.arange(n)) % n
    return kernel.real[place], kernel.imag[place] if np.abs(kernel.imag).max() > 1e-9 else None


def matrix_along(matrix: np.ndarray, image: torch.Tensor, axis: int) -> torch.Tensor:
    """Apply an (n, n) matrix along one spatial axis of an image (C, *spatial)."""
    a = torch.from_numpy(matrix).to(image)
    if axis == image.ndim - 2:
        return (image.reshape(-1, image.shape[-1]) @ a.T).reshape(image.shape)
    columns = image.reshape(math.prod(image.shape[: axis + 1]), image.shape[axis + 1], -1)
    return torch.matmul(a, columns).reshape(image.shape)


def weight_lines(image: torch.Tensor, weights: Sequence[np.ndarray], axes: Sequence[int]) -> torch.Tensor:
    """Magnitude of the images whose k-space lines along an axis were weighted, zero points kept.

    Args:
        image: (B, C, *spatial).
        weights: of the lines, in the order of `line_positions`, one array a sample.
        axes: phase-encoding axis of each sample, 0 the first spatial one.
    """
    zero = zero_point(image)
    out = torch.empty_like(image)
    for x, z, w, axis, target in zip(image, zero, weights, axes, out, strict=True):
        real, imaginary = line_matrix(w - 1)  # of the change, so that weights of one change nothing
        x = x - z
        y = x + matrix_along(real, x, axis)
        if imaginary is not None:
            y = torch.hypot(y, matrix_along(imaginary, x, axis))
        target.copy_(y.abs_().add_(z))
    return out


def ghost_weights(lines: int, ghosts: int, intensity: float, centre_fraction: float) -> np.ndarray:
    """Weight 1 - intensity on every line whose distance from the centre is a multiple of ``ghosts``; the centre kept.

    Example:
        >>> ghost_weights(8, 2, 0.4, 0).tolist()
        [0.6, 1.0, 0.6, 1.0, 1.0, 1.0, 0.6, 1.0]
    """
    k = line_positions(lines)
    return np.where((k % ghosts == 0) & (np.abs(k) > centre_fraction * lines / 2), 1 - intensity, 1.0)


def sampled_lines(lines: int, acceleration: float, centre_fraction: float, pattern: str, seed: int) -> np.ndarray:
    """Which lines are acquired, 1 or 0: lines / acceleration of them, the centre always.

    Args:
        lines: of the full k-space.
        acceleration: 1 acquires all.
        centre_fraction: share of the lines, about the centre, that is always acquired.
        pattern: ``"variable_density"`` draws the others with a density that falls as (1 - |k| / kmax)²;
            ``"partial_fourier"`` leaves out one end, no more than all of one half but the centre.
        seed: of the lines drawn, or of the end that is left out.

    Example:
        >>> sampled_lines(8, 1.6, 0.25, "partial_fourier", 0).tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    k = line_positions(lines)
    random = np.random.RandomState(seed)
    wanted = max(1, round(lines / acceleration))
    rank: np.ndarray
    if pattern == "partial_fourier":
        rank = (k if random.randint(2) == 0 else -k).astype(float)
        wanted = max(wanted, math.ceil(lines * (1 + centre_fraction) / 2))
    else:
        density = np.maximum(1 - np.abs(k) / (lines / 2 + 1), 1e-3) ** 2
        rank = np.log(random.uniform(1e-12, 1, lines)) / density  # the greatest are a draw without replacement
        centre = (np.abs(k) <= centre_fraction * lines / 2) | (k == 0)
        rank[centre] = np.inf
        wanted = max(wanted, int(centre.sum()))
    kept = np.zeros(lines)
    kept[np.argsort(-rank, kind="stable")[:wanted]] = 1
    return kept


# ---- motion --------------------------------------------------------------------------------------------------


def step_path(knots: np.ndarray, times: np.ndarray, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Rest, then a jump to the next pose at each time: poses (K, 6) and the pose of each line."""
    when = (np.arange(lines) + 0.5) / lines
    return np.concatenate([np.zeros((1, 6)), knots]), np.searchsorted(np.sort(times), when)


def drift_path(knots: np.ndarray, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """From rest through the poses at constant pace."""
    way = np.concatenate([np.zeros((1, 6)), knots])
    middle = (np.arange(SEGMENTS) + 0.5) / SEGMENTS * len(knots)
    poses = np.stack([np.interp(middle, np.arange(len(way)), column) for column in way.T], 1)
    return poses, np.arange(lines) * SEGMENTS // lines


def breathing_path(knot: np.ndarray, cycles: float, phase: float, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """To and fro between rest and a pose as cos⁶, which rests longest at the end of exhaling (Lujan et al. 1999)."""
    when = (np.arange(lines) + 0.5) / lines
    depth = np.cos(math.pi * (cycles * when + phase)) ** 6
    return np.linspace(0, 1, SEGMENTS)[:, None] * knot, np.round(depth * (SEGMENTS - 1)).astype(int)


def pose_matrix(pose: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """World matrix (4, 4) of a pose: shift in mm and rotation vector in degrees, both along the grid's own axes.

    The anatomy turns about the grid's centre. A single slice moves in its plane, as far and by as much.
    """
    shift, turn = pose[:3].copy(), pose[3:].copy()
    plane = grid.plane_axis
    if plane is not None:
        length, size = float(np.linalg.norm(shift)), float(np.linalg.norm(turn))
        shift[plane] = 0
        shift *= length / max(float(np.linalg.norm(shift)), 1e-9)
        sign = math.copysign(1, turn[plane])
        turn[:] = 0
        turn[plane] = sign * size
    directions = grid.matrix[:3, :3] / np.asarray(grid.embedded_spacing)
    angle = float(np.linalg.norm(turn))
    linear = rotation_matrix((directions @ turn).tolist(), angle)
    moved = np.eye(4)
    moved[:3, :3] = linear
    moved[:3, 3] = grid.centre - linear @ grid.centre + directions @ shift
    return moved


def line_shares(image: torch.Tensor, axis: int) -> np.ndarray:
    """How much each k-space line says on where the anatomy is, in the order of `line_positions`, sum 1.

    The root of the line's amplitude in an image (C, *spatial), times a Gaussian about the centre with a sigma of 6
    lines: the energy would leave the say to the centre line alone, which sees no shift along the axis. Power and width
    are a compromise found on a phantom: no theory gives them.
    """
    columns = torch.movedim(image, axis + 1, -1)
    for other in range(1, columns.ndim - 1):
        columns = columns[(slice(None),) * other + (slice(None, None, max(1, columns.shape[other] // 48)),)]
    energy = torch.fft.fft(columns).abs().square().flatten(0, -2).sum(0).double()
    amplitude = torch.fft.fftshift(energy.pow(0.25)).cpu().numpy()
    shares = amplitude * np.exp(-0.5 * (line_positions(len(amplitude)) / 6) ** 2)
    return shares / max(float(shares.sum()), 1e-30)


def motion(
    image: torch.Tensor, poses: np.ndarray, pose_of_line: np.ndarray, axis: int, grid: VoxelGrid
) -> torch.Tensor:
    """Magnitude image of which each k-space line was acquired in another pose, zero point kept.

    The mean of the poses, weighted by `line_shares`, is taken off first: it would move the anatomy
    away from its labels.

    Args:
        image: one sample (C, *spatial).
        poses: (K, 6) shift in mm and rotation vector in degrees, see `pose_matrix`.
        pose_of_line: index of the pose of each line, in the order of `line_positions`.
        axis: phase-encoding axis.
        grid: of the image.
    """
    zero = zero_point(image[None])[0]
    x = image - zero
    shares = line_shares(x, axis)
    placed = np.stack([pose_matrix(p, grid) for p in poses])
    held = np.bincount(pose_of_line, shares, len(poses))
    total = held.sum()
    if total <= 0:
        return image.clone()
    back = np.linalg.inv(_mean_pose(placed, held / total, grid))
    used = [k for k in np.argsort(-held, kind="stable") if (pose_of_line == k).any()]
    first = _moved(x, placed[used[0]] @ back, grid)
    real, imaginary = first.clone(), None
    for k in used[1:]:
        change = _moved(x, placed[k] @ back, grid) - first
        a, b = line_matrix((pose_of_line == k).astype(float))
        real += matrix_along(a, change, axis)
        if b is not None:
            part = matrix_along(b, change, axis)
            imaginary = part if imaginary is None else imaginary.add_(part)
    magnitude = real.abs_() if imaginary is None else torch.hypot(real, imaginary)
    return magnitude.add_(zero)


def _mean_pose(placed: np.ndarray, weights: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """The rigid matrix amid others: the rotation nearest to their mean, and the mean of where the centre goes."""
    u, _, v = np.linalg.svd(np.tensordot(weights, placed[:, :3, :3], 1))
    linear = u @ v
    centre = np.append(grid.centre, 1.0)
    mean = np.eye(4)
    mean[:3, :3] = linear
    mean[:3, 3] = np.tensordot(weights, placed @ centre, 1)[:3] - linear @ grid.centre
    return mean


def _moved(image: torch.Tensor, pose: np.ndarray, grid: VoxelGrid) -> torch.Tensor:
    """An image (C, *spatial) whose anatomy was moved by a world matrix, by linear interpolation."""
    if np.abs(pose - np.eye(4)).max() < 1e-9:
        return image
    own = grid.matrix
    source = (np.linalg.inv(own) @ np.linalg.inv(pose) @ own)[:3]
    if grid.plane_axis is not None:
        source[grid.plane_axis] = 0.0
    eye = torch.eye(3, 4, dtype=torch.float64)[None]
    still = torch.zeros(1, 3, 1, 2, 2, device=image.device)
    pull_back = PullBack(eye, torch.from_numpy(source)[None], torch.zeros(1, 3, 3, dtype=torch.float64), still)
    return warp(image[None], pull_back)[0]
