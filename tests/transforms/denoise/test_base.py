"""The denoisers as transforms: scale and borders kept, noise levels recorded, Rician data, guides; on real images."""

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from pydicom.data import get_testdata_file

from monai_medaug.transforms import (
    Batched,
    BilateralDenoise,
    CollaborativeDenoise,
    GaussianDenoise,
    GaussianDenoised,
    LowPassDenoise,
    MedianDenoise,
    NonLocalMeansDenoise,
    NonLocalMeansDenoised,
    RandCTDose,
    WaveletDenoise,
    augmentation_report,
    replay,
)
from tests.scan_files import real_scan

DENOISERS = {
    "gaussian": GaussianDenoise,
    "low-pass": LowPassDenoise,
    "median": MedianDenoise,
    "bilateral": BilateralDenoise,
    "nlm": NonLocalMeansDenoise,
    "wavelet": WaveletDenoise,
    "collaborative": CollaborativeDenoise,
}
STRONG = ("nlm", "wavelet", "collaborative")
everyone = pytest.mark.parametrize("name", DENOISERS)


def phantom(shape, scale=1000.0):
    """A smooth body with sharp parts before an empty background, 0..scale."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    square = torch.stack(axes).square().sum(0)
    body = 0.5 + 0.2 * torch.cos(3 * axes[0]) + 0.3 * ((axes[0] - 0.3).abs() < 0.2) * (axes[-1].abs() < 0.3)
    return (scale * body * (square < 0.7))[None]


def noisy(image, sigma, seed=0, rician=False):
    generator = torch.Generator().manual_seed(seed)
    real = image + sigma * torch.randn(image.shape, generator=generator)
    return torch.hypot(real, sigma * torch.randn(image.shape, generator=generator)) if rician else real


def psnr(a, b):
    return float(20 * torch.log10((b.max() - b.min()) / (a - b).square().mean().sqrt()))


@everyone
@pytest.mark.parametrize("shape", [(33, 40), (12, 14, 16), (20, 24, 1), (5, 7), (1, 9)])
@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_a_constant_stays_to_its_corners(name, shape, noise):
    for value in (-1000.0, 0.0, 400.0) if noise == "gaussian" else (0.0, 400.0):
        out = DENOISERS[name](noise=noise)(torch.full((1, *shape), value))
        assert out.shape == (1, *shape)
        assert float((out - value).abs().max()) < 1e-3


@everyone
def test_hu_and_offset_are_kept(name):
    image = noisy(phantom((48, 40)), 30)
    moved = DENOISERS[name]()(image - 1024)
    torch.testing.assert_close(moved, DENOISERS[name]()(image) - 1024, rtol=0, atol=0.05)
    whole = (image - 1024).round().to(torch.int16)
    out = DENOISERS[name]()(whole)
    assert out.dtype == torch.float32
    assert float((out - moved).abs().mean()) < 1


@everyone
@pytest.mark.parametrize("shape", [(64, 60), (24, 22, 20)], ids=["2D", "3D"])
def test_noise_goes_and_the_image_stays(name, shape):
    clean = phantom(shape)
    image = noisy(clean, 60 if name in STRONG else 250)
    gained = psnr(DENOISERS[name]()(image), clean) - psnr(image, clean)
    assert gained > (4 if name in STRONG else 0.5)


@everyone
@pytest.mark.parametrize("shape", [(257, 131), (40, 36, 1), (1, 40, 36), (31, 17, 9)])
def test_any_size(name, shape):
    out = DENOISERS[name]()(noisy(phantom(shape), 20))
    assert out.shape == (1, *shape)
    assert out.isfinite().all()


@everyone
def test_a_volume_of_one_slice_is_that_slice(name):
    slice_ = noisy(phantom((40, 36)), 30)
    for axis in (1, 2, 3):
        volume = DENOISERS[name]()(slice_.unsqueeze(axis))
        torch.testing.assert_close(volume.squeeze(axis), DENOISERS[name]()(slice_), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", STRONG)
def test_a_noiseless_image_is_not_smeared(name):
    flat_parts = torch.where(phantom((64, 60)) > 0, 100.0, 0.0) + 50 * (phantom((64, 60)) > 900)
    for clean in (phantom((64, 60)), flat_parts, phantom((30, 28, 26)).gt(0) * 100.0):
        for arguments in ({"sigma": 0}, {}, {"noise": "rician"}):
            assert psnr(DENOISERS[name](**arguments)(clean), clean) >= 60


@everyone
def test_nan_is_refused_with_count_and_place(name):
    image = phantom((16, 16))
    image[0, 3, 4] = image[0, 5, 6] = float("nan")
    with pytest.raises(ValueError, match=r"2 NaN or Inf values, the first at index \(0, 3, 4\)"):
        DENOISERS[name]()(image)


@pytest.mark.parametrize("name", STRONG)
def test_the_noise_level_is_estimated_and_recorded(name):
    image = MetaTensor(noisy(phantom((128, 120)), 40))
    step = augmentation_report(DENOISERS[name]()(image))["steps"][0]
    assert step["params"]["sigma"] == "estimated"
    assert abs(step["figures"]["noise_level"] / 40 - 1) < 0.08
    given = augmentation_report(DENOISERS[name](sigma=25)(image))["steps"][0]
    assert given["figures"]["noise_level"] == 25
    out = DENOISERS[name]()(image)
    assert torch.equal(replay(image, augmentation_report(out)).as_tensor(), out.as_tensor())


@pytest.mark.parametrize("name", STRONG)
def test_the_residual_of_a_flat_image_is_white(name):
    image = noisy(torch.full((1, 128, 128), 500.0), 20)
    residual = (image - DENOISERS[name](sigma=20)(image))[0].numpy()
    residual = residual - residual.mean()
    for axis in (0, 1):
        a, b = np.delete(residual, 0, axis), np.delete(residual, -1, axis)
        assert abs((a * b).mean() / residual.var()) < 0.05


@everyone
def test_float16(name):
    image = noisy(phantom((32, 30), 1.0), 0.05).half()
    out = DENOISERS[name]()(image)
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.float(), DENOISERS[name]()(image.float()), rtol=0, atol=2e-3)


@everyone
def test_channels_are_filtered_alone(name):
    first, second = noisy(phantom((40, 36)), 30), noisy(phantom((40, 36)).flip(1), 60, seed=1)
    both = DENOISERS[name]()(torch.cat([first, second]))
    torch.testing.assert_close(both[:1], DENOISERS[name]()(first), rtol=0, atol=1e-2)
    torch.testing.assert_close(both[1:], DENOISERS[name]()(second), rtol=0, atol=1e-2)


@pytest.mark.parametrize("name", STRONG)
@pytest.mark.parametrize("noise", ["rician", "rician_squared"])
def test_rician_noise_leaves_no_floor(name, noise):
    clean = phantom((96, 92), 1.0)
    image = noisy(clean, 0.05, rician=True)
    out = DENOISERS[name](noise=noise, sigma=0.05)(image)
    background = clean == 0
    assert float(image[background].mean()) > 0.06
    assert float(out[background].mean()) < 0.05 * 0.2
    plain = DENOISERS[name](sigma=0.05)(image)
    assert psnr(out, clean) > psnr(plain, clean) + 3
    level = augmentation_report(DENOISERS[name](noise=noise)(MetaTensor(image)))["steps"][0]["figures"]
    assert abs(level["noise_level"] / 0.05 - 1) < 0.1


def test_a_guide_gives_the_weights():
    clean = phantom((64, 60))
    flair, t1 = noisy(clean, 120), noisy(700 - 0.6 * clean, 10, seed=1)
    data = {"flair": MetaTensor(flair), "t1": MetaTensor(t1)}
    guided = NonLocalMeansDenoised("flair", guide_key="t1")
    out = guided(data)
    assert torch.equal(out["t1"].as_tensor(), t1)
    assert psnr(out["flair"], clean) > psnr(NonLocalMeansDenoised("flair")(data)["flair"], clean) + 0.3
    report = augmentation_report(out)
    assert torch.equal(replay(data, report)["flair"].as_tensor(), out["flair"].as_tensor())
    batch = Batched(guided)(list_data_collate([data, data]))
    torch.testing.assert_close(batch["flair"][1].as_tensor(), out["flair"].as_tensor(), rtol=0, atol=1e-2)
    with pytest.raises(KeyError, match="'t1' of the guide"):
        guided({"flair": data["flair"]})
    with pytest.raises(ValueError, match="'t1' must have the shape"):
        guided({**data, "t1": data["t1"][:, 1:]})


def test_guided_by_another_contrast_on_real_images():
    import nibabel as nib

    t1, flair = (nib.load(real_scan(f"stroke_{n}.nii.gz")).get_fdata()[:, :, 70] for n in ("t1", "flair"))
    clean = torch.from_numpy(flair).float()[None]
    data = {"flair": noisy(clean, 25), "t1": torch.from_numpy(t1).float()[None]}
    alone = psnr(NonLocalMeansDenoised("flair", sigma=25)(data)["flair"], clean)
    guided = psnr(NonLocalMeansDenoised("flair", sigma=25, guide_key="t1")(data)["flair"], clean)
    noise = psnr(data["flair"], clean)
    assert alone > noise + 3
    assert noise + 3 < guided < alone  # T1 doesn't show all that FLAIR does: as the docstring says


@pytest.mark.parametrize("name", STRONG)
def test_the_noise_of_ct_is_found_and_goes(name):
    data = pydicom.dcmread(get_testdata_file("693_UNCR.dcm", download=False))
    hu = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
    head = torch.from_numpy(hu[100:420, 100:420]).float()[None]
    image = MetaTensor(head, affine=torch.diag(torch.tensor([0.45, 0.45, 5, 1])))
    image = MetaTensor(RandCTDose(noise_hu=15, prob=1.0).set_random_state(0)(image).as_tensor())
    tissue = (head > -100) & (head < 150)

    def error(out):
        return float((out.as_tensor() - head)[tissue].square().mean().sqrt())

    out = DENOISERS[name](noise="ct", strength=1)(image)
    assert error(image) == pytest.approx(15, abs=0.5)
    assert error(out) < 6.6
    assert error(DENOISERS[name]()(image)) > 13  # what its estimate of white noise makes of it
    step = augmentation_report(out)["steps"][0]
    assert step["figures"]["noise_level"] == pytest.approx(15, rel=0.1)
    assert all(0.4 < c < 0.8 for c in step["figures"]["neighbour_correlation"])
    assert torch.equal(replay(image, augmentation_report(out)).as_tensor(), out.as_tensor())
    stated = DENOISERS[name](noise="ct", sigma=15.3, strength=1)(image)
    assert error(stated) == pytest.approx(error(out), abs=0.5)


def test_the_noise_of_ct_in_thick_slices_and_in_batches():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(2, 1, 65, 65, 8, generator=generator)
    noise = (wide[:, :, 1:, 1:] + wide[:, :, :-1, 1:] + wide[:, :, 1:, :-1] + wide[:, :, :-1, :-1]) / 2
    batch = 40 + torch.tensor([10.0, 25.0]).reshape(2, 1, 1, 1, 1) * noise
    affine = torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0]))
    for name in STRONG:
        denoise = DENOISERS[name](noise="ct", strength=1)
        both = Batched(denoise)(list_data_collate([MetaTensor(image, affine=affine) for image in batch]))
        for image, out, level in zip(batch, both, (10, 25), strict=True):
            alone = denoise(MetaTensor(image, affine=affine))
            torch.testing.assert_close(out.as_tensor(), alone.as_tensor(), rtol=0, atol=1e-2)
            assert float(out.std()) < 0.55 * level
            figures = augmentation_report(alone)["steps"][0]["figures"]
            assert figures["noise_level"] == pytest.approx(level, rel=0.1)
            assert abs(figures["neighbour_correlation"][2]) < 0.2 < figures["neighbour_correlation"][0]


def test_a_doubtful_estimate_is_said():
    with pytest.warns(UserWarning, match="too little flat soft tissue"):
        WaveletDenoise(noise="ct")(-1000 + noisy(torch.zeros(1, 64, 64), 10))
    grade = torch.linspace(0.25, 1, 256)
    texture = 40 * grade[:, None] * torch.sin(torch.arange(256) * 0.7)
    with pytest.warns(UserWarning, match="its flattest parts, and doubtful"):
        out = WaveletDenoise(noise="ct")(MetaTensor(noisy(40 + texture[None], 10)))
    assert 9 < augmentation_report(out)["steps"][0]["figures"]["noise_level"] < 17  # the finest details have 10
    with pytest.warns(UserWarning, match="negative values"):
        WaveletDenoise(noise="rician")(noisy(phantom((64, 64)), 20))
    fine = noisy(phantom((64, 64)), 0.2)
    with pytest.warns(UserWarning, match=r"less than 0\.1% of its range.*give sigma"):
        WaveletDenoise()(fine)


def zero_filled(image, sigma):
    """A magnitude slice with complex noise, both from the inner half of k-space along each axis."""
    generator = torch.Generator().manual_seed(0)
    white = torch.complex(*(torch.randn(image.shape, generator=generator) for _ in range(2)))
    inner = [(torch.fft.fftfreq(n).abs() < 0.25).float() for n in image.shape[1:]]
    return torch.fft.ifft2(torch.fft.fft2(image + 2 * sigma * white) * inner[0][:, None] * inner[1]).abs()


@pytest.mark.parametrize("noise", ["gaussian", "rician", "rician_squared"])
def test_the_noise_of_a_zero_filled_image_is_that_of_its_background(noise):
    clean = phantom((160, 144))
    image = MetaTensor(zero_filled(clean, 40))
    out = WaveletDenoise(noise=noise)(image)
    assert augmentation_report(out)["steps"][0]["figures"]["noise_level"] == pytest.approx(40, rel=0.05)
    body = clean > 0
    before, after = (float((x.as_tensor() - clean)[body].square().mean().sqrt()) for x in (image, out))
    assert after < before  # edges of the sharp phantom ring, and stay so


def test_the_background_of_a_zero_filled_image_is_said():
    with pytest.warns(UserWarning, match=r"hold less noise than its background.*noise='rician'"):
        WaveletDenoise()(zero_filled(phantom((160, 144)), 40))


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_of_images_without_noise_or_with_enough():
    WaveletDenoise()(phantom((64, 64)))
    WaveletDenoise(noise="ct")(torch.full((1, 64, 64), -1000.0))
    WaveletDenoise(noise="ct")(noisy(torch.zeros(1, 64, 64), 10))
    WaveletDenoise()(noisy(phantom((64, 64)), 20))
    WaveletDenoise(sigma=0.2)(noisy(phantom((64, 64)), 0.2))


def test_a_sagittal_slice_of_a_dicom_reader():
    affine = torch.tensor([[0, 0, 0, 5], [0, 2, 0, 3], [2, 0, 1, 1], [0, 0, 0, 1]], dtype=torch.float64)
    image = MetaTensor(noisy(phantom((32, 30)), 20), affine=affine)  # its third column lies in the plane
    for denoise in (MedianDenoise(), WaveletDenoise()):
        assert torch.equal(denoise(image).as_tensor(), denoise(image.as_tensor()))


def test_the_noise_of_ct_needs_hu():
    with pytest.raises(ValueError, match="must be in Hounsfield units"):
        WaveletDenoise(noise="ct")(torch.rand(1, 32, 32))


@pytest.mark.parametrize(("across", "thickness", "sliced"), [(2, 4.0, True), (0, 3.0, True), (1, 2.0, False)])
def test_wavelets_of_thick_slices(across, thickness, sliced):
    volume = noisy(phantom((20, 22, 24)), 60)
    spacing = torch.ones(4, dtype=torch.float64)
    spacing[across] = thickness
    denoise = WaveletDenoise(sigma=60)
    out = denoise(MetaTensor(volume, affine=torch.diag(spacing))).as_tensor()
    slices = torch.stack([denoise(s) for s in volume.unbind(across + 1)], across + 1)
    assert torch.allclose(out, slices, atol=0.1) == sliced
    assert torch.allclose(out, denoise(volume), atol=0.1) != sliced


@pytest.mark.parametrize("arguments", [{}, {"range_sigma": 60}, {"preset": "source"}])
def test_a_bilateral_filter_knows_squared_rician_noise_whatever_its_range(arguments):
    background = noisy(torch.zeros(1, 96, 96), 20, rician=True)
    out = BilateralDenoise(noise="rician_squared", sigma=20, **arguments)(background)
    assert float(background.mean()) > 24
    assert float(out.mean()) < 12


def test_a_gaussian_is_as_wide_in_the_world_across_thick_slices():
    point = torch.zeros(1, 21, 21, 21).index_put((torch.tensor(0),) + (torch.tensor(10),) * 3, torch.tensor(1.0))
    image = MetaTensor(point, affine=torch.diag(torch.tensor([0.5, 0.5, 4.0, 1.0])))
    out = GaussianDenoise(1.0)(image)[0].as_tensor()
    assert float(out[10, 10, 9] / out[10, 10, 10]) < 1e-3
    assert float(out[9, 10, 10] / out[10, 10, 10]) == pytest.approx(np.exp(-0.5), rel=0.01)


def test_a_filter_that_asks_for_no_level_records_none():
    step = augmentation_report(MedianDenoise()(MetaTensor(phantom((20, 20)))))["steps"][0]
    assert "sigma" not in step["params"]
    rician = augmentation_report(MedianDenoise(noise="rician")(MetaTensor(phantom((20, 20)))))["steps"][0]
    assert rician["params"]["sigma"] == "estimated"


def test_a_median_spans_as_many_mm_along_each_axis():
    volume = noisy(phantom((20, 18, 6)), 50)
    thick = MedianDenoise(5)(MetaTensor(volume, affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0]))))
    slices = torch.stack([MedianDenoise(5)(volume[..., k]) for k in range(6)], -1)
    torch.testing.assert_close(thick.as_tensor(), slices)


def test_widths_in_mm():
    point = torch.zeros(1, 21, 21, 21).index_put((torch.tensor(0),) + (torch.tensor(10),) * 3, torch.tensor(1.0))
    image = MetaTensor(point, affine=torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0])))
    out = GaussianDenoised("image", width=2.0, unit="mm")({"image": image})["image"][0].as_tensor()
    for axis, spacing in ((0, 1.0), (2, 4.0)):
        profile = out.sum([a for a in range(3) if a != axis])
        position = (torch.arange(21) - 10) * spacing
        spread = float((profile * position**2).sum().sqrt())
        assert spread == pytest.approx(2.0, rel=0.03 if axis == 0 else 0.2)


def test_the_presets_of_the_source():
    image = noisy(phantom((40, 36), 255.0), 10)
    assert GaussianDenoise(preset="source").filter_settings() == {"width": 1.1, "unit": "voxel", "truncate": 2 / 1.1}
    assert MedianDenoise(preset="source").size == 5
    settings = BilateralDenoise(preset="source").settings()
    assert (settings["diameter"], settings["space_sigma"], settings["range_share"]) == (9, 75, 75 / 255)
    for cls in (GaussianDenoise, MedianDenoise, BilateralDenoise, NonLocalMeansDenoise):
        assert cls(preset="source")(image).isfinite().all()
        with pytest.raises(ValueError, match="preset must be"):
            cls(preset="other")


@pytest.mark.parametrize(
    ("cls", "arguments", "said"),
    [
        (GaussianDenoise, {"width": -1}, "width"),
        (GaussianDenoise, {"unit": "cm"}, "unit"),
        (MedianDenoise, {"size": 4}, "size must be odd"),
        (BilateralDenoise, {"diameter": 4}, "diameter must be odd"),
        (BilateralDenoise, {"noise": "rician", "range_sigma": 3}, "range_factor"),
        (BilateralDenoise, {"preset": "source", "range_sigma": 3}, "excludes range_sigma, got 3"),
        (NonLocalMeansDenoise, {"preset": "source", "patch": 5}, "excludes patch"),
        (WaveletDenoise, {"strength": 1.5}, "strength"),
        (NonLocalMeansDenoise, {"patch": 2}, "patch must be odd"),
        (NonLocalMeansDenoise, {"passes": 3}, "passes"),
        (NonLocalMeansDenoise, {"noise": "poisson"}, "noise must be one of"),
        (WaveletDenoise, {"method": "soft"}, "method must be one of"),
        (WaveletDenoise, {"wavelet": "haar7"}, "wavelet must be"),
        (CollaborativeDenoise, {"sigma": -1}, "sigma"),
    ],
)
def test_bad_arguments(cls, arguments, said):
    with pytest.raises(ValueError, match=said):
        cls(**arguments)


@pytest.mark.parametrize("arguments", [{"range_sigma": 300}, {"preset": "source"}])
def test_a_stated_range_is_used_without_any_noise(arguments):
    clean = phantom((64, 60))
    assert float((BilateralDenoise(**arguments)(clean) - clean).abs().max()) > 10
    assert "figures" not in augmentation_report(BilateralDenoise(**arguments)(MetaTensor(clean)))["steps"][0]
    assert torch.equal(BilateralDenoise(sigma=0)(clean), clean)


def padded_ct(shape, value):
    """Noisy soft tissue within a reconstructed circle, and where the padding is."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    outside = (torch.stack(axes[:2]).square().sum(0) > 0.8)[None]
    return torch.where(outside, torch.tensor(value), 40 + noisy(torch.zeros(1, *shape), 10)), outside


@everyone
@pytest.mark.parametrize("shape", [(64, 60), (26, 24, 12)], ids=["2D", "3D"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_padding_stays_and_no_tissue_takes_from_it(name, shape, dtype):
    denoise = DENOISERS[name]() if name in ("gaussian", "median") else DENOISERS[name](sigma=10)
    image, outside = padded_ct(shape, -3024.0)
    out = denoise(image.to(dtype))
    assert bool((out[outside] == -3024).all())
    tissue = image.to(dtype)[~outside]
    assert float(out[~outside].min()) > float(tissue.min()) - 5
    other = padded_ct(shape, -2000.0)[0]
    assert torch.equal(denoise(other.to(dtype))[~outside], out[~outside])  # whatever its value
    steady = torch.where(outside, torch.tensor(-3024.0), torch.tensor(40.25))
    torch.testing.assert_close(denoise(steady), steady, rtol=0, atol=1e-3)  # constant to its border


def test_the_median_beside_padding_is_that_of_valid_neighbours():
    image, outside = padded_ct((64, 60), -3024.0)
    out = MedianDenoise()(image)
    plain = torch.where(outside, torch.tensor(float("nan")), image)[0].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(plain, 1, mode="edge"), (3, 3))
    inside = ~outside[0].numpy()
    low, high = np.nanmin(windows[inside], (1, 2)), np.nanmax(windows[inside], (1, 2))
    assert np.all((out[0].numpy()[inside] >= low) & (out[0].numpy()[inside] <= high))


@pytest.mark.parametrize("preset", [BilateralDenoise, NonLocalMeansDenoise])
def test_padding_does_not_widen_the_range_of_the_source(preset):
    image, outside = padded_ct((64, 60), -3024.0)
    other, _ = padded_ct((64, 60), -1401.0)
    out = preset(preset="source")(image)
    assert torch.equal(out[~outside], preset(preset="source")(other)[~outside])


def faint_lesions(diameter):
    """Soft tissue in thick slices with CT noise of 12 HU and balls of -20 HU: the image, their cores, and the noise."""
    shape, spacing = (120, 120, 5), (0.8, 0.8, 3.0)
    places = [(x, y, 2) for x in range(16, 110, 24) for y in range(16, 110, 24)]
    lesions = torch.zeros(1, *shape)
    for place in places:
        axes = [(torch.arange(n) - k) * s for n, k, s in zip(shape, place, spacing, strict=True)]
        distance = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
        lesions = torch.maximum(lesions, ((diameter / 2 - distance) / 0.4 + 0.5).clamp(0, 1)[None])
    flat = MetaTensor(torch.full((1, *shape), 40.0), affine=torch.diag(torch.tensor([*spacing, 1.0])))
    noise = RandCTDose(noise_hu=12, prob=1.0).set_random_state(0)(flat).as_tensor() - 40
    return flat - 20 * lesions + noise, lesions, noise


@pytest.mark.parametrize("name", STRONG)
def test_half_the_noise_of_ct_goes_and_faint_lesions_stay(name):
    image, lesions, noise = faint_lesions(6)
    kept, left = {}, {}
    for strength in (None, 1):
        rest = (DENOISERS[name](noise="ct", strength=strength)(image).as_tensor() - 40) / 20
        kept[strength] = float((noise / 20 - rest)[lesions > 0.9].mean())
        left[strength] = float(rest[lesions == 0].std() * 20 / 12)
    assert 0.4 < left[None] < 0.6
    assert left[1] < 0.3
    assert kept[None] > 0.58 > kept[1]


@everyone
def test_strength_is_the_share_that_is_removed(name):
    image = MetaTensor(noisy(phantom((48, 40)), 30))
    arguments = {} if name in ("gaussian", "median") else {"sigma": 30}
    full = DENOISERS[name](**arguments)(image)
    out = DENOISERS[name](strength=0.25, **arguments)(image)
    torch.testing.assert_close(out.as_tensor(), (0.75 * image + 0.25 * full).as_tensor(), rtol=0, atol=1e-3)
    assert torch.equal(DENOISERS[name](strength=0, **arguments)(image).as_tensor(), image.as_tensor())
    assert augmentation_report(out)["steps"][0]["params"]["removed_share"] == 0.25
    assert torch.equal(replay(image, augmentation_report(out)).as_tensor(), out.as_tensor())
    assert "removed_share" not in augmentation_report(full)["steps"][0]["params"]  # nor in earlier records


def test_an_earlier_record_of_non_local_means_calls_its_smoothing_strength():
    image = MetaTensor(noisy(phantom((48, 40)), 30))
    out = NonLocalMeansDenoise(sigma=30, smoothing=0.4)(image)
    report = augmentation_report(out)
    report["steps"][0]["params"]["strength"] = report["steps"][0]["params"].pop("smoothing")
    assert torch.equal(replay(image, report).as_tensor(), out.as_tensor())
    assert not torch.equal(NonLocalMeansDenoise(sigma=30)(image).as_tensor(), out.as_tensor())


def uneven_ct():
    """Soft tissue in thick slices whose noise rises from 10 to 30 HU, and these levels."""
    levels = torch.linspace(10, 30, 9)
    white = torch.randn(1, 97, 97, 9, generator=torch.Generator().manual_seed(0))
    noise = (white[:, 1:, 1:] + white[:, :-1, 1:] + white[:, 1:, :-1] + white[:, :-1, :-1]) / 2
    return MetaTensor(40 + levels * noise, affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0]))), levels


@pytest.mark.parametrize("name", STRONG)
def test_each_slice_of_a_ct_has_its_noise(name):
    image, levels = uneven_ct()
    out = DENOISERS[name](noise="ct", strength=1)(image)
    left = out.as_tensor()[0].std((0, 1)) / levels
    assert float(left.max()) < 0.3  # with one level for all 0.5 and more are left of the noisiest
    low, high = augmentation_report(out)["steps"][0]["figures"]["slice_noise"]
    assert low == pytest.approx(12, rel=0.25)  # medians of five flatten the ends
    assert high == pytest.approx(28, rel=0.15)
    assert torch.equal(replay(image, augmentation_report(out)).as_tensor(), out.as_tensor())


@pytest.mark.parametrize("name", [n for n, cls in DENOISERS.items() if cls.by_level])
def test_a_ct_without_noise_comes_back(name):
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(56.0), indexing="ij")
    disc = torch.where((rows - 30) ** 2 + (columns - 28) ** 2 < 500, 60.0, -1000.0) + 20 * torch.sin(rows / 3)
    image = disc[None, ..., None].expand(-1, -1, -1, 2).contiguous()
    assert torch.equal(DENOISERS[name](noise="ct")(image), image)
