"""The classical filters against scipy, OpenCV and their definitions."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.smoothing import bilateral_smooth, gaussian_smooth, median_smooth

SHAPES = [(33, 47), (257, 131), (5, 4), (17, 18, 19), (3, 30, 8), (1, 9)]


def noise(shape, seed=0, dtype=torch.float32):
    return torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 100


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian(shape, dtype):
    image = noise(shape, dtype=dtype)
    widths = torch.tensor([[0.9, 1.4, 0.6][: len(shape)], [0.0, 2.0, 1.0][: len(shape)]])
    out = gaussian_smooth(image, widths)
    for x, y, width in zip(image, out, widths.tolist(), strict=True):
        wanted = ndimage.gaussian_filter(x[0].numpy(), width, mode="nearest", truncate=4)
        np.testing.assert_allclose(y[0].numpy(), wanted, atol=1e-3 if dtype == torch.float32 else 1e-9)
    with torch_only():
        torch.testing.assert_close(gaussian_smooth(image, widths), out, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_median(shape, size):
    image = noise(shape)
    wanted = np.stack([ndimage.median_filter(x[0].numpy(), size, mode="nearest") for x in image])
    np.testing.assert_array_equal(median_smooth(image, size)[:, 0].numpy(), wanted)
    np.testing.assert_array_equal(median_smooth(image.double(), size)[:, 0].numpy(), wanted)
    if size < 7 and len(shape) == 2:
        with torch_only():
            np.testing.assert_array_equal(median_smooth(image, size)[:, 0].numpy(), wanted)


def bilateral_by_definition(x, radius, width, space):
    wide, out = np.pad(x, radius, mode="edge"), np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        part = wide[tuple(slice(p, p + 2 * radius + 1) for p in place)]
        offsets = np.indices(part.shape) - radius
        near = (offsets**2).sum(0)
        spaced = sum((o / s) ** 2 for o, s in zip(offsets, space, strict=True))
        weights = np.exp(-0.5 * spaced - 0.5 * ((part - x[place]) / width) ** 2) * (near <= radius**2)
        out[place] = (weights * part).sum() / weights.sum()
    return out


@pytest.mark.parametrize("space", [(1.5, 1.5), (1.5, 0.8), (1.5, 1.5, 0.7)])
def test_bilateral(space):
    image = noise((14, 11) if len(space) == 2 else (7, 8, 9))
    wanted = np.stack([bilateral_by_definition(x[0].double().numpy(), 2, 60.0, space) for x in image])
    arguments = (5, torch.tensor([60.0, 60.0]), torch.tensor([space, space]))
    np.testing.assert_allclose(bilateral_smooth(image, *arguments)[:, 0].numpy(), wanted, atol=0.02)
    np.testing.assert_allclose(bilateral_smooth(image.double(), *arguments)[:, 0].numpy(), wanted, atol=1e-5)


def test_bilateral_is_opencvs_in_2d():
    image = noise((64, 60))
    wanted = cv2.bilateralFilter(image[0, 0].numpy(), 9, 75.0, 2.0, borderType=cv2.BORDER_REPLICATE)
    out = bilateral_smooth(image[:1], 9, torch.tensor([75.0]), torch.tensor([[2.0, 2.0]]))
    np.testing.assert_allclose(out[0, 0].numpy(), wanted, atol=1e-3)


def test_each_sample_has_its_own_widths():
    image = noise((20, 24))[:1].repeat(2, 1, 1, 1)
    out = bilateral_smooth(image, 5, torch.tensor([0.0, 80.0]), torch.full((2, 2), 1.5))
    assert torch.equal(out[0], image[0])
    assert float((out[1] - image[1]).abs().mean()) > 10


@settings(max_examples=25, deadline=None)
@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 12)] * 2), st.tuples(*[st.integers(1, 6)] * 3)),
    value=st.floats(-3000, 3000, width=32),
)
def test_constants_stay_at_any_size(shape, value):
    image = torch.full((1, 1, *shape), value)
    axes = len(shape)
    for out in (
        gaussian_smooth(image, torch.full((1, axes), 1.7)),
        median_smooth(image, 3),
        bilateral_smooth(image, 5, torch.tensor([3.0]), torch.full((1, axes), 1.0)),
    ):
        assert out.shape == image.shape
        assert float((out - value).abs().max()) <= 1e-3
