"""The lattice of an elastic deformation on a grid, the similarity that goes with it, and the pull-back of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from monai_medaug.functional.acceleration import one_thread, sent
from monai_medaug.functional.geometry.deformation import (
    STEPS_PER_SIGMA,
    integrate,
    lattice_shape,
    limit_velocity,
    smooth_unit_field,
    smoothing_margin,
    white_lattice,
)
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.pull_back import PullBack

ROTATIONS = ("random", "slice", "automatic")
_ANISOTROPIC = 3.0
"""From this ratio of the slices' distance to the spacing within them on, a tilt tears slices apart into steps."""


def rotation_matrix(axis: Sequence[float], degrees: float) -> np.ndarray:
    """Rotation by an angle about a vector (Rodrigues).

    Example:
        >>> rotation_matrix((0, 0, 1), 90).round(6) @ [1, 0, 0]
        array([0., 1., 0.])
    """
    x, y, z = np.asarray(axis, dtype=np.float64) / max(float(np.linalg.norm(axis)), 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=np.float64)
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def similarity(
    grid: VoxelGrid,
    degrees: float,
    axis: Sequence[float],
    scale: float,
    shift_fraction: Sequence[float],
    shear: float = 0.0,
    axes: Sequence[int] = (0, 1),
) -> np.ndarray:
    """World matrix (4, 4) that moves the anatomy: shear, scale and rotation about the grid's centre, then translation.

    Args:
        grid: the reference grid.
        degrees: angle of the rotation.
        axis: its axis, any vector in world coordinates; a single slice rotates about its normal.
        scale: 1.1 makes the anatomy 10 % larger.
        shift_fraction: translation along the axes of the embedded grid as a share of the field of view (voxels times
            spacing); a single slice stays in its plane.
        shear: mm along the first of ``axes`` for each mm along the second.
        axes: of the shear, see `shear_axes`.
    """
    matrix = grid.matrix
    plane = grid.plane_axis
    if plane is not None:
        axis = grid.normal(plane).tolist()
        shift_fraction = [0.0 if a == plane else f for a, f in enumerate(shift_fraction)]
    linear = scale * rotation_matrix(axis, degrees)
    if shear:
        linear = linear @ _shear_matrix(grid, shear, axes)
    shift = matrix[:3, :3] @ (np.asarray(shift_fraction) * np.asarray(grid.size))
    moved = np.eye(4)
    moved[:3, :3] = linear
    moved[:3, 3] = grid.centre - linear @ grid.centre + shift
    return moved


def _shear_matrix(grid: VoxelGrid, shear: float, axes: Sequence[int]) -> np.ndarray:
    """World matrix (3, 3): 1 + shear a b', with the unit vector a of one axis and b' the dual of another's."""
    moved, across = axes
    units = grid.matrix[:3, :3] / np.linalg.norm(grid.matrix[:3, :3], axis=0)
    return np.eye(3) + shear * np.outer(units[:, moved], np.linalg.inv(units)[across])


def rotation_axis(grid: VoxelGrid, about: str, drawn: Sequence[float]) -> list[float]:
    """The axis of rotation in world coordinates.

    Args:
        grid: the reference grid.
        about: ``"slice"``: the normal of the slices, across the axis of the widest spacing; ``"automatic"``: the same
            from 3 times the next spacing on, else the drawn axis; ``"random"``: the drawn axis.
        drawn: a direction. A single slice rotates about its normal anyway, see `similarity`.
    """
    if about == "random" or grid.plane_axis is not None:
        return list(drawn)
    axis = grid.slice_axis(_ANISOTROPIC if about == "automatic" else 1)
    return list(drawn) if axis is None else grid.normal(axis + 3 - len(grid.shape)).tolist()


def shear_axes(grid: VoxelGrid, about: str, drawn: Sequence[int]) -> list[int]:
    """Two axes of the embedded grid, the one that moves and the one across which it does.

    Args:
        grid: the reference grid.
        about: as in `rotation_axis`; a shear then stays within the slices too.
        drawn: two of 0, 1, 2. A single slice is sheared within its plane anyway.
    """
    avoided = grid.plane_axis
    if avoided is None and about != "random":
        axis = grid.slice_axis(_ANISOTROPIC if about == "automatic" else 1)
        avoided = None if axis is None else axis + 3 - len(grid.shape)
    if avoided not in drawn:
        return list(drawn)
    kept = [a for a in range(3) if a != avoided]
    return kept if drawn[0] < drawn[1] else kept[::-1]


@dataclass(frozen=True)
class ElasticLattice:
    """Nodes of a grid's deformation lattice, and the correlation length of the field on them.

    Args:
        grid: the reference grid.
        sigma: correlation length in mm.
        density: refinement of the lattice.
    """

    grid: VoxelGrid
    sigma: float
    density: int = 1

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        step = max(self.sigma / STEPS_PER_SIGMA, self.grid.finest_spacing)
        shape = lattice_shape(self.grid.size, self.grid.embedded_spacing, step)
        return tuple((g - 1) * self.density + 1 for g in shape)

    @cached_property
    def steps(self) -> tuple[float, ...]:
        """Length of a lattice step in mm, 1 along an axis of one node."""
        size, spacing = self.grid.size, self.grid.embedded_spacing
        return tuple((n - 1) * s / (g - 1) if g > 1 else 1.0 for n, s, g in zip(size, spacing, self.nodes, strict=True))

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """Sigma in lattice steps, 0 along an axis of one node."""
        return tuple(self.sigma / s if g > 1 else 0.0 for s, g in zip(self.steps, self.nodes, strict=True))

    @cached_property
    def from_index(self) -> np.ndarray:
        """Index of the grid to lattice index, (4, 4)."""
        return np.diag([*((g - 1) / max(n - 1, 1) for n, g in zip(self.grid.size, self.nodes, strict=True)), 1.0])

    def noise(self, seed: int) -> torch.Tensor:
        """White noise (3, ...) with the margins that smoothing consumes."""
        return white_lattice(self.nodes, [smoothing_margin(s) if s else 0 for s in self.sigmas], seed)


def velocity_amplitude(alpha: float, sigma: float, axes: int) -> float:
    """Standard deviation of a component of ``alpha * gaussian_filter(uniform(-1, 1), sigma)``.

    Uniform noise has variance 1/3 and the Gaussian window the energy (2 sqrt(pi) sigma)^-axes: together
    alpha / sqrt(3) / (2 sqrt(pi) sigma)^(axes / 2), in the unit of ``alpha``, sigma in the spacing of the noise.

    Example:
        >>> round(velocity_amplitude(1000, 8, 2), 2), round(velocity_amplitude(1000, 8, 3), 2)
        (20.36, 3.82)
    """
    return alpha / math.sqrt(3) / (2 * math.sqrt(math.pi) * sigma) ** (axes / 2)


def elastic_displacement(
    lattices: Sequence[ElasticLattice],
    seeds: Sequence[int],
    amplitudes: Sequence[float],
    min_det: Sequence[float],
    times: Sequence[float] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, list[float], list[float]]:
    """Integrated displacements for lattices of one shape.

    Args:
        lattices: one per sample, all of the same number of nodes.
        seeds: of the noise.
        amplitudes: standard deviation of a velocity component in mm.
        min_det: least determinant of each elastic part.
        times: flow times if known, negative for the inverse.
        device: where to compute.

    Returns:
        The displacement (B, 3, Gz, Gy, Gx) in lattice steps, the flow times, and for each sample the share of the
        velocity kept by all limits (1: as drawn).
    """
    if torch.device(device).type == "cpu" and torch.get_num_threads() > 1:
        with one_thread():
            return elastic_displacement(lattices, seeds, amplitudes, min_det, times, device)
    device = torch.device(device)
    noise = sent(torch.stack([lat.noise(seed) for lat, seed in zip(lattices, seeds, strict=True)]), device)
    steps = sent([lat.steps for lat in lattices], device, torch.float32)
    bound, amplitude = (sent(values, device, torch.float32) for values in (min_det, amplitudes))
    field = smooth_unit_field(noise, lattices[0].sigmas)
    moving = sent([float(g > 1) for g in lattices[0].nodes], device, torch.float32)
    velocity = field * (amplitude[:, None] * moving / steps).reshape(-1, 3, 1, 1, 1)
    sigma = sent([lat.sigma for lat in lattices], device, torch.float32)
    limited = limit_velocity(velocity, steps, sigma, bound)
    known = None if times is None else sent(times, device, torch.float32)
    displacement, reached = integrate(limited, bound, known)
    kept = reached.abs() * limited.flatten(1).norm(dim=1) / velocity.flatten(1).norm(dim=1).clamp_min(1e-12)
    found, shares = torch.stack([reached, kept]).tolist()
    return displacement, found, shares


def pull_back(
    reference: Sequence[ElasticLattice],
    moved: Sequence[np.ndarray],
    displacement: torch.Tensor,
    grids: Sequence[VoxelGrid],
    inverse: bool = False,
) -> PullBack:
    """The map for one key's grids, for samples whose lattices have one shape.

    Forward, an output point w takes the value at A(w + u(w)) with A the inverse of ``moved``; inverse, with the
    displacement of the opposite flow, at A^-1 w + u(A^-1 w).
    """
    maps = []
    for lattice, motion, grid in zip(reference, moved, grids, strict=True):
        home, own = lattice.grid.matrix, grid.matrix
        to_world = home[:3, :3] @ np.diag(lattice.steps) / np.asarray(lattice.grid.embedded_spacing)
        affine = motion if inverse else np.linalg.inv(motion)
        back = np.linalg.inv(own)
        if inverse:
            source, mix = back @ affine @ own, back[:3, :3] @ to_world
            index = lattice.from_index @ np.linalg.inv(home) @ affine @ own
        else:
            source, mix = back @ affine @ own, back[:3, :3] @ affine[:3, :3] @ to_world
            index = lattice.from_index @ np.linalg.inv(home) @ own
        if lattice.grid.plane_axis is not None and grid.plane_axis is not None:  # a slice stays in its plane
            source[grid.plane_axis] = mix[grid.plane_axis] = 0.0
        index[np.abs(index) < 1e-9] = 0.0
        maps.append((index[:3], source[:3], mix))
    index, source, mix = (torch.from_numpy(np.stack(m)) for m in zip(*maps, strict=True))
    return PullBack(index, source, mix, displacement)
