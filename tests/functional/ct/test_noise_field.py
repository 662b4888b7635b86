"""Noise fields of CT slices: compiled against torch, spectra, independence and distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kurtosis

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.ct.noise_field import (
    add_quantum_noise,
    bits_shape,
    directional_amplitudes,
)
from monai_medaug.functional.ct.noise_map import NoiseLevels
from monai_medaug.functional.ct.quantum_noise import NoiseKernel, ct_noise_power
from monai_medaug.functional.noise.white import uniform_integers

CPU = torch.device("cpu")
SIZES = [(12, 14), (12, 15), (13, 14), (11, 13)]
SPACING, KERNEL = (1.0, 0.7), NoiseKernel.of_half(0.45)


def noise_of(rows: int, columns: int, slices: int, first: float, second: float, taps=(1.0,), seed=0) -> torch.Tensor:
    """Noise (slices, rows, columns) of the two parts with constant amplitudes."""
    bits = uniform_integers((1, *bits_shape(slices + len(taps) - 1, rows, columns)), [seed], CPU)
    levels = NoiseLevels(torch.tensor([first, second]).reshape(2, 1, 1, 1, 1, 1), 0, slices, (rows, columns))
    amplitudes = directional_amplitudes(rows, columns, SPACING, KERNEL)
    water = torch.zeros(1, 1, slices, rows, columns)
    return add_quantum_noise(water, bits, taps, amplitudes, levels, torch.ones(1), -1024.0)[0, 0]


def whole(half: torch.Tensor, columns: int) -> np.ndarray:
    """Power on the whole plane from that of `torch.fft.rfft2`'s half."""
    rest = half[:, 1 : columns - half.shape[1] + 1].flip(0, 1).roll(1, 0)
    return torch.cat([half, rest], 1).numpy()


@pytest.mark.parametrize("size", SIZES)
def test_each_part_has_its_power_in_every_bin_and_the_powers_add_up(size):
    """20000 slices: a bin's power has a standard error of at most 1 %; a quarter turn keeps the parts uncorrelated."""
    slices = 20000
    parts = [noise_of(*size, slices, *which) for which in ((1.0, 0.0), (0.0, 1.0))]
    for axis, part in enumerate(parts):
        measured = np.mean(np.abs(np.fft.fft2(part.numpy())) ** 2, axis=0) / np.prod(size)
        expected = whole(ct_noise_power(*size, SPACING, KERNEL, axis=axis), size[1])
        np.testing.assert_allclose(measured, expected, rtol=0.06, atol=2e-3)
        assert float(part.mean(0).abs().max()) < 0.04  # an offset of the integers would be an impulse in a corner
    spectra = [np.fft.fft2(part.numpy()) for part in parts]
    cross = np.mean(spectra[0] * np.conj(spectra[1]), axis=0) / np.prod(size)
    assert np.abs(cross.real).max() < 0.03


@pytest.mark.parametrize("size", [(64, 64), (96, 41)])
def test_pixels_are_normally_distributed(size):
    noise = noise_of(*size, 60, 1.0, 1.0).numpy()
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert abs(kurtosis(noise, axis=None)) < 0.03  # of uniform numbers -1.2
    assert np.mean(np.abs(noise) > 3) == pytest.approx(0.0027, rel=0.15)


@pytest.mark.parametrize("shape", [(2, 1, 7, 33, 46), (1, 2, 5, 41, 27), (1, 1, 1, 3, 2), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_compiled_and_torch_agree(shape, last):
    """With slices first or last in memory, on levels that change along all axes, at values about the floor."""
    members, channels, slices, rows, columns = shape
    generator = torch.Generator().manual_seed(0)
    volumes = torch.randn(shape, generator=generator) * 60 - 1000
    if last:
        volumes = volumes.movedim(2, 4).contiguous().movedim(4, 2)
    taps = (0.8, 0.6)
    bits = uniform_integers((channels, *bits_shape(slices + 1, rows, columns)), list(range(members)), CPU)
    coarse = torch.rand(2, members, channels, 3, min(5, rows), min(6, columns), generator=generator) + 0.5
    levels = NoiseLevels(coarse, 1, 2, (rows, columns))
    fixed = (bits, taps, directional_amplitudes(rows, columns, (0.8, 0.5), KERNEL), levels, torch.tensor([9.0, 30.0]))
    fixed = (*fixed[:4], fixed[4][:members], -1024.0)
    before = volumes.clone()
    compiled = add_quantum_noise(volumes, *fixed)
    with torch_only():
        torch.testing.assert_close(compiled, add_quantum_noise(volumes, *fixed), rtol=0, atol=2e-3)
        double = add_quantum_noise(volumes.double(), *fixed)
    torch.testing.assert_close(compiled.double(), double, rtol=0, atol=2e-3)
    assert torch.equal(volumes, before)
    assert bool((compiled >= torch.minimum(volumes, torch.tensor(-1024.0))).all())


@pytest.mark.parametrize("kernel", [KERNEL, NoiseKernel(0.9)])
def test_compiled_amplitudes_are_those_of_the_formula(kernel):
    for rows, columns in SIZES:
        found = directional_amplitudes(rows, columns, (0.8, 1.1), kernel)
        directional_amplitudes.cache_clear()
        with torch_only():
            expected = directional_amplitudes(rows, columns, (0.8, 1.1), kernel)
        directional_amplitudes.cache_clear()
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9)
