"""Gaussian smoothing against scipy, and what all classical filters share."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.denoise.bilateral import bilateral_smooth
from monai_medaug.functional.denoise.median import median_smooth
from monai_medaug.functional.denoise.smoothing import gaussian_smooth

PATHS = {"fast": nullcontext, "torch": torch_only}
SHAPES = [(257, 131), (1, 9), (9, 1), (1, 1), (7, 9, 11), (1, 6, 70), (5, 1, 1), (3, 4, 5)]
DTYPES = [torch.float32, torch.float64]
path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def picture(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, batch: int = 2, channels: int = 2):
    """Values of a CT, -1000 to 1000, each one its own."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(batch, channels, *shape, generator=generator, dtype=torch.float64).mul(2000).sub(1000).to(dtype)


@path
@shapes
@dtypes
def test_gaussian_is_scipys(path, shape, dtype):
    image = picture(shape, dtype)
    widths = torch.tensor([[1.3, 0.0, 2.6], [0.7, 9.5, 0.4]])[:, : len(shape)]
    before = image.clone()
    with path():
        out = gaussian_smooth(image, widths)
    assert out.dtype == dtype
    assert torch.equal(image, before)
    for sample, width, result in zip(image, widths.tolist(), out, strict=True):
        for channel, got in zip(sample, result, strict=True):
            wanted = gaussian_filter(channel.double().numpy(), width, mode="nearest")
            np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-3 if dtype == torch.float32 else 1e-9)


@path
def test_wide_gaussian(path):
    """Kernels wider than the image, on both sides of the width from which matrices serve."""
    image = picture((30, 21), torch.float32)
    for width in (7.9, 8.2, 40.0):
        with path():
            out = gaussian_smooth(image, torch.full((2, 2), width))
        wanted = gaussian_filter(image.double().numpy(), width, mode="nearest", axes=(2, 3))
        np.testing.assert_allclose(out, wanted, rtol=0, atol=2e-3)


def test_gaussian_of_width_zero_and_wrong_widths():
    image = picture((5, 6))
    out = gaussian_smooth(image, torch.zeros(2, 2))
    assert torch.equal(out, image)
    assert out.data_ptr() != image.data_ptr()
    with pytest.raises(ValueError, match="widths must have the shape"):
        gaussian_smooth(image, torch.zeros(1, 2))


def every_filter(image: torch.Tensor) -> dict[str, torch.Tensor]:
    batch, axes = len(image), image.ndim - 2
    return {
        "gaussian": gaussian_smooth(image, torch.full((batch, axes), 1.7)),
        "median": median_smooth(image, 3),
        "bilateral": bilateral_smooth(image, 5, torch.full((batch,), 30.0), torch.full((batch, axes), 2.0)),
    }


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(1, 20), min_size=2, max_size=3),
    value=st.sampled_from([-1000.0, 0.0, 0.1, 3071.0]),
    fast=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_a_constant_stays(shape, value, fast, dtype):
    image = torch.full((1, 2, *shape), value, dtype=dtype)
    with nullcontext() if fast else torch_only():
        for name, out in every_filter(image).items():
            assert out.shape == image.shape
            assert (out - image).abs().max() < 1e-3, name


@path
@pytest.mark.parametrize("shape", [(12, 9), (6, 7, 8)], ids=str)
@dtypes
def test_samples_and_memory_layouts(path, shape, dtype):
    """A batch gives what its samples give alone, and strides change nothing."""
    image = picture(shape, dtype)
    turned = image.transpose(-1, -2).contiguous().transpose(-1, -2)
    with path():
        together, strided = every_filter(image), every_filter(turned)
        alone = [every_filter(sample[None]) for sample in image]
    for name, out in together.items():
        assert torch.equal(out, strided[name]), name
        torch.testing.assert_close(out, torch.cat([a[name] for a in alone]), rtol=0, atol=1e-3, msg=name)


def test_gradients_pass_through():
    """An image that needs its gradient goes through torch."""
    image = picture((6, 7), torch.float32).requires_grad_()
    for name, out in every_filter(image).items():
        (grad,) = torch.autograd.grad(out.sum(), image)
        assert torch.isfinite(grad).all(), name
