"""Exposure of radiographs, against the statistics of counted photons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core.batch import Batched
from monai_medaug.transforms import augmentation_report, replay
from monai_medaug.transforms.xray import Radiograph, RandXRayExposure, RandXRayScatter

from .shared import AIR, DEPTH, radiograph, scale, seeded, steps


def exposed(data: Any, seed: int = 0, **arguments: Any) -> Any:
    return seeded(
        RandXRayExposure, data, seed, **{"factor": 1.0, "photons": math.inf, "mtf50": 1000, **scale(data), **arguments}
    )


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 20, 21), (2, 8, 9, 5)])
def test_exposure_one_with_infinite_photons_is_the_identity(shape, dtype, inverted):
    image = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 250).to(dtype)
    out = exposed(image, inverted=inverted)
    assert torch.equal(out, image.to(out.dtype))


@pytest.mark.parametrize("factor", [0.7, 1.0, 2.0])
@pytest.mark.parametrize("photons", [1e4, 1e5])
def test_noise_in_the_logarithm(factor, photons):
    """Variance 1 / (a photons T), behind every step of the wedge; the mean follows the exposure."""
    levels = (AIR, 1.0, 2.0, 4.0)
    out = exposed(steps(*levels), factor=factor, photons=photons, read_noise=0, compensate=False)
    for i, p in enumerate(levels):
        part = out[0, :, 200 * i : 200 * (i + 1)].double()
        variance = math.exp(p) / (factor * photons)
        assert float(part.var()) == pytest.approx(variance, rel=0.05)
        assert float(part.mean()) == pytest.approx(
            p - math.log(factor) + variance / 2, abs=5 * math.sqrt(variance) / 200
        )


def test_counts_are_those_of_poisson():
    """Mean, variance and skewness of the counts at 20 photons and less."""
    for mean in (6, 20, 100):
        image = torch.full((1, 700, 700), AIR)
        image[0, 0, 0] = DEPTH
        out = exposed(image, photons=mean, read_noise=0, value_range=(0, DEPTH)).double().numpy().ravel()[1:]
        counts = mean * np.exp(-out)
        assert counts.mean() == pytest.approx(mean, rel=0.005)
        assert counts.var() == pytest.approx(mean, rel=0.02)
        assert ((counts - mean) ** 3).mean() / counts.std() ** 3 == pytest.approx(mean**-0.5, rel=0.1)


def test_read_noise_adds_in_photons():
    """At T = exp(-4) and 1e4 photons, 30 electrons rms outweigh the quantum noise of 13.5."""
    out = exposed(steps(AIR, 4), photons=1e4, read_noise=30)[0, :, 200:].double()
    expected = 1e4 * math.exp(-4)
    counts = 1e4 * torch.exp(-out)
    assert float(counts.var()) == pytest.approx(expected + 30**2, rel=0.05)


def test_exposure_shifts_the_display_unless_the_detector_compensates():
    image = torch.linspace(0, 1000, 400).reshape(1, 20, 20)
    shift = -math.log(0.5) * 1000 / DEPTH
    film = {"factor": 0.5, "compensate": False}
    torch.testing.assert_close(exposed(image, **film), image + shift)
    torch.testing.assert_close(exposed(image, **film, inverted=True), image - shift)
    torch.testing.assert_close(exposed(image, factor=0.5), image)
    noisy = exposed(steps(AIR, 4), factor=0.5, photons=1e4, read_noise=0)[..., :200]
    assert float(noisy.var()) == pytest.approx(2e-4, rel=0.05)
    assert float(noisy.mean()) == pytest.approx(1e-4, abs=5e-4)


def test_monochrome1_is_the_same_beam():
    image = 4000 * torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(1))
    image[0, 0, :2] = torch.tensor([0.0, 4000.0])
    plain = exposed(image, factor=0.8, photons=1e3)
    mirrored = exposed(4000 - image, factor=0.8, photons=1e3, inverted=True)
    torch.testing.assert_close(4000 - mirrored, plain, atol=0.05, rtol=0)


def test_a_stated_range_makes_crops_alike():
    image = torch.linspace(0, 1000, 400).reshape(1, 20, 20)
    whole = exposed(image, factor=0.7, compensate=False, value_range=(0, 1000))
    assert torch.equal(exposed(image[:, 5:9], factor=0.7, compensate=False, value_range=(0, 1000)), whole[:, 5:9])
    torch.testing.assert_close(whole, exposed(image, factor=0.7, compensate=False))


@pytest.mark.parametrize("inverted", [False, True])
def test_uint16_extremes(inverted):
    image = np.array([0, 1, 32768, 65534, 65535, 40000], np.uint16).reshape(1, 2, 3)
    out = exposed(image, factor=0.5, photons=1.0, read_noise=50, inverted=inverted)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.abs(out).max() < 2.5 * 65535  # 200 photons where one is expected: ln 200 = 5.3 of a scale of 4


def test_noise_is_each_samples_own_and_the_batch_is_its_samples():
    images = 1000 * torch.rand(3, 1, 40, 44, generator=torch.Generator().manual_seed(2))
    together = Batched(RandXRayExposure(prob=1.0)).set_random_state(3)(images)
    alone = RandXRayExposure(prob=1.0).set_random_state(3)
    for i in range(3):
        torch.testing.assert_close(together[i], alone(images[i]), atol=1e-3, rtol=0)
    constant = torch.linspace(0, 1000, 1600).reshape(1, 40, 40)
    noise = [(exposed(constant, s, photons=1e3) - constant).ravel() for s in (0, 1)]
    assert abs(float(torch.corrcoef(torch.stack(noise))[0, 1])) < 0.1


def test_photons_are_drawn_evenly_in_the_logarithm():
    transform = RandXRayExposure().set_random_state(0)
    drawn = np.log10([transform.draw()["quantum_noise"] ** -2.0 for _ in range(2000)])
    assert 4.3 < drawn.min() < 4.32
    assert 6.29 < drawn.max() < 6.302
    assert drawn.mean() == pytest.approx(5.3, abs=0.05)


@pytest.mark.parametrize("value", [0, -5.5, 1000])
def test_a_constant_image_passes(value):
    image = np.full((1, 9, 8), value, np.float32)
    np.testing.assert_array_equal(exposed(image, factor=0.5, photons=100.0), image)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"factor": 0}, "factor"),
        ({"factor": (1.3, 0.7)}, "factor"),
        ({"photons": 0.5}, "photons"),
        ({"photons": (1e3, math.inf)}, "photons"),
        ({"read_noise": -1}, "read_noise"),
        ({"max_attenuation": 0}, "max_attenuation"),
        ({"inverted": "MONOCHROME1"}, "inverted"),
        ({"value_range": (5, 5)}, "value_range"),
        ({"mtf50": 0}, "mtf50"),
    ],
)
def test_bad_exposures_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        RandXRayExposure(**arguments)


def test_a_real_radiograph_of_16_bit():
    """MONOCHROME1 of 874..26479: less exposure lowers the stored values and makes the dark, thick parts noisy."""
    image = radiograph()
    out = exposed(image, factor=0.5, photons=1e3, inverted=True, compensate=False)
    clean = exposed(image, factor=0.5, inverted=True, compensate=False)
    assert image.dtype == np.uint16
    assert np.isfinite(out).all()
    extent = float(image.max()) - float(image.min())
    np.testing.assert_allclose(clean, image - math.log(2) * extent / DEPTH, atol=0.01)
    thick = image < np.quantile(image, 0.2)
    thin = image > np.quantile(image, 0.8)
    assert np.std((out - clean)[thick]) > 2 * np.std((out - clean)[thin])


def test_spatial_metadata_survives():
    affine = torch.diag(torch.tensor([0.2, 0.2, 1, 1], dtype=torch.float64))
    out = exposed(MetaTensor(torch.rand(1, 8, 8), affine=affine), photons=1e3)
    assert torch.equal(out.affine, affine)


def test_half_the_exposure_is_half_the_photons():
    photons = 100 + 900 * torch.rand(1, 16, 16)
    half = RandXRayExposure(factor=0.5, photons=math.inf, compensate=False, linear=True, prob=1.0)(photons)
    torch.testing.assert_close(half, photons / 2)


@pytest.mark.parametrize("spacing", [(0.14, 0.14), (0.7, 0.7), (2.0, 1.0)])
def test_photons_are_counted_on_the_area_of_a_pixel(spacing):
    """The relative noise of 1 mm² is that of the photons, whatever the pixels it is divided into."""
    affine = torch.diag(torch.tensor([*spacing, 1, 1], dtype=torch.float64))
    image = MetaTensor(torch.full((1, 400, 400), 1.0), affine=affine)
    known = {"value_range": (0, DEPTH), "photons": 1e5, "read_noise": 0}
    for mtf50 in (1000, 1.3):
        noise = exposed(image, mtf50=mtf50, **known).as_tensor()[0].double() - 1
        size = [max(1, round(8 / s)) for s in spacing]
        blocks = [n // m for n, m in zip(noise.shape, size, strict=True)]
        cut = noise[: blocks[0] * size[0], : blocks[1] * size[1]]
        means = cut.unflatten(0, (-1, size[0])).unflatten(2, (-1, size[1])).mean((1, 3))
        area = size[0] * spacing[0] * size[1] * spacing[1]
        tolerance = 4 / math.sqrt(2 * means.numel())
        assert float(means.std()) == pytest.approx(math.sqrt(math.e / 1e5 / area), rel=max(tolerance, 0.06))


def test_noise_of_default_exposures_is_that_of_real_radiographs():
    """Behind soft tissue (p = 2.5), in grey levels of 255 and pixels of 0.7 mm: 0.2 to 2, where 1e3 photons make 10."""
    affine = torch.diag(torch.tensor([0.7, 0.7, 1, 1], dtype=torch.float64))
    image = MetaTensor(torch.full((1, 64, 64), 2.5 / DEPTH * 255), affine=affine)
    levels = [float(seeded(RandXRayExposure, image, s, value_range=(0, 255)).std()) for s in range(30)]
    assert 0.1 < min(levels) < 0.5
    assert 1 < max(levels) < 3


def test_fine_pixels_have_correlated_noise():
    affine = torch.diag(torch.tensor([0.14, 0.14, 1, 1], dtype=torch.float64))
    image = MetaTensor(torch.full((1, 200, 200), 1.0), affine=affine)
    noise = seeded(RandXRayExposure, image, value_range=(0, DEPTH)).as_tensor()[0] - 1
    noise = noise / noise.std()
    assert 0.6 < float((noise * noise.roll(1, 0)).mean()) < 0.9


@pytest.mark.parametrize("compensate", [True, False])
@pytest.mark.parametrize("operation", [RandXRayExposure, RandXRayScatter])
def test_shutters_stay_black(operation, compensate):
    image = Radiograph.example(2).repeat(1, 3, 3) + 10
    image[:, :9] = 0
    image[:, :, -4:] = 0
    for inverted in (False, True):
        given = 4000 - image if inverted else image
        out = seeded(operation, given, inverted=inverted, compensate=compensate, value_range=(0, 4000))
        assert torch.equal(out[:, :9], given[:, :9])
        assert torch.equal(out[..., -4:], given[..., -4:])
        assert not torch.equal(out, given)


def test_a_record_of_an_earlier_version_replays_as_it_was():
    """Photons per pixel, white noise, and noise on black too."""
    image = MetaTensor(steps(0, 1, 4, size=60), affine=torch.diag(torch.tensor([0.2, 0.2, 1, 1], dtype=torch.float64)))
    report = augmentation_report(seeded(RandXRayExposure, image, photons=1e4, read_noise=0))
    del report["steps"][0]["params"]["mtf50"]
    noise = replay(image, report).as_tensor() - image.as_tensor()
    for i, p in enumerate((0, 1, 4)):
        factor = report["steps"][0]["params"]["factor"]
        part = noise[0, :, 60 * i : 60 * (i + 1)]
        assert float(part.std()) == pytest.approx(math.sqrt(math.exp(p) / 1e4 / factor), rel=0.1)
