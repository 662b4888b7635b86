from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import loops, torch_only
from monai_medaug.functional.denoise.wavelet_shrinkage import HARD_THRESHOLD, wavelet_shrinkage
from monai_medaug.functional.denoise.wavelets_hard import hard_stationary
from monai_medaug.functional.denoise.wavelets_stationary import shrink_stationary, stationary_levels

SHAPES = (
    *((1, 1, 57, 31), (2, 2, 40, 130), (1, 1, 5, 200), (1, 1, 200, 5), (1, 1, 1, 70)),
    *((2, 2, 9, 14, 11), (1, 1, 20, 1, 33), (1, 1, 40, 37, 6), (1, 2, 3, 50, 2), (1, 1, 4, 40, 1), (1, 1, 16, 20, 18)),
)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def hard(image: torch.Tensor, levels: int = 3, wavelet: str = "haar", limit: float = 1.0) -> torch.Tensor:
    compiled = loops("denoise._numba_wavelets", image)
    assert compiled is not None
    volumes = image.shape[0] * image.shape[1]
    middle = torch.zeros(*image.shape[:2], *[1] * (image.ndim - 2))
    white = ((1.0,),) * (image.ndim - 2)
    return hard_stationary(compiled, image, middle, wavelet, levels, [limit] * volumes, white)


def clear_sigma(image: torch.Tensor, wavelet: str, levels: int) -> torch.Tensor:
    """A noise level with no coefficient so near its limit that rounding could decide."""
    sigma, near = torch.linspace(0.1, 0.4, image.shape[0] * image.shape[1]).reshape(image.shape[:2]), True

    def look(band: torch.Tensor, gains: list[np.ndarray]) -> torch.Tensor:
        nonlocal near
        level = HARD_THRESHOLD * sigma.reshape(*sigma.shape, *[1] * (band.ndim - 2))
        limit = level * math.prod(torch.from_numpy(gain) for gain in gains)
        near |= bool((((band.abs() - limit).abs() < 2e-5 * limit) & (limit > 1e-5)).any())
        return band

    while near:
        near, sigma = False, 1.01 * sigma
        shrink_stationary(image.double(), wavelet, levels, look)
    return sigma


@pytest.mark.parametrize("wavelet", ["haar", "db4", "bior1.3"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_torch(shape, wavelet):
    image = noise(*shape) + torch.linspace(0, 5, shape[-1])
    for levels in range(1, 6):
        if not any(stationary_levels(shape[2:], wavelet, levels)):
            continue
        sigma = clear_sigma(image, wavelet, levels)
        ours = wavelet_shrinkage(image, sigma, wavelet=wavelet, levels=levels)
        with torch_only():
            theirs = wavelet_shrinkage(image, sigma, wavelet=wavelet, levels=levels)
        assert (ours - theirs).abs().max() < 1e-5 * (image.max() - image.min())


def test_equal_to_torch_at_the_size_of_a_scan():
    """Rounding may decide on the other side of a limit for a few of the coefficients."""
    image = noise(1, 1, 96, 100, 104) + torch.linspace(0, 5, 104)
    ours = wavelet_shrinkage(image, torch.ones(1))
    with torch_only():
        theirs = wavelet_shrinkage(image, torch.ones(1))
    assert ((ours - theirs).abs() > 1e-5 * 10).float().mean() < 1e-4


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_limit_the_image_comes_back(shape, wavelet):
    image = noise(*shape)
    for levels in (1, 4):
        assert (hard(image, levels, wavelet, 0) - image).abs().max() < 1e-5


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_constants_stay(shape, wavelet):
    image = torch.full(shape, -1000.0)
    assert (wavelet_shrinkage(image, torch.full(shape[:1], 20.0), wavelet=wavelet) - image).abs().max() < 1e-3
    assert (hard(image, 3, wavelet) - image).abs().max() < 1e-2  # with the middle left in


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("shape", [(3, 1, 70, 50), (2, 1, 30, 70, 20)])
def test_the_result_does_not_depend_on_the_threads(shape, wavelet):
    image, before = noise(*shape), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(hard(image, 3, wavelet))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(r, results[0]) for r in results)


def test_a_permuted_image_and_samples_without_noise():
    image, sigma = noise(2, 1, 20, 33, 26).permute(0, 1, 4, 2, 3), torch.tensor([0.0, 0.5])
    out = wavelet_shrinkage(image, sigma)
    assert torch.equal(out, wavelet_shrinkage(image.contiguous(), sigma))
    assert torch.equal(out[0], image[0])
    assert out.is_contiguous()


def test_samples_in_pieces(monkeypatch):
    image, sigma = noise(5, 2, 20, 30), torch.rand(5, 2)
    whole = wavelet_shrinkage(image, sigma)
    monkeypatch.setattr("monai_medaug.functional.denoise.wavelet_shrinkage._PIECE", 2 * 2 * 20 * 30)
    for context in (torch_only(), torch.no_grad()):
        with context:
            assert (wavelet_shrinkage(image, sigma) - whole).abs().max() < 1e-5


def test_gradients_flow():
    image = noise(1, 1, 20, 30).requires_grad_()
    wavelet_shrinkage(image, torch.ones(1)).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0


@pytest.mark.parametrize(("shape", "levels"), [((64, 64, 64), 3), ((48, 64, 16), 4), ((50, 60, 70), 5)])
def test_memory(shape, levels):
    """Of the arrays beside the image and its copy: an approximation a level, and results of two."""
    image = noise(1, 1, *shape)
    hard(image, levels)
    tracemalloc.start()
    try:
        hard(image, levels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    longer = np.prod([(n + 1) / n for n in shape])
    buffers = 2 * 2 * 1.5 * max(a * b for a, b in itertools.combinations(shape, 2))
    assert peak / 4 < levels * longer * image.numel() + buffers + 2e4


@pytest.mark.parametrize(("shape", "wavelet"), [((1, 1, 57, 31), "haar"), ((1, 1, 14, 20, 17), "db4")])
def test_correlated_noise_is_judged_alike(shape, wavelet):
    correlation = [(1.0, 0.6, 0.1), (1.0, -0.3), (1.0,)][: len(shape) - 2]
    image = noise(*shape)
    known = {"wavelet": wavelet, "correlation": correlation}
    ours = wavelet_shrinkage(image, torch.tensor([0.3]), **known)
    with torch_only():
        wanted = wavelet_shrinkage(image, torch.tensor([0.3]), **known)
    different = (ours - wanted).abs() > 1e-4  # where a coefficient lies at its limit rounding decides
    assert different.float().mean() < 0.02
    white = wavelet_shrinkage(image, torch.tensor([0.3]), wavelet=wavelet)
    assert (ours - white).abs().max() > 0.1
