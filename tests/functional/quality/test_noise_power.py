"""The noise power spectrum: flat for white noise, the filter's square for filtered noise, the variance as integral."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.quality.noise_power import noise_power_spectrum, uniform_patches


@pytest.mark.parametrize(
    ("shape", "spacing"), [((48, 48), (0.5, 0.5)), ((32, 40), (0.4, 0.8)), ((12, 12, 12), (1, 1, 2))]
)
def test_white_noise_is_flat_and_its_integral_the_variance(shape, spacing):
    noise = 7 * torch.randn(300, *shape, generator=torch.Generator().manual_seed(0))
    found = noise_power_spectrum(noise, spacing)
    assert found.sigma == pytest.approx(7, rel=0.01)
    outer = found.radial[found.frequency > 4 / max(n * s for n, s in zip(shape, spacing, strict=True))]
    assert float((outer / (49 * math.prod(spacing)) - 1).abs().max()) < 0.08


def test_smoothed_noise_has_the_transform_of_its_correlation():
    """A patch of n pixels sees the correlation at distance k times 1 - k / n."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((150, 96, 96)), (0, 1.0, 1.0), mode="wrap")
    found = noise_power_spectrum(torch.from_numpy(noise[:, 16:80, 16:80]), 0.8)
    distance, frequency = torch.arange(-12, 13.0), torch.fft.fftfreq(64)
    correlation = torch.exp(-distance.square() / 4) / math.sqrt(4 * math.pi) * (1 - distance.abs() / 64)
    along = (correlation * torch.cos(2 * math.pi * frequency[:, None] * distance)).sum(1)
    ratio = found.power / (0.64 * along[:, None] * along)
    size = (frequency[:, None].square() + frequency.square()).sqrt()
    for low, high in ((0.03, 0.1), (0.1, 0.2), (0.2, 0.3)):
        assert float(ratio[(size > low) & (size < high)].mean()) == pytest.approx(1, abs=0.03)
    white = noise_power_spectrum(torch.randn(100, 64, 64, generator=torch.Generator().manual_seed(1)), 0.8)
    assert found.mean_frequency < 0.5 * white.mean_frequency
    assert found.peak_frequency < 0.1


def test_shading_is_no_noise():
    place = torch.linspace(-1, 1, 32)
    shading = 100 * place[:, None].square() + 50 * place - 30 * place[:, None] * place + 40
    noise = torch.randn(100, 32, 32, generator=torch.Generator().manual_seed(0))
    power = [noise_power_spectrum(x).power for x in (noise, noise + shading)]
    assert torch.allclose(*power, rtol=1e-3, atol=1e-6)


def test_patches_lie_within_the_mask():
    image, mask = torch.zeros(3, 40, 40), torch.zeros(3, 40, 40)
    image[1, 4:24, 6:26] = mask[1, 4:24, 6:26] = 1
    found = uniform_patches(image, mask, 8)
    assert len(found) > 4
    assert bool((found == 1).all())
    with pytest.raises(ValueError, match="mask must hold a square of 32 pixels"):
        uniform_patches(image, mask)
    with pytest.raises(ValueError, match="mask must have the image's shape"):
        uniform_patches(image, mask[0])


@pytest.mark.parametrize(
    ("patches", "spacing", "said"),
    [
        (torch.zeros(3, 7, 9), 1.0, "patches must have the shape"),
        (torch.zeros(9, 9), 1.0, "patches must have the shape"),
        (torch.full((2, 9, 9), math.nan), 1.0, "patches must be finite"),
        (torch.zeros(2, 9, 9), (1.0, 0.0), "spacing_mm must be 2 numbers above 0"),
    ],
)
def test_what_is_no_patch_is_refused(patches, spacing, said):
    with pytest.raises(ValueError, match=said):
        noise_power_spectrum(patches, spacing)


def test_constant_patches_have_no_power():
    found = noise_power_spectrum(torch.full((2, 16, 16), 40.0))
    assert found.sigma < 1e-6
    assert found.mean_frequency == 0 or found.radial.max() < 1e-9
