"""A tumour in skull-stripped MR of four contrasts, as MONAI's BraTS tutorial trains it; the tumour is drawn in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import (
    Compose,
    ConvertToMultiChannelBasedOnBratsClassesd,
    Invertd,
    NormalizeIntensityd,
    RandCropByPosNegLabeld,
    RandSpatialCropd,
    SpatialCropd,
)

from monai_medaug.transforms import RandAffineElasticd, augmentation_report, mri_augmentation
from monai_medaug.transforms.presets.mri import _MRI_STEPS

from .shared import FOLDER, carried, epochs, needs_data, share_lost, stderr_of_all_processes, without_meta

pytestmark = needs_data
KEYS = ("image", "label", "brain")
SIDE = (56, 56, 48)
PARTS = (("label", 0), ("label", 1), ("label", 2), ("brain", 0))
SEEDS = range(3)
BORDER = ((28, 40, 70), (90, 130, 90))  # centres of crops of brain and background
CONTRASTS = ("t1", "t1c", "t2", "flair")
SHOWN = {"t1": (-40, -30, -25), "t1c": (-40, -30, 120), "t2": (60, 90, 70), "flair": (80, 60, 60)}


def patient() -> dict[str, MetaTensor]:
    """The real brain of a patient with a tumour of the BraTS classes 2 (oedema), 1 (core), 4 (enhancing rim)."""
    with np.load(FOLDER / "openms_patient07_mni1mm.npz") as file:
        brain, affine = file["brain"], file["affine"]
        contrasts = {k: file[k].astype(np.float32) for k in ("t1", "t2", "flair")}
    place = np.stack(np.meshgrid(*[np.arange(n) for n in brain.shape], indexing="ij"))
    far = np.sqrt(np.square(place - np.reshape((34, 84, 74), (3, 1, 1, 1))).sum(0)) + np.sin(place[1] / 3)
    classes = np.select([far < 6, far < 10, far < 17], [1, 4, 2], 0) * brain
    contrasts["t1c"] = contrasts["t1"].copy()
    for name, values in contrasts.items():
        for label, change in zip((2, 1, 4), SHOWN[name], strict=True):
            values[classes == label] += change
        contrasts[name] = np.where(brain, values.clip(1), 0)
    arrays = {"image": np.stack([contrasts[k] for k in CONTRASTS]), "label": classes[None], "brain": brain[None]}
    kinds = {"image": torch.float32, "label": torch.uint8, "brain": torch.uint8}
    data = {
        k: MetaTensor(torch.from_numpy(np.ascontiguousarray(v)).to(kinds[k]), affine=affine) for k, v in arrays.items()
    }
    data["label"] = data["label"][0]
    return ConvertToMultiChannelBasedOnBratsClassesd("label")(data)


def scaling() -> NormalizeIntensityd:
    return NormalizeIntensityd("image", nonzero=True, channel_wise=True)


@pytest.fixture(scope="module")
def brain() -> dict[str, MetaTensor]:
    return patient()


@pytest.fixture(scope="module")
def crops(brain: dict) -> list[dict]:
    """Two about the tumour, two of the brain's border."""
    about = RandCropByPosNegLabeld(KEYS, "label", SIDE, 1, 0, 2, "image", 0).set_random_state(1)(brain)
    return [*about, *[SpatialCropd(KEYS, roi_center=c, roi_size=SIDE)(brain) for c in BORDER]]


def draws(augment: Any, crops: list[dict]) -> list[tuple[dict, dict]]:
    return [(before, augment.set_random_state(seed)(before)) for seed in SEEDS for before in crops]


def only(*steps: type) -> Any:
    """The strong preset with these steps always applied and no other."""
    augment = mri_augmentation("image", strength="strong")
    for child in augment.transforms:
        child.prob = float(type(child) in steps)
    return augment


@pytest.mark.parametrize("strength", ["standard", "strong"])
@pytest.mark.parametrize("lesion", [None, "label"], ids=["masks", "lesion_key"])
def test_what_the_image_shows_is_labelled(crops, strength, lesion):
    masks = KEYS[1:] if lesion is None else "brain"
    shares = []
    for before, after in draws(mri_augmentation("image", masks, lesion, strength), crops):
        assert after["label"].dtype == before["label"].dtype
        assert not (after["label"][0] & ~after["label"][1]).any()  # the core lies in the tumour
        shares += [share_lost(before[k][c : c + 1], after[k][c : c + 1], after["image"]) for k, c in PARTS]
    assert max(shares) <= 0.01


@pytest.mark.parametrize(
    "step", [s for s, _, _ in _MRI_STEPS["strong"] if s is not RandAffineElasticd], ids=lambda s: s.__name__
)
def test_zeros_outside_the_brain_stay_zeros_through_a_step(crops, step):
    for before, after in draws(only(step), crops[2:]):
        outside = before["image"].as_tensor() == 0
        assert outside.float().mean() > 0.05
        assert not torch.equal(after["image"].as_tensor(), before["image"].as_tensor())
        assert (after["image"].as_tensor()[outside] == 0).all()


@pytest.mark.parametrize("strength", ["standard", "strong"])
def test_the_normalisation_of_nonzero_voxels_is_that_of_the_brain(crops, strength):
    for before, after in draws(mri_augmentation("image", strength=strength), crops[2:]):
        brain = carried((before["image"].as_tensor() != 0).float(), after["image"], "bilinear") > 0
        shifts = [float(x[mask].mean()) for x, mask in zip(scaling()(after)["image"].as_tensor(), brain, strict=True)]
        assert max(map(abs, shifts)) < 0.05, shifts


def test_a_tumour_at_the_edge_is_kept_with_and_without_meta_data(brain):
    """The tumour lies within the crop by a few voxels, and a draw would push it out: eased alike, tracked or not."""
    box = (slice(None), slice(15, 71), slice(60, 116), slice(52, 100))
    data = {k: brain[k].as_tensor().numpy()[box] for k in KEYS}
    augment = mri_augmentation("image", "brain", "label", strength="strong")
    eased = 0
    for seed in range(5):
        tracked = augment.set_random_state(seed)({k: MetaTensor(v) for k, v in data.items()})
        report = augmentation_report(tracked)
        with without_meta():
            plain = augment.set_random_state(seed)({k: torch.from_numpy(v) for k, v in data.items()})
        assert all(torch.equal(plain[k], tracked[k].as_tensor()) for k in KEYS), report["strength"]
        eased += report["strength"] < 1
    assert eased >= 1


@pytest.mark.parametrize("nearest", [True, False])
def test_a_prediction_of_three_channels_comes_back(crops, nearest):
    chain = Compose([RandSpatialCropd(KEYS, 40, random_size=False), mri_augmentation("image", KEYS[1:]), scaling()])
    for before in crops[1:3]:
        for seed in SEEDS:
            (out,) = decollate_batch(list_data_collate([chain.set_random_state(seed)(before)]))
            out["pred"] = out["label"].clone() if nearest else 0.9 * out["label"].float()
            back = Invertd("pred", chain, orig_keys="image", nearest_interp=nearest)(out)["pred"].float()
            assert back.shape == before["label"].shape
            assert 0 <= float(back.min()) <= float(back.max()) <= 1
            if nearest:
                assert set(back.unique().tolist()) <= {0, 1}
            assert float(((back > 0.45) & ~before["label"]).sum()) <= 0.2 * float((back > 0.45).sum()) + 10


def test_two_spawned_workers(crops):
    """Images normalised before the preset get a notice, once from all processes; no draw comes twice."""
    chain = Compose([mri_augmentation("image", KEYS[1:])])
    with stderr_of_all_processes() as lines:
        first, second = epochs([scaling()(c) for c in crops], chain, 2)
    seeds = [augmentation_report({k: b[k] for k in KEYS})[0]["seed"] for b in (*first, *second)]
    notices = [line for line in lines if "Notice:" in line]
    checks = {"no draw twice": len(set(seeds)) == 8, "a notice comes once": len(notices) == len(set(notices)) > 0}
    assert all(checks.values()), (checks, notices)
