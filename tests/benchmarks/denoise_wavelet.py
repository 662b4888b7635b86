"""Wavelet shrinkage: speed against scikit-image, and PSNR on the protocols."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from monai_medaug.functional.noise_level import mad_sigma, noise_map
from monai_medaug.functional.noise_level_rician import rician_sigma
from monai_medaug.functional.wavelet_shrinkage import wavelet_shrinkage
from tests.benchmarks.harness import Call, Row, time_table
from tests.benchmarks.peers import ellipsoid, size

SIGMA = 25 / 255
SHIFTS = 3  # max_shifts of 3 along two axes: 16 shifts
VOLUME, PLANE = (128,) * 3, (512,) * 2


def noisy(clean: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """White Gaussian noise of seed 0."""
    return clean + np.random.default_rng(0).normal(0, sigma, clean.shape)


def cycle_spun(image: np.ndarray, shifts: int = SHIFTS, **arguments: object) -> np.ndarray:
    """BayesShrink averaged over shifts, as users of scikit-image have it."""
    from skimage.restoration import cycle_spin, denoise_wavelet

    settings = {"sigma": SIGMA, "wavelet": "db4", "wavelet_levels": 3, "method": "BayesShrink", **arguments}
    return cycle_spin(image, func=denoise_wavelet, max_shifts=shifts, func_kw=settings, workers=1)


def shrunk(image: np.ndarray, **arguments: object) -> np.ndarray:
    tensor = torch.from_numpy(image).float()[None, None]
    return wavelet_shrinkage(tensor, torch.tensor([SIGMA]), **arguments)[0, 0].numpy()  # type: ignore[arg-type]


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    return -10 * math.log10(np.mean((image.astype(np.float64) - clean) ** 2))


def rows() -> Iterator[Row]:
    """512² with the target; estimates of the noise and a volume without."""
    plane = noisy(ellipsoid(PLANE, 0.5, 0.0, 0.1)[0].numpy()).astype(np.float32)
    tensor, sigma = torch.from_numpy(plane)[None, None], torch.tensor([SIGMA])

    def theirs() -> Call:
        cycle_spun(plane[:16, :16])
        return lambda: cycle_spun(plane)

    for method, wavelet, target in (
        ("translation_invariant", "haar", 0.3),
        ("translation_invariant", "db4", 0.3),
        ("bayes", "db4", 0.3),
        ("universal", "db4", None),
    ):

        def mine(method: str = method, wavelet: str = wavelet) -> Call:
            return lambda: wavelet_shrinkage(tensor, sigma, method, wavelet)

        yield Row(f"wavelet {method} {wavelet}, {size(PLANE)}", "scikit-image, 16 shifts", theirs, mine, target)

    volume = torch.from_numpy(noisy(ellipsoid(VOLUME, 0.5, 0.0, 0.1)[0].numpy()).astype(np.float32))[None, None]

    for wavelet in ("haar", "db4"):

        def single(wavelet: str = wavelet) -> Call:
            from skimage.restoration import denoise_wavelet

            return lambda: denoise_wavelet(volume[0, 0].numpy(), sigma=SIGMA, wavelet=wavelet, wavelet_levels=3)

        def in_3d(wavelet: str = wavelet) -> Call:
            return lambda: wavelet_shrinkage(volume, sigma, wavelet=wavelet)

        yield Row(f"wavelet translation_invariant {wavelet}, {size(VOLUME)}", "scikit-image, 1 shift", single, in_3d)

    def estimate() -> Call:
        from skimage.restoration import estimate_sigma

        return lambda: estimate_sigma(plane)

    for name, function in (("MAD", mad_sigma), ("Rician", rician_sigma), ("map", noise_map)):
        image = tensor.abs() if name == "Rician" else tensor
        yield Row(
            f"noise level, {name}, {size(PLANE)}",
            "scikit-image estimate_sigma",
            estimate,
            lambda function=function, image=image: lambda: function(image),
        )


def protocol_images(t1_slice: Path | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Images in 0..1: nilearn's T1 and pydicom-data's radiograph; DIPY's T1 slice if its path is given."""
    import pydicom
    from nilearn.datasets import load_mni152_template
    from pydicom.data import get_testdata_file

    images = {
        "MNI T1": load_mni152_template(resolution=1).get_fdata()[:, :, 90],
        "radiograph": pydicom.dcmread(get_testdata_file("RG1_UNCR.dcm")).pixel_array[500:1012, 600:1112],
    }
    if t1_slice is not None:
        images = {"DIPY T1": np.load(t1_slice), **images}
    for name, image in images.items():
        scaled = image.astype(np.float64) - image.min()
        yield name, scaled / scaled.max()


def quality(t1_slice: Path | None = None) -> list[dict[str, object]]:
    """PSNR at σ 25/255, seed 0, σ given."""
    results: list[dict[str, object]] = []
    for name, clean in protocol_images(t1_slice):
        image = noisy(clean)
        found = {
            "noisy": image,
            "universal db4": shrunk(image, method="universal"),
            "bayes db4": shrunk(image, method="bayes"),
            "bayes db4, decimated": shrunk(image, method="bayes", stationary=False),
            "translation-invariant haar": shrunk(image),
            "translation-invariant haar, 5 levels": shrunk(image, levels=5),
            "translation-invariant db4": shrunk(image, wavelet="db4"),
            "scikit-image BayesShrink, 16 shifts": cycle_spun(image),
        }
        for method, out in found.items():
            results.append({"image": name, "method": method, "psnr": psnr(out, clean)})
            print(f"{name:<12} {method:<38} {results[-1]['psnr']:7.2f} dB", flush=True)
    return results


if __name__ == "__main__":
    time_table(rows(), 7)
    quality(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
