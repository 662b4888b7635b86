"""The collaborative filter and the Rician transforms: time against scikit-image, and PSNR on the stated protocols.

``python -m tests.benchmarks.denoise_collaborative [T1_SLICE.npy]`` prints the PSNRs; the slice is DIPY's
``t1_coronal_slice.npy``, which its wheel brings (looked for where DIPY is installed, if no path is given).
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from skimage.restoration import denoise_nl_means

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.collaborative import collaborative_filter
from monai_medaug.functional.rician import rician_bias_removed, rician_stabilised, rician_unstabilised
from tests.benchmarks.harness import Call, Row

GAUSSIAN, RICIAN, VOLUME = 25 / 255, 0.05, 0.07
FLOOR = 0.7


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
    """The quality of the two is not the same: see `quality`."""
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


def decibel(image: np.ndarray, truth: np.ndarray) -> float:
    """PSNR for a range of 1."""
    return float(-10 * np.log10(np.mean((np.asarray(image, float) - truth) ** 2)))


def fastest(call: Call, repeats: int = 4) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def t1_slice(path: str | None) -> np.ndarray | None:
    if path is None:
        spec = importlib.util.find_spec("dipy")
        found = Path(spec.origin).parent / "data/files/t1_coronal_slice.npy" if spec and spec.origin else None
        if found is None or not found.exists():
            return None
        path = str(found)
    image = np.load(path).astype(float)
    return image / image.max()


def gaussian_slice(truth: np.ndarray) -> None:
    noisy = truth + np.random.default_rng(0).normal(0, GAUSSIAN, truth.shape)
    print(f"T1 slice, Gaussian, sigma 25/255: noisy {decibel(noisy, truth):.2f} dB")
    for name, options in (("default", {}), ("first stage alone", {"stages": 1}), ("step 2", {"step": 2})):
        seconds = fastest(lambda options=options: filtered(noisy, GAUSSIAN, **options))
        print(f"  {name:<34} {decibel(filtered(noisy, GAUSSIAN, **options), truth):.2f} dB, {seconds:.2f} s")
    print(f"  {'scikit-image nl_means':<34} {decibel(nonlocal_means(noisy, GAUSSIAN), truth):.2f} dB")


def rician_slice(truth: np.ndarray) -> None:
    random = np.random.default_rng(0)
    noisy = np.hypot(truth + random.normal(0, RICIAN, truth.shape), random.normal(0, RICIAN, truth.shape))
    print(f"T1 slice, Rician, sigma 0.05: noisy {decibel(noisy, truth):.2f} dB; mean of the background in sigma")
    sigma = torch.tensor([RICIAN])

    def show(name: str, image: np.ndarray) -> None:
        print(f"  {name:<34} {decibel(image, truth):.2f} dB, background {image[truth == 0].mean() / RICIAN:.4f}")

    def as_batch(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image.astype(np.float32))[None, None]

    stable = rician_stabilised(as_batch(noisy), sigma)[0, 0].numpy()
    for name, denoise in (("collaborative", filtered), ("scikit-image nl_means", nonlocal_means)):
        magnitude = denoise(noisy, RICIAN)
        show(name, magnitude)
        show(f"{name}, bias removed", rician_bias_removed(as_batch(magnitude), sigma)[0, 0].numpy())
        for floor in (0.0, FLOOR):
            back = rician_unstabilised(as_batch(denoise(stable, 1.0)), sigma, floor=floor)
            show(f"{name}, stabilised, floor {floor}", back[0, 0].numpy())


def volume() -> None:
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        print("T1 volume: nilearn is not installed")
        return
    whole = load_mni152_template(resolution=1).get_fdata()
    truth = whole[tuple(slice(n // 2 - 32, n // 2 + 32) for n in whole.shape)]
    truth = (truth - truth.min()) / (truth.max() - truth.min())
    noisy = truth + np.random.default_rng(0).normal(0, VOLUME, truth.shape)
    print(f"MNI152 T1, 64³ in the middle, sigma 7 %: noisy {decibel(noisy, truth):.2f} dB")
    seconds = fastest(lambda: filtered(noisy, VOLUME), 2)
    print(f"  {'collaborative':<34} {decibel(filtered(noisy, VOLUME), truth):.2f} dB, {seconds:.2f} s")
    for h in (0.2, 0.3, 0.4, 0.6):
        start = time.perf_counter()
        out = nonlocal_means(noisy, VOLUME, 3, 5, h)
        seconds = time.perf_counter() - start
        print(f"  {f'scikit-image nl_means, h {h} sigma':<34} {decibel(out, truth):.2f} dB, {seconds:.2f} s")


def quality(path: str | None = None) -> None:
    """Print the PSNRs."""
    truth = t1_slice(path)
    if truth is None:
        print("T1 slice: DIPY is not installed and no path was given")
    else:
        gaussian_slice(truth)
        rician_slice(truth)
    volume()


if __name__ == "__main__":
    quality(*sys.argv[1:2])
