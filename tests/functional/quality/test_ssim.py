"""SSIM against scikit-image, which filters each moment on its own."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from monai_medaug.functional.quality.ssim import ssim_map
from tests.images import smooth_noise


def by_skimage(x, y, data_range):
    return structural_similarity(
        x, y, data_range=data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


@pytest.mark.parametrize("shape", [(64, 51), (32, 24, 28)])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (400.0, -1000.0)])
def test_the_mean_is_that_of_scikit_image(shape, scale, offset):
    reference = smooth_noise(shape, 0)
    noisy = reference + 0.1 * np.random.default_rng(1).standard_normal(shape)
    x, y = (offset + scale * v for v in (noisy, reference))
    for kind in (np.float32, np.float64):
        found = ssim_map(*(torch.from_numpy(v.astype(kind))[None, None] for v in (x, y)), scale).mean()
        assert abs(float(found) - by_skimage(x, y, scale)) < 1e-5


def test_a_thin_stack_is_compared_slice_by_slice():
    x, y = (torch.rand(2, 1, 20, 24, 3, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    whole = ssim_map(x, y, 1.0)
    for k in range(3):
        assert torch.allclose(whole[..., k], ssim_map(x[..., k], y[..., k], 1.0), atol=1e-5)


def test_equal_images_give_exactly_one_however_large_their_values():
    x = 32768 + torch.randn(1, 2, 30, 30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ssim_map(x, x, 1.0), torch.ones(1, 2, 20, 20))
