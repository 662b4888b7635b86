"""The coil kernels against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.coil import EXPONENTS, bias, index_polynomial, peak_scale, polynomial_field
from monai_medaug.functional.mri.signal import foreground, foreground_level, foreground_mean, zero_point

RANDOM = np.random.default_rng(0)


def test_the_polynomial_is_that_of_world_positions():
    affine = np.array([[0, 1.5, 0.2, 9], [2, 0, 0, -4], [0, -0.3, 4, 7], [0, 0, 0, 1]])
    grid = VoxelGrid((9, 8, 5), affine)
    coefficients = RANDOM.normal(size=len(EXPONENTS))
    terms = torch.from_numpy(index_polynomial(coefficients, grid))[None]
    field = polynomial_field(terms, grid.shape)[0, 0].numpy()
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)
    world = (index @ affine[:3, :3].T + affine[:3, 3] - grid.centre) / (max(np.multiply(grid.shape, grid.spacing)) / 2)
    expected = np.zeros(grid.shape)
    for c, powers in zip(coefficients, EXPONENTS, strict=True):
        factors = [np.polynomial.Legendre.basis(p)(world[..., a]) for a, p in enumerate(powers)]
        expected += c * np.prod(factors, axis=0)
    np.testing.assert_allclose(field, expected, atol=1e-9)


def test_foreground():
    image = torch.zeros(1, 2, 64, 64)
    image[0, 0, 16:48, 16:48] = 100
    image[0, 1, :8] = 3
    zero = zero_point(image)
    torch.testing.assert_close(foreground(image, zero), image > 0)
    torch.testing.assert_close(foreground_mean(image, zero).flatten(), torch.tensor([100.0, 3.0]))
    shifted = image - 40
    torch.testing.assert_close(foreground(shifted, zero_point(shifted)), image > 0)
    torch.testing.assert_close(foreground_mean(shifted, zero_point(shifted)).flatten(), torch.tensor([100.0, 3.0]))
    assert foreground_mean(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 1, 1)).item() == 0


@pytest.mark.parametrize("shape", [(70, 81), (375, 20), (20, 65, 33)])
def test_the_foreground_level_is_that_of_a_sorted_subgrid(shape):
    image = torch.from_numpy(RANDOM.normal(size=(2, 2, *shape)))
    zero = zero_point(image)
    few = image
    for axis, n in enumerate(shape):
        step = max(1, n // (32 if len(shape) == 3 else 180))
        few = few.index_select(2 + axis, torch.arange(step // 2, n, step))
    ordered = few.flatten(2).sort(-1).values
    high = ordered[..., round(0.99 * (ordered.shape[-1] - 1))].reshape(zero.shape)
    assert torch.equal(foreground_level(image, zero), zero + 0.1 * (high - zero))


@pytest.mark.parametrize("shape", [(48, 37), (24, 33, 20), (1, 30, 30), (17, 1, 9)])
@pytest.mark.parametrize("peak_to_peak", [0.0, 0.4, 2.0])
def test_the_compiled_field_is_that_of_torch_and_of_its_definition(shape, peak_to_peak):
    """Two samples of two channels, one without signal, the other with a faint background."""
    image = torch.from_numpy(RANDOM.uniform(50, 100, (2, 2, *shape)).astype(np.float32))
    image[..., : shape[-1] // 3] *= 0.02
    image[0, 0] = 0
    coefficients = torch.from_numpy(0.2 * RANDOM.normal(size=(2, 4, 4, 4)).astype(np.float32))
    wanted = torch.full((2,) + (1,) * (image.ndim - 1), peak_to_peak)
    out = bias(image, coefficients, wanted)
    with torch_only():
        plain = bias(image, coefficients, wanted)
        exact = bias(image.double(), coefficients.double(), wanted.double())
    signal = image.double().max()
    assert float((out - exact).abs().max()) < 1e-6 * float(signal)
    assert float((plain - exact).abs().max()) < 1e-6 * float(signal)
    if peak_to_peak == 0:
        assert torch.equal(out, image)
    inside = (image > foreground_level(image)).any(1)
    for i in range(2):
        gain = (out / image)[i, 1][inside[i]].double()
        assert float(gain.max() - gain.min()) == pytest.approx(peak_to_peak, abs=1e-4)
        assert float(gain.log().mean()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_the_field_without_foreground_is_taken_over_the_whole_image(value):
    image = torch.zeros(1, 1, 20, 24)
    image[..., 3, 4] = value
    coefficients = torch.from_numpy(RANDOM.normal(size=(1, 4, 4, 4)).astype(np.float32))
    out = bias(image, coefficients, torch.full((1, 1, 1, 1), 0.4))
    with torch_only():
        torch.testing.assert_close(out, bias(image, coefficients, torch.full((1, 1, 1, 1), 0.4)))
    assert torch.equal(out == 0, image == 0)


def test_peak_scale():
    ends = torch.tensor([[-1.0, 2.0], [-5.0, 0.1], [0.0, 0.0], [-0.01, 0.01]], dtype=torch.float64)
    wanted = torch.tensor([2.0, 0.4, 0.4, 0.4], dtype=torch.float64)
    scale, peak = peak_scale(ends, wanted)
    assert peak.tolist() == pytest.approx([2, 0.4, 0, 0.4])
    assert scale[2] == 0
    scale, peak = peak_scale(ends, wanted, shrink_only=True)
    assert scale[3] == 1
    assert float(peak[3]) == pytest.approx(0.02, rel=1e-3)
