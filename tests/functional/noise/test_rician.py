"""The Rician transforms against samples of the Rice distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.noise.rician import rician_bias_removed, rician_stabilised, rician_unstabilised

SIGMA = torch.tensor([2.5])
SAMPLES = 1_000_000


def magnitudes(signal: float, count: int = SAMPLES) -> torch.Tensor:
    """(1, 1, count) magnitudes of a signal given in sigma, noise of 2.5."""
    noise = np.random.default_rng(round(signal * 1000)).normal(size=(2, count))
    return torch.from_numpy(2.5 * np.hypot(noise[0] + signal, noise[1]))[None, None]


@pytest.mark.parametrize("signal", [0, 0.2, 0.5, 1, 1.5, 2, 2.5, 3, 4, 6, 8, 10])
def test_the_stabilised_deviation_is_one_and_the_inverse_of_the_mean_is_the_signal(signal):
    stabilised = rician_stabilised(magnitudes(signal), SIGMA)
    assert float(stabilised.std()) == pytest.approx(1, abs=0.03)
    if signal >= 0.5:  # the mean's own error, 0.001, is a quarter of a sigma² at 0.03 sigma: the inverse is flat there
        back = rician_unstabilised(stabilised.mean().reshape(1, 1, 1), SIGMA)
        assert float(back) / 2.5 == pytest.approx(signal, abs=0.005)


@pytest.mark.parametrize("signal", [12, 15, 17.95, 18.05, 20, 40, 1000])
def test_the_asymptotes_join_the_tables(signal):
    stabilised = rician_stabilised(magnitudes(signal), SIGMA)
    back = rician_unstabilised(stabilised.mean().reshape(1, 1, 1), SIGMA)
    assert float(back) / 2.5 == pytest.approx(signal, abs=0.005)
    assert float(stabilised.std()) == pytest.approx(1, abs=0.01)


def test_the_transform_rises_everywhere_and_is_continuous():
    z = torch.linspace(0, 30, 30001, dtype=torch.float64)
    slope = rician_stabilised(z[None, None], torch.ones(1))[0, 0].diff() / z.diff()
    assert slope.min() > 0.5
    assert slope.max() < 5
    value = torch.linspace(-3, 30, 30001, dtype=torch.float64)
    back = rician_unstabilised(value[None, None], torch.ones(1))[0, 0]
    assert back.diff().min() >= 0
    assert back.diff().max() < 0.1


def test_the_background_comes_back_as_nothing():
    background = magnitudes(0)
    mean = rician_stabilised(background, SIGMA).mean().reshape(1, 1, 1)
    assert float(rician_unstabilised(mean, SIGMA)) < 0.1 * 2.5
    assert float(rician_bias_removed(background.mean().reshape(1, 1, 1), SIGMA)) == 0


@pytest.mark.parametrize("signal", [0.5, 1, 3, 10])
def test_the_second_moment_gives_the_signal(signal):
    square = magnitudes(signal).square().mean().reshape(1, 1, 1)
    assert float(rician_bias_removed(square.sqrt(), SIGMA)) / 2.5 == pytest.approx(signal, abs=0.005)


def test_samples_have_their_own_sigma_and_dtypes_are_kept_to_at_least_float32():
    image = torch.rand(2, 2, 5, 6) * 20
    sigma = torch.tensor([0.5, 3.0])
    for function in (rician_stabilised, rician_unstabilised, rician_bias_removed):
        both = function(image, sigma)
        for i in range(2):
            assert torch.equal(both[i], function(image[i : i + 1], sigma[i : i + 1])[0])
        assert function(image.half(), sigma).dtype == torch.float32
        assert function(image.double(), sigma).dtype == torch.float64
        torch.testing.assert_close(function(image.double(), sigma).float(), both, rtol=1e-4, atol=1e-3)
