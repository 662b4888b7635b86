"""Random diffeomorphisms on a coarse lattice: a stationary velocity field, limited and integrated.

The classical elastic augmentation adds smoothed noise times alpha to the coordinates, which at the usual alpha 1000
and sigma 8 folds the anatomy. Here the same field is the velocity ``v`` of a flow and the map is its exponential
(Arsigny et al. 2006), ``det J = exp(integral of div v along the path)``. Three limits keep ``min_det <= det J <=
1 / min_det``, which bounds the map and its inverse alike:

1. the root mean square of ``v`` is at most 1.1 sigma;
2. where ``|div v|`` exceeds 0.9 ln(1 / min_det), a curl-free correction removes the excess; elsewhere the field
   stays as drawn;
3. the flow stops at the greatest time ``s <= 1`` for which all cells of the lattice satisfy the bound. The
   intermediates exp(2^-j v) of scaling and squaring give each binary digit of ``s`` for one composition.

Lattices are tensors (B, 3, Gz, Gy, Gx), displacements in lattice steps; axes of size 1 are not deformed, so that 2D
runs through the same code. Nodes 0 and G - 1 lie on the first and last voxel of the reference grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.fft import next_fast_len
from torch.nn.functional import grid_sample, pad

from monai_medaug.functional.acceleration import elements_at_once, loops, sent

STEPS_PER_SIGMA = 2.0
_SQUARINGS = 6
_PER_NODE = 80  # elements of the torch path's temporary tensors for the corners of a cell
_VELOCITY_LIMIT = 1.1  # of sigma, root mean square vector length
_DIVERGENCE_SHARE = 0.9  # of ln(1 / min_det), the rest is for discretisation
_CLIP_ROUNDS = 3
_CLIP_MARGIN = 8  # nodes of zero beside the lattice, against wrap-around in the spectral correction


def lattice_shape(shape: Sequence[int], spacing: Sequence[float], step: float) -> tuple[int, ...]:
    """Nodes per axis so that they lie at most ``step`` apart (mm, as ``spacing``); 1 for an axis of one voxel."""
    return tuple(1 if n == 1 else math.ceil((n - 1) * s / step) + 1 for n, s in zip(shape, spacing, strict=True))


def white_lattice(shape: Sequence[int], margins: Sequence[int], seed: int) -> torch.Tensor:
    """Standard normal noise (3, *shape + 2 margins), drawn on the CPU so that all devices get the same geometry."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, *(n + 2 * m for n, m in zip(shape, margins, strict=True)), generator=generator)


def smoothing_margin(sigma: float) -> int:
    """Nodes to add on each side so that the smoothed noise is stationary up to the border."""
    return math.ceil(3.5 * sigma)


def smooth_unit_field(noise: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """Gaussian-smoothed noise of unit variance, without its margins.

    Args:
        noise: (B, 3, Gz + 2 Mz, ...) white noise with the margins of `smoothing_margin`.
        sigmas: standard deviation in lattice steps for each axis; 0 skips the axis (of size 1).
    """
    field = noise
    for axis, sigma in enumerate(sigmas):
        if sigma == 0:
            continue
        margin = smoothing_margin(sigma)
        nodes = field.shape[2 + axis] - 2 * margin
        offsets = torch.arange(2 * margin + 1, device=noise.device, dtype=noise.dtype) - margin
        window = torch.exp(-0.5 * (offsets / sigma) ** 2)
        wide = nodes + 2 * margin
        # one longer than a row, so that each repetition is shifted by one
        shifted = torch.cat([window / window.norm(), window.new_zeros(nodes)])
        band = shifted.repeat(nodes)[: nodes * wide].reshape(nodes, wide)
        field = torch.movedim(torch.movedim(field, 2 + axis, -1) @ band.T, -1, 2 + axis)
    return field.contiguous()


def _gradient(field: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.gradient(field, dim=axis)[0] if field.shape[axis] > 1 else torch.zeros_like(field)


def clip_divergence(velocity: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Bring ``|div v|`` below ``limit`` (B,) by adding a gradient field: v + grad(phi), lap(phi) = -excess."""
    size = velocity.shape[2:]
    totals = [next_fast_len(n + _CLIP_MARGIN, real=True) if n > 1 else 1 for n in size]
    padding = [m for n, total in zip(reversed(size), reversed(totals), strict=True) for m in (0, total - n)]
    waves = []
    for axis, total in enumerate(totals):
        frequency = (torch.fft.rfftfreq if axis == 2 else torch.fft.fftfreq)(total, device="cpu")
        # the symbol of the central difference
        wave = sent(torch.sin(2 * math.pi * frequency), velocity.device, velocity.dtype)
        waves.append(wave.reshape([-1 if a == axis else 1 for a in range(3)]))
    power = waves[0] ** 2 + waves[1] ** 2 + waves[2] ** 2
    inverse = torch.where(power > 1e-6, 1 / power.clamp_min(1e-6), torch.zeros_like(power))
    bound = limit.reshape(-1, 1, 1, 1)
    for _ in range(_CLIP_ROUNDS):
        divergence = torch.stack([_gradient(velocity[:, a], a + 1) for a in range(3)]).sum(0)
        excess = divergence - torch.minimum(torch.maximum(divergence, -bound), bound)
        if velocity.device.type == "cpu" and not bool(excess.any()):
            break
        potential = torch.fft.irfftn(torch.fft.rfftn(pad(excess, padding), dim=(1, 2, 3)) * inverse, s=totals)
        slopes = [(potential.roll(-1, a) - potential.roll(1, a)) / 2 for a in (1, 2, 3)]
        correction = torch.stack(slopes, dim=1)
        velocity = velocity + correction[:, :, : size[0], : size[1], : size[2]]
    return velocity


def compose(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The displacement of ``(id + a) o (id + b)``: b(x) + a(x + b(x)), trilinear, clamped at the border."""
    if (compiled := loops("geometry._numba_warp", a, b)) is not None:
        out = torch.empty_like(b)
        for sample in range(len(a)):
            compiled.compose(a[sample].numpy(), b[sample].numpy(), out[sample].numpy())
        return out
    return b + sample_lattice(a, node_positions(b) + b)


def node_positions(lattice: torch.Tensor) -> torch.Tensor:
    """The positions (1, 3, Gz, Gy, Gx) of the nodes, in lattice steps."""
    axes = [torch.arange(n, device=lattice.device, dtype=lattice.dtype) for n in lattice.shape[2:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def sample_lattice(lattice: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Trilinear values (B, 3, Z, Y, X) of the lattice at positions (B, 3, Z, Y, X) in lattice steps, clamped."""
    sizes = sent([max(n - 1, 1) for n in lattice.shape[2:]], positions.device, positions.dtype).reshape(1, 3, 1, 1, 1)
    normalised = torch.movedim(2 * positions / sizes - 1, 1, -1).flip(-1)
    return grid_sample(lattice, normalised, padding_mode="border", align_corners=True)


def exact_inverse(u: torch.Tensor, guess: torch.Tensor, density: int, rounds: int = 3) -> torch.Tensor:
    """The displacement w of the inverse map, w(x) = -u(x + w(x)), on a lattice ``density`` times as dense.

    The opposite flow is the inverse up to its integration error; Newton's method, with the Jacobian at the guess,
    removes that.

    Args:
        u: the forward displacement (B, 3, Gz, Gy, Gx) in lattice steps.
        guess: the displacement of the opposite flow.
        density: nodes of the result for each of ``u``; its displacement is in the steps of the denser lattice.
        rounds: Newton steps.
    """
    dense = [(n - 1) * density + 1 for n in u.shape[2:]]
    nodes = node_positions(u.new_empty(1, 1, *dense)).expand(len(u), -1, -1, -1, -1) / density
    w = sample_lattice(guess, nodes)
    at = nodes + w
    columns = []
    for axis in range(3):
        probe = torch.zeros(1, 3, 1, 1, 1, dtype=u.dtype, device=u.device)
        probe[0, axis] = 0.05
        slope = (sample_lattice(u, at + probe) - sample_lattice(u, at - probe)) / 0.1
        slope[:, axis] += 1
        columns.append(slope)
    a, b, c = columns
    rows = [torch.linalg.cross(b, c, dim=1), torch.linalg.cross(c, a, dim=1), torch.linalg.cross(a, b, dim=1)]
    det = (a * rows[0]).sum(1)
    for _ in range(rounds):
        miss = w + sample_lattice(u, nodes + w)
        step = torch.stack([(row * miss).sum(1) / det for row in rows], dim=1)
        w = w - step.clamp(-0.5, 0.5)
    return w * density


def corner_determinants(u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest det(I + grad u), (B,) each, over the corners of all cells."""
    if (compiled := loops("geometry._numba_warp", u)) is not None:
        figures = u.new_tensor([compiled.corner_determinants(sample.numpy(), -math.inf, math.inf) for sample in u])
        return figures[:, 0], figures[:, 1]
    step = max(1, elements_at_once(u.device) // (_PER_NODE * len(u) * u[0, 0, 0].numel()))
    slabs = [u[:, :, first : first + step + 1] for first in range(0, max(u.shape[2] - 1, 1), step)]
    extrema = torch.stack([torch.stack(_corners_determinant(slab).aminmax(dim=1)) for slab in slabs])
    return extrema[:, 0].amin(0), extrema[:, 1].amax(0)


def _corners_determinant(u: torch.Tensor) -> torch.Tensor:
    """det(I + grad u) at all corners of all cells, (B, corners)."""
    sizes, columns = u.shape[2:], []
    for a in range(3):  # three axes in front for the corners of a cell, two long where the axis has cells
        column = (torch.diff(u, dim=2 + a) if sizes[a] > 1 else torch.zeros_like(u))[None, None, None]
        for other in range(3):
            if other != a and sizes[other] > 1:
                column = torch.cat([column.narrow(5 + other, bit, sizes[other] - 1) for bit in (0, 1)], other)
        columns.append(list(column.unbind(4)))
        columns[a][a] = columns[a][a] + 1
    return determinant(columns).movedim(3, 0).flatten(1)


def keeps_bound(u: torch.Tensor, min_det: torch.Tensor) -> torch.Tensor:
    """Whether min_det <= det(I + grad u) <= 1 / min_det at all corners, (B,); stops at the first plane outside."""
    if (compiled := loops("geometry._numba_warp", u)) is not None:
        kept = []
        for sample, least in zip(u, min_det.tolist(), strict=True):
            low, high = compiled.corner_determinants(sample.numpy(), least, 1 / least)
            kept.append(low >= least and high <= 1 / least)
        return torch.tensor(kept)
    low, high = corner_determinants(u)
    return (low >= min_det) & (high <= 1 / min_det)


def determinant(columns: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    """Determinant of the matrices whose columns are given component by component."""
    (a0, a1, a2), (b0, b1, b2), (c0, c1, c2) = columns
    return a0 * (b1 * c2 - b2 * c1) - b0 * (a1 * c2 - a2 * c1) + c0 * (a1 * b2 - a2 * b1)


def limit_velocity(
    velocity: torch.Tensor, steps: torch.Tensor, sigma: torch.Tensor, min_det: torch.Tensor
) -> torch.Tensor:
    """Limits 1 and 2 of this module.

    Args:
        velocity: (B, 3, Gz, Gy, Gx) in lattice steps.
        steps: (B, 3) length of a lattice step along each axis, in the unit of ``sigma``.
        sigma: (B,) correlation length of each field.
        min_det: (B,) least allowed determinant.
    """
    scale = steps.reshape(-1, 3, 1, 1, 1)
    rms = ((velocity * scale) ** 2).sum(1).flatten(1).mean(1).sqrt()
    factor = torch.clamp(_VELOCITY_LIMIT * sigma / rms.clamp_min(1e-12), max=1.0)
    velocity = velocity * per_lattice(factor)
    return clip_divergence(velocity, -_DIVERGENCE_SHARE * torch.log(min_det))


def integrate(
    velocity: torch.Tensor, min_det: torch.Tensor, time: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(s v) - id and the flow time s.

    Args:
        velocity: (B, 3, Gz, Gy, Gx) in lattice steps.
        min_det: (B,) every cell keeps min_det <= det J <= 1 / min_det.
        time: (B,) the flow time if known (inverse, replay; negative: backwards); else a greedy search finds the
            greatest multiple of 1/64 up to 1.

    Returns:
        The displacement in lattice steps and the flow time (B,).
    """
    if time is not None:
        return _powers(velocity * per_lattice(time))[0], time
    time = _search(velocity, min_det)
    while True:
        u = _powers(velocity * per_lattice(time))[0]
        folded = ~keeps_bound(u, min_det) & (time > 0)
        if not bool(folded.any()):
            return u, time
        time = torch.clamp(time - folded * 2.0**-_SQUARINGS, min=0)


def per_lattice(values: torch.Tensor) -> torch.Tensor:
    """One value per sample (B,), in a shape that broadcasts over lattices."""
    return values.reshape(-1, 1, 1, 1, 1)


def _powers(velocity: torch.Tensor) -> list[torch.Tensor]:
    """exp(2^-j v) - id for j = 0, 1, ... by scaling and squaring."""
    root = velocity / 2**_SQUARINGS
    root = compose(root, root / 2) - root / 2  # the midpoint rule w(x + w(x) / 2), of second order
    powers = [root]
    for _ in range(_SQUARINGS):
        powers.append(compose(powers[-1], powers[-1]))
    return powers[::-1]


def _search(velocity: torch.Tensor, min_det: torch.Tensor) -> torch.Tensor:
    """The greatest times that all cells allow, one binary digit per composition and check."""
    total = torch.zeros_like(velocity)
    reached = torch.zeros_like(min_det)
    for j, power in enumerate(_powers(velocity)):
        trial = compose(total, power) if j else power
        allowed = keeps_bound(trial, min_det) & (reached + 2.0**-j <= 1)
        total = torch.where(per_lattice(allowed), trial, total)
        reached = reached + allowed * 2.0**-j
        if velocity.device.type == "cpu" and bool((reached >= 1).all()):  # a GPU would have to be waited for
            break
    return reached
