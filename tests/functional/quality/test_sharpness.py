"""The noise-compensated variance of the Laplacian: scipy's without noise, and unmoved by noise."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, laplace
from skimage.data import camera

from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.functional.quality.sharpness import laplacian, noise_gain, structure_sharpness
from tests.images import smooth_noise


def batch(image):
    return torch.from_numpy(np.asarray(image, dtype=np.float64))[None, None]


@pytest.mark.parametrize("shape", [(40, 31), (20, 24, 18)])
def test_the_laplacian_is_scipys(shape):
    image = smooth_noise(shape, 0)
    even = (1.0,) * len(shape)
    assert np.allclose(laplacian(batch(image), even)[0, 0].numpy(), laplace(image, mode="nearest"))
    smooth = laplace(gaussian_filter(image, 1.0, mode="nearest"), mode="nearest")
    assert np.allclose(laplacian(batch(image), even, 1.0)[0, 0].numpy(), smooth, atol=1e-12)
    expected = smooth.var() - noise_gain(even, 1.0) * float(mad_sigma(batch(image))) ** 2
    assert float(structure_sharpness(batch(image), even)) == pytest.approx(expected)


def test_distant_slices_weigh_little():
    image = batch(smooth_noise((16, 16, 16), 0, 1.0))
    along = [laplacian(image, spacing)[0, 0] for spacing in ((1.0, 1.0, 1e6), (1.0, 1.0, 1.0))]
    flat = torch.stack([laplacian(image[..., k], (1.0, 1.0))[0, 0] for k in range(16)], -1)
    assert torch.allclose(along[0], flat)
    assert not torch.allclose(along[1], flat)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 2.0), (1.0, 1.0, 3.0)])
@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_the_gain_is_what_white_noise_shows(spacing, smoothing):
    noise = torch.randn(1, 1, *(512, 512) if len(spacing) == 2 else (64, 64, 64))
    seen = laplacian(noise.double(), spacing, smoothing).var()
    assert float(seen) == pytest.approx(noise_gain(spacing, smoothing), rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_noise_of_a_twentieth_of_the_range_moves_it_by_less_than_a_tenth(seed):
    clean = camera()[::2, ::2] / 255.0
    clean = gaussian_filter(clean, 0.7)
    noisy = clean + 0.05 * np.random.default_rng(seed).standard_normal(clean.shape)
    even = (1.0, 1.0)
    ratio = structure_sharpness(batch(noisy), even) / structure_sharpness(batch(clean), even)
    assert abs(float(ratio) - 1) < 0.1
    assert laplacian(batch(noisy), even).var() > 3 * laplacian(batch(clean), even).var()
    blurred = structure_sharpness(batch(gaussian_filter(clean, 1.0)), even)
    assert blurred < 0.7 * structure_sharpness(batch(clean), even)


def test_a_mask_holds_the_variance_and_the_noise_stays_that_of_the_image():
    image = batch(smooth_noise((64, 64), 0))
    image[..., 32:] += batch((np.arange(64) % 8 > 3) * np.ones((64, 1)))[..., 32:]
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[..., 36:] = True
    left, right = (float(structure_sharpness(image, (1.0, 1.0), mask=m)) for m in (~mask, mask))
    assert right > 4 * left
    everything = torch.ones_like(mask)
    assert float(structure_sharpness(image, (1.0, 1.0), mask=everything)) == pytest.approx(
        float(structure_sharpness(image, (1.0, 1.0)))
    )


def test_a_constant_image_and_one_voxel_have_none():
    for shape in ((1, 1, 9, 9), (1, 1, 1, 1), (1, 2, 1, 1, 1)):
        assert float(structure_sharpness(torch.full(shape, 7.0), (1.0,) * (len(shape) - 2)).sum()) == 0
