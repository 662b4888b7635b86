"""Where the power of a scan ends, against scans that were cut or filtered there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.mri.support import line_supports


def scan(lines: int, acquired: float, noise: float, filtered: bool = False) -> torch.Tensor:
    """Magnitude of a head in complex noise whose k-space along axis 1 was filled with zeros, or filtered by a Hann."""
    random = np.random.default_rng(0)
    y, x = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, lines), indexing="ij")
    texture = 100 + 40 * (np.sin(23 * x * y + 9 * x) > 0) + 30 * (x**2 + y**2 < 0.1)
    image = texture * (x**2 + y**2 < 0.8) + noise * (random.normal(size=x.shape) + 1j * random.normal(size=x.shape))
    k = np.abs(np.fft.fftfreq(lines)) * 2
    weight = np.where(k < acquired, np.cos(np.pi / 2 * k / acquired) ** 2, 0) if filtered else (k < acquired)
    return torch.from_numpy(np.abs(np.fft.ifft(np.fft.fft(image, axis=1) * weight, axis=1)))[None]


@pytest.mark.parametrize("lines", [96, 200, 255])
@pytest.mark.parametrize("acquired", [0.4, 0.5, 0.65, 0.8])
@pytest.mark.parametrize("noise", [1, 5])
def test_the_end_of_a_zero_filled_scan(lines, acquired, noise):
    image = scan(lines, acquired, noise)
    assert line_supports(image[None], 1)[0] == pytest.approx(acquired, abs=0.06)
    assert line_supports((image * 1e-3 + 0.001 * torch.rand(image.shape))[None], 0)[0] == 1


@pytest.mark.parametrize("noise", [0.0, 1, 5, 20])
def test_a_full_scan_reaches_to_the_end(noise):
    assert line_supports(scan(200, 2, noise)[None], 1)[0] == 1
    assert line_supports(scan(200, 2, noise).round()[None], 1)[0] == 1


def test_a_filter_ends_before_its_zero():
    assert 0.5 < line_supports(scan(200, 1, 3, filtered=True)[None], 1)[0] < 0.9


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_nothing_to_measure(value):
    assert line_supports(torch.full((1, 64, 64), value)[None], 0)[0] == 1
    assert line_supports(torch.rand(2, 9, 64)[None], 0)[0] == 1
