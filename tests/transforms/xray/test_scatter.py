"""Scatter of radiographs, against the physics of a beam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core.batch import Batched
from monai_medaug.transforms import augmentation_report, replay
from monai_medaug.transforms.xray import RandXRayCollimation, RandXRayScatter

from .shared import AIR, DEPTH, discs, scale, seeded


def scattered(data: Any, seed: int = 0, **arguments: Any) -> Any:
    return seeded(
        RandXRayScatter,
        data,
        seed,
        **{"photons": math.inf, "fwhm_mm": 30.0, "mtf50": 1000, "compensate": False, **scale(data), **arguments},
    )


def primary_and_scatter(image: Any, out: Any) -> tuple[np.ndarray, np.ndarray]:
    primary = np.exp(-np.asarray(image, np.float64))
    return primary, np.exp(-np.asarray(out, np.float64)) - primary


@pytest.mark.parametrize("ratio", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("fwhm", [20, 100])
@pytest.mark.parametrize("spacing", [0.2, 1.0, 4.0])
def test_scatter_to_primary_ratio(ratio, fwhm, spacing):
    image = MetaTensor(discs(1.0, 2.5, size=96), affine=torch.diag(torch.tensor([spacing, 2 * spacing, 1, 1]).double()))
    primary, scatter = primary_and_scatter(image, scattered(image, scatter_to_primary=ratio, fwhm_mm=fwhm))
    behind = np.asarray(image) > 0.1
    assert scatter[behind].sum() / primary[behind].sum() == pytest.approx(ratio, rel=0.01)
    assert scatter.min() > -1e-6


def test_ratio_in_each_radiograph_of_a_stack():
    stack = torch.stack([discs(a, size=64)[0] for a in (0.5, 1.0, 3.0)], -1)[None]
    primary, scatter = primary_and_scatter(stack, scattered(stack, scatter_to_primary=0.7))
    behind = np.asarray(stack) > 0.1
    np.testing.assert_allclose((scatter * behind).sum((1, 2)) / (primary * behind).sum((1, 2)), 0.7, rtol=0.01)
    alone = scattered(stack[..., 1], scatter_to_primary=0.7, value_range=(0, DEPTH))
    torch.testing.assert_close(scattered(stack, scatter_to_primary=0.7)[..., 1], alone, atol=1e-5, rtol=0)


def test_haze_follows_the_object():
    """More about a thick object than a thin one, least in the open field; a mere blur would be brightest there."""
    primary, scatter = primary_and_scatter(discs(0.2, 1.5), scattered(discs(0.2, 1.5), scatter_to_primary=0.5))
    middle = scatter[0, 80]
    assert middle[240] > 1.8 * middle[80]
    assert middle[240] > 1.5 * middle[190] > 1.5 * middle[159]
    assert scatter[0, 155, 5] < 0.05 * middle[240]
    ratio = scatter / primary
    assert ratio[0, 80, 240] > 5 * ratio[0, 80, 80]


def test_wider_kernels_are_smoother_and_millimetres_count():
    def roughness(fwhm: float, spacing: float) -> float:
        image = MetaTensor(discs(1.0), affine=torch.diag(torch.tensor([spacing, spacing, 1, 1]).double()))
        _, scatter = primary_and_scatter(image, scattered(image, fwhm_mm=fwhm, scatter_to_primary=0.5))
        return float(np.abs(np.diff(scatter, axis=-1)).max() / scatter.mean())

    assert roughness(20, 1) > 1.5 * roughness(40, 1) > 1.5 * roughness(80, 1)
    assert roughness(40, 2) == pytest.approx(roughness(20, 1), rel=1e-3)


def test_scatter_brings_its_own_noise():
    image = discs(1.5)
    clean, noisy = (scattered(image, scatter_to_primary=1.0, photons=n) for n in (math.inf, 1e4))
    part = np.s_[0, 70:90, 70:90]
    total, difference = np.exp(-clean[part].double().numpy()), (noisy - clean)[part].double().numpy()
    scatter = total - np.exp(-1.5)
    assert (difference * total).var() == pytest.approx(scatter.mean() / 1e4, rel=0.25)
    assert torch.isfinite(noisy).all()


def test_scatter_takes_contrast_and_compensation_keeps_the_brightness():
    image = discs(1.5)
    out, level = (scattered(image, scatter_to_primary=1.0, compensate=c) for c in (False, True))
    assert float(out[0, 80, 80] - out[0, 5, 80]) < 0.7 * 1.5
    behind = image > 0.1
    assert float(level[behind].mean()) == pytest.approx(float(image[behind].mean()), abs=1e-3)
    torch.testing.assert_close(level - out, (level - out).mean().expand_as(out), atol=1e-5, rtol=0)


@pytest.mark.parametrize("inverted", [False, True])
def test_scatter_of_nothing(inverted):
    constant = np.full((1, 9, 8), 7, np.float32)
    np.testing.assert_array_equal(scattered(constant, inverted=inverted, photons=100.0), constant)
    image = discs(1.0)
    assert torch.equal(scattered(image, scatter_to_primary=0.0), image)


def test_scatter_of_a_batch_is_that_of_its_samples():
    images = torch.stack([discs(0.5, 3.0, size=60), discs(2.0, 1.0, size=60), discs(1.0, 1.0, size=60)])
    affines = [torch.diag(torch.tensor([s, s, 1, 1], dtype=torch.float64)) for s in (0.3, 1.0, 4.0)]
    batch = MetaTensor(images, affine=torch.stack(affines))
    batch.is_batch = True
    for cls in (RandXRayScatter, RandXRayCollimation):
        together = Batched(cls(prob=1.0)).set_random_state(3)(batch)
        alone = cls(prob=1.0).set_random_state(3)
        for i in range(3):
            single = alone(MetaTensor(images[i], affine=affines[i])).as_tensor()
            torch.testing.assert_close(together[i].as_tensor(), single, atol=4e-6, rtol=0)


@pytest.mark.parametrize("air", [20, 200])
def test_the_open_field_does_not_count(air):
    """The same body before little and much air, or beside a shutter, gets about the same scatter."""
    body = discs(1.0, size=100)
    wide = torch.full((1, 100 + air, 100 + air), AIR)
    wide[:, :100, :100] = body
    closed = torch.where(wide > AIR, wide, torch.zeros(()))
    given = {"scatter_to_primary": 1.0, "value_range": (0, DEPTH)}
    changes = [(scattered(image, **given) - image)[:, 40:60, 40:60] for image in (body, wide, closed)]
    torch.testing.assert_close(changes[1], changes[0], atol=0.05, rtol=0)
    torch.testing.assert_close(changes[2], changes[0], atol=0.05, rtol=0)


def test_film_gets_darker_and_not_black():
    """Half of the image is air, as in real radiographs: at a ratio of 2 the body keeps a third of its level."""
    image = discs(3.0)
    out = scattered(image, scatter_to_primary=2.0)
    assert 0.3 * 3 < float(out[0, 70:90, 70:90].mean()) < 0.9 * 3


def test_a_record_of_an_earlier_version_replays_with_the_ratio_of_the_whole():
    image = MetaTensor(discs(1.5, size=80))
    film = {"photons": math.inf, "compensate": False, "value_range": (0, DEPTH)}
    report = augmentation_report(seeded(RandXRayScatter, image, scatter_to_primary=0.5, **film))
    del report["steps"][0]["params"]["mtf50"]
    primary, scatter = primary_and_scatter(image, replay(image, report))
    assert scatter.sum() / primary.sum() == pytest.approx(0.5, rel=0.01)
    report["steps"][0]["params"]["compensate"] = True
    level = replay(image, report).as_tensor() + torch.log(torch.from_numpy(primary + scatter)).float()
    torch.testing.assert_close(level, torch.full_like(level, math.log(1.5)), atol=1e-3, rtol=0)
