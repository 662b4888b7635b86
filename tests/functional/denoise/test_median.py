"""The median against scipy."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.denoise.median import median_smooth

PATHS = {"fast": nullcontext, "torch": torch_only}
SHAPES = [(257, 131), (1, 9), (9, 1), (1, 1), (7, 9, 11), (1, 6, 70), (5, 1, 1), (3, 4, 5)]
DTYPES = [torch.float32, torch.float64]
path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def picture(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, batch: int = 2, channels: int = 2):
    """Values of a CT, -1000 to 1000, each one its own."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(batch, channels, *shape, generator=generator, dtype=torch.float64).mul(2000).sub(1000).to(dtype)


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
