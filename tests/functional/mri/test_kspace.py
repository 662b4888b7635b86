"""The k-space kernels against explicit Fourier transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.mri.kspace import (
    central_lines,
    line_matrix,
    line_positions,
    sampled_lines,
    spiked,
    weight_lines,
)

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
    image = torch.rand(1, 2, 7, 8) * 100
    torch.testing.assert_close(weight_lines(image, [np.ones(8)], [1]), image)


@pytest.mark.parametrize("lines", [32, 33, 128])
@pytest.mark.parametrize("kept", [0.3, 0.75, 1])
def test_the_central_lines_are_those_of_the_fourier_transform(lines, kept):
    image = 1 + torch.rand(1, 1, lines, 5, dtype=torch.float64)
    out = weight_lines(image, [central_lines(lines, kept)], [0])
    spectrum = np.fft.fft(image[0, 0].numpy(), axis=0)
    distance = np.abs(np.fft.fftfreq(lines)) * lines
    spectrum[distance >= kept * lines / 2 + 1] = 0
    edge = (distance > kept * lines / 2) & (distance < kept * lines / 2 + 1)
    spectrum[edge] *= (kept * lines / 2 + 1 - distance[edge])[:, None]
    np.testing.assert_allclose(out[0, 0].numpy(), np.abs(np.fft.ifft(spectrum, axis=0)), atol=1e-9)


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


@pytest.mark.parametrize("shape", [(12, 17), (8, 9, 10)])
def test_spikes_are_points_of_k_space(shape):
    image = RANDOM.uniform(50, 150, shape)
    frequencies = np.array([[0.26, -0.4, 0.1], [-0.5, 0.31, 0.0]])[:, : len(shape)]
    phases = np.array([0.3, 2.0])
    spectrum = np.fft.fftn(image)
    for frequency, phase in zip(frequencies, phases, strict=True):
        place = tuple(round(f * n) % n for f, n in zip(frequency, shape, strict=True))
        spectrum[place] += 0.2 * image.mean() * image.size * np.exp(1j * phase)
    level = torch.full((1,) * (len(shape) + 1), image.mean(), dtype=torch.float64)
    out = spiked(torch.from_numpy(image)[None], 0.2, frequencies, phases, level)[0]
    np.testing.assert_allclose(out.numpy(), np.abs(np.fft.ifftn(spectrum)), rtol=1e-5)
