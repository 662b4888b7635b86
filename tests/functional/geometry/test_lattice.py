"""Lattices and pull-backs against direct computations in world coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.lattice import (
    ElasticLattice,
    elastic_displacement,
    pull_back,
    rotation_matrix,
    similarity,
)


def random_affine(seed: int, spacing: tuple[float, float, float]) -> list[list[float]]:
    """Turned, slightly sheared, flipped, with an origin."""
    random = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() @ np.diag(spacing)
    affine[:3, :3] += random.normal(0, 0.05, (3, 3))
    affine[:3, 1] *= -1
    affine[:3, 3] = random.normal(0, 50, 3)
    return affine.tolist()


def test_rotation_equals_scipy():
    axis = np.array([1.0, -2.0, 0.5])
    expected = Rotation.from_rotvec(np.radians(33) * axis / np.linalg.norm(axis)).as_matrix()
    np.testing.assert_allclose(rotation_matrix(axis, 33), expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_similarity_moves_the_centre_by_the_shift_and_scales_about_it(seed):
    grid = VoxelGrid((20, 30, 9), random_affine(seed, (1, 1.5, 4)))
    axis, shift = [0.0, 0.6, 0.8], [0.1, -0.2, 0.05]
    moved = similarity(grid, 25, axis, 1.2, shift)
    extent = grid.matrix[:3, :3] @ (np.array(shift) * grid.shape)
    np.testing.assert_allclose(moved[:3, :3] @ grid.centre + moved[:3, 3], grid.centre + extent)
    turn = Rotation.from_matrix(moved[:3, :3] / 1.2).as_rotvec(degrees=True)
    np.testing.assert_allclose(turn, 25 * np.array(axis), atol=1e-9)


def test_a_plane_turns_about_its_normal():
    affine = np.array([[0.0, 0, 1, 10], [2.0, 0, 0, 20], [0, 3, 0, 30], [0, 0, 0, 1]])  # the world's y-z plane
    grid = VoxelGrid((11, 13), affine.tolist())
    moved = similarity(grid, 30, [0.3, 0.4, 0.5], 1.0, (9.0, 0.1, 0.2))
    np.testing.assert_allclose(Rotation.from_matrix(moved[:3, :3]).as_rotvec(degrees=True), [30, 0, 0], atol=1e-9)
    centre = moved[:3, :3] @ grid.centre + moved[:3, 3]
    np.testing.assert_allclose(centre - grid.centre, [0, 0.1 * 11 * 2, 0.2 * 13 * 3], atol=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0), (0.4, 3.0, 0.7)])
def test_nodes_lie_half_a_sigma_apart_at_most_and_span_the_grid(spacing):
    grid = VoxelGrid((40, 50, 12), np.diag([*spacing, 1]).tolist())
    lattice = ElasticLattice(grid, 6.0)
    assert max(lattice.steps) <= 3.0 + 1e-9
    last = lattice.from_index @ [39, 49, 11, 1]
    np.testing.assert_allclose(last[:3], np.array(lattice.nodes) - 1)
    np.testing.assert_allclose(np.array(lattice.sigmas) * lattice.steps, 6.0)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_pull_back_of_another_grid_in_world_coordinates(seed, inverse):
    """Forward: source = A(w + u(w)); inverse: source = A^-1 w + u(A^-1 w); all in mm, interpolated by scipy."""
    home = VoxelGrid((24, 20, 9), random_affine(seed, (1, 1.2, 4)))
    own = VoxelGrid((10, 11, 12), random_affine(seed + 10, (2, 2, 3)))
    own.affine[0][3], own.affine[1][3], own.affine[2][3] = home.centre  # type: ignore[index]
    lattice = ElasticLattice(home, 5.0)
    motion = similarity(home, 12, [1, 2, 3], 1.1, (0.05, -0.1, 0.2))
    u = torch.randn(1, 3, *lattice.nodes, generator=torch.Generator().manual_seed(seed))
    source = pull_back([lattice], [motion], u, [own], inverse).coordinates(own.size, torch.float64)[0].numpy()

    index = np.stack(np.meshgrid(*[np.arange(n) for n in own.size], indexing="ij")).reshape(3, -1)

    def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
        return matrix[:3, :3] @ points + matrix[:3, 3:]

    world = apply(own.matrix, index)
    affine = motion if inverse else np.linalg.inv(motion)
    at = apply(affine, world) if inverse else world
    nodes = apply(np.linalg.inv(home.matrix), at) * (
        (np.array(lattice.nodes) - 1) / (np.array(home.shape) - 1)
    ).reshape(3, 1)
    steps = np.stack([map_coordinates(c, nodes, order=1, mode="nearest") for c in u[0].double().numpy()])
    directions = home.matrix[:3, :3] / np.linalg.norm(home.matrix[:3, :3], axis=0)
    millimetres = directions @ (steps * np.array(lattice.steps).reshape(3, 1))
    there = at + millimetres if inverse else apply(affine, world + millimetres)
    expected = apply(np.linalg.inv(own.matrix), there)
    np.testing.assert_allclose(source.reshape(3, -1), expected, atol=1e-4)
    assert ((nodes >= 0) & (nodes <= np.array(lattice.nodes).reshape(3, 1) - 1)).all(0).mean() > 0.03


def test_elastic_displacement_of_a_sample_does_not_depend_on_the_batch():
    lattice = ElasticLattice(VoxelGrid((40, 40)), 6.0)
    both, times, kept = elastic_displacement([lattice] * 2, [1, 2], [6.0, 3.0], [0.2, 0.3])
    alone, time, share = elastic_displacement([lattice], [2], [3.0], [0.3])
    torch.testing.assert_close(both[1], alone[0], atol=1e-5, rtol=0)
    assert times[1] == time[0]
    assert kept[1] == pytest.approx(share[0], rel=1e-5)
    assert not both[:, 0].any()  # across the plane nothing moves
