"""The CT preset at the end of a pipeline that has already scaled its images: ``window=(low, high)``."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import ScaleIntensityRange, ScaleIntensityRanged

from monai_medaug.transforms import (
    Batched,
    HUFromWindow,
    HUFromWindowd,
    HUWindow,
    augmentation_report,
    ct_augmentation,
    replay,
)
from tests.transforms.safety.test_preserving import body

WINDOW = (-175.0, 250.0)
FOLDER = os.environ.get("MONAI_MEDAUG_DATA")


def scaled(hu, window=WINDOW, clip=False):
    return ScaleIntensityRange(*window, 0, 1, clip=clip)(hu)


def close_in_hu(result, expected, window=WINDOW, within=0.02):
    """Whether an image in the window's scale equals one in HU; the sinogram steps work in single precision.

    But for few voxels that motion left at the scanner's least value: rounding tells whether they get noise.
    """
    error = (result * (window[1] - window[0]) + window[0] - expected).abs()
    return int((error >= within).sum()) <= 2e-3 * error.numel() and float(error[expected > -950].max()) < within


# ---- the operation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [WINDOW, (-57, 164), (0, 80), (-1000, 3071)])
def test_hu_from_a_window_is_the_way_back(window):
    hu = body((20, 18))["image"]
    low, high = window
    back = HUFromWindow(window)(scaled(hu, window))
    np.testing.assert_allclose(back.numpy(), hu.numpy(), atol=2e-3)
    again = HUWindow((low + high) / 2, high - low, clip=False)(back)
    np.testing.assert_allclose(again.numpy(), scaled(hu, window).numpy(), atol=1e-5)
    clipped = HUFromWindow(window)(scaled(hu, window, clip=True))
    np.testing.assert_allclose(clipped.numpy(), hu.numpy().clip(*window), atol=2e-3)


def test_other_scales_by_what_0_and_1_mean():
    hu = body((20, 18))["image"]
    for (least, most), window in (((-1, 1), (37.5, 250)), ((0, 255), (-175, -175 + 425 / 255))):
        image = ScaleIntensityRange(*WINDOW, least, most)(hu)
        np.testing.assert_allclose(HUFromWindow(window)(image).numpy(), hu.numpy(), atol=5e-3)


def test_clip_false_keeps_what_lies_outside():
    hu = torch.tensor([[[-1000.0, 40.0, 3071.0]]])
    np.testing.assert_allclose(HUWindow(40, 400, clip=False)(hu).numpy(), [[[-2.1, 0.5, 8.0775]]], rtol=1e-6)
    with pytest.raises(ValueError, match="clip must be True or False"):
        HUWindow(40, 400, clip=0)


def test_unscaled_images_are_refused_by_name():
    refusal = r"must be scaled so that 0 and 1 mean -175 and 250 HU.*already in HU: leave window out"
    hu = body((20, 18))["image"]
    with pytest.raises(ValueError, match=f"'ct' {refusal}"):
        HUFromWindowd("ct", window=WINDOW)({"ct": hu})
    for window in (WINDOW, (0, 80), (-1000, 1000)):
        for crop in (hu, hu[:, 8:12, 8:12], torch.full((1, 4, 4), -1000.0)):
            with pytest.raises(ValueError, match=r"'image' must be scaled so that 0 and 1 mean"):
                ct_augmentation("image", window=window, prob=0.0)({"image": crop})
    for window in ((1, 1), 3, (250, -175), "ab"):
        with pytest.raises(ValueError, match="window"):
            HUFromWindow(window)
        with pytest.raises(ValueError, match="window"):
            ct_augmentation("image", window=window)


# ---- the preset ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", ["light", "standard", "strong", "source"])
@pytest.mark.parametrize("masks", [{}, {"mask_keys": "label", "lesion_key": "lesion"}], ids=["plain", "guarded"])
def test_a_scaled_image_becomes_what_scaling_the_result_in_hu_gives(strength, masks):
    data = body((32, 30, 10))
    settings = {"strength": strength, "prob": 1.0, **masks}
    for seed in range(2):
        hu = ct_augmentation("image", **settings).set_random_state(seed)(data)
        preset = ct_augmentation("image", window=WINDOW, **settings).set_random_state(seed)
        out = preset({**data, "image": scaled(data["image"])})
        assert out["image"].max() < 30
        assert close_in_hu(out["image"], hu["image"])
        assert all(torch.equal(out[k], hu[k]) for k in ("label", "lesion"))
        verdicts = [
            [augmentation_report(o)[k] for k in ("anatomy_preserved", "pathology_preserved", "strength")]
            for o in (hu, out)
        ]
        assert verdicts[0] == verdicts[1]


def test_report_replay_batch_and_skipped_calls():
    data = {"image": scaled(body((32, 30))["image"], clip=True)}
    preset = ct_augmentation("image", window=WINDOW, prob=1.0).set_random_state(1)
    out = preset(data)
    report = augmentation_report(out)
    names = [step["name"] for step in report["steps"]]
    assert (names[0], names[-1]) == ("HUFromWindowd", "HUWindowd")
    assert report["settings"]["window"] == list(WINDOW)
    assert report["steps"][0]["params"] == {"window_hu": list(WINDOW)}
    assert report["steps"][-1]["params"]["clip"] is False
    assert -400 < report["range_check"]["image"]["minimum"] < report["range_check"]["image"]["maximum"] < 400
    for again in (replay(data, report.to_json()), replay(data, report, transform=preset)):
        assert torch.equal(again["image"].as_tensor(), out["image"].as_tensor())
    single = ct_augmentation("image", window=WINDOW).set_random_state(4)
    together = Batched(ct_augmentation("image", window=WINDOW)).set_random_state(4)(list_data_collate([data] * 3))
    for sample in together["image"]:
        np.testing.assert_allclose(sample.numpy(), single(data)["image"].numpy(), atol=1e-5)
    never = ct_augmentation("image", window=WINDOW, prob=0.0)(data)["image"]
    np.testing.assert_allclose(never.numpy(), data["image"].numpy(), atol=1e-6)
    assert float(data["image"].min()) == 0


def test_a_rejected_call_returns_the_scaled_image_itself():
    data = body((32, 30, 10))
    data["image"] = scaled(data["image"])
    preset = ct_augmentation("image", "label", window=WINDOW, prob=1.0).set_random_state(0)
    guard = preset.transforms[0]
    guard.on_violation, guard.limits = "reject", type(guard.limits)(max_volume_change=-1.0)
    out = preset(data)
    assert augmentation_report(out)["rejected"]
    assert torch.equal(out["image"].as_tensor(), data["image"].as_tensor())


@pytest.mark.skipif(FOLDER is None, reason="MONAI_MEDAUG_DATA is not set")
@pytest.mark.parametrize("scan", ["msd_spleen2_ct", "lidc_0002_ct"])
def test_on_a_real_scan(scan):
    """Same seed, before scaling and after: equal where nothing was clipped, and in no case far from it elsewhere."""
    name = f"{scan}_image" if scan.startswith("msd") else scan
    scan_file = nib.load(Path(str(FOLDER)) / f"{name}.nii.gz")
    hu = np.asarray(scan_file.dataobj).astype(np.float32)[:160, :160, :14]
    image = MetaTensor(torch.from_numpy(hu)[None], affine=torch.as_tensor(scan_file.affine))
    for strength in ("standard", "strong"):
        wide = ScaleIntensityRanged("image", -1024, 3071, 0, 1)
        first = wide(ct_augmentation("image", strength=strength, prob=1.0).set_random_state(2)({"image": image}))
        after = ct_augmentation("image", strength=strength, prob=1.0, window=(-1024, 3071)).set_random_state(2)
        last = after(wide({"image": image}))
        assert float((first["image"] - last["image"]).abs().max()) < 2e-5  # 0.08 HU
