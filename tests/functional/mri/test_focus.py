import math

import numpy as np
import pytest
import torch

from monai_medaug.functional.mri.focus import ShiftedSharpness, body_region, entropy_and_slope, gradient_entropy


def noise(*shape, seed=0):
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=shape) + 1j * random.normal(size=shape))


def test_entropy_of_equal_edges():
    """The logarithm of the number of voxels with an equal slope."""
    image = torch.zeros(1, 16, 20, dtype=torch.complex128)
    image[:, :, 5:12] = 3j
    assert float(gradient_entropy(image)) == pytest.approx(math.log(32), abs=1e-3)


def test_entropy_knows_neither_phase_nor_scale_nor_how_coils_share():
    image = noise(1, 16, 20)
    once = float(gradient_entropy(image))
    turned = image * torch.polar(torch.tensor(7.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))
    assert float(gradient_entropy(turned)) == pytest.approx(once)
    assert float(gradient_entropy(torch.cat([0.6 * image, 0.8 * image]))) == pytest.approx(once)


def test_entropy_has_a_slope_where_the_image_is_constant():
    image = torch.ones(1, 8, 8, dtype=torch.complex64, requires_grad=True)
    for scale in (0, 1):
        (slope,) = torch.autograd.grad(gradient_entropy(scale * image), image)
        assert bool(torch.isfinite(torch.view_as_real(slope)).all())


@pytest.mark.parametrize("shape", [(1, 9, 8), (3, 5, 6, 4)])
def test_the_slope_in_closed_form_is_that_of_automatic_differentiation(shape):
    image, weight = noise(*shape), noise(*shape[1:], seed=1).real.clamp(0, 1)
    given = image.clone().requires_grad_()
    wanted = gradient_entropy(given, weight)
    (slope,) = torch.autograd.grad(wanted, given)
    found = entropy_and_slope(image, weight)
    assert torch.allclose(found[0], wanted)
    assert torch.allclose(found[1], slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("channels", "shape"), [(1, (6, 7)), (3, (6, 5)), (2, (4, 5, 3)), (1, (5, 1, 4))])
def test_all_shifts_equal_one_by_one(channels, shape):
    base, part = noise(channels, *shape), noise(channels, *shape, seed=1)
    axes = tuple(range(1, len(shape) + 1))
    found = ShiftedSharpness(base).of(part)
    wanted = torch.zeros(shape, dtype=torch.float64)
    constant = torch.zeros(())
    for shift in np.ndindex(*shape):
        total = base + torch.roll(part, shift, axes)
        powers = [(torch.roll(total, -1, a) - total).abs().square().sum(0) for a in axes]
        wanted[shift] = sum(p.square().sum() for p in powers)
    constant = (wanted - found).mean()  # what no shift changes
    assert torch.allclose(found + constant, wanted, rtol=1e-9)


def test_body_region():
    image = torch.zeros(2, 40, 40, dtype=torch.complex64)
    image[:, 10:30, 10:30] = 5
    region = body_region(image, 0.1)
    assert region[10:30, 10:30].min() == 1
    assert region[:4].max() == 0
    assert body_region(torch.zeros(1, 8, 8, dtype=torch.complex64), 0.1).abs().max() == 0
