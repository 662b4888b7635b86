from __future__ import annotations

import pytest
import torch

from monai_medaug.functional.xray.detector import detector_blur, detector_noise

FINER = 8


def simulated(spacing: tuple[float, float], mtf50: float) -> torch.Tensor:
    """Quanta on a grid 8 times as fine, spread by the MTF, averaged over pixels; of unit variance without MTF."""
    fine = FINER * torch.randn(2048, 2048, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, x = (torch.fft.fftfreq(2048, d=s / FINER, dtype=torch.float64) for s in spacing)
    mtf = 1 / (1 + (y[:, None] ** 2 + x[None] ** 2) / mtf50**2)
    spread = torch.fft.ifft2(torch.fft.fft2(fine) * mtf).real
    return spread.unflatten(0, (-1, FINER)).unflatten(2, (-1, FINER)).mean((1, 3))


def neighbours(noise: torch.Tensor) -> list[float]:
    noise = noise / noise.std()
    return [float((noise * noise.roll(1, a)).mean()) for a in (0, 1)]


@pytest.mark.parametrize("spacing", [(0.14, 0.14), (0.35, 0.7), (0.7, 0.7), (2.0, 2.0)])
def test_noise_of_a_detector_against_a_finer_simulation(spacing):
    expected = simulated(spacing, 1.3)
    white = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise = detector_noise(white, [spacing], 1.3)[0, 0]
    assert detector_blur(spacing, 1.3)[2] == pytest.approx(float(expected.var()), rel=0.04)
    assert float(noise.var()) == pytest.approx(1, rel=0.03)
    assert neighbours(noise) == pytest.approx(neighbours(expected), abs=0.02)


def test_a_sharp_detector_and_large_pixels_leave_it_white():
    white = torch.randn(2, 3, 20, 22, 4)
    out = detector_noise(white, [(0.5, 0.5), (1.0, 1.0)], 1000.0)
    torch.testing.assert_close(out, white, atol=0.01, rtol=0)
    assert detector_blur((10.0, 10.0), 1.3)[2] == pytest.approx(1, abs=0.05)


def test_stacks_and_samples_are_filtered_alone():
    white = torch.randn(2, 3, 20, 22, 4)
    spacings = [(0.14, 0.2), (0.7, 0.7)]
    out = detector_noise(white, spacings, 1.3)
    for i, spacing in enumerate(spacings):
        alone = detector_noise(white[i : i + 1, 1:2, ..., 2], [spacing], 1.3)
        torch.testing.assert_close(out[i, 1, ..., 2], alone[0, 0])
