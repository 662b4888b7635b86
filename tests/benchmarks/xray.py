"""Scatter, exposure and collimation of radiographs, against the nearest that the peers have."""

from __future__ import annotations

import math
from collections.abc import Iterator

from monai.transforms import RandCoarseDropout, RandGaussianNoise, RandShiftIntensity

from monai_medaug.transforms import RandXRayCollimation, RandXRayExposure, RandXRayScatter
from tests.benchmarks.harness import Row
from tests.benchmarks.peers import ellipsoid, medaugmentx, monai, ours, size

PLANE, STACK = (512,) * 2, (128,) * 3
SIGMA = (15.0, 40.0)  # of the haze in pixels, which are of 1 mm
FWHM = tuple(s * math.sqrt(8 * math.log(2)) for s in SIGMA)
BRIGHTER, NOISE = 0.3, 0.02


def rows() -> Iterator[Row]:
    """A radiograph, and a stack of them along the last axis; ours with the quantum noise."""
    for shape in (PLANE, STACK):
        image = ellipsoid(shape, 0.4, 0.0, 0.6)
        yield Row(
            f"scatter, {size(shape)}",
            "MedAugmentX Gaussian haze",
            lambda image=image: medaugmentx(image, ScatterSimulation={"sigma": SIGMA}),
            lambda image=image: ours(RandXRayScatter(fwhm_mm=FWHM, prob=1.0), image),
            0.2,
        )
    image = ellipsoid(PLANE, 0.4, 0.0, 0.6)
    steps = {"BrightnessContrast": {"brightness": BRIGHTER}, "GaussianNoise": {"std": NOISE}}
    both = [RandShiftIntensity(BRIGHTER, prob=1.0), RandGaussianNoise(prob=1.0, std=NOISE)]
    name = f"exposure, {size(PLANE)}"
    yield Row(name, "MONAI shift + noise", lambda: monai(both, image), lambda: ours(RandXRayExposure(prob=1.0), image))
    yield Row(
        name,
        "MedAugmentX shift + noise",
        lambda: medaugmentx(image, **steps),
        lambda: ours(RandXRayExposure(prob=1.0), image),
    )
    field = RandCoarseDropout(1, (350, 350), dropout_holes=False, fill_value=1.0, max_spatial_size=(500, 500), prob=1.0)
    yield Row(
        f"collimation, {size(PLANE)}",
        "MONAI RandCoarseDropout",
        lambda: monai(field, image),
        lambda: ours(RandXRayCollimation(prob=1.0), image),
    )
