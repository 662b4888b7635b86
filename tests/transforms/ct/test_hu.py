"""The CT operations: windows, contrast and dose noise, against formulas written out here."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import (
    HUWindow,
    HUWindowd,
    RandCTDose,
    RandCTDosed,
    RandHUContrast,
    RandHUWindow,
    augmentation_report,
    replay,
)

PRESETS = {
    "lung": (1500, -600),
    "soft_tissue": (400, 40),
    "brain": (80, 40),
    "bone": (1800, 400),
    "liver": (150, 30),
    "mediastinum": (350, 50),
}
HU = torch.tensor([-3024.0, -1000.0, -700.0, -30.0, 0.0, 37.5, 41.0, 120.0, 900.0, 3071.0]).reshape(1, 2, 5)


def windowed(hu: np.ndarray, width: float, center: float, low: float = 0, high: float = 1) -> np.ndarray:
    return low + (high - low) * np.clip((hu - (center - width / 2)) / width, 0, 1)


def params_of(out: Any) -> dict[str, Any]:
    return out.applied_operations[-1]["extra_info"]["params"]


# ---- windows and contrast ------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("out_range", [(0, 1), (-1, 1), (0, 255)])
def test_presets(preset, out_range):
    width, center = PRESETS[preset]
    expected = windowed(HU.numpy(), width, center, *out_range)
    for window in (HUWindow(preset=preset, out_range=out_range), HUWindow(center, width, out_range=out_range)):
        np.testing.assert_allclose(window(HU).numpy(), expected, atol=1e-4)
    assert 0 < (expected == out_range[0]).sum() < HU.numel()


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.float64])
def test_window_of_other_types(dtype):
    image = torch.arange(0, 120, 10).reshape(1, 3, 4).to(dtype)
    out = HUWindow(center=50, width=80)(image)
    assert out.dtype == (dtype if dtype.is_floating_point else torch.float32)
    np.testing.assert_allclose(out.numpy(), windowed(image.double().numpy(), 80, 50), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({}, "preset"),
        ({"center": 40}, "width"),
        ({"preset": "kidney"}, "preset"),
        ({"preset": "lung", "width": 10}, "excludes"),
        ({"center": 0, "width": 0}, "width"),
        ({"preset": "lung", "out_range": (1, 0)}, "out_range"),
    ],
)
def test_bad_windows_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        HUWindow(**arguments)


def test_random_window_is_the_recorded_one():
    transform = RandHUWindow().set_random_state(0)
    centers, widths = [], []
    for _ in range(50):
        out = transform(MetaTensor(HU))
        params = params_of(out)
        np.testing.assert_allclose(
            out.numpy(), windowed(HU.numpy(), params["width_hu"], params["center_hu"]), atol=1e-5
        )
        centers.append(params["center_hu"])
        widths.append(params["width_hu"])
    for values, low, high in ((centers, -100, 100), (widths, 200, 400)):
        assert low <= min(values) < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < max(values) <= high


@pytest.mark.parametrize("pivot", [0, 50])
def test_contrast_is_the_recorded_factor_about_the_pivot(pivot):
    transform = RandHUContrast(factor=(0.5, 2.0), pivot_hu=pivot, prob=1.0).set_random_state(1)
    for _ in range(5):
        out = transform(MetaTensor(HU))
        factor = params_of(out)["factor"]
        assert 0.5 <= factor <= 2
        above = np.maximum(HU.numpy() - pivot, 0)
        excess = np.where(above < 100, above**2 / 200, above - 50)
        expected = HU.numpy() + (factor - 1) * excess
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_contrast_acts_on_bone_and_iodine_alone(factor):
    """Means over noise of 20 HU: water, lung and fat within 2 HU; bone and enhanced vessels by the factor."""
    noise = 20 * torch.randn(20000, generator=torch.Generator().manual_seed(0))
    change = RandHUContrast(factor=factor, prob=1.0)
    for tissue in (-950.0, -850.0, -600.0, -100.0, 0.0, 40.0):
        image = (tissue + noise).reshape(1, 100, 200)
        assert abs(float((change(image) - image).mean())) < 2
    for tissue in (250.0, 1000.0):
        image = (tissue + noise).reshape(1, 100, 200)
        assert float((change(image) - image).mean()) == pytest.approx((factor - 1) * (tissue - 50), rel=0.01)


@pytest.mark.parametrize("factor", [0.05, 0.5, 3.0])
def test_contrast_keeps_the_order_of_values(factor):
    ramp = torch.linspace(-1024, 3071, 4096)[None, None]
    assert bool((RandHUContrast(factor=factor, prob=1.0)(ramp).diff() > 0).all())


def test_an_old_contrast_record_replays_as_it_was_made():
    image = MetaTensor(torch.tensor([[[-600.0, -100.0, 40.0, 500.0]]]))
    report = augmentation_report(RandHUContrast(factor=1.15, prob=1.0)(image))
    del report["steps"][0]["params"]["dense_only"]
    old = replay(image, report).as_tensor()
    torch.testing.assert_close(old, torch.tensor([[[-600 - 0.5 * 90, -115.0, 46.0, 575.0]]]))


def test_contrast_of_one_changes_nothing():
    torch.testing.assert_close(RandHUContrast(factor=1, prob=1.0)(HU), HU)


@pytest.mark.parametrize("padding", [-2048, -3024])
@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@pytest.mark.parametrize("transform", [RandHUContrast(factor=1.3, prob=1.0), RandCTDose(noise_hu=10, prob=1.0)])
def test_padding_values_are_kept(transform, dtype, padding):
    image = torch.full((1, 24, 24, 8), 40).to(dtype)
    image[:, :6] = padding
    out = transform.set_random_state(0)(image)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert (out[:, :6] == padding).all()
    assert (out[:, 6:] != 40).all()
    assert out[:, 6:].min() > -100


# ---- dose noise ----------------------------------------------------------------------------------------------


def noise_of(shape: tuple[int, ...], affine: Any = None, seed: int = 0, value: float = 0.0, **arguments: Any):
    """What RandCTDose adds to a constant image of ``shape`` = (C, ...)."""
    image = torch.full(shape, value, dtype=torch.float64)
    data = image if affine is None else MetaTensor(image, affine=torch.as_tensor(affine))
    out = RandCTDose(prob=1.0, **arguments).set_random_state(seed)(data)
    return np.asarray(out) - value


@pytest.mark.parametrize("noise_hu", [1, 12.3, 60])
@pytest.mark.parametrize("kernel", ["soft", "standard", "sharp", "white"])
@pytest.mark.parametrize("shape", [(1, 512, 512), (1, 101, 303), (1, 160, 128, 12)])
def test_sigma_is_the_one_asked_for(shape, kernel, noise_hu):
    """Within 2 %, and the mean is zero."""
    noise = noise_of(shape, np.diag([0.4, 0.4, 2, 1]), kernel=kernel, noise_hu=noise_hu, value=40)
    assert noise.std() == pytest.approx(noise_hu, rel=0.02)
    assert np.abs(noise.mean()) < 0.01 * noise_hu


def radial_spectrum(noise: np.ndarray, spacing: tuple[float, float], bins: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in cycles per mm and mean power of slices (rows, columns, N), up to the coarser Nyquist."""
    rows, columns = noise.shape[:2]
    power = (np.abs(np.fft.fft2(noise, axes=(0, 1))) ** 2).mean(-1) / (rows * columns)
    frequency = np.hypot(np.fft.fftfreq(rows, spacing[0])[:, None], np.fft.fftfreq(columns, spacing[1])[None])
    edges = np.linspace(0, 0.5 / max(spacing), bins + 1)
    place = np.digitize(frequency.ravel(), edges) - 1
    chosen = (place >= 0) & (place < bins) & (frequency.ravel() > 0)
    counts = np.bincount(place[chosen], minlength=bins)
    means = [np.bincount(place[chosen], v.ravel()[chosen], bins) / counts for v in (frequency, power)]
    return means[0], means[1]


@pytest.mark.parametrize("spacing", [(0.25, 0.25), (0.5, 0.5), (0.3, 0.5)])
@pytest.mark.parametrize(("kernel", "half"), [("soft", 0.275), ("standard", 0.336)])
def test_spectrum_as_designed(spacing, kernel, half):
    """Radially averaged: |f| W² with W of a half at so many cycles per mm, within 6 % of the peak."""
    noise = noise_of((1, 160, 144, 48), np.diag([*spacing, 3, 1]), kernel=kernel, noise_hu=10, slice_correlation=0)
    frequency, power = radial_spectrum(noise[0], spacing)
    design = frequency * 4 ** -((frequency / half) ** 1.5)
    scale = (power @ design) / (design @ design)
    np.testing.assert_allclose(power / (scale * design.max()), design / design.max(), atol=0.06)
    assert power[frequency > 4 * half].sum() < 1e-3 * power.sum()


def test_a_record_of_version_0_1_0_replays():
    """Its kernel was a share of the pixel's Nyquist frequency."""
    image = MetaTensor(torch.zeros(1, 6, 5, 3), affine=torch.diag(torch.tensor([0.5, 0.8, 2.0, 1.0])))
    params = {"noise_hu": 10.0, "seed": 1249426360, "kernel": "standard", "slice_correlation": 0.1}
    report = json.loads(augmentation_report(RandCTDose(prob=1.0)(image)).to_json())
    report["steps"][0]["params"] = params
    expected = [14.755650, 2.894454, 14.618941, 22.528358, -8.295423, -14.554457, -22.849569, -16.700218]
    np.testing.assert_allclose(replay(image, report).flatten()[::12], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (
            {"noise_hu": 10.0, "cutoff_per_mm": 0.9, "slice_correlation": 0.1, "floor_hu": -1024.0},
            [-3.6544, -0.9883, 5.7705, -4.3564, -1.4755, 10.6008, 7.223, 4.5898],
        ),
        (
            {"dose_fraction": 0.2, "photons": 1e6, "electronic_noise": 5, "body_mm": 280.0},
            [-0.395, -1.6913, 1.9739, 0.6767, -2.4442, 1.0961, 0.8632, -0.1296],
        ),
        (
            {"dose_fraction": 0.2, "photons": 1e6, "electronic_noise": 5, "kernel": "sharp"},
            [-1.7531, -2.9596, 3.7743, 3.2845, -4.5118, 3.2911, 0.8224, 1.2233],
        ),
    ],
    ids=["image", "projection", "projection without body"],
)
def test_records_without_a_thickness_replay(params, expected):
    """Of slices that correlate by a number, photons per ray and a detector's own window."""
    y, x = np.meshgrid(np.arange(24) - 11.5, np.arange(20) - 9.5, indexing="ij")
    disc = np.where(y**2 + (1.2 * x) ** 2 < 90, 40.0, -1000.0).astype(np.float32)
    image = MetaTensor(
        np.repeat(disc[None, ..., None], 3, -1), affine=torch.diag(torch.tensor([2, 2.4, 5, 1])).double()
    )
    domain = "image" if "noise_hu" in params else "projection"
    report = json.loads(augmentation_report(RandCTDose(prob=1.0, domain=domain)(image)).to_json())
    report["steps"][0]["params"] = {"seed": 1249426360, "kernel": "standard"} | params
    np.testing.assert_allclose((replay(image, report) - image).flatten()[::181], expected, atol=2e-3)


def test_the_white_kernel_is_white():
    noise = noise_of((1, 128, 128, 32), kernel="white", noise_hu=5, slice_correlation=0)
    _, power = radial_spectrum(noise[0], (1, 1))
    np.testing.assert_allclose(power, 25, rtol=0.06)


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.3, 0.5])
def test_slices_correlate_as_asked(correlation):
    """Neighbours within 0.02, others not at all."""
    noise = noise_of((1, 128, 128, 24), slice_correlation=correlation, noise_hu=10)[0]
    table = np.corrcoef(noise.reshape(-1, 24).T)
    for lag, expected in ((1, correlation), (2, 0), (3, 0)):
        assert np.diagonal(table, lag).mean() == pytest.approx(expected, abs=0.02)
    assert noise.std() == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize(
    ("spacing", "arguments", "expected"),
    [
        (5.0, {}, (0.18, 0)),
        (1.0, {}, (0.18, 0)),
        (0.5, {}, (0.67, 0.18)),
        (2.5, {"thickness_mm": 5}, (0.67, 0.18)),
        (5.0, {"thickness_mm": 2.5}, (0, 0)),
        (2.5, {"thickness_mm": 5, "kernel": "white"}, (0.67, 0.18)),
        (0.5, {"slice_correlation": 0}, (0, 0)),
    ],
)
def test_slices_correlate_as_their_profiles_overlap(spacing, arguments, expected):
    """Whatever the number of slices in a piece; nothing from four slices on."""
    noise = noise_of((1, 96, 112, 40), np.diag([0.8, 0.8, spacing, 1]), noise_hu=10, **arguments)[0]
    table = np.corrcoef(noise.reshape(-1, 40).T)
    for lag, value in zip((1, 2, 4), (*expected, 0), strict=True):
        assert np.diagonal(table, lag).mean() == pytest.approx(value, abs=0.03)
    assert noise.std() == pytest.approx(10, rel=0.02)


def test_no_two_slices_channels_keys_or_samples_share_their_noise():
    transform = RandCTDosed(["a", "b"], prob=1.0, noise_hu=10, slice_correlation=0).set_random_state(0)
    image = torch.zeros(2, 64, 64, 12)
    image[1] = 1  # equal channels are one image
    fields = []
    for _ in range(2):
        out = transform({"a": image, "b": image})
        fields += [np.moveaxis(out[k].numpy(), -1, 1).reshape(24, -1) for k in ("a", "b")]
    table = np.corrcoef(np.concatenate(fields))
    assert table.shape == (96, 96)
    assert np.abs(table[~np.eye(96, dtype=bool)]).max() < 0.15  # 4096 pixels: about 0.02 standard error


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [1, -1])
def test_slices_lie_across_the_axis_nearest_to_the_scanners(axis, sign):
    """The noise of a slice has mean zero; sections along the other axes have not."""
    order = [a for a in range(3) if a != axis]
    affine = np.zeros((4, 4))
    affine[2, axis], affine[0, order[0]], affine[1, order[1]], affine[3, 3] = sign * 3, 1, 1, 1
    affine[1, axis] = 0.9  # a tilted gantry
    noise = noise_of((1, 40, 36, 44), affine, noise_hu=10, kernel="white")[0]
    spreads = [np.abs(noise.mean(axis=tuple(b for b in range(3) if b != a))).max() for a in range(3)]
    assert spreads[axis] < 1e-4
    assert min(np.delete(spreads, axis)) > 1e-3


def test_without_affine_slices_lie_across_the_last_axis():
    noise = noise_of((1, 40, 36, 44), noise_hu=10, kernel="white")[0]
    assert np.abs(noise.mean(axis=(0, 1))).max() < 1e-4 < np.abs(noise.mean(axis=(0, 2))).max()


def test_noise_follows_the_way_of_the_rays_through_the_body():
    """About half as strong in air as in tissue, where it has the level asked for; streaks across the longer way."""
    rows, columns = torch.meshgrid(torch.arange(256) - 127.5, torch.arange(256) - 127.5, indexing="ij")
    body = ((rows * 1.7 / 110) ** 2 + (columns * 1.7 / 160) ** 2 < 1).expand(1, 256, 256)
    image = MetaTensor(torch.where(body, 0.0, -1000.0), affine=torch.diag(torch.tensor([1.7, 1.7, 1, 1])))
    noise = (RandCTDose(noise_hu=5, prob=1.0).set_random_state(0)(image) - image).as_tensor()
    assert float(noise[body].std()) == pytest.approx(5, rel=0.05)
    assert 0.4 < float(noise[~body].std() / noise[body].std()) < 0.65
    centre = noise[0, 100:156, 100:156]
    across, along = ((centre * torch.roll(centre, 1, axis)).mean() for axis in (0, 1))
    assert across < along - 1
    flat = RandCTDose(noise_hu=5, kernel="white", prob=1.0).set_random_state(0)(image) - image
    assert float(flat[~body].std()) == pytest.approx(5, rel=0.05)


@pytest.mark.parametrize(
    ("spacing", "frequency", "neighbours"), [(0.488, 0.401, 0.625), (0.795, 0.345, 0.355), (3.0, 0.11, 0.0)]
)
def test_level_and_mean_frequency_at_the_pixels_of_real_slices(spacing, frequency, neighbours):
    """The level within 2 %, the mean frequency and the neighbours' correlation as measured, within 10 % and 0.1."""
    noise = noise_of((1, 128, 128, 24), np.diag([spacing, spacing, 5, 1]), noise_hu=10)[0]
    assert noise.std() == pytest.approx(10, rel=0.02)
    power = np.mean(np.abs(np.fft.fft2(noise, axes=(0, 1))) ** 2, axis=2)
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128, spacing)] * 2))
    disc = f < 0.5 / spacing
    assert (f * power)[disc].sum() / power[disc].sum() == pytest.approx(frequency, rel=0.1)
    lags = [np.mean(noise * np.roll(noise, 1, axis)) / noise.var() for axis in (0, 1)]
    assert np.mean(lags) == pytest.approx(neighbours, abs=0.1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"noise_hu": 30},
        {"noise_hu": 30, "kernel": "white"},
        {"domain": "projection", "photons": 200, "dose_fraction": 0.1},
    ],
)
def test_no_noise_below_the_floor_that_scanners_store(arguments):
    image = torch.full((1, 64, 64), -1015.0)
    image[:, :16], image[:, 16:32] = -1024, -1500
    image[:, 48:] = 40  # tissue in which the rays get noise
    out = RandCTDose(prob=1.0, **arguments).set_random_state(0)(image)
    assert torch.equal(out[:, :32], image[:, :32])
    assert float(out[:, 32:].min()) == -1024
    assert bool((out[:, 32:] != image[:, 32:]).all())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 16), (1, 16, 1, 8), (1, 16, 16, 1), (2, 5, 7, 3), (1, 2, 2)])
def test_thin_images(shape):
    noise = noise_of(shape, noise_hu=10)
    assert noise.shape == shape
    assert np.isfinite(noise).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"noise_hu": -1}, "noise_hu"),
        ({"noise_hu": (3, 1)}, "noise_hu"),
        ({"kernel": "hard"}, "kernel"),
        ({"slice_correlation": 0.6}, "slice_correlation"),
    ],
)
def test_bad_doses_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        RandCTDose(**arguments)


# ---- what cannot be HU ---------------------------------------------------------------------------------------

CT = [HUWindow(preset="lung"), RandHUWindow(), RandHUContrast(prob=1.0), RandCTDose(prob=1.0)]
RANDOM = np.random.default_rng(0)
Z_SCORED = np.clip(RANDOM.normal(0, 0.4, (1, 12, 12)), -1, 1).astype(np.float32)


@pytest.mark.parametrize("transform", CT, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize(
    "image",
    [
        RANDOM.uniform(0, 1, (1, 12, 12)).astype(np.float32),
        Z_SCORED,
        RANDOM.integers(0, 2, (1, 12, 12, 12)).astype(np.uint8),
        RANDOM.integers(0, 2, (1, 12, 12)).astype(np.uint16),
        RANDOM.integers(-1, 2, (1, 12, 12)).astype(np.int16),
    ],
    ids=["within 0 and 1", "z-scored", "mask", "uint16", "int16"],
)
def test_normalised_images_are_refused(transform, image):
    with pytest.raises(ValueError, match=r"(?s)img.*Hounsfield"):
        transform(image)


@pytest.mark.parametrize("transform", CT, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("value", [0, 1, 0.5, -1, -1000, 40])
def test_a_constant_is_never_refused(transform, value):
    assert np.isfinite(transform(np.full((1, 8, 8, 4), value, np.float32))).all()


@pytest.mark.parametrize("transform", CT, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_reported(transform, bad):
    image = HU.numpy().copy()
    image[0, 1, 2] = bad
    with pytest.raises(ValueError, match="finite"):
        transform(image)


def test_the_error_names_the_key():
    with pytest.raises(ValueError, match="scan"):
        HUWindowd(["scan"], preset="lung")({"scan": Z_SCORED})
