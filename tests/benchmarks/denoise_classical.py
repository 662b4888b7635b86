"""Gaussian, median and bilateral kernels against OpenCV's and scipy's bare calls, on CT values with noise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.transforms import GaussianSmooth, MedianSmooth
from scipy.ndimage import gaussian_filter, median_filter

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.denoise.bilateral import bilateral_smooth
from monai_medaug.functional.denoise.median import median_smooth
from monai_medaug.functional.denoise.smoothing import gaussian_smooth
from tests.benchmarks.harness import Call, Row
from tests.benchmarks.peers import ellipsoid, monai

PLANE, VOLUME = (512, 512), (96, 96, 48)
WIDTH, DIAMETER, RANGE, SPACE = 2.0, 9, 75.0, 3.0


def body(shape: tuple[int, ...]) -> torch.Tensor:
    """Soft tissue with noise in air, (1, *shape)."""
    return ellipsoid(shape, 0.0, -1000.0, 100)


def gaussian(shape: tuple[int, ...], name: str) -> Iterator[Row]:
    image = body(shape)
    widths = torch.full((1, len(shape)), WIDTH)

    def mine() -> Call:
        return lambda: gaussian_smooth(image[None], widths)

    def opencv() -> Call:
        import cv2

        taps = 2 * int(4 * WIDTH + 0.5) + 1
        return lambda: cv2.GaussianBlur(image[0].numpy(), (taps, taps), WIDTH, borderType=cv2.BORDER_REPLICATE)

    if len(shape) == 2:
        yield Row(name, "OpenCV", opencv, mine)
    yield Row(name, "scipy", lambda: lambda: gaussian_filter(image[0].numpy(), WIDTH, mode="nearest"), mine)
    yield Row(name, "MONAI GaussianSmooth", lambda: monai([GaussianSmooth(WIDTH)], image), mine)


def median(shape: tuple[int, ...], name: str, size: int, target: float) -> Iterator[Row]:
    image = body(shape)

    def mine() -> Call:
        return lambda: median_smooth(image[None], size)

    def opencv() -> Call:
        import cv2

        return lambda: cv2.medianBlur(image[0].numpy(), size)

    def scipys() -> Call:
        return lambda: median_filter(image[0].numpy(), size, mode="nearest")

    if len(shape) == 2:
        yield Row(name, "OpenCV", opencv, mine, target)
        yield Row(name, "scipy", scipys, mine)
    else:
        yield Row(name, "scipy", scipys, mine, target)
    yield Row(name, "MONAI MedianSmooth", lambda: monai([MedianSmooth(size // 2)], image), mine)


def bilateral(shape: tuple[int, ...], name: str, target: float) -> Iterator[Row]:
    image = body(shape)
    reach, space = torch.tensor([RANGE]), torch.full((1, len(shape)), SPACE)

    def mine() -> Call:
        return lambda: bilateral_smooth(image[None], DIAMETER, reach, space)

    def opencv() -> Call:
        import cv2

        plane = image[0].numpy()
        return lambda: cv2.bilateralFilter(plane, DIAMETER, RANGE, SPACE, borderType=cv2.BORDER_REPLICATE)

    def scikit_image() -> Call:
        from skimage.restoration import denoise_bilateral

        plane = image[0].numpy() + 1000  # it refuses negative values
        return lambda: denoise_bilateral(plane, DIAMETER, sigma_color=RANGE, sigma_spatial=SPACE, mode="edge")

    yield Row(name, "OpenCV", opencv, mine, target)
    yield Row(f"{name}, torch alone", "OpenCV", opencv, mine, within=torch_only)
    yield Row(name, "scikit-image", scikit_image, mine)


def rows() -> Iterator[Row]:
    """512² and 96×96×48."""
    yield from gaussian(PLANE, "Gaussian σ 2, 512²")
    yield from gaussian(VOLUME, "Gaussian σ 2, 96×96×48")
    yield from median(PLANE, "median 5×5, 512²", 5, 1.5)
    yield from median(VOLUME, "median 3³, 96×96×48", 3, 0.3)
    yield from bilateral(PLANE, "bilateral d 9, 512²", 1.3)
