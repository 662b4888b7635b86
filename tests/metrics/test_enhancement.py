"""`evaluate_enhancement`: its figures, and the warnings where an improvement is none."""

import json
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from monai_medaug.metrics import evaluate_enhancement
from monai_medaug.transforms import NonLocalMeansDenoise
from tests.functional.quality.test_edge_width import discs
from tests.scan_files import real_scan


def noisy_discs(width=1.5, sigma=8.0, seed=0, shape=(160, 150)):
    clean = discs(shape, width)
    return clean, clean + sigma * np.random.default_rng(seed).standard_normal(shape)


def first(report):
    return report["warnings"][0].split(":")[0] if report["warnings"] else ""


def evaluated(*images, **named):
    return evaluate_enhancement(*(torch.from_numpy(np.ascontiguousarray(x))[None] for x in images), **named)


def test_the_reference_decides_which_figures():
    clean, noisy = noisy_discs()
    with_it = evaluated(noisy, 0.5 * (noisy + clean), clean)
    assert [*with_it["figures"]] == ["psnr", "ssim", "mae", "haarpsi"]
    assert all((f["enhanced"] > f["original"]) == (name != "mae") for name, f in with_it["figures"].items()), with_it[
        "figures"
    ]
    assert with_it["data_range"] == pytest.approx(np.ptp(clean))
    error = np.sqrt(np.mean((noisy - clean) ** 2))
    assert with_it["figures"]["psnr"]["original"] == pytest.approx(20 * math.log10(np.ptp(clean) / error), abs=1e-3)
    without = evaluated(noisy, clean)
    assert [*without["figures"]] == ["entropy", "contrast", "sharpness"]
    assert json.loads(without.to_json())["figures"]["contrast"]["original"] == pytest.approx(noisy.std())


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_not_taken_for_sharpness(seed):
    clean, noisy = noisy_discs(seed=seed)
    for before in (clean, noisy_discs(sigma=3.0, seed=9)[1]):
        report = evaluated(before, noisy)
        assert first(report) == "noisier, not sharper"
        assert "ATTENTION: noisier, not sharper" in str(report)


@pytest.mark.parametrize("blur", [0.7, 1.0, 1.6])
def test_blur_is_not_taken_for_denoising(blur):
    report = evaluated(noisy_discs()[1], gaussian_filter(noisy_discs()[1], blur))
    assert first(report) == "only blurrier, not less noisy"
    assert "ATTENTION: only blurrier" in str(report)


def test_a_denoiser_that_keeps_edges_gets_no_warning_and_one_that_blurs_a_little_its_price():
    clean, noisy = noisy_discs()
    image = torch.from_numpy(noisy)[None]
    assert evaluate_enhancement(image, NonLocalMeansDenoise()(image))["warnings"] == []
    blurred = gaussian_filter(clean + 0.25 * (noisy - clean), 0.9)
    assert first(evaluated(noisy, blurred)) == "less noisy at the price of blur"


def test_sharpening_and_gain_are_not_blamed_for_noise_alone():
    noisy = noisy_discs(2.0, 1.0)[1]
    sharp = noisy + 1.5 * (noisy - gaussian_filter(noisy, 1.5))
    assert evaluated(noisy, sharp)["warnings"] == []
    assert evaluated(noisy, noisy)["warnings"] == []
    narrower = evaluated(noisy, sharp)["checks"]["edge_width_mm"]
    assert narrower["enhanced"] < narrower["original"]


def test_volumes_channels_masks_and_spacing():
    clean, noisy = (np.stack([x] * 6, -1) for x in noisy_discs(shape=(96, 90)))
    placed = [
        MetaTensor(torch.from_numpy(x)[None], affine=torch.diag(torch.tensor([0.5, 0.5, 5.0, 1.0])))
        for x in (noisy, clean)
    ]
    mask = torch.zeros(1, 96, 90, 6)
    mask[:, 20:70, 20:70] = 1
    report = evaluate_enhancement(*placed, placed[1], mask=mask)
    assert report["spacing_mm"] == [0.5, 0.5, 5.0]
    assert report["figures"]["psnr"]["enhanced"] == 100
    inside = float((placed[0] - placed[1]).abs().as_tensor()[mask > 0].mean())
    assert report["figures"]["mae"]["original"] == pytest.approx(inside, rel=1e-5)
    two = evaluate_enhancement(*(torch.cat([x.as_tensor()] * 2) for x in placed))
    one = evaluate_enhancement(*(x.as_tensor() for x in placed))
    assert two["figures"]["contrast"] == one["figures"]["contrast"]


def test_degenerate_images_give_figures_or_none():
    constant = torch.full((1, 16, 16), 7.0)
    report = evaluate_enhancement(constant, constant, constant, data_range=1.0)
    assert report["figures"]["psnr"] == {"original": 100.0, "enhanced": 100.0}
    assert report["figures"]["haarpsi"]["enhanced"] == pytest.approx(1)
    assert report["checks"]["edge_width_mm"]["original"] is None
    assert "no edges to measure blur by" in str(report)
    for image in (constant, torch.zeros(1, 1, 1)):
        alone = evaluate_enhancement(image, image)
        assert all(v == 0 for f in alone["figures"].values() for v in f.values())
        assert json.loads(alone.to_json())["warnings"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"enhanced": torch.zeros(1, 8, 9)}, "enhanced must have the original's shape"),
        ({"reference": torch.zeros(1, 9, 8)}, "reference must have the original's shape"),
        ({"original": torch.full((1, 8, 8), math.nan)}, "original must be finite"),
        ({"enhanced": torch.zeros(8, 8)}, "enhanced must be channel-first"),
        ({"mask": torch.zeros(1, 8, 8)}, "mask must hold a voxel"),
        ({"mask": torch.ones(1, 8, 9)}, "mask must have the image's shape"),
        ({"reference": torch.zeros(1, 8, 8)}, "data_range must be given where the reference is constant"),
        ({"reference": torch.rand(1, 8, 8), "data_range": -1}, "data_range must be"),
        ({"reference": torch.rand(1, 8, 8), "hu_window": "x"}, "hu_window must be one of"),
    ],
)
def test_what_cannot_be_evaluated_is_named(change, said):
    arguments = {"original": torch.rand(1, 8, 8), "enhanced": torch.rand(1, 8, 8), **change}
    with pytest.raises(ValueError, match=said):
        evaluate_enhancement(**arguments)


def test_on_a_real_ct_blur_noise_and_denoising_are_told_apart():
    import nibabel as nib

    volume = np.asarray(nib.load(real_scan("lidc_0002_ct.nii.gz")).dataobj)[20:220, 150:350, 7:8].astype(np.float32)
    image = MetaTensor(torch.from_numpy(volume[..., 0])[None], affine=torch.diag(torch.tensor([0.682, 0.682, 1, 1.0])))
    blurred = gaussian_filter(image.numpy()[0], 1.2)[None]
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(volume.shape[:2]), 0.6)
    noisier = image + 40 * torch.from_numpy(noise / noise.std()).float()
    denoised = NonLocalMeansDenoise()(image)
    assert first(evaluate_enhancement(image, blurred)) == "only blurrier, not less noisy"
    noisy = image + 30 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    for blur in (0.6, 1.0, 1.5):
        also = evaluate_enhancement(noisy, gaussian_filter(noisy.numpy()[0], blur)[None])
        assert first(also) == "only blurrier, not less noisy", (blur, str(also))
    assert first(evaluate_enhancement(image, noisier)) == "noisier, not sharper"
    assert first(evaluate_enhancement(image, denoised)) in ("", "less noisy at the price of blur")
