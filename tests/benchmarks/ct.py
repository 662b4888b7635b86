"""CT artefacts made in the sinogram, against what the peers draw into the picture: the price of the physics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.transforms import RandGaussianNoise

from monai_medaug.transforms import RandCTBeamHardening, RandCTDose, RandCTMetal, RandCTMotion, RandCTRing
from tests.benchmarks.harness import Row
from tests.benchmarks.peers import ellipsoid, medaugmentx, monai, ours, size

PLANE = (512,) * 2
NOISE_HU = 10


def slice_in_hu() -> torch.Tensor:
    """Soft tissue with two bones in air."""
    image = ellipsoid(PLANE, 30.0, -1000.0, 20)
    image[:, 240:280, 150:190] = image[:, 240:280, 320:360] = 800
    return image


def rows() -> Iterator[Row]:
    """512², no targets: no peer traces a ray."""
    image = slice_in_hu()
    dose = RandCTDose(domain="projection", dose_fraction=0.25, prob=1.0)
    yield Row(
        f"dose in the sinogram, {size(PLANE)}",
        "MONAI white noise",
        lambda: monai(RandGaussianNoise(prob=1.0, std=NOISE_HU), image),
        lambda: ours(dose, image),
    )
    theirs = {
        "dose in the sinogram": (dose, "white noise", "GaussianNoise", {"std": NOISE_HU}),
        "motion": (
            RandCTMotion(shift_mm=3, rotate_degrees=2, prob=1.0),
            "mean of poses",
            "MRIMotion",
            {"degrees": 2, "translation": 3},
        ),
        "metal": (RandCTMetal(rods=2, prob=1.0), "star burst", "MetalStreak", {"num_sources": 2}),
        "beam hardening": (RandCTBeamHardening(prob=1.0), "radial bowl", "BeamHardening", {}),
        "ring": (RandCTRing(prob=1.0), "grid stripes", "GridArtifact", {}),
    }
    for name, (transform, how, step, arguments) in theirs.items():
        yield Row(
            f"{name}, {size(PLANE)}",
            f"MedAugmentX {how}",
            lambda step=step, arguments=arguments: medaugmentx(image, **{step: arguments}),
            lambda transform=transform: ours(transform, image),
        )
