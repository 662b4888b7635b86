"""Edge widths: those of Gaussian edges by closed form, moved by blur and hardly by noise or gain."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.quality.edge_width import edge_widths

PER_SIGMA = math.sqrt(2 * math.pi)  # height over greatest slope of a Gaussian edge


def discs(shape, width):
    """A body with two inserts, its edges blurred by a Gaussian."""
    grid = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")

    def ball(centre, radius):
        distance = np.sqrt(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))) - radius
        return torch.special.ndtr(torch.from_numpy(-distance / width)).numpy()

    middle = [n / 2 for n in shape]
    return 100 * ball(middle, min(shape) * 0.38) + 60 * ball([m + 3 for m in middle], min(shape) * 0.15)


@pytest.mark.parametrize(("shape", "spacing"), [((128, 120), (0.7, 0.7)), ((56, 52, 48), (1.0, 1.0, 1.0))])
def test_a_gaussian_edge(shape, spacing):
    images = torch.from_numpy(np.stack([discs(shape, w) for w in (2.0, 3.0)]))
    widths, places = edge_widths(images, spacing)
    assert places > 100
    for width, sigma in zip(widths, (2.0, 3.0), strict=True):
        assert width == pytest.approx(PER_SIGMA * sigma * spacing[0], rel=0.06)


def test_noise_and_gain_leave_it_and_blur_widens_it():
    clean = discs((160, 160), 1.5)
    noise = 8 * np.random.default_rng(0).standard_normal(clean.shape)
    for changed, factor in ((clean + noise, 1.0), (3 * clean - 50, 1.0), (gaussian_filter(clean + noise, 1.5), 2**0.5)):
        widths, _ = edge_widths(torch.from_numpy(np.stack([clean, changed])), (1.0, 1.0))
        assert widths[1] / widths[0] == pytest.approx(factor, rel=0.06)


def test_noise_alone_and_a_constant_have_no_edges():
    for image in (torch.randn(2, 96, 96, generator=torch.Generator().manual_seed(0)), torch.ones(2, 40, 40)):
        widths, _ = edge_widths(image, (1.0, 1.0))
        assert all(math.isnan(w) for w in widths)


def test_a_mask_chooses_the_edges():
    left, right = discs((128, 128), 1.0), discs((128, 128), 3.0)
    image = torch.from_numpy(np.concatenate([left, right], 1))[None]
    for side, sigma in ((slice(None, 128), 1.0), (slice(128, None), 3.0)):
        mask = torch.zeros(128, 256, dtype=torch.bool)
        mask[:, side] = True
        assert edge_widths(image, (1.0, 1.0), mask)[0][0] == pytest.approx(PER_SIGMA * sigma, rel=0.1)
