"""The MR kernels against explicit Fourier transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.coil import (
    EXPONENTS,
    bias,
    foreground,
    foreground_level,
    foreground_mean,
    index_polynomial,
    polynomial_field,
    zero_point,
)
from monai_medaug.functional.mri.kspace import line_matrix, line_positions, sampled_lines, spiked, weight_lines

RANDOM = np.random.default_rng(0)


def centred_fft(image: np.ndarray, axis: int, weights: np.ndarray) -> np.ndarray:
    """Magnitude after weighting the lines of the centred k-space of a whole image."""
    spectrum = np.fft.fftshift(np.fft.fftn(image), axes=axis)
    shape = [-1 if a == axis else 1 for a in range(image.ndim)]
    return np.abs(np.fft.ifftn(np.fft.ifftshift(spectrum * weights.reshape(shape), axes=axis)))


@pytest.mark.parametrize("shape", [(12, 17), (17, 12), (8, 9, 10), (1, 6, 7)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_weighted_lines_are_those_of_the_fourier_transform(shape, symmetric):
    for axis, lines in enumerate(shape):
        image = RANDOM.uniform(0, 100, (2, 1, *shape))
        k = line_positions(lines)
        weights = 1 / (1 + np.abs(k)) if symmetric else RANDOM.uniform(0, 1, lines)
        out = weight_lines(torch.from_numpy(image), [weights, weights**2], [axis, axis])
        for i, w in enumerate((weights, weights**2)):
            np.testing.assert_allclose(out[i, 0].numpy(), centred_fft(image[i, 0], axis, w), atol=1e-9)


@pytest.mark.parametrize("lines", [1, 2, 7, 8])
def test_the_line_matrix_is_the_transform_there_and_back(lines):
    weights = RANDOM.uniform(0, 1, lines)
    real, imaginary = line_matrix(weights)
    there = np.fft.fft(np.eye(lines), axis=0)
    expected = np.conj(there) / lines @ (np.fft.ifftshift(weights)[:, None] * there)
    found = real + (0 if imaginary is None else 1j * imaginary)
    np.testing.assert_allclose(found, expected[None], atol=1e-12)


def test_weights_of_one_change_nothing():
    image = torch.rand(1, 2, 7, 8) * 100 - 50
    torch.testing.assert_close(weight_lines(image, [np.ones(8)], [1]), image)


@pytest.mark.parametrize("lines", [16, 33, 128])
@pytest.mark.parametrize("acceleration", [1, 1.5, 3, 4])
def test_lines_are_saved_and_the_centre_is_kept(lines, acceleration):
    centre = np.abs(line_positions(lines)) <= 0.08 * lines / 2
    chosen = [sampled_lines(lines, acceleration, 0.08, "variable_density", s) for s in range(20)]
    for lines_kept in chosen:
        assert lines_kept.sum() == max(round(lines / acceleration), centre.sum())
        assert lines_kept[centre].all()
    if acceleration > 1:
        assert any((a != chosen[0]).any() for a in chosen)
        inner = np.abs(line_positions(lines)) < lines / 4
        # sampling density outside the kept centre, over all draws: the same everywhere would give a ratio of 1
        share = np.mean([sampled_lines(lines, acceleration, 0.08, "variable_density", s) for s in range(200)], axis=0)
        assert share[inner & ~centre].mean() > 1.7 * share[~inner].mean()
    np.testing.assert_array_equal(chosen[3], sampled_lines(lines, acceleration, 0.08, "variable_density", 3))


def test_partial_fourier_keeps_one_end():
    for lines, acceleration in ((16, 1.25), (33, 3), (64, 1)):
        kept = [sampled_lines(lines, acceleration, 0.08, "partial_fourier", s) for s in range(8)]
        for lines_kept in kept:
            assert np.abs(np.diff(lines_kept)).sum() <= 1
            assert lines_kept[lines // 2] == 1
            assert lines_kept.sum() == max(round(lines / acceleration), np.ceil(lines * 0.54))
        if acceleration > 1:
            assert {bool(k[0]) for k in kept} == {True, False}


def test_the_polynomial_is_that_of_world_positions():
    affine = np.array([[0, 1.5, 0.2, 9], [2, 0, 0, -4], [0, -0.3, 4, 7], [0, 0, 0, 1]])
    grid = VoxelGrid((9, 8, 5), affine)
    coefficients = RANDOM.normal(size=len(EXPONENTS))
    terms = torch.from_numpy(index_polynomial(coefficients, grid))[None]
    field = polynomial_field(terms, grid.shape)[0, 0].numpy()
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    world = (index @ affine[:3, :3].T + affine[:3, 3] - grid.centre) / (max(np.multiply(grid.shape, grid.spacing)) / 2)
    expected = np.zeros(grid.shape)
    for c, powers in zip(coefficients, EXPONENTS, strict=True):
        factors = [np.polynomial.Legendre.basis(p)(world[..., a]) for a, p in enumerate(powers)]
        expected += c * np.prod(factors, axis=0)
    np.testing.assert_allclose(field, expected, atol=1e-9)


def test_foreground():
    image = torch.zeros(1, 2, 64, 64)
    image[0, 0, 16:48, 16:48] = 100
    image[0, 1, :8] = 3
    zero = zero_point(image)
    torch.testing.assert_close(foreground(image, zero), image > 0)
    torch.testing.assert_close(foreground_mean(image, zero).flatten(), torch.tensor([100.0, 3.0]))
    shifted = image - 40
    torch.testing.assert_close(foreground(shifted, zero_point(shifted)), image > 0)
    torch.testing.assert_close(foreground_mean(shifted, zero_point(shifted)).flatten(), torch.tensor([100.0, 3.0]))
    assert foreground_mean(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 1, 1)).item() == 0


@pytest.mark.parametrize("shape", [(70, 81), (375, 20), (20, 65, 33)])
def test_the_foreground_level_is_that_of_a_sorted_subgrid(shape):
    image = torch.from_numpy(RANDOM.normal(size=(2, 2, *shape)))
    zero = zero_point(image)
    few = image
    for axis, n in enumerate(shape):
        step = max(1, n // (32 if len(shape) == 3 else 180))
        few = few.index_select(2 + axis, torch.arange(step // 2, n, step))
    ordered = few.flatten(2).sort(-1).values
    high = ordered[..., round(0.99 * (ordered.shape[-1] - 1))].reshape(zero.shape)
    assert torch.equal(foreground_level(image, zero), zero + 0.1 * (high - zero))


@pytest.mark.parametrize("shape", [(48, 37), (24, 33, 20), (1, 30, 30), (17, 1, 9)])
@pytest.mark.parametrize("peak_to_peak", [0.0, 0.4, 2.0])
def test_the_compiled_field_is_that_of_torch_and_of_its_definition(shape, peak_to_peak):
    """Two samples of two channels, one without signal, the other with negative values and a faint background."""
    image = torch.from_numpy(RANDOM.uniform(50, 100, (2, 2, *shape)).astype(np.float32))
    image[..., : shape[-1] // 3] *= 0.02
    image[1] -= 10
    image[0, 0] = 0
    coefficients = torch.from_numpy(0.2 * RANDOM.normal(size=(2, 4, 4, 4)).astype(np.float32))
    wanted = torch.full((2,) + (1,) * (image.ndim - 1), peak_to_peak)
    out = bias(image, coefficients, wanted)
    with torch_only():
        plain = bias(image, coefficients, wanted)
        exact = bias(image.double(), coefficients.double(), wanted.double())
    signal = (image.double() - zero_point(image)).abs().max()
    assert float((out - exact).abs().max()) < 1e-6 * float(signal)
    assert float((plain - exact).abs().max()) < 1e-6 * float(signal)
    if peak_to_peak == 0:
        assert torch.equal(out, image)
    zero = zero_point(image)
    inside = (image > foreground_level(image, zero)).any(1)
    for i in range(2):
        gain = ((out - zero) / (image - zero))[i, 1][inside[i]].double()
        assert float(gain.max() - gain.min()) == pytest.approx(peak_to_peak, abs=1e-4)
        assert float(gain.log().mean()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_the_field_without_foreground_is_taken_over_the_whole_image(value):
    image = torch.zeros(1, 1, 20, 24)
    image[..., 3, 4] = value
    coefficients = torch.from_numpy(RANDOM.normal(size=(1, 4, 4, 4)).astype(np.float32))
    out = bias(image, coefficients, torch.full((1, 1, 1, 1), 0.4))
    with torch_only():
        torch.testing.assert_close(out, bias(image, coefficients, torch.full((1, 1, 1, 1), 0.4)))
    assert torch.equal(out == 0, image == 0)


@pytest.mark.parametrize("shape", [(12, 17), (8, 9, 10)])
def test_spikes_are_points_of_k_space(shape):
    image = RANDOM.uniform(50, 150, shape)
    frequencies = np.array([[0.26, -0.4, 0.1], [-0.5, 0.31, 0.0]])[:, : len(shape)]
    phases = np.array([0.3, 2.0])
    spectrum = np.fft.fftn(image)
    for frequency, phase in zip(frequencies, phases, strict=True):
        place = tuple(round(f * n) % n for f, n in zip(frequency, shape, strict=True))
        spectrum[place] += 0.2 * image.mean() * image.size * np.exp(1j * phase)
    out = spiked(torch.from_numpy(image)[None], 0.2, frequencies, phases)[0]
    np.testing.assert_allclose(out.numpy(), np.abs(np.fft.ifftn(spectrum)), rtol=1e-5)
