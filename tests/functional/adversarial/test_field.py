from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from monai_medaug.functional.adversarial.field import (
    bias_field_ascent,
    times_bias_field,
)
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.coil import EXPONENTS, bias, index_polynomial, polynomial_field
from monai_medaug.functional.mri.signal import foreground, zero_point


def phantom(*shape: int) -> torch.Tensor:
    """Two textured ellipsoids (2, 1, *shape) with zeros round them."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    body = torch.where(torch.stack(axes).square().sum(0) < 0.7, 2 + torch.sin(5 * axes[0]), torch.tensor(0.0))
    return torch.stack([body, body.flip(0)])[:, None]


AFFINES = [None, [[0, 0.9, 0.1, 5], [1.2, 0, 0, 3], [0.2, 0, 3, 0], [0, 0, 0, 1]]]


@pytest.mark.parametrize("shape", [(40, 36), (20, 24, 12)])
@pytest.mark.parametrize("affine", AFFINES)
def test_field_is_that_of_the_mri_kernel(shape, affine):
    """Without steps: the coefficients, scaled, mean what they mean to the random field."""
    image, grids = phantom(*shape).double(), [VoxelGrid(shape, affine), VoxelGrid(shape)]
    start = torch.randn(2, len(EXPONENTS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    peaks = torch.tensor([0.3, 0.1], dtype=torch.float64)
    terms, reached = bias_field_ascent(torch.zeros_like, image, grids, start, peaks, 0.4, 0.1, 0)
    out = times_bias_field(image, terms.tolist(), grids)
    index = torch.from_numpy(np.stack([index_polynomial(s.tolist(), g) for s, g in zip(start, grids, strict=True)]))
    torch.testing.assert_close(out, bias(image, index, peaks), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(reached, peaks, rtol=1e-9, atol=0)


@pytest.mark.parametrize("shape", [(40, 36), (20, 24, 12)])
@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("peak", [0.05, 0.4, 2.0])
def test_field_keeps_its_bounds_and_finds_a_linear_optimum(shape, affine, peak):
    """Signal on one side, less on the other: the field rises along that axis, to the bound, of geometric mean 1."""
    image, grids = phantom(*shape), [VoxelGrid(shape, affine)] * 2
    slope = torch.linspace(-1, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    start = torch.randn(2, len(EXPONENTS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    peaks = torch.full((2,), peak / 2)
    terms, reached = bias_field_ascent(
        lambda y: slope.expand_as(y).clone(), image, grids, start, peaks, peak, 2 * peak / 5, 5
    )
    out = times_bias_field(image, terms.tolist(), grids)
    inside = foreground(image, zero_point(image))
    for sample in range(2):
        log = (out[sample] / image[sample])[inside[sample]].log().double()
        gain = log.exp()
        assert float(gain.max() - gain.min()) == pytest.approx(float(reached[sample]), rel=1e-4)
        assert float(gain.max() - gain.min()) <= peak * (1 + 1e-4)
        assert float(gain.max() - gain.min()) > 0.99 * peak
        assert abs(float(log.mean())) < 1e-5
        along = slope.expand_as(inside[sample])[inside[sample]].double()
        assert float(torch.corrcoef(torch.stack([log, along]))[0, 1]) > 0.9
    assert torch.equal(out[image == 0], image[image == 0])


def test_field_gradient_is_that_of_autograd():
    """One small step from a start: the loss rises by what the derivative along the step says."""
    shape, image = (20, 24, 12), phantom(20, 24, 12).double()
    grids = [VoxelGrid(shape, AFFINES[1])] * 2
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    start = torch.randn(2, len(EXPONENTS), generator=generator, dtype=torch.float64)
    peaks, tiny = torch.full((2,), 0.2, dtype=torch.float64), 1e-5
    begin, _ = bias_field_ascent(torch.zeros_like, image, grids, start, peaks, 0.4, tiny, 0)
    end, _ = bias_field_ascent(lambda y: weight.clone(), image, grids, start, peaks, 0.4, tiny, 1)
    leaf = begin[:, 1:].clone().requires_grad_()
    inside = foreground(image, zero_point(image))

    def loss(terms):
        index = torch.stack([torch.from_numpy(index_polynomial(e, grids[0])) for e in np.eye(19).tolist()])
        basis = polynomial_field(index, shape)[:, 0]
        field = torch.einsum("bk,kzyx->bzyx", terms, basis)[:, None]
        mean = torch.stack([f[m].mean() for f, m in zip(field, inside, strict=True)]).reshape(-1, 1, 1, 1, 1)
        return (weight * image * torch.exp(field - mean)).flatten(1).sum(1)

    (wanted,) = torch.autograd.grad(loss(leaf).sum(), leaf)
    moved = end[:, 1:] - begin[:, 1:]
    for a, b in zip(moved, wanted, strict=True):
        assert float(F.cosine_similarity(a, b, dim=0)) > 1 - 1e-6
    torch.testing.assert_close(
        (loss(end[:, 1:]) - loss(begin[:, 1:])).detach(), (moved * wanted).sum(1), rtol=1e-3, atol=0
    )


def test_field_of_an_empty_image_and_a_zero_bound():
    image, grids = torch.zeros(2, 1, 12, 12), [VoxelGrid((12, 12))] * 2
    start, none = torch.ones(2, len(EXPONENTS)), torch.zeros(2)
    terms, _ = bias_field_ascent(torch.ones_like, image, grids, start, none, 0.4, 0.1, 2)
    assert torch.equal(times_bias_field(image, terms.tolist(), grids), image)
    body = phantom(12, 12)
    terms, reached = bias_field_ascent(torch.ones_like, body, grids, start, none, 0.0, 0.0, 2)
    assert reached.tolist() == [0, 0]
    assert torch.equal(times_bias_field(body, terms.tolist(), grids), body)
