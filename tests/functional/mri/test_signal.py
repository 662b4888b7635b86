"""The zero point against outliers, and masked backgrounds against those that hold noise."""

import numpy as np
import pytest
import torch

from monai_medaug.functional.mri.signal import (
    exact_background,
    least_values,
    magnitude_and_rest,
    masked_background,
    zero_point,
)

RANDOM = np.random.default_rng(0)


def _masked_background(image: torch.Tensor):
    return masked_background(image, least_values(image))


def _exact_background(image: torch.Tensor):
    return exact_background(image, least_values(image))


def _magnitude_and_rest(image: torch.Tensor):
    return magnitude_and_rest(image, least_values(image))


def brain(*shape: int) -> torch.Tensor:
    """An ellipsoid of signal in exact zeros, (1, 1, *shape)."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = sum(a**2 for a in axes) < 0.7
    return torch.from_numpy(np.where(inside, RANDOM.uniform(50, 150, shape), 0).astype(np.float32))[None, None]


@pytest.mark.parametrize("shape", [(60, 70), (30, 40, 20)])
def test_one_cold_voxel_does_not_move_the_zero_point(shape):
    image = torch.from_numpy(RANDOM.normal(size=(1, 1, *shape)).astype(np.float32))
    before = zero_point(image)
    image[(0, 0, *[n // 2 for n in shape])] = -15
    assert float((zero_point(image) - before).abs()) < 0.3


def test_without_negative_values_the_zero_point_is_0():
    assert float(zero_point(brain(30, 30)).max()) == 0
    image = brain(50, 50)
    image[0, 0, 3, 3] = -40  # one voxel in 2500 is less than the 0.1th percentile
    assert float(zero_point(image)) == 0


def test_magnitude_and_rest_make_the_image():
    image = torch.from_numpy(RANDOM.normal(size=(2, 3, 30, 40)))
    magnitude, rest = _magnitude_and_rest(image)
    assert float(magnitude.min()) == 0
    torch.testing.assert_close(magnitude + rest, image)
    assert _magnitude_and_rest(image.abs())[1] is None


@pytest.mark.parametrize("shape", [(60, 70), (30, 40, 20), (40, 30, 1)])
def test_a_skull_stripped_brain_has_a_masked_background(shape):
    image = brain(*shape)
    assert torch.equal(_masked_background(image), image == 0)
    normalised = torch.where(image == 0, image, (image - 100) / 30)
    assert torch.equal(_masked_background(normalised), image == 0)
    scaled = image / 75 - 1  # to [-1, 1]: the background is the minimum
    assert torch.equal(_masked_background(scaled), image == 0)


def test_each_channel_is_judged():
    image = torch.cat([brain(60, 70), 1 + brain(60, 70)], dim=1)
    assert torch.equal(_masked_background(image), image == 0)


@pytest.mark.parametrize("sigma", [0.7, 1.0, 3.0])
def test_rounded_noise_is_no_mask(sigma):
    """Whole numbers of a Rayleigh distribution: up to a fifth of the background is 0, but scattered."""
    noise = np.hypot(*RANDOM.normal(scale=sigma, size=(2, 60, 70)))
    image = brain(60, 70)
    image = torch.where(image == 0, torch.from_numpy(np.round(noise).astype(np.float32)), image)
    assert float((image == 0).float().mean()) > 0.003
    assert _masked_background(image) is None


def test_few_zeros_and_thin_padding():
    image = torch.full((1, 1, 40, 40), 5.0)
    image[0, 0, :3, :5] = 0  # 0.9 %
    assert _masked_background(image) is None
    image = torch.full((1, 1, 40, 40), 5.0)
    image[0, 0, 0] = 0
    assert torch.equal(_masked_background(image), image == 0)


def test_the_exact_background_counts_every_zero():
    image = torch.tensor([[[[0.0, -2.0, 3.0, 0.0], [1.0, -2.0, -1.0, 5.0]]]])
    assert _exact_background(image)[0, 0].tolist() == [[True, True, False, True], [False, True, False, False]]
    assert _exact_background(image.abs()).sum() == 2


def test_a_sample_above_zero_has_no_masked_background_beside_one_below():
    above = torch.full((1, 1, 32, 32), 5.0)
    above[..., 8:24, 8:24] = 90.0
    both = torch.cat([above, above - 50])
    expected = torch.cat([torch.zeros_like(above, dtype=torch.bool), above == 5])
    assert torch.equal(_masked_background(both), expected)
