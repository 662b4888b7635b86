"""The collaborative filter: time against scikit-image's non-local means."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from skimage.restoration import denoise_nl_means

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.denoise.collaborative import collaborative_filter
from tests.benchmarks.harness import Call, Row

GAUSSIAN, VOLUME = 25 / 255, 0.07


def filtered(noisy: np.ndarray, sigma: float, **options: object) -> np.ndarray:
    image = torch.from_numpy(noisy.astype(np.float32))[None, None]
    return collaborative_filter(image, torch.tensor([sigma]), **options)[0, 0].numpy()


def nonlocal_means(noisy: np.ndarray, sigma: float, patch: int = 5, distance: int = 6, h: float = 0.8) -> np.ndarray:
    return denoise_nl_means(noisy, patch, distance, h * sigma, sigma=sigma, fast_mode=True)


def phantom(shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Nested ellipsoids with noise."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grid))
    clean = 0.6 * (radius < 0.9) + 0.4 * (radius < 0.5) * (grid[-1] > 0)
    return clean + np.random.default_rng(0).normal(0, sigma, shape)


def rows() -> Iterator[Row]:
    """The quality of the two is not the same: see `denoise_quality`."""
    for shape, sigma, distance in (((256, 256), GAUSSIAN, 6), ((64, 64, 64), VOLUME, 5)):
        image = phantom(shape, sigma)
        patch = 5 if len(shape) == 2 else 3
        name = f"collaborative filter, {'×'.join(map(str, shape))}"

        def mine(image: np.ndarray = image, sigma: float = sigma) -> Call:
            return lambda: filtered(image, sigma)

        def theirs(image: np.ndarray = image, sigma: float = sigma, patch: int = patch, d: int = distance) -> Call:
            return lambda: nonlocal_means(image, sigma, patch, d)

        yield Row(name, "scikit-image nl_means", theirs, mine)
        if len(shape) == 2:
            yield Row(f"{name}, torch alone", "scikit-image nl_means", theirs, mine, within=torch_only)
