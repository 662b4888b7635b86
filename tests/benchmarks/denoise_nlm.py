"""Non-local means: speed against scikit-image and OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.denoise.nlm import non_local_means
from tests.benchmarks.denoise_wavelet import SIGMA, noisy
from tests.benchmarks.harness import Call, Row
from tests.benchmarks.peers import ellipsoid

PLANE, VOLUME = (512, 512), (96, 96, 48)
STRENGTH = {"plane": 0.7, "volume": 0.6}  # ours; scikit-image is at its best a tenth below


def averaged(image: np.ndarray, sigma: float, patch: int, distance: int, strength: float, passes: int) -> np.ndarray:
    tensor = torch.from_numpy(image).float()[None, None]
    return non_local_means(tensor, torch.tensor([sigma]), patch, distance, strength, passes=passes)[0, 0].numpy()


def peer(image: np.ndarray, sigma: float, patch: int, distance: int, strength: float) -> np.ndarray:
    """scikit-image's fast mode, as users have it."""
    from skimage.restoration import denoise_nl_means

    arguments = {"patch_size": patch, "patch_distance": distance, "h": strength * sigma, "sigma": sigma}
    return denoise_nl_means(image, fast_mode=True, **arguments)


def rows() -> Iterator[Row]:
    """One pass with the targets, then both; 512² with patch 7 and distance 10, 96×96×48 with patch 3 and distance 5."""
    for kind, shape, patch, distance, target in (("plane", PLANE, 7, 10, 0.4), ("volume", VOLUME, 3, 5, 0.25)):
        image = noisy(ellipsoid(shape, 0.5, 0.0, 0.1)[0].numpy()).astype(np.float32)
        arguments = (image, SIGMA, patch, distance, STRENGTH[kind])

        def theirs(arguments: tuple = arguments) -> Call:
            import skimage.restoration  # noqa: F401

            return lambda: peer(*arguments)

        paths: list[tuple[str, int, float, Callable[[], AbstractContextManager[Any]]]] = [
            ("1 pass", 1, target, nullcontext),
            ("2 passes", 2, target, nullcontext),
        ]
        if kind == "plane":
            paths.append(("1 pass, torch alone", 1, 2.0, torch_only))
        for name, passes, limit, within in paths:

            def mine(arguments: tuple = arguments, passes: int = passes) -> Call:
                return lambda: averaged(*arguments, passes)

            title = f"non-local means, {name}, {'×'.join(map(str, shape))}"
            yield Row(title, "scikit-image fast", theirs, mine, limit, within=within)
        if kind == "plane":

            def opencv(image: np.ndarray = image, patch: int = patch, distance: int = distance) -> Call:
                import cv2

                eight = np.clip(image * 255, 0, 255).astype(np.uint8)
                return lambda: cv2.fastNlMeansDenoising(eight, None, 20, patch, 2 * distance + 1)

            def single(arguments: tuple = arguments) -> Call:
                return lambda: averaged(*arguments, 1)

            yield Row(f"non-local means, 1 pass, {'×'.join(map(str, shape))}", "OpenCV 8 bit", opencv, single)
