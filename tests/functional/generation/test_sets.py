"""Distances of sets of images by their spectra: against plain sums, and what they see."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.generation.sets import radial_spectrum, spectrum_distance


def fields(count: int, seed: int, size: tuple[int, int] = (24, 24), width: float = 1.5) -> torch.Tensor:
    noise = np.random.default_rng(seed).standard_normal((count, 1, *size))
    return torch.from_numpy(gaussian_filter(noise, (0, 0, width, width), mode="wrap")).float()


@pytest.mark.parametrize("size", [(12, 12), (10, 15)])
def test_a_spectrum_is_the_mean_power_of_each_ring(size):
    """Against a discrete Fourier sum, frequency after frequency."""
    images = fields(2, 0, size, 1)
    height, width = size
    window = np.outer(np.hanning(height), np.hanning(width))
    y, x = np.mgrid[:height, :width]
    rings = [[] for _ in range(min(size) // 2)]
    for image in images[:, 0].double().numpy():
        seen = (image - image.mean()) / image.std(ddof=1) * window
        for v in range(height):
            for u in range(width):
                down, right = (min(v, height - v) / height, min(u, width - u) / width)
                ring = round(min(size) * np.hypot(down, right))
                if 1 <= ring <= len(rings):
                    wave = np.exp(-2j * np.pi * (v * y / height + u * x / width))
                    rings[ring - 1].append(abs((seen * wave).sum()) ** 2)
    wanted = 10 * np.log10([np.mean(ring) for ring in rings])
    np.testing.assert_allclose(radial_spectrum(images), wanted, atol=1e-5)


def test_noise_blur_and_a_mesh_lie_far_and_gain_does_not():
    real, others = fields(200, 1), fields(200, 2)
    floor = spectrum_distance(others, real)
    assert floor < 0.5
    mesh = 0.05 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(12, 12)
    noise = 0.05 * torch.randn(others.shape, generator=torch.Generator().manual_seed(0))
    for made in (others + noise, others + mesh, fields(200, 2, width=2.2)):
        assert spectrum_distance(made, real) > 3 * floor
    assert spectrum_distance(5 * others + 100, real) == pytest.approx(floor, abs=1e-3)
