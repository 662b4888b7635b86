"""Gaussian, median and bilateral smoothing against scipy, OpenCV and their definitions in float64."""

from __future__ import annotations

from contextlib import nullcontext

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, median_filter

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


def bilateral_by_definition(image: np.ndarray, diameter: int, reach: float, space: tuple[float, ...]) -> np.ndarray:
    """One image in float64, offset by offset."""
    radius = diameter // 2
    image = image.astype(np.float64)
    padded = np.pad(image, radius, mode="edge")
    total, weights = np.zeros_like(image), np.zeros_like(image)
    for place in np.ndindex(*(2 * radius + 1,) * image.ndim):
        offset = np.array(place) - radius
        if (offset**2).sum() > radius**2:
            continue
        value = padded[tuple(slice(i, i + n) for i, n in zip(place, image.shape, strict=True))]
        w = np.exp(-((value - image) ** 2) / (2 * reach**2) - (offset**2 / (2 * np.array(space) ** 2)).sum())
        total, weights = total + w * value, weights + w
    return total / weights


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


@path
@dtypes
@pytest.mark.parametrize("size", [3, 5, 7, (3, 1), (1, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) == 2], ids=str)
def test_median_of_planes_is_scipys(path, shape, size, dtype):
    check_median(path, picture(shape, dtype), size)


@path
@dtypes
@pytest.mark.parametrize("size", [3, 5, (1, 3, 5), (5, 3, 1), (3, 1, 9)], ids=str)
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) == 3], ids=str)
def test_median_of_volumes_is_scipys(path, shape, size, dtype):
    check_median(path, picture(shape, dtype), size)


def check_median(path, image, size):
    before = image.clone()
    with path():
        out = median_smooth(image, size)
    assert torch.equal(image, before)
    assert out.dtype == image.dtype
    for channel, got in zip(image.flatten(0, 1).numpy(), out.flatten(0, 1).numpy(), strict=True):
        np.testing.assert_array_equal(got, median_filter(channel, size, mode="nearest"))


def test_median_of_ties_and_large_windows():
    """Few distinct values, and a window of 9³ voxels."""
    image = picture((11, 10, 13), torch.float32, 1, 1).div(400).round()
    for size in (3, 9):
        np.testing.assert_array_equal(
            median_smooth(image, size)[0, 0], median_filter(image[0, 0].numpy(), size, mode="nearest")
        )


def test_medians_in_torch_are_chunked(monkeypatch):
    image = picture((9, 7, 8))
    whole = median_smooth(image, 3)
    monkeypatch.setattr("monai_medaug.functional.denoise.median._WINDOWS", 7 * 8 * 27 * 2)
    with torch_only():
        assert torch.equal(median_smooth(image, 3), whole)


@pytest.mark.parametrize("size", [2, 0, -3, (3, 4), (3,), (3, 3, 3)], ids=str)
def test_wrong_median_sizes(size):
    with pytest.raises(ValueError, match="size must be odd"):
        median_smooth(picture((5, 6)), size)


@path
@dtypes
@pytest.mark.parametrize("diameter", [1, 4, 5, 9])
@shapes
def test_bilateral_is_its_definition(path, shape, diameter, dtype):
    if path is torch_only and len(shape) == 3 and diameter == 9:
        diameter = 7
    image = picture(shape, dtype, channels=1)
    reach, space = (60.0, 500.0), ((2.0, 1.5, 3.0)[: len(shape)], (0.7, 4.0, 1.0)[: len(shape)])
    before = image.clone()
    with path():
        out = bilateral_smooth(image, diameter, torch.tensor(reach), torch.tensor(space, dtype=torch.float64))
    assert out.dtype == dtype
    assert torch.equal(image, before)
    for b in range(2):
        wanted = bilateral_by_definition(image[b, 0].numpy(), diameter, reach[b], space[b])
        tolerance = 1e-5 * reach[b] if dtype == torch.float32 else 1e-9
        np.testing.assert_allclose(out[b, 0], wanted, rtol=0, atol=tolerance)


@path
def test_bilateral_is_opencvs(path):
    image = picture((131, 257), torch.float32, 1, 1)
    wanted = cv2.bilateralFilter(image[0, 0].numpy(), 9, 200, 3, borderType=cv2.BORDER_REPLICATE)
    with path():
        out = bilateral_smooth(image, 9, torch.tensor([200.0]), torch.tensor([[3.0, 3.0]]))
    np.testing.assert_allclose(out[0, 0], wanted, rtol=0, atol=1e-3 * 200)


@path
def test_bilateral_keeps_what_differs_much(path):
    """Metal beside air: 30000 range sigmas apart neither moves the other; without a range nothing is done."""
    image = torch.zeros(3, 1, 6, 7, 8)
    image[..., :4] = -1000
    image[..., 4:] = 29000
    with path():
        out = bilateral_smooth(image, 5, torch.tensor([1.0, 0.0, -2.0]), torch.full((3, 3), 2.0))
    assert (out - image).abs().max() < 1e-2
    assert torch.equal(out[1:], image[1:])


def test_bilateral_along_one_axis():
    """A space sigma of 0 leaves the other axis out."""
    image = picture((9, 8), channels=1)
    both = bilateral_smooth(image, 5, torch.full((2,), 900.0), torch.tensor([[2.0, 0.0]] * 2))
    columns = [
        bilateral_smooth(image[..., i : i + 1], 5, torch.full((2,), 900.0), torch.tensor([[2.0, 0.0]] * 2))
        for i in range(8)
    ]
    torch.testing.assert_close(both, torch.cat(columns, -1))


def test_wrong_bilateral_arguments():
    image = picture((5, 6))
    with pytest.raises(ValueError, match="diameter"):
        bilateral_smooth(image, 0, torch.ones(2), torch.ones(2, 2))
    with pytest.raises(ValueError, match="range_sigma and space_sigma"):
        bilateral_smooth(image, 3, torch.ones(1), torch.ones(2, 2))


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
