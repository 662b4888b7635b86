"""CT artefacts and the projection domain of dose, through the public transforms."""

import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.data.utils import list_data_collate

from monai_medaug.functional.ct.acquisition import beam_hardening, hu_change
from monai_medaug.functional.ct.slices import change_slices
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms import (
    Batched,
    RandCTBeamHardening,
    RandCTDose,
    RandCTMotion,
    RandCTRing,
    augmentation_report,
    replay,
)
from monai_medaug.transforms.ct.acquisition import WINDOW
from tests.notices import unsaid

N = 64
Y, X = torch.meshgrid(torch.arange(N) - 31.5, torch.arange(N) - 31.5, indexing="ij")
HEAD = torch.where(X**2 + Y**2 < 26**2, 40.0, -1000.0)
HEAD[(X**2 + Y**2 < 26**2) & (X**2 + Y**2 > 22**2)] = 900.0
ALL = [
    RandCTDose(domain="projection", dose_fraction=0.2, prob=1.0),
    RandCTMotion(shift_mm=3, rotate_degrees=2, prob=1.0),
    RandCTBeamHardening(amount=1, prob=1.0),
    RandCTRing(gain=0.01, prob=1.0),
]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_slices_lie_across_the_scanner_axis_whatever_the_array_order(transform):
    """The same head with its slices along the first and the last array axis gives the same volume."""
    volume = torch.stack([HEAD, HEAD + 10, HEAD - 10], dim=-1)[None]
    last = MetaTensor(volume, affine=torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0])).double())
    swap = torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [4, 0, 0, 0], [0, 0, 0, 1]]).double()
    first = MetaTensor(volume.permute(0, 3, 1, 2), affine=swap)
    a, b = (transform.set_random_state(3)(x).as_tensor() for x in (last, first))
    torch.testing.assert_close(a.permute(0, 3, 1, 2), b, atol=1e-2, rtol=0)
    assert float((a - volume).abs().max()) > 1


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_padding_stays_and_nothing_is_undefined(transform):
    image = torch.where(X**2 + Y**2 < 31**2, HEAD, -3024.0)[None].to(torch.int16)
    out = transform.set_random_state(0)(image)
    assert out.dtype == torch.float32
    assert torch.equal(out[image == -3024], torch.full_like(out[image == -3024], -3024))
    assert bool(torch.isfinite(out).all())


def test_dose_report_and_slices():
    volume = MetaTensor(torch.stack([HEAD, HEAD], dim=-1)[None])
    transform = RandCTDose(domain="projection", dose_fraction=(0.1, 0.5), prob=1.0).set_random_state(0)
    out = transform(volume)
    noise = (out - volume).as_tensor()[0]
    centre = X**2 + Y**2 < 15**2
    assert abs(float(noise[centre].mean())) < 0.5 * float(noise[centre].std())
    correlation = np.corrcoef(noise[..., 0][centre], noise[..., 1][centre])[0, 1]
    assert correlation == pytest.approx(0.18, abs=0.1)
    params = augmentation_report(out)["steps"][0]["params"]
    assert 0.1 <= params["dose_fraction"] <= 0.5
    assert "noise_hu" not in params


def inserted(spacing: float, thickness: float, kernel: str = "standard") -> np.ndarray:
    """Noise in the middle of a water disc of 200 mm, of 4 slices at half of 5e5 photons."""
    n = round(230 / spacing)
    place = (torch.arange(n) - (n - 1) / 2) * spacing
    disc = torch.where(place[:, None] ** 2 + place**2 < 100**2, 0.0, -1000.0)
    affine = torch.diag(torch.tensor([spacing, spacing, thickness, 1])).double()
    image = MetaTensor(disc[None, ..., None].repeat(1, 1, 1, 4), affine=affine)
    dose = RandCTDose(domain="projection", dose_fraction=0.5, electronic_noise=0, kernel=kernel, prob=1.0)
    noise = (dose.set_random_state(1)(image) - image).numpy()[0]
    middle = slice(n // 2 - round(30 / spacing), n // 2 + round(30 / spacing))
    return noise[middle, middle]


@pytest.mark.parametrize(
    ("spacing", "thickness", "kernel"),
    [(0.6, 3.0, "standard"), (1.0, 3.0, "standard"), (3.0, 3.0, "standard"), (1.0, 1.0, "soft"), (0.8, 3.0, "sharp")],
)
def test_photons_per_mm2_give_the_noise_of_filtered_back_projection(spacing, thickness, kernel):
    """The closed form for the centre of a disc, whatever the pixels, within 8 %.

    With N photons per mm of detector in all views the variance is ``pi² exp(p) / N`` times the integral of ``f² W(f)²``
    over all frequencies, here with ``W = 2^-((f / h)^1.5)``.
    """
    half = {"soft": 0.275, "standard": 0.336, "sharp": 0.57}[kernel]
    f = np.linspace(0, 6 * half, 5001)
    integral = 2 * np.trapezoid((f * 2 ** -((f / half) ** 1.5)) ** 2, f)
    per_mm = 5e5 * thickness * 1000  # of all views
    length = 2 * np.mean(np.sqrt(100**2 - np.linspace(0, 21, 50) ** 2))
    sigma = 1000 / 0.0192 * np.pi * np.sqrt(np.exp(0.0192 * length) / per_mm * integral)
    assert inserted(spacing, thickness, kernel).std() == pytest.approx(sigma, rel=0.08)


@pytest.mark.parametrize(("spacing", "frequency"), [(0.8, 0.373), (3.0, 0.112)])
def test_noise_inserted_in_the_sinogram_has_the_spectrum_of_the_image_domain(spacing, frequency):
    noise = inserted(spacing, 3.0)
    n = len(noise)
    power = np.mean(np.abs(np.fft.fft2(noise - noise.mean((0, 1)), axes=(0, 1))) ** 2, axis=2)
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n, spacing)] * 2))
    disc = f < 0.5 / spacing
    assert (f * power)[disc].sum() / power[disc].sum() == pytest.approx(frequency, rel=0.1)


# ---- crops -----------------------------------------------------------------------------------------------------

SIDE = torch.arange(256) - 127.5
TRUNK = torch.where((1.6 * SIDE / 110)[:, None] ** 2 + (1.6 * SIDE / 160) ** 2 < 1, 50.0, -1000.0)[None]
MIDDLE = (slice(None), slice(88, 168), slice(88, 168))  # 128 mm
MM = torch.diag(torch.tensor([1.6, 1.6, 1.0, 1.0])).double()


def crop_of_a_trunk() -> MetaTensor:
    return MetaTensor(TRUNK[MIDDLE].clone(), affine=MM)


def test_noise_in_a_crop_is_that_of_the_whole_body():
    dose = RandCTDose(domain="projection", dose_fraction=0.1, prob=1.0)
    whole, crop = MetaTensor(TRUNK, affine=MM), crop_of_a_trunk()
    of_whole = float((dose.set_random_state(0)(whole) - whole).as_tensor()[MIDDLE].std())
    of_crop = float((dose.set_random_state(0)(crop) - crop).as_tensor().std())
    assert of_crop == pytest.approx(of_whole, rel=0.25)


@pytest.mark.parametrize("transform", [ALL[0], ALL[1], ALL[2]], ids=lambda t: type(t).__name__)
def test_a_crop_in_a_batch_is_changed_as_alone_and_said_once(transform):
    padded = torch.nn.functional.pad(HEAD[None], (8, 8, 8, 8), value=-1000.0)
    crop, head = crop_of_a_trunk(), MetaTensor(padded, affine=MM)
    unsaid()
    with pytest.warns(UserWarning, match="tissue touches the border of a CT slice"):
        batch = Batched(transform).set_random_state(5)(list_data_collate([head, crop]))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="tissue touches")
        transform.set_random_state(5)
        for i, image in enumerate((head, crop)):
            torch.testing.assert_close(batch[i].as_tensor(), transform(image).as_tensor(), atol=2e-3, rtol=0)


def test_old_records_replay_without_a_body_and_with_half_rings():
    crop = crop_of_a_trunk()
    crop[:, :20, 30:50] = 900.0
    for transform, moved in ((RandCTRing(gain=0.01, prob=1.0), "turn_degrees"), (ALL[2], "body_mm")):
        report = augmentation_report(transform.set_random_state(0)(crop))
        new = replay(crop, report).as_tensor()
        params = report["steps"][0]["params"]
        assert moved in params
        for name in ("aside", "turn_degrees", "body_mm", "views", "beyond"):
            params.pop(name, None)
        old = replay(crop, report).as_tensor()
        assert float((old - new).abs().max()) > 1
        grid = VoxelGrid((80, 80), MM.tolist())
        expected = change_slices(crop.as_tensor()[None], [grid], as_before(transform, params))
        torch.testing.assert_close(old, expected[0], atol=1e-3, rtol=0)


def as_before(transform, params):
    """The change that the first version made."""

    def hardened(stack):
        return lambda some: beam_hardening(stack.slices[some], torch.tensor(params["amount"]), stack.beam, WINDOW)

    def ringed(stack):
        beam = stack.beam
        generator = torch.Generator().manual_seed(params["seed"])
        error, count = torch.zeros(beam.width), round(0.1 * beam.width)
        off = torch.randperm(beam.width, generator=generator)[:count]
        error[off] = params["gain"] * torch.randn(count, generator=generator)
        gain = error * (1 - 0.2 * (torch.linspace(0, 1, beam.views)[:, None] < params["onset"]))
        return lambda some: hu_change(-torch.log1p(gain)[None, None], beam, WINDOW)

    return ringed if isinstance(transform, RandCTRing) else hardened


def test_half_the_views_harden_alike():
    """Within 1 HU in soft tissue of an old record's 360 views, where the change has a deviation of several HU."""
    head = torch.nn.functional.interpolate(HEAD[None, None], scale_factor=4, mode="bilinear")[0]
    image = MetaTensor(head, affine=torch.diag(torch.tensor([0.8, 0.8, 1, 1])).double())
    report = augmentation_report(RandCTBeamHardening(amount=1, prob=1.0)(image))
    new = replay(image, report).as_tensor()
    assert report["steps"][0]["params"].pop("views") == 180
    old = replay(image, report).as_tensor()
    soft = (head > 0) & (head < 100)
    assert float((old - head)[soft].std()) > 2
    assert 0 < float((new - old)[soft].square().mean().sqrt()) < 1


def test_bad_arguments_are_named():
    for make, name in (
        (lambda: RandCTDose(domain="fourier"), "domain"),
        (lambda: RandCTDose(domain="projection", kernel="white"), "kernel"),
        (lambda: RandCTDose(domain="projection", dose_fraction=(0, 1)), "dose_fraction"),
    ):
        with pytest.raises(ValueError, match=name):
            make()
