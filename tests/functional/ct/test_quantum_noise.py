"""The noise spectrum of CT against formulas written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.quantum_noise import (
    HALF_PER_MM,
    NoiseKernel,
    add_hu_noise,
    coloured_slices,
    ct_noise_power,
    half_spectrum_shape,
)

WHITE = NoiseKernel(np.inf)
SIZES = [(12, 14), (12, 15), (13, 14), (11, 13)]


def whole_plane(rows: int, columns: int, spacing: tuple[float, float], kernel: NoiseKernel, folds: int) -> np.ndarray:
    """|f| W(f)² on the whole plane of fft2 with its aliases, mean 1."""
    if np.isinf(kernel.end):
        power = np.ones((rows, columns))
        power[0, 0] = 0
        return power / power.mean()
    fy, fx = np.fft.fftfreq(rows, spacing[0]), np.fft.fftfreq(columns, spacing[1])
    power = np.zeros((rows, columns))
    for i in range(-folds, folds + 1):
        for j in range(-folds, folds + 1):
            f = np.hypot(fy[:, None] + i / spacing[0], fx[None] + j / spacing[1])
            window = (
                np.exp(-np.log(2) * (f / kernel.half) ** 1.5)
                if kernel.half
                else np.cos(np.pi * f / kernel.end / 2) ** 2
            )
            power += f * np.where(f < kernel.end, window**2, 0.0)
    return power / power.mean()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8), (3.0, 3.5)])
@pytest.mark.parametrize("kernel", [*map(NoiseKernel.of_half, HALF_PER_MM.values()), NoiseKernel(0.9), WHITE])
@pytest.mark.parametrize("aliased", [True, False])
def test_power_is_the_formula(size, spacing, kernel, aliased):
    expected = whole_plane(*size, spacing, kernel, 8 if aliased else 0)[:, : size[1] // 2 + 1]
    np.testing.assert_allclose(ct_noise_power(*size, spacing, kernel, aliased).numpy(), expected, rtol=1e-9, atol=1e-9)


def test_kernels_pass_what_they_state():
    for name, half, tenth in (("soft", 0.275, 0.61), ("standard", 0.336, 0.75), ("sharp", 0.57, 1.27)):
        passed = NoiseKernel.of_half(HALF_PER_MM[name])(torch.tensor([0.0, half, tenth, 1.6 * tenth]))
        np.testing.assert_allclose(passed, [1, 0.5, 0.1, 0], atol=0.003)


@pytest.mark.parametrize(
    ("spacing", "frequency", "neighbours"),
    [
        (0.795, 0.345, 0.355),
        (0.78, 0.373, 0.31),
        (0.488, 0.401, 0.625),
        (3.0, 0.11, 0.0),
        (0.43, 0.45, None),
        (0.78, 0.4, None),
    ],
)
def test_mean_frequency_and_neighbours_as_measured_on_real_slices(spacing, frequency, neighbours):
    """Of a liver, a chest, a head, bodies of 3 mm and CatSim: within 10 % and 0.1 (mean of the two axes)."""
    white = torch.randn(40, *half_spectrum_shape(128, 128), generator=torch.Generator().manual_seed(0))
    power = ct_noise_power(128, 128, (spacing, spacing), NoiseKernel.of_half(HALF_PER_MM["standard"]))
    noise = coloured_slices(white, power, 128).double().numpy()
    measured = np.mean(np.abs(np.fft.fft2(noise)) ** 2, axis=0)
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128, spacing)] * 2))
    disc = f < 0.5 / spacing
    assert (f * measured)[disc].sum() / measured[disc].sum() == pytest.approx(frequency, rel=0.1)
    lags = [np.mean(noise * np.roll(noise, 1, axis)) / noise.var() for axis in (1, 2)]
    assert neighbours is None or np.mean(lags) == pytest.approx(neighbours, abs=0.1)


@pytest.mark.parametrize("size", SIZES)
def test_coloured_slices_have_that_power_in_every_bin(size):
    """40000 slices: a bin's estimate has a standard error of 0.5 to 0.7 %, the columns 0 and Nyquist included."""
    rows, columns = size
    white = torch.randn(40000, *half_spectrum_shape(*size), generator=torch.Generator().manual_seed(0))
    noise = coloured_slices(white, ct_noise_power(rows, columns, (1.0, 0.7), NoiseKernel(1.5)), columns)
    assert noise.shape == (40000, rows, columns)
    measured = np.mean(np.abs(np.fft.fft2(noise.numpy())) ** 2, axis=0) / (rows * columns)
    expected = whole_plane(rows, columns, (1.0, 0.7), NoiseKernel(1.5), 3)
    np.testing.assert_allclose(measured, expected, rtol=0.04, atol=1e-6)
    assert noise.var().item() == pytest.approx(1, rel=0.005)


def test_noise_leaves_padding():
    image = torch.tensor([[-3024.0, -2048.0, -1400.0, -1399.0, -1000.0, -600.0, 0.0, 100.0]])
    noisy = add_hu_noise(image, torch.ones_like(image), torch.tensor(3.0))
    np.testing.assert_allclose(noisy[0], [-3024, -2048, -1400, -1396, -997, -597, 3, 103])
