"""CT dose noise, which is coloured, against white Gaussian noise."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.data import MetaTensor
from monai.transforms import RandGaussianNoise

from monai_medaug.transforms import RandCTDose
from tests.benchmarks.harness import Call, Row

NOISE_HU = 10


def image(*shape: int) -> MetaTensor:
    """A float32 image in HU."""
    return MetaTensor(100 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)))


def ours(*shape: int) -> Call:
    data, transform = image(*shape), RandCTDose(noise_hu=NOISE_HU, prob=1.0).set_random_state(0)
    return lambda: transform(data)


def monai(*shape: int) -> Call:
    data, transform = image(*shape), RandGaussianNoise(prob=1.0, std=NOISE_HU, sample_std=False).set_random_state(0)
    return lambda: transform(data)


def rows() -> Iterator[Row]:
    """128³, 96³ and 512²."""
    for name, shape in (("128³", (128,) * 3), ("96³", (96,) * 3), ("512²", (512, 512))):
        yield Row(
            f"dose noise, {name}",
            "MONAI RandGaussianNoise",
            lambda shape=shape: monai(*shape),
            lambda shape=shape: ours(*shape),
        )
