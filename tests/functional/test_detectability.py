"""Detectability against closed forms: white noise, coloured noise of a known covariance, and finite samples."""

import math

import pytest
import torch

from monai_medaug.functional.detectability import (
    hotelling_detectability,
    laguerre_gauss_channels,
    npw_detectability,
    stationary_detectability,
)

SIDE = 24


def disc(radius: float = 4.0, height: float = 1.0) -> torch.Tensor:
    place = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2
    return height * (place[:, None] ** 2 + place**2 <= radius**2).double()


def coloured(count: int, gain: torch.Tensor, seed: int) -> torch.Tensor:
    """Periodic noise whose transform is that of white noise times a gain."""
    white = torch.randn(count, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.fft.ifft2(torch.fft.fft2(white) * gain).real


def ramp() -> torch.Tensor:
    f = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    return 0.1 + torch.hypot(f[:, None], f)


def covariance(gain: torch.Tensor) -> torch.Tensor:
    """Of the pixels, by transforming each unit vector."""
    eye = torch.eye(SIDE * SIDE, dtype=torch.float64).reshape(-1, SIDE, SIDE)
    return torch.fft.ifft2(torch.fft.fft2(eye) * gain.square()).real.flatten(1)


@pytest.mark.parametrize("spacing", [1.0, (0.5, 0.7)])
def test_in_white_noise_every_observer_reaches_the_energy(spacing):
    signal, sigma = disc(height=3), 7.0
    voxel = spacing**2 if isinstance(spacing, float) else math.prod(spacing)
    expected = float(signal.square().sum().sqrt()) / sigma
    for prewhitening in (False, True):
        d = stationary_detectability(signal, torch.full_like(signal, sigma**2 * voxel), spacing, prewhitening)
        assert float(d) == pytest.approx(expected, rel=1e-12)


def test_in_coloured_noise_they_are_what_the_covariance_says():
    """NPW: sᵀs / sqrt(sᵀ K s). Hotelling: sqrt(sᵀ K⁻¹ s)."""
    signal, gain = disc(), ramp()
    k, s = covariance(gain), signal.flatten()
    npw = float(stationary_detectability(signal, gain.square()))
    ideal = float(stationary_detectability(signal, gain.square(), prewhitening=True))
    assert npw == pytest.approx(float(s @ s / (s @ k @ s).sqrt()), rel=1e-9)
    assert ideal == pytest.approx(float((s @ torch.linalg.solve(k, s)).sqrt()), rel=1e-9)
    assert ideal > 1.2 * npw


def test_samples_of_coloured_noise_tend_to_the_closed_form():
    signal, gain = disc(height=0.3), ramp()
    present, absent = coloured(8000, gain, 0) + signal, coloured(8000, gain, 1)
    expected = float(stationary_detectability(signal, gain.square()))
    assert float(npw_detectability(present, absent, signal)) == pytest.approx(expected, rel=0.03)
    assert float(npw_detectability(present, absent, -5 * signal)) == pytest.approx(-expected, rel=0.03)
    channels = laguerre_gauss_channels((SIDE, SIDE), 10.0, 6)
    u, k = channels.flatten(1), covariance(gain)
    seen = u @ signal.flatten()
    through = float((seen @ torch.linalg.solve(u @ k @ u.T, seen)).sqrt())
    assert float(hotelling_detectability(present, absent, channels)) == pytest.approx(through, rel=0.03)
    assert expected < through < float(stationary_detectability(signal, gain.square(), prewhitening=True))


def test_few_images_dont_make_the_hotelling_observer_better():
    """The mean of d'² over 300 draws of 2 × 20 images through 6 channels; without the correction it is 1.6 times."""
    channels = laguerre_gauss_channels((SIDE, SIDE), 10.0, 6)
    signal = 2.5 * channels[1] + channels[3]
    noise = torch.randn(300, 2, 20, SIDE, SIDE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    squares = [float(hotelling_detectability(a + signal, b, channels)) ** 2 for a, b in noise]
    assert sum(squares) / len(squares) == pytest.approx(7.25, rel=0.06)


def test_where_there_is_no_signal_nothing_is_detected():
    noise = torch.randn(2, 3000, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert abs(float(npw_detectability(noise[0], noise[1], disc()))) < 0.1
    assert float(hotelling_detectability(noise[0], noise[1], laguerre_gauss_channels((SIDE, SIDE), 8.0, 4))) < 0.1


def test_answers_can_be_learnt_from():
    present, absent = torch.randn(2, 8, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    present = (present + disc()).requires_grad_()
    channels = laguerre_gauss_channels((SIDE, SIDE), 8.0, 3)
    for d in (npw_detectability(present, absent, disc()), hotelling_detectability(present, absent, channels)):
        (gradient,) = torch.autograd.grad(d, present)
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_channels_are_orthonormal_on_any_grid():
    for spacing in ((1.0, 1.0), (0.6, 0.9)):
        u = laguerre_gauss_channels((121, 120), 14.0, 6, spacing).flatten(1)
        torch.testing.assert_close(u @ u.T, torch.eye(6, dtype=torch.float64), atol=1e-3, rtol=0)
    assert laguerre_gauss_channels((9, 9), 4.0, 1).shape == (1, 9, 9)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda x: npw_detectability(x, x[:, 1:], x[0]), "absent"),
        (lambda x: npw_detectability(x, x[:1], x[0]), "at least 2"),
        (lambda x: npw_detectability(x, x, x[0, 1:]), "template"),
        (lambda x: hotelling_detectability(x, x, x[:2, 1:]), "channels"),
        (lambda x: hotelling_detectability(x, x), "too few for 576 channels"),
        (lambda x: stationary_detectability(x[0], x[0, 1:]), "noise_power"),
        (lambda x: stationary_detectability(x[0], x[0] - 1), "noise_power"),
        (lambda x: stationary_detectability(x[0], x[0], (1.0,)), "spacing_mm"),
        (lambda x: laguerre_gauss_channels((8, 8), 0.0), "width_mm"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call(torch.zeros(4, SIDE, SIDE))
