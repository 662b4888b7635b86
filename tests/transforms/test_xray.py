"""Radiographs: exposure, scatter and collimation, against the physics of a beam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core.batch import Batched
from monai_medaug.transforms.xray import Radiograph, RandXRayCollimation, RandXRayExposure, RandXRayScatter

DEPTH = 4.0


def seeded(cls: type, data: Any, seed: int = 0, **arguments: Any) -> Any:
    return cls(**{"prob": 1.0, **arguments}).set_random_state(seed)(data)


def exposed(data: Any, seed: int = 0, **arguments: Any) -> Any:
    return seeded(RandXRayExposure, data, seed, **{"factor": 1.0, "photons": math.inf, **arguments})


def steps(*attenuations: float, size: int = 200) -> torch.Tensor:
    """A wedge of these attenuations, displayed as attenuation itself, (1, size, size * steps)."""
    return torch.cat([torch.full((1, size, size), a) for a in attenuations], 2)


def radiograph(every: int = 4) -> np.ndarray:
    path = pydicom.data.get_testdata_file("RG1_UNCR.dcm", download=False)
    if path is None:
        pytest.skip("needs pydicom-data")
    return np.ascontiguousarray(pydicom.dcmread(path).pixel_array[None, ::every, ::every])


# ---- exposure ------------------------------------------------------------------------------------------------


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
    levels = (0.0, 1.0, 2.0, 4.0)
    out = exposed(steps(*levels), factor=factor, photons=photons, read_noise=0)
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
        image = torch.zeros(1, 700, 700)
        image[0, 0, 0] = DEPTH
        out = exposed(image, photons=mean, read_noise=0, value_range=(0, DEPTH)).double().numpy().ravel()[1:]
        counts = mean * np.exp(-out)
        assert counts.mean() == pytest.approx(mean, rel=0.005)
        assert counts.var() == pytest.approx(mean, rel=0.02)
        assert ((counts - mean) ** 3).mean() / counts.std() ** 3 == pytest.approx(mean**-0.5, rel=0.1)


def test_read_noise_adds_in_photons():
    """At T = exp(-4) and 1e4 photons, 30 electrons rms outweigh the quantum noise of 13.5."""
    out = exposed(steps(0, 4), photons=1e4, read_noise=30)[0, :, 200:].double()
    expected = 1e4 * math.exp(-4)
    counts = 1e4 * torch.exp(-out)
    assert float(counts.var()) == pytest.approx(expected + 30**2, rel=0.05)


def test_exposure_shifts_the_display_unless_the_detector_compensates():
    image = torch.linspace(0, 1000, 400).reshape(1, 20, 20)
    shift = -math.log(0.5) * 1000 / DEPTH
    torch.testing.assert_close(exposed(image, factor=0.5), image + shift)
    torch.testing.assert_close(exposed(image, factor=0.5, inverted=True), image - shift)
    torch.testing.assert_close(exposed(image, factor=0.5, compensate=True), image)
    noisy = exposed(steps(0, 4), factor=0.5, photons=1e4, compensate=True, read_noise=0)[..., :200]
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
    whole = exposed(image, factor=0.7, value_range=(0, 1000))
    assert torch.equal(exposed(image[:, 5:9], factor=0.7, value_range=(0, 1000)), whole[:, 5:9])
    torch.testing.assert_close(whole, exposed(image, factor=0.7))


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
    assert 3 <= drawn.min() < 3.01
    assert 4.99 < drawn.max() <= 5
    assert drawn.mean() == pytest.approx(4, abs=0.05)


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
    ],
)
def test_bad_exposures_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        RandXRayExposure(**arguments)


def test_a_real_radiograph_of_16_bit():
    """MONOCHROME1 of 874..26479: less exposure lowers the stored values and makes the dark, thick parts noisy."""
    image = radiograph()
    out = exposed(image, factor=0.5, photons=1e3, inverted=True)
    clean = exposed(image, factor=0.5, inverted=True)
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


# ---- scatter -------------------------------------------------------------------------------------------------


def scattered(data: Any, seed: int = 0, **arguments: Any) -> Any:
    return seeded(RandXRayScatter, data, seed, **{"photons": math.inf, "fwhm_mm": 30.0, **scale(data), **arguments})


def scale(data: Any) -> dict[str, Any]:
    """The scale of a phantom with a pixel of the full depth, which alone is an outlier."""
    return {"value_range": (0, DEPTH)} if float(np.asarray(data).max()) == DEPTH else {}


def discs(*attenuations: float, size: int = 160) -> torch.Tensor:
    """Discs of these attenuations side by side in an open field, one pixel of depth 4, see `scale`."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    disc = (((y - size / 2) ** 2 + (x - size / 2) ** 2) < (size / 5) ** 2).float()
    image = torch.cat([a * disc for a in attenuations], 1)[None]
    image[0, 0, 0] = DEPTH
    return image


def primary_and_scatter(image: Any, out: Any) -> tuple[np.ndarray, np.ndarray]:
    primary = np.exp(-np.asarray(image, np.float64))
    return primary, np.exp(-np.asarray(out, np.float64)) - primary


@pytest.mark.parametrize("ratio", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("fwhm", [20, 100])
@pytest.mark.parametrize("spacing", [0.2, 1.0, 4.0])
def test_scatter_to_primary_ratio(ratio, fwhm, spacing):
    image = MetaTensor(discs(1.0, 2.5, size=96), affine=torch.diag(torch.tensor([spacing, 2 * spacing, 1, 1]).double()))
    primary, scatter = primary_and_scatter(image, scattered(image, scatter_to_primary=ratio, fwhm_mm=fwhm))
    assert scatter.sum() / primary.sum() == pytest.approx(ratio, rel=0.01)
    assert scatter.min() > -1e-6


def test_ratio_in_each_radiograph_of_a_stack():
    stack = torch.stack([discs(a, size=64)[0] for a in (0.5, 1.0, 3.0)], -1)[None]
    primary, scatter = primary_and_scatter(stack, scattered(stack, scatter_to_primary=0.7))
    np.testing.assert_allclose(scatter.sum((1, 2)) / primary.sum((1, 2)), 0.7, rtol=0.01)
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
    torch.testing.assert_close(level - out, torch.full_like(out, math.log(2)))


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


# ---- collimation ---------------------------------------------------------------------------------------------


def collimated(data: Any, seed: int = 0, **arguments: Any) -> Any:
    settings = {"share": 0.1, "rotate_degrees": 0.0, "edge_mm": 2.0, "leakage": 0.05}
    return seeded(RandXRayCollimation, data, seed, **{**settings, **scale(data), **arguments})


def test_edges_lie_where_they_should():
    """Open inside to 1e-3, leakage outside, half way at the edge, the width of the penumbra in mm."""
    image = torch.zeros(1, 200, 100)
    image[0, 100, 50] = DEPTH
    affine = torch.diag(torch.tensor([0.5, 1.0, 1, 1], dtype=torch.float64))
    field = torch.exp(-collimated(MetaTensor(image, affine=affine)).as_tensor())[0]
    assert float(field[30:90, 15:45].min()) > 0.999
    for outside in (field[:10], field[-10:], field[:, :5], field[:, -5:]):
        torch.testing.assert_close(outside.amax(), torch.tensor(0.05), atol=2e-3, rtol=0)
    line = (field[10:30, 30] - 0.05) / 0.95  # the edge lies at 20 pixels, between the centres of 19 and 20
    assert float(line[9] + line[10]) == pytest.approx(1, abs=1e-4)
    sigma = 2.0 / 2.3548
    assert float(line[10]) == pytest.approx(0.5 * (1 + math.erf(0.25 / sigma / math.sqrt(2))), abs=1e-3)


def test_blades_turn_and_end_at_the_scale():
    image = discs(1.0)
    straight, turned = collimated(image), collimated(image, rotate_degrees=(10, 10))
    assert float((straight[0, 25] - straight[0, 25].median()).abs()[30:130].max()) < 0.2
    edges = [(turned[0, :80, c] - image[0, :80, c] > 1).sum().item() for c in (30, 80, 130)]
    assert abs(edges[0] - edges[2]) == pytest.approx(100 * math.tan(math.radians(10)), abs=2.5)
    assert float(collimated(image, leakage=1e-4).max()) == DEPTH


@pytest.mark.parametrize("inverted", [False, True])
def test_no_blades_and_constants(inverted):
    image = discs(1.0)
    assert torch.equal(collimated(image, leakage=1.0, inverted=inverted), image)
    constant = np.full((1, 9, 8, 3), 7, np.float32)
    np.testing.assert_array_equal(collimated(constant, inverted=inverted), constant)


@pytest.mark.parametrize("cls", [RandXRayExposure, RandXRayScatter, RandXRayCollimation])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 16), (1, 16, 1, 8), (2, 5, 7, 3), (1, 16, 16, 1)])
def test_thin_images(cls, shape):
    out = seeded(cls, torch.rand(shape))
    assert out.shape == shape
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("cls", [RandXRayScatter, RandXRayCollimation])
def test_real_radiographs_stay_finite(cls):
    image = radiograph()
    for seed in range(3):
        out = seeded(cls, image, seed, inverted=True)
        assert np.isfinite(out).all()
        assert not np.array_equal(out, image)


@pytest.mark.parametrize(
    ("cls", "arguments", "name"),
    [
        (RandXRayScatter, {"scatter_to_primary": -1}, "scatter_to_primary"),
        (RandXRayScatter, {"fwhm_mm": 0}, "fwhm_mm"),
        (RandXRayCollimation, {"share": 0.5}, "share"),
        (RandXRayCollimation, {"edge_mm": -1}, "edge_mm"),
        (RandXRayCollimation, {"leakage": 0}, "leakage"),
    ],
)
def test_other_bad_arguments_are_named(cls, arguments, name):
    with pytest.raises(ValueError, match=name):
        cls(**arguments)


@pytest.mark.parametrize("make", [RandXRayExposure, RandXRayScatter, RandXRayCollimation])
def test_photons_and_their_logarithm_are_one_image(make):
    """What is done to raw detector data is what is done to the display image made of them."""
    p = RandXRayExposure.example(2) / 1000  # 0..4
    photons = 5000 * torch.exp(-p)
    arguments = {"photons": 1e4} if make is not RandXRayCollimation else {}
    shown = make(prob=1.0, value_range=(0, 4), **arguments).set_random_state(0)(p)
    counted = make(prob=1.0, linear=True, value_range=(0, 5000), **arguments).set_random_state(0)(photons)
    torch.testing.assert_close(-torch.log(counted / 5000), shown, rtol=0, atol=2e-4)
    own = make(prob=1.0, linear=True, **arguments).set_random_state(0)(photons)
    torch.testing.assert_close(own, counted, rtol=0, atol=5.0)
    with pytest.raises(ValueError, match="inverted must be False"):
        make(linear=True, inverted=True)
    with pytest.raises(ValueError, match="linear must be True or False"):
        make(linear=1)


def test_half_the_exposure_is_half_the_photons():
    photons = 100 + 900 * torch.rand(1, 16, 16)
    half = RandXRayExposure(factor=0.5, photons=math.inf, linear=True, prob=1.0)(photons)
    torch.testing.assert_close(half, photons / 2)


# ---- the scale and the channels ------------------------------------------------------------------------------


OPERATIONS = (RandXRayExposure, RandXRayScatter, RandXRayCollimation)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("value", [-9000.0, 60000.0])
def test_one_hot_pixel_changes_little_else(operation, value):
    image = Radiograph.example(2).repeat(1, 4, 4)
    hot = image.clone()
    hot[0, 5, 5] = value
    runs = [seeded(operation, x) for x in (image, hot)]
    change = (runs[1] - runs[0]).abs()
    change[0, 5, 5] = 0
    assert float(change.max()) < 20  # of 4000; with the pixel's range it is some hundred


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_radiograph_stored_in_colour_gets_one_noise(operation, dtype):
    grey = (Radiograph.example(2) / 16).to(dtype)
    out = seeded(operation, grey.repeat(3, 1, 1))
    assert torch.equal(out, seeded(operation, grey).repeat(3, 1, 1))
    batch = torch.stack([grey.repeat(3, 1, 1), torch.cat([grey, grey.flip(1), grey])])
    together = Batched(operation(prob=1.0)).set_random_state(0)(batch)
    alone = operation(prob=1.0).set_random_state(0)
    assert all(torch.equal(a, alone(b)) for a, b in zip(together, batch, strict=True))
    assert torch.equal(together[0, 0], together[0, 2])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_opacity_is_refused_and_other_channels_are_said(operation, monkeypatch):
    grey = Radiograph.example(2)
    with pytest.raises(ValueError, match="last is constant"):
        seeded(operation, torch.cat([grey, grey, grey, torch.full_like(grey, 255.0)]))
    monkeypatch.setattr("monai_medaug.core.tensors._said", set())
    with pytest.warns(UserWarning, match="different channels"):
        seeded(operation, torch.cat([grey, grey.flip(1)]))
