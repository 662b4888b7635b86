"""The task transfer function of Gaussian edges, and d' of discs, against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.quality.noise_power import noise_power_spectrum
from monai_medaug.functional.quality.task_transfer import (
    detectability,
    disc_distance,
    task_transfer_function,
)


def white(sigma, pixel, seed=0):
    noise = sigma * torch.randn(300, 64, 64, generator=torch.Generator().manual_seed(seed))
    return noise_power_spectrum(noise, pixel)


@pytest.mark.parametrize("sigma", [0.6, 1.2])
def test_a_gaussian_edge_has_a_gaussian_transfer(sigma):
    distance = disc_distance((128, 128), (63.3, 64.2), 15.0, 0.5)
    image = 80 - 120 * torch.special.ndtr(distance / sigma)
    found = task_transfer_function(image, distance, 0.5)
    expected = torch.exp(-2 * (math.pi * sigma * found.frequency).square())
    assert float((found.transfer - expected).abs()[expected > 0.05].max()) < 0.02
    assert found.contrast == pytest.approx(-120, rel=1e-3)
    assert found.frequency_at(0.1) == pytest.approx(math.sqrt(math.log(10) / 2) / (math.pi * sigma), rel=0.02)


def test_a_disc_centred_on_a_pixel_leaves_bins_to_interpolate():
    distance = disc_distance((128, 128), (64, 64), 6.0, 0.25)
    found = task_transfer_function(torch.special.ndtr(-distance / 0.35), distance, 0.25, 3.5)
    assert found.frequency_at(0.5) == pytest.approx(math.sqrt(math.log(2) / 2) / (math.pi * 0.35), rel=0.02)


def test_noise_leaves_it_when_slices_are_averaged():
    distance = disc_distance((96, 96), (47.6, 48.1), 24.0)
    edge = 100 * torch.special.ndtr(-distance / 1.5)
    noisy = edge + 10 * torch.randn(30, 96, 96, generator=torch.Generator().manual_seed(0))
    a, b = (task_transfer_function(x, distance).frequency_at(0.5) for x in (edge, noisy))
    assert b == pytest.approx(a, rel=0.05)


def test_a_straight_edge_works_too():
    rows, columns = torch.meshgrid(*[torch.arange(80.0)] * 2, indexing="ij")
    distance = (columns - 40.2) * math.cos(0.1) + (rows - 40) * math.sin(0.1)
    found = task_transfer_function(torch.special.ndtr(distance / 1.3), distance, 1.0, 12.0)
    assert found.frequency_at(0.5) == pytest.approx(math.sqrt(math.log(2) / 2) / (math.pi * 1.3), rel=0.02)


def test_detectability_of_a_disc_in_white_noise():
    for diameter, contrast in ((5.0, 8.0), (12.0, 2.0)):
        d = detectability(white(10.0, 0.5), None, diameter, contrast)
        expected = contrast * math.sqrt(math.pi * diameter**2 / 4) / (10 * 0.5)
        assert d == pytest.approx(expected, rel=0.05)


def test_blur_lowers_the_noise_and_no_detectability():
    """An observer who knows the noise loses nothing, one who doesn't loses; neither gains as the noise level says."""
    random = np.random.default_rng(0)
    noise = 10 * random.standard_normal((300, 80, 80))
    distance = disc_distance((96, 96), (47.6, 48.1), 24.0)
    found = []
    for blur in (0.0, 1.5):
        power = noise_power_spectrum(
            torch.from_numpy(gaussian_filter(noise, (0, blur, blur), mode="wrap")[:, 8:72, 8:72])
        )
        transfer = task_transfer_function(torch.special.ndtr(-distance / math.hypot(1.0, blur)), distance)
        found.append((power.sigma, *(detectability(power, transfer, 6.0, 10.0, p) for p in (False, True))))
    (sharp_sigma, sharp_npw, sharp_pw), (sigma, npw, pw) = found
    assert sigma < 0.3 * sharp_sigma
    assert npw < 1.02 * sharp_npw
    assert pw < 1.1 * sharp_pw


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"distance_mm": torch.zeros(5, 5)}, "distance_mm must have the image's shape"),
        ({"image": torch.full((64, 64), math.nan)}, "image must be finite"),
        ({"image": torch.ones(64, 64)}, "image must hold an edge"),
        ({"reach_mm": 60.0}, "reach_mm must be"),
        ({"spacing_mm": (1.0, -1.0)}, "spacing_mm must be"),
    ],
)
def test_what_shows_no_edge_is_refused(change, said):
    distance = disc_distance((64, 64), (31.4, 31.7), 15.0)
    arguments = {"image": torch.sigmoid(-distance), "distance_mm": distance, **change}
    with pytest.raises(ValueError, match=said):
        task_transfer_function(**arguments)


def test_detectability_needs_noise_of_a_plane_and_a_disc():
    with pytest.raises(ValueError, match="noise must be that of a plane"):
        detectability(noise_power_spectrum(torch.randn(9, 8, 8, 8)), None, 5.0, 5.0)
    with pytest.raises(ValueError, match="diameter_mm"):
        detectability(white(1.0, 1.0), None, 0.0, 5.0)
