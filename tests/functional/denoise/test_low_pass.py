import math

import numpy as np
import pytest
import torch

from monai_medaug.functional.denoise.low_pass import low_passed


def wave(shape, cycles):
    """A cosine with whole numbers of cycles along the axes."""
    places = np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij")
    return torch.from_numpy(np.cos(2 * math.pi * sum(c * p for c, p in zip(cycles, places, strict=True))))[None, None]


@pytest.mark.parametrize(("cycles", "stays"), [((3, 4), True), ((5, 0), True), ((4, 4), False), ((0, 6), False)])
def test_keeps_a_disc(cycles, stays):
    image = wave((20, 20), cycles)  # the greatest frequency is of 10 cycles, the disc's of 5
    assert torch.allclose(low_passed(image, 0.5, (1.0, 1.0)), image if stays else 0 * image, atol=1e-12)


@pytest.mark.parametrize(("cycles", "stays"), [((5, 0, 0), True), ((0, 0, 4), True), ((6, 0, 0), False)])
def test_the_disc_is_round_in_mm(cycles, stays):
    image = wave((20, 20, 10), cycles)  # slices of 2 mm: 4 cycles of 20 mm
    assert torch.allclose(low_passed(image, 0.5, (1.0, 1.0, 2.0)), image if stays else 0 * image, atol=1e-12)


def test_keeps_the_mean_of_each_image():
    image = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    out = low_passed(image, 0.4, (1.0, 1.0))
    assert out.dtype == torch.float32
    assert torch.allclose(out.mean((2, 3)), image.mean((2, 3)), atol=1e-6)
