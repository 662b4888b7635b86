"""The MRI operations against distributions and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import stats
from scipy.special import gammaln

from monai_medaug.transforms import (
    RandMRIBiasField,
    RandMRIGhosting,
    RandMRIMotion,
    RandMRINoise,
    RandMRINoised,
    RandMRIUndersampling,
)
from tests.notices import unsaid

ALL = [
    RandMRIBiasField(prob=1.0),
    RandMRINoise(prob=1.0),
    RandMRINoise(coils=4, prob=1.0),
    *(RandMRIMotion(prob=1.0, trajectory=t) for t in ("step", "drift", "breathing")),
    RandMRIGhosting(prob=1.0),
    *(RandMRIUndersampling(prob=1.0, pattern=p) for p in ("variable_density", "partial_fourier")),
]


def params_of(out: Any) -> dict[str, Any]:
    return out.applied_operations[-1]["extra_info"]["params"]


def phantom(*shape: int) -> torch.Tensor:
    """A textured ellipsoid with zeros around it, (1, *shape)."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    texture = 100 + 30 * torch.sin(7 * axes[0]) * torch.cos(5 * axes[-1])
    return torch.where(torch.stack(axes).square().sum(0) < 0.6, texture, torch.tensor(0.0))[None]


# ---- noise ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snr", [0.5, 2, 5, 20])
def test_one_coil_is_rice_distributed(snr):
    noisy = RandMRINoise(snr=snr, prob=1.0).set_random_state(0)(torch.full((1, 250, 400), 60.0))
    sigma = 60 / snr
    assert stats.kstest(noisy.numpy().ravel(), stats.rice(snr, scale=sigma).cdf).pvalue > 0.01
    assert stats.kstest(noisy.numpy().ravel(), stats.norm(60, sigma).cdf).pvalue < (0.01 if snr < 20 else 1.1)


@pytest.mark.parametrize("coils", [2, 4, 8])
@pytest.mark.parametrize("snr", [1, 4])
def test_more_coils_are_chi_distributed(coils, snr):
    noisy = RandMRINoise(snr=snr, coils=coils, prob=1.0).set_random_state(0)(torch.full((1, 250, 400), 60.0))
    squares = (noisy.double().numpy().ravel() * snr / 60) ** 2
    assert stats.kstest(squares, stats.ncx2(2 * coils, snr**2).cdf).pvalue > 0.01


@pytest.mark.parametrize("coils", [1, 4, 12])
def test_noise_floor(coils):
    """The mean of the background is sigma sqrt(2) Gamma(L + 1/2) / Gamma(L), its second moment 2 L sigma²."""
    image = torch.zeros(1, 400, 400)
    image[:, :100] = 80
    noisy = RandMRINoise(snr=10, coils=coils, prob=1.0, keep_zeros=False).set_random_state(0)(image)[:, 100:].double()
    assert noisy.mean() == pytest.approx(8 * np.sqrt(2) * np.exp(gammaln(coils + 0.5) - gammaln(coils)), rel=0.01)
    assert noisy.square().mean() == pytest.approx(2 * coils * 64, rel=0.01)


def test_the_snr_is_within_its_range():
    transform = RandMRINoise(snr=(5, 40), prob=1.0).set_random_state(0)
    snr = [1 / params_of(transform(MetaTensor(torch.ones(1, 4, 4))))["noise_to_signal"] for _ in range(100)]
    assert 5 <= min(snr) < 8
    assert 37 < max(snr) <= 40


def test_no_two_keys_channels_or_calls_share_noise():
    transform = RandMRINoised(["a", "b"], snr=10, prob=1.0).set_random_state(0)
    image = torch.stack([torch.full((64, 64), v) for v in (100.0, 101.0)])
    fields = [transform({"a": image, "b": image})[k].reshape(2, -1) for _ in range(2) for k in ("a", "b")]
    table = np.corrcoef(torch.cat(fields).numpy())
    assert np.abs(table[~np.eye(8, dtype=bool)]).max() < 0.08


def test_normalised_images_keep_their_scale():
    """The minimum counts as zero: the same noise as before the normalisation; and it is said."""
    image = phantom(64, 64)
    transform = RandMRINoise(snr=10, prob=1.0)
    before = transform.set_random_state(0)(image)
    unsaid()
    with pytest.warns(UserWarning, match="zero"):
        after = transform.set_random_state(0)((image - 50) / 20)
    torch.testing.assert_close(after * 20 + 50, before, atol=1e-3, rtol=1e-4)


# ---- coil field ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(96, 80), (40, 36, 44)])
@pytest.mark.parametrize("figure", [0.1, 0.4, 0.8])
def test_bias_has_the_mean_and_the_extent_asked_for(shape, figure):
    image = phantom(*shape)
    inside = image > 0
    transform = RandMRIBiasField(peak_to_peak=figure, prob=1.0).set_random_state(0)
    fields = []
    for _ in range(10):
        out = transform(image)
        assert (out[~inside] == 0).all()
        factor = (out[inside] / image[inside]).double()
        assert factor.log().mean().abs() < 1e-3
        assert factor.max() - factor.min() == pytest.approx(figure, rel=0.05)
        fields.append(factor.log().numpy())
    table = np.corrcoef(fields)
    assert np.abs(table[~np.eye(10, dtype=bool)]).max() < 0.98


def test_bias_is_smooth():
    factor = RandMRIBiasField(peak_to_peak=0.4, prob=1.0).set_random_state(1)(torch.ones(1, 64, 64, 64))
    log = factor[0].double().log().numpy()
    for axis in range(3):
        assert np.abs(np.diff(log, 4, axis=axis)).max() < 2e-6  # a cubic has no fourth difference
        assert np.abs(np.diff(log, 1, axis=axis)).max() < 0.1


def test_bias_of_thick_slices_is_the_same_in_mm():
    """Every fourth plane of a fine grid lies where the planes of a coarse one lie."""
    transform = RandMRIBiasField(peak_to_peak=0.4, prob=1.0)
    fine = transform.set_random_state(0)(MetaTensor(torch.ones(1, 64, 64, 64), affine=torch.eye(4)))
    coarse = torch.diag(torch.tensor([1.0, 1, 4, 1]))
    coarse[2, 3] = 1.5
    thick = transform.set_random_state(0)(MetaTensor(torch.ones(1, 64, 64, 16), affine=coarse))
    averaged = np.asarray(fine).reshape(1, 64, 64, 16, 4).mean(-1)
    np.testing.assert_allclose(np.asarray(thick), averaged, atol=0.02)
    assert np.asarray(thick).std() > 0.05


def test_bias_does_not_depend_on_the_array_s_orientation():
    affine = torch.diag(torch.tensor([1.0, 1.5, 3, 1]))
    transform = RandMRIBiasField(prob=1.0)
    out = transform.set_random_state(0)(MetaTensor(phantom(24, 28, 20), affine=affine))
    turned = transform.set_random_state(0)(
        MetaTensor(phantom(24, 28, 20).permute(0, 3, 1, 2).flip(1), affine=_flipped(affine[:, [2, 0, 1, 3]], 20))
    )
    np.testing.assert_allclose(np.asarray(turned), np.flip(np.asarray(out).transpose(0, 3, 1, 2), 1), rtol=1e-4)


def _flipped(affine: torch.Tensor, lines: int) -> torch.Tensor:
    out = affine.clone()
    out[:3, 0] *= -1
    out[:3, 3] = affine[:3, 3] + (lines - 1) * affine[:3, 0]
    return out


# ---- motion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trajectory", ["step", "drift", "breathing"])
@pytest.mark.parametrize("shape", [(33, 40), (20, 18, 15), (20, 18, 1)])
def test_no_motion_is_the_identity(trajectory, shape):
    transform = RandMRIMotion(translate_mm=0, rotate_degrees=0, trajectory=trajectory, prob=1.0)
    image = phantom(*shape)
    np.testing.assert_allclose(transform.set_random_state(0)(image), image, atol=1e-5 * 130)


@pytest.mark.parametrize("trajectory", ["step", "drift", "breathing"])
def test_labels_stay_aligned(trajectory):
    """The centroid of a thresholded structure stays within a quarter of a voxel on average, and the image changes."""
    axes = np.meshgrid(*[np.linspace(-1, 1, 96)] * 2, indexing="ij")
    head = np.where((axes[0] / 0.8) ** 2 + (axes[1] / 0.65) ** 2 < 1, 60.0, 0.0)
    head[((axes[0] - 0.2) ** 2 + (axes[1] + 0.15) ** 2) < 0.06] = 160.0
    image = torch.from_numpy(head).float()[None]
    where = np.argwhere(head > 110).mean(0)
    transform = RandMRIMotion(prob=1.0, trajectory=trajectory).set_random_state(0)
    moved, changes = [], []
    for _ in range(50):
        out = transform(image)[0].numpy()
        moved.append(np.linalg.norm(np.argwhere(out > 110).mean(0) - where))
        changes.append(np.abs(out - head).mean())
    assert np.mean(moved) < 0.25
    assert np.mean(changes) > 1


def test_a_jump_of_whole_voxels_against_the_fourier_transform():
    """One jump at a known time along the other axis: lines of two shifted copies, the mean shift taken off."""
    image = phantom(32, 32)
    transform = RandMRIMotion(translate_mm=4, rotate_degrees=0, movements=1, phase_axis=0, prob=1.0)
    out = transform.set_random_state(3)(MetaTensor(image))
    params = params_of(out)
    direction = np.array(params["directions"][0])[1:]
    shift = 4 * direction / np.linalg.norm(direction)
    late = (np.arange(32) + 0.5) / 32 > params["times"][0]
    energy = np.fft.fftshift((np.abs(np.fft.fft(image[0].numpy(), axis=0)) ** 2).sum(1))
    shares = energy**0.25 * np.exp(-((np.arange(32) - 16) ** 2) / 72)
    mean = shift * shares[late].sum() / shares.sum()
    k = np.fft.fftshift(np.fft.fftfreq(32))
    spectrum = np.fft.fftshift(np.fft.fft2(image[0].numpy()))
    for axis in (0, 1):
        moves = np.where(late, shift[axis] - mean[axis], -mean[axis])[:, None]
        spectrum = spectrum * np.exp(-2j * np.pi * moves * (k[:, None] if axis == 0 else k[None]))
    expected = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum)))
    assert np.corrcoef(np.asarray(out)[0].ravel(), expected.ravel())[0, 1] > 0.98  # linear against exact shifts
    assert np.abs(expected - image[0].numpy()).mean() > 0


# ---- lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ghosts", [2, 3, 7])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ghosts_against_the_fourier_transform(ghosts, axis):
    image = phantom(24, 21, 18)
    transform = RandMRIGhosting(
        ghosts=ghosts, intensity=0.4, centre_fraction=0, phase_axis=axis, prob=1.0, keep_zeros=False
    )
    out = transform(image)[0].numpy()
    k = np.round(np.fft.fftfreq(image.shape[1 + axis]) * image.shape[1 + axis]).astype(int)
    weights = np.where((k % ghosts == 0) & (k != 0), 0.6, 1)
    spectrum = np.fft.fft(image[0].double().numpy(), axis=axis)
    expected = np.abs(np.fft.ifft(spectrum * weights.reshape([-1 if a == axis else 1 for a in range(3)]), axis=axis))
    np.testing.assert_allclose(out, expected, atol=1e-3)
    assert np.abs(out - image[0].numpy()).max() > 1


def test_undersampling_loses_detail_and_keeps_the_mean_of_a_line():
    image = phantom(64, 64)
    errors = []
    for acceleration in (1, 2, 4):
        out = RandMRIUndersampling(
            acceleration=acceleration, phase_axis=0, prob=1.0, keep_zeros=False
        ).set_random_state(0)(image)
        errors.append(float((out - image).abs().mean()))
        assert out.sum() >= 0.999 * image.sum()  # the magnitude of a complex image of that mean
    assert errors[0] < 1e-4 < errors[1] < errors[2]


def test_a_drawn_axis_is_each_axis():
    assert RandMRIGhosting().settings() == RandMRIGhosting(phase_axis="in_plane").settings()
    transform = RandMRIGhosting(intensity=0.5, prob=1.0).set_random_state(0)
    image = phantom(24, 24)
    columns = [float((transform(image) - image)[0].sum(0).abs().max()) for _ in range(20)]
    assert min(columns) < max(columns)
    with pytest.raises(ValueError, match="phase_axis"):
        RandMRIGhosting(phase_axis=2, prob=1.0)(image)


# ---- all -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", [(33, 20), (16, 15, 14), (1, 1), (8, 1, 9)])
def test_types_and_shapes(transform, dtype, shape):
    image = (phantom(*shape) * (400 if dtype == torch.uint16 else 10)).to(dtype)
    before = image.clone()
    out = transform.set_random_state(0)(image)
    assert out.dtype == (dtype if dtype.is_floating_point else torch.float32)
    assert out.shape == image.shape
    assert torch.isfinite(out).all()
    assert (out >= 0).all()
    assert torch.equal(image, before)


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("value", [0.0, 5.0, -3.0])
@pytest.mark.filterwarnings("ignore:an MR image with negative values")
def test_constant_images(transform, value):
    assert torch.isfinite(transform(torch.full((1, 12, 10), value))).all()


@pytest.mark.parametrize(
    ("cls", "arguments", "name"),
    [
        (RandMRIBiasField, {"peak_to_peak": -0.1}, "peak_to_peak"),
        (RandMRINoise, {"snr": 0}, "snr"),
        (RandMRINoise, {"coils": 1.5}, "coils"),
        (RandMRIMotion, {"translate_mm": (3, 1)}, "translate_mm"),
        (RandMRIMotion, {"trajectory": "walk"}, "trajectory"),
        (RandMRIMotion, {"movements": 0}, "movements"),
        (RandMRIGhosting, {"ghosts": 1}, "ghosts"),
        (RandMRIGhosting, {"intensity": 1.5}, "intensity"),
        (RandMRIGhosting, {"phase_axis": "row"}, "phase_axis"),
        (RandMRIUndersampling, {"acceleration": 0.5}, "acceleration"),
        (RandMRIUndersampling, {"pattern": "spiral"}, "pattern"),
    ],
)
def test_bad_arguments_are_named(cls, arguments, name):
    with pytest.raises(ValueError, match=name):
        cls(**arguments)
