"""Wavelet shrinkage: speed against scikit-image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from monai_medaug.functional.denoise.wavelet_shrinkage import wavelet_shrinkage
from monai_medaug.functional.noise.level import mad_sigma
from monai_medaug.functional.noise.level_rician import rician_sigma
from tests.benchmarks.harness import Call, Row
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

    for name, function in (("MAD", mad_sigma), ("Rician", rician_sigma)):
        image = tensor.abs() if name == "Rician" else tensor
        yield Row(
            f"noise level, {name}, {size(PLANE)}",
            "scikit-image estimate_sigma",
            estimate,
            lambda function=function, image=image: lambda: function(image),
        )
