"""The bilateral filter against its definition in float64 and OpenCV."""

from __future__ import annotations

from contextlib import nullcontext

import cv2
import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.denoise.bilateral import bilateral_smooth

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
