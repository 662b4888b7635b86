"""What all presets have in common, and the MRI and radiograph presets."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandGibbsNoised

from monai_medaug.transforms import (
    PreservingCompose,
    RandCTMetald,
    RandMRINoise,
    RandMRINoised,
    RandXRayExposure,
    RandXRayExposured,
    augmentation_report,
    ct_augmentation,
    mri_augmentation,
    replay,
    xray_augmentation,
)
from monai_medaug.transforms.presets import ct, mri, xray
from monai_medaug.transforms.presets.base import STRENGTHS, AugmentationPreset
from tests.transforms.safety.test_preserving import body

MODALITIES = {
    "ct": (ct_augmentation, ct._CT_STEPS, lambda x: 30 * x - 1000),
    "mri": (mri_augmentation, mri._MRI_STEPS, lambda x: x),
    "xray": (xray_augmentation, xray._XRAY_STEPS, lambda x: 20 * x),
}
SHAPES = [(52, 48), (28, 26, 20)]


def sample(modality, shape, dtype=torch.float32):
    """A textured ellipse before an empty background, its mask and a lesion."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    square = torch.stack(axes).square().sum(0)
    lesion = torch.stack([a - 0.2 for a in axes]).square().sum(0) < 0.07
    values = torch.where(square < 0.6, 35 + 4 * torch.sin(9 * axes[0]) + 12 * lesion, torch.tensor(0.0))
    affine = torch.diag(torch.tensor([1.0, 1.2, 2.5, 1.0], dtype=torch.float64))
    image = MODALITIES[modality][2](values)[None].to(dtype)
    masks = {"label": (square < 0.6)[None].to(torch.uint8), "lesion": lesion[None].to(torch.uint8)}
    return {k: MetaTensor(x, affine=affine) for k, x in {"image": image, **masks}.items()}


@pytest.mark.parametrize("shape", SHAPES, ids=["2D", "3D"])
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("modality", MODALITIES)
def test_every_step_runs_with_masks_and_a_lesion(modality, strength, shape):
    preset, table, _ = MODALITIES[modality]
    data = sample(modality, shape)
    augment = preset("image", "label", "lesion", strength=strength, prob=1.0)
    for step in augment.transforms[0].transforms:  # all of them, whatever their share
        step.prob = float(not isinstance(step, RandCTMetald))  # which leaves nothing to see of a body of 5 cm
    out = augment.set_random_state(0)(data)
    report = augmentation_report(out)
    assert isinstance(augment.transforms[0], PreservingCompose)
    names = [s["name"] for s in report["steps"]] + report.get("untraced", [])
    assert names == [step.__name__ for step, _, _ in table[strength]]
    if not report["rejected"]:
        nothing = len(report["eased"]) == 2 and not any(report["eased"].values())
        assert torch.equal(out["image"].as_tensor(), data["image"].as_tensor()) == nothing
        assert (report["anatomy_preserved"], report["pathology_preserved"]) == ("yes", "yes")
    assert out["image"].isfinite().all()
    assert set(out["label"].unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("modality", MODALITIES)
def test_replay_with_the_preset_is_bit_exact(modality):
    preset = MODALITIES[modality][0]
    data = sample(modality, SHAPES[0])
    for seed in range(12):
        out = preset("image", "label", strength="strong").set_random_state(seed)(data)
        again = replay(data, augmentation_report(out), preset("image", "label", strength="strong"))
        assert all(torch.equal(again[k].as_tensor(), out[k].as_tensor()) for k in data)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_documented_shares_are_those_of_the_steps(modality):
    preset, table, _ = MODALITIES[modality]
    rows = [line for line in preset.__doc__.splitlines() if re.search(r"  (all|\d+/\d+)( |$)", line)]
    for column, strength in enumerate(("light", "standard", "strong")):
        start = (26, 33, 43)[column]
        said = [
            Fraction(1) if c == "all" else Fraction(c) for c in (row[start : start + 6].strip() for row in rows) if c
        ]
        assert [float(f) for f in said] == [share for _, share, _ in table[strength]]


@pytest.mark.parametrize(("modality", "dtype"), [("ct", torch.int16), ("mri", torch.uint16), ("xray", torch.uint16)])
def test_stored_types_neither_overflow_nor_lose_padding(modality, dtype):
    data = sample(modality, (60, 56))
    if modality == "ct":
        data["image"][:, :, :6] = -3024
    reach = float(data["image"].max() - data["image"].min())
    data["image"] = data["image"].to(dtype)
    for seed in range(6):
        augment = MODALITIES[modality][0]("image", strength="strong")
        augment.transforms[0].prob = float(modality != "ct")  # padding moves with the anatomy, and is interpolated
        out = augment.set_random_state(seed)(data)["image"]
        assert out.dtype == torch.float32
        assert out.isfinite().all()
        assert float(out.max() - out.min()) < 2 * reach + 4000 * (modality == "ct")
        if modality == "ct":
            assert torch.equal(out == -3024, data["image"] == -3024)


def test_an_unrecorded_step_of_monai_is_reported_and_refused_by_a_plain_replay():
    data = sample("mri", SHAPES[0])
    steps = [RandMRINoised("image", prob=1.0), RandGibbsNoised("image", prob=1.0)]
    augment = AugmentationPreset("chain", steps, ["image"], ["image"], {})
    out = augment.set_random_state(0)(data)
    report = augmentation_report(out)
    assert report["untraced"] == ["RandGibbsNoised"]
    assert "RandGibbsNoised: applied" in str(report)
    with pytest.raises(ValueError, match="RandGibbsNoised leaves no trace"):
        replay(data, report)
    augment.transforms[-1].prob = 0.0
    assert "untraced" not in augmentation_report(augment(data))


def test_source_figures_of_mri():
    noisy = []
    for seed in range(40):
        out = mri_augmentation("image", strength="source", prob=1.0).set_random_state(seed)(sample("mri", SHAPES[0]))
        steps = {s["name"]: s["params"] for s in augmentation_report(out)["steps"]}
        assert steps["RandMRIBiasFieldd"]["peak_to_peak"] == 0.4
        noisy.append(1 / steps["RandMRINoised"]["noise_to_signal"])
    assert 0.5 <= min(noisy) < 0.6
    assert 1.4 < max(noisy) <= 1.5
    flat = torch.zeros(1, 200, 200)
    flat[:, :100] = 80.0  # standard deviation 40
    out = RandMRINoise(snr=20, signal="deviation", prob=1.0).set_random_state(0)(flat)
    assert abs(float(out[:, :100].std()) - 2) < 0.05
    with pytest.raises(ValueError, match="signal must be one of"):
        RandMRINoise(signal="mean")


def test_source_figures_of_radiographs():
    factors, ratios = [], []
    for seed in range(60):
        data = sample("xray", SHAPES[0])
        out = xray_augmentation("image", strength="source", prob=1.0).set_random_state(seed)(data)
        steps = {s["name"]: s["params"] for s in augmentation_report(out)["steps"]}
        factors.append(steps["RandXRayExposured"]["factor"])
        ratios.append(steps["RandXRayScatterd"]["scatter_to_primary"])
    assert 0.7 <= min(factors) < 0.75
    assert 1.25 < max(factors) <= 1.3
    assert min(ratios) >= 0
    assert max(ratios) <= 20 / 255 / 0.3


def test_radiographs_of_monochrome1():
    data = sample("xray", SHAPES[0])
    data["image"] = 4095 - data["image"]
    augment = xray_augmentation("image", inverted=True, value_range=(0, 4095), prob=1.0)
    steps = {type(s): s for s in augment.transforms}
    assert steps[RandXRayExposured].operation.inverted
    out = augment.set_random_state(0)(data)
    assert augmentation_report(out)["settings"] == {
        "strength": "standard",
        "prob": 1.0,
        "inverted": True,
        "linear": False,
        "value_range": [0.0, 4095.0],
        "padding_mode": "brightest",
    }
    with pytest.raises(ValueError, match="value_range"):
        xray_augmentation("image", value_range=(3, 3))


def test_co_registered_contrasts_share_the_geometry_but_not_the_noise():
    data = sample("mri", SHAPES[1])
    data["other"] = data["image"].clone()
    out = mri_augmentation(("image", "other"), strength="light", prob=1.0).set_random_state(0)(data)
    difference = np.abs(out["image"].numpy() - out["other"].numpy())
    assert 0 < difference.mean() < 4


@pytest.mark.parametrize("modality", MODALITIES)
def test_strength_is_checked(modality):
    with pytest.raises(ValueError, match="strength must be one of"):
        MODALITIES[modality][0]("image", strength="huge")


def test_the_body_of_the_ct_tests_is_preserved():
    out = ct_augmentation("image", "label", "lesion", prob=1.0).set_random_state(3)(body())
    assert augmentation_report(out)["anatomy_preserved"] == "yes"


def test_radiographs_keep_one_display_scale_through_all_steps():
    data = sample("xray", SHAPES[0])
    ranges = set()
    augment = xray_augmentation("image", "label", strength="strong", prob=1.0)
    plain = xray_augmentation("image", strength="strong", prob=1.0)
    for seed in range(8):
        for preset in (augment, plain):
            report = augmentation_report(preset.set_random_state(seed)(data))
            ranges |= {
                tuple(s["params"]["value_range"]) for s in report["steps"] if "XRay" in s["name"] and s["applied"]
            }
    assert ranges == {(float(data["image"].min()), float(data["image"].max()))}
    stated = xray_augmentation("image", strength="strong", prob=1.0, value_range=next(iter(ranges)))
    a, b = (p.set_random_state(5)(data)["image"].as_tensor() for p in (plain, stated))
    assert torch.equal(a, b)


def test_nothing_of_half_precision_becomes_infinite():
    image = (60000 * torch.rand(1, 24, 24)).half()
    out = RandXRayExposure(factor=0.5, photons=1e4, prob=1.0)(image)
    assert out.dtype == torch.float16
    assert out.isfinite().all()


def test_an_empty_ct_patch_passes():
    for seed in range(25):
        out = ct_augmentation("image", strength="strong").set_random_state(seed)({"image": torch.zeros(1, 24, 24)})
        assert out["image"].isfinite().all()


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_mask_among_the_images_is_refused(modality):
    """MONAI's habit of keys=["image", "label"]: the label would get noise, and the guard reject every call."""
    augment = MODALITIES[modality][0]
    with pytest.raises(ValueError, match="keys must be images alone, got 'label'"):
        augment(["image", "label"], "label")
    with pytest.raises(ValueError, match="got 'lesion'"):
        augment(["image", "lesion"], lesion_key="lesion")
    assert augment("image", mask_keys=None).keys == ("image",)
