"""The flow on the coarse lattice against closed forms, scipy and numpy."""

from __future__ import annotations

import math
from contextlib import nullcontext
from itertools import product

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.ndimage import correlate1d, gaussian_filter, map_coordinates

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry.deformation import (
    clip_divergence,
    compose,
    corner_determinants,
    integrate,
    lattice_shape,
    limit_velocity,
    node_positions,
    sample_lattice,
    smooth_unit_field,
    smoothing_margin,
    white_lattice,
)
from monai_medaug.functional.geometry.lattice import velocity_amplitude

PATHS = {"compiled": nullcontext, "torch": torch_only}
SIZES = [(1, 25, 23), (15, 17, 16)]


def random_velocity(size: tuple[int, ...], seed: int, rms: float, samples: int = 1, sigma: float = 2.0) -> torch.Tensor:
    """Smooth fields in lattice steps, still along axes of size 1."""
    sigmas = [sigma if n > 1 else 0.0 for n in size]
    margins = [smoothing_margin(s) if s else 0 for s in sigmas]
    noise = torch.stack([white_lattice(size, margins, seed + s) for s in range(samples)])
    moving = torch.tensor([float(n > 1) for n in size]).reshape(3, 1, 1, 1)
    return smooth_unit_field(noise, sigmas) * moving * rms


def affine_velocity(size: tuple[int, int, int], matrix: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Node positions relative to the middle (3, N), and v = matrix x + shift as a field."""
    index = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in size], indexing="ij")).reshape(3, -1)
    return index, (matrix @ index + shift[:, None]).reshape(3, *size)


def cell_determinants(u: np.ndarray) -> np.ndarray:
    """Det(I + grad u) at all corners of all cells, from the edges that meet there."""
    moving = [a for a in range(3) if u.shape[a + 1] > 1]
    figures = []
    for corner in product(*[(0, 1) if a in moving else (0,) for a in range(3)]):
        jacobian = np.zeros((*[max(n - 1, 1) for n in u.shape[1:]], 3, 3)) + np.eye(3)
        for axis in moving:
            edges = np.diff(u, axis=axis + 1)
            for other in moving:
                if other != axis:
                    edges = np.take(edges, np.arange(u.shape[other + 1] - 1) + corner[other], axis=other + 1)
            jacobian[..., axis] += np.moveaxis(edges, 0, -1)
        figures.append(np.linalg.det(jacobian).ravel())
    return np.concatenate(figures)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("time", [None, 0.5, -1.0])
@pytest.mark.parametrize("size", [(1, 31, 31), (21, 21, 21)])
def test_the_flow_of_an_affine_velocity_is_the_matrix_exponential(size, time, path):
    """Within 0.5 % of the displacement's length, where the path stays on the lattice."""
    flat = np.array([n > 1 for n in size], dtype=float)
    matrix = (np.array([[-0.2, 0.3, 0.1], [-0.4, -0.1, 0.3], [0.1, -0.3, -0.15]])) * np.outer(flat, flat)
    shift = np.array([0.5, -0.4, 0.3]) * flat
    index, velocity = affine_velocity(size, matrix, shift)
    field = torch.from_numpy(velocity).float()[None]
    with PATHS[path]():
        u, reached = integrate(field, torch.tensor([0.05]), None if time is None else torch.tensor([time]))
    span = 1.0 if time is None else time
    assert reached.item() == span
    generator = np.zeros((4, 4))
    generator[:3, :3], generator[:3, 3] = matrix, shift
    flow = expm(span * generator)
    expected = flow[:3, :3] @ index + flow[:3, 3:] - index
    inner = np.linalg.norm(index, axis=0) < 0.6 * (max(size) - 1) / 2
    error = np.linalg.norm(u[0].double().numpy().reshape(3, -1) - expected, axis=0)[inner]
    length = np.linalg.norm(expected, axis=0)[inner]
    assert error.max() < 0.005 * length.max()
    straight = np.linalg.norm(span * velocity.reshape(3, -1) - expected, axis=0)[inner]
    assert straight.max() > 0.05 * length.max()  # the velocity itself would not do


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", SIZES)
def test_the_negative_time_inverts(size, path):
    """Within 8 % of the displacement: squaring on a lattice of two nodes a sigma is that exact."""
    velocity = clip_divergence(random_velocity(size, 0, 1.5), torch.tensor([1.4]))
    bound = torch.tensor([0.2])
    with PATHS[path]():
        u, time = integrate(velocity, bound)
        back, _ = integrate(velocity, bound, -time)
    assert time.item() > 0.3
    both = map_back(u[0].numpy(), back[0].numpy())
    inner = (slice(None), *(slice(4, -4) if n > 1 else slice(None) for n in size))
    assert np.sqrt((both[inner] ** 2).mean()) < 0.08 * np.sqrt((u[0].numpy()[inner] ** 2).mean())


def map_back(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b(x) + a(x + b(x)) by scipy."""
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in a.shape[1:]], indexing="ij"))
    return b + np.stack([map_coordinates(c, index + b, order=1, mode="nearest") for c in a.astype(np.float64)])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", SIZES)
def test_composition(size, path):
    a, b = random_velocity(size, 1, 1.5, samples=2), random_velocity(size, 11, 1.5, samples=2)
    with PATHS[path]():
        out = compose(a, b)
    for sample in range(2):
        np.testing.assert_allclose(out[sample], map_back(a[sample].numpy(), b[sample].numpy()), atol=2e-5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", [*SIZES, (6, 1, 7), (6, 7, 1), (2, 2, 2), (1, 1, 9), (1, 1, 1)])
def test_corner_determinants(size, path):
    u = random_velocity(size, 2, 0.6, samples=2, sigma=1.0)
    with PATHS[path]():
        low, high = corner_determinants(u)
    for sample in range(2):
        expected = cell_determinants(u[sample].double().numpy())
        assert low[sample].item() == pytest.approx(expected.min(), abs=1e-4)
        assert high[sample].item() == pytest.approx(expected.max(), abs=1e-4)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bound", [0.1, 0.5])
def test_the_search_keeps_the_bound_and_uses_it(size, bound, path):
    velocity = random_velocity(size, 3, 2.5, samples=3)
    least = torch.full((3,), bound)
    with PATHS[path]():
        u, time = integrate(velocity, least)
        further, _ = integrate(velocity, least, time + 2 / 64)
    for sample in range(3):
        det = cell_determinants(u[sample].double().numpy())
        assert det.min() >= bound - 1e-4
        assert det.max() <= 1 / bound + 1e-3
        assert 0 < time[sample] < 1
        beyond = cell_determinants(further[sample].double().numpy())
        assert beyond.min() < bound or beyond.max() > 1 / bound  # nothing was given away


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("size", SIZES)
def test_a_known_time_repeats_the_search_bit_for_bit(size, path):
    velocity = random_velocity(size, 4, 1.5, samples=4) * torch.tensor([0.1, 0.6, 1.0, 2.0]).reshape(4, 1, 1, 1, 1)
    bound = torch.full((4,), 0.2)
    with PATHS[path]():
        u, time = integrate(velocity, bound)
        again, same = integrate(velocity, bound, time)
    assert len(set(time.tolist())) > 2
    assert torch.equal(time, same)
    assert torch.equal(u, again)


@pytest.mark.parametrize("size", SIZES)
def test_compiled_and_torch_flow_alike(size):
    velocity, bound = random_velocity(size, 5, 1.5), torch.tensor([0.2])
    u, time = integrate(velocity, bound)
    with torch_only():
        slow, _ = integrate(velocity, bound, time)
    assert float((u - slow).abs().max()) < 1e-3 * float(u.abs().max())


def divergence(velocity: torch.Tensor) -> np.ndarray:
    v = velocity[0].double().numpy()
    return sum(np.gradient(v[a], axis=a) for a in range(3) if v.shape[a + 1] > 1)


@pytest.mark.parametrize("size", [(1, 40, 44), (24, 22, 26)])
def test_divergence_is_clipped_by_a_gradient_field(size):
    velocity = random_velocity(size, 6, 2.0)
    before = np.abs(divergence(velocity)).max()
    limit = 0.4 * before
    clipped = clip_divergence(velocity, torch.tensor([limit]))
    assert np.abs(divergence(clipped)).max() < 1.15 * limit
    change = (clipped - velocity)[0].double().numpy()
    axes = [a for a in range(3) if size[a] > 1]
    inner = tuple(slice(2, -2) if n > 1 else slice(None) for n in size)
    for a in axes:
        for b in axes[: axes.index(a)]:
            curl = (np.gradient(change[a], axis=b) - np.gradient(change[b], axis=a))[inner]
            assert np.abs(curl).max() < 1e-4
    assert np.linalg.norm(change) < 0.5 * np.linalg.norm(velocity)
    still = [a for a in range(3) if size[a] == 1]
    assert not np.any(change[still])


def test_divergence_below_the_limit_changes_nothing():
    velocity = random_velocity((1, 20, 20), 7, 0.5, samples=2)
    assert torch.equal(clip_divergence(velocity, torch.tensor([5.0, 5.0])), velocity)


def test_velocity_is_limited_to_a_length_in_millimetres():
    velocity = random_velocity((16, 18, 20), 8, 4.0, samples=2) * torch.tensor([1.0, 0.01]).reshape(2, 1, 1, 1, 1)
    steps = torch.tensor([[4.0, 3.0, 2.0]] * 2)
    limited = limit_velocity(
        velocity, steps, torch.tensor([4.0, 4.0]), torch.tensor([1e-6, 1e-6])
    )  # so low a bound clips nothing
    length = ((limited * steps.reshape(2, 3, 1, 1, 1)) ** 2).sum(1).flatten(1).mean(1).sqrt()
    assert length[0].item() == pytest.approx(1.1 * 4.0, rel=1e-4)
    assert torch.equal(limited[1], velocity[1])


@pytest.mark.parametrize("sigmas", [(1.5, 2.0, 1.0), (0.0, 2.0, 3.0)])
def test_smoothing_equals_scipy(sigmas):
    nodes = [7 if s else 1 for s in sigmas]
    margins = [smoothing_margin(s) if s else 0 for s in sigmas]
    noise = white_lattice(nodes, margins, 9)
    expected = noise.double().numpy()
    for axis, (sigma, margin) in enumerate(zip(sigmas, margins, strict=True)):
        if sigma:
            window = np.exp(-0.5 * (np.arange(-margin, margin + 1) / sigma) ** 2)
            expected = correlate1d(expected, window / np.linalg.norm(window), axis=axis + 1)
            expected = expected[(slice(None),) * (axis + 1) + (slice(margin, -margin),)]
    np.testing.assert_allclose(smooth_unit_field(noise[None], sigmas)[0], expected, atol=1e-5)


def test_the_field_has_unit_variance_up_to_the_border_and_a_gaussian_correlation():
    """20000 lines: correlation exp(-d² / 4 sigma²) within 0.03, variance within 4 % at each node."""
    sigma, nodes = 2.0, 9
    noise = torch.randn(20000, 3, 1, 1, nodes + 2 * smoothing_margin(sigma), generator=torch.Generator().manual_seed(0))
    lines = smooth_unit_field(noise, (0.0, 0.0, sigma))[:, 0, 0, 0].numpy()
    np.testing.assert_allclose(lines.var(0), 1, atol=0.04)
    expected = np.exp(-((np.arange(nodes)[:, None] - np.arange(nodes)) ** 2) / (4 * sigma**2))
    np.testing.assert_allclose(np.corrcoef(lines.T), expected, atol=0.03)


@pytest.mark.parametrize("axes", [2, 3])
def test_amplitude_is_that_of_the_classical_field(axes):
    """The standard deviation of alpha * gaussian_filter(uniform(-1, 1), sigma) within 5 %."""
    random = np.random.default_rng(0)
    shape = (500, 500) if axes == 2 else (90, 90, 90)
    sigma = 5.0 if axes == 2 else 3.0
    field = 70 * gaussian_filter(random.uniform(-1, 1, shape), sigma, mode="wrap")
    assert velocity_amplitude(70, sigma, axes) == pytest.approx(field.std(), rel=0.05)


def test_lattice_shape_covers_the_grid():
    assert lattice_shape((256, 1, 11), (1.0, 5.0, 5.0), 4.0) == (math.ceil(255 / 4) + 1, 1, 14)


def test_white_lattice_depends_on_the_seed():
    assert torch.equal(white_lattice((2, 3, 4), (1, 0, 2), 5), white_lattice((2, 3, 4), (1, 0, 2), 5))
    assert white_lattice((2, 3, 4), (1, 0, 2), 5).shape == (3, 4, 3, 8)
    assert not torch.equal(white_lattice((2, 3, 4), (1, 0, 2), 5), white_lattice((2, 3, 4), (1, 0, 2), 6))


@pytest.mark.parametrize("size", [(4, 5, 6), (1, 5, 6)])
def test_sampling_is_trilinear_and_clamped(size):
    lattice = torch.randn(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(10))
    spread = torch.tensor([float(n > 1) for n in size], dtype=torch.float64).reshape(3, 1, 1, 1)
    noise = torch.randn(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    positions = node_positions(lattice) + 2 * spread * noise
    expected = [map_coordinates(c, positions[0].numpy(), order=1, mode="nearest") for c in lattice[0].numpy()]
    np.testing.assert_allclose(sample_lattice(lattice, positions)[0], np.stack(expected), atol=1e-9)
