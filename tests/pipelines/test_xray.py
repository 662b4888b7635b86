"""Chest radiographs with lung masks, of one channel or as a picture file stores them, of three equal ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd, RandSpatialCropd, RepeatChanneld, ScaleIntensityd

from monai_medaug.transforms import SampleSeeded, augmentation_report, xray_augmentation

from .shared import FOLDER, epochs, needs_data, share_lost, stderr_of_all_processes, without_meta

pytestmark = needs_data
KEYS = ("image", "lung")
SEEDS = range(4)


@pytest.fixture(scope="module")
def radiographs() -> list[dict[str, Any]]:
    """Of three children and three adults at the bedside, 128 × 128, 8 bit."""
    found = []
    for name in ("guangzhou", "hannover"):
        with np.load(FOLDER / f"cxr_lung_{name}128_open.npz") as file:
            lungs = np.unpackbits(file["lung"], axis=-1)
            chosen = np.flatnonzero(lungs.any((1, 2)))[:3]
            for i in chosen:
                pair = {"image": file["img"][i].astype(np.float32), "lung": lungs[i]}
                found.append(
                    {k: MetaTensor(torch.from_numpy(v.copy())[None], affine=torch.eye(4)) for k, v in pair.items()}
                )
    return [{**item, "id": i} for i, item in enumerate(found)]


def crop(side: int = 88) -> RandSpatialCropd:
    """Which cuts through the lungs, as a crop to a field does."""
    return RandSpatialCropd(KEYS, side, random_size=False)


@pytest.fixture(scope="module")
def cut(radiographs: list[dict]) -> list[dict]:
    return [crop().set_random_state(i)(item) for i, item in enumerate(radiographs)]


@pytest.mark.parametrize("strength", ["standard", "strong"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bool])
def test_what_the_image_shows_of_the_lungs_is_labelled(cut, strength, dtype):
    augment, shares = xray_augmentation("image", mask_keys="lung", strength=strength), []
    for item in cut:
        before = {**item, "lung": item["lung"].to(dtype)}
        for seed in SEEDS:
            after = augment.set_random_state(seed)(before)
            assert after["lung"].dtype == dtype
            shares.append(share_lost(before["lung"], after["lung"], after["image"]))
    assert max(shares) <= 0.01


def test_every_pixel_keeps_exactly_one_class(cut):
    augment = xray_augmentation("image", mask_keys="lung", strength="strong")
    for item in cut:
        lung = item["lung"].float()
        hot = {**item, "lung": MetaTensor(torch.cat([1 - lung, lung]).as_tensor(), affine=lung.affine)}
        for seed in SEEDS:
            out = augment.set_random_state(seed)(hot)["lung"].as_tensor()
            assert (out.sum(0) == 1).all()


@pytest.mark.parametrize("strength", ["standard", "strong"])
def test_three_equal_channels_stay_equal_and_are_those_of_one(cut, strength):
    augment = xray_augmentation("image", mask_keys="lung", strength=strength)
    for item in cut:
        for seed in SEEDS:
            one = augment.set_random_state(seed)(item)["image"].as_tensor()
            three = augment.set_random_state(seed)(RepeatChanneld("image", 3)(item))["image"].as_tensor()
            torch.testing.assert_close(three, one.expand(3, -1, -1))


def test_a_lung_at_the_edge_is_kept_with_and_without_meta_data(cut):
    """As a lesion, half of a lung of the crop: what pushes it out is eased, whatever MONAI tracks."""
    augment = Compose([xray_augmentation("image", lesion_key="lung", strength="strong"), ScaleIntensityd("image")])
    eased = 0
    for item in cut:
        part = item["lung"].as_tensor().clone()
        part[:, :, 30:] = 0
        image = item["image"].as_tensor()
        for seed in SEEDS:
            tracked = augment.set_random_state(seed)({"image": MetaTensor(image), "lung": MetaTensor(part)})
            report = augmentation_report(tracked)
            with without_meta():
                plain = augment.set_random_state(seed)({"image": image, "lung": part})
            assert all(torch.equal(plain[k], tracked[k].as_tensor()) for k in KEYS), report["strength"]
            eased += report["strength"] < 1
    assert eased >= 2


@pytest.mark.parametrize("nearest", [True, False])
def test_a_prediction_comes_back(radiographs, nearest):
    chain = Compose([crop(100), xray_augmentation("image", mask_keys="lung"), ScaleIntensityd("image")])
    for item in radiographs:
        for seed in SEEDS:
            (out,) = decollate_batch(list_data_collate([chain.set_random_state(seed)(item)]))
            out["pred"] = out["lung"].clone() if nearest else 0.9 * out["lung"].float()
            back = Invertd("pred", chain, orig_keys="image", nearest_interp=nearest)(out)["pred"].float()
            assert back.shape == item["lung"].shape
            assert 0 <= float(back.min()) <= float(back.max()) <= 1
            if nearest:
                assert set(back.unique().tolist()) <= {0, 1}
            found, lung = back > 0.45, item["lung"].as_tensor() > 0
            assert float((found & ~lung).sum()) < 0.05 * float(lung.sum())


def test_two_spawned_workers(radiographs):
    runs = {}
    for workers in (0, 2):
        preset = xray_augmentation("image", mask_keys="lung", sample_key="id", seed=3)
        chain = Compose([SampleSeeded(crop(), "id"), preset, ScaleIntensityd("image")])
        with stderr_of_all_processes() as lines:
            runs[workers] = epochs(radiographs, chain, workers, preset)
    alone, shared = ([batch for epoch in runs[w] for batch in epoch] for w in runs)
    seeds = [augmentation_report({k: b[k] for k in KEYS})[0]["seed"] for b in shared]
    notices = [line for line in lines if "Notice:" in line]
    pairs = [(a[k].as_tensor(), b[k].as_tensor()) for a, b in zip(alone, shared, strict=True) for k in KEYS]
    checks = {
        "as in the main process alone": all(torch.equal(a, b) for a, b in pairs),
        "cases and epochs differ": len(set(seeds)) == 12,
        "a notice comes once": len(notices) == len(set(notices)),
    }
    apart = [f"{k}: {(a.float() - b.float()).abs().max():.3g}" for (a, b), k in zip(pairs, KEYS * 12, strict=True)]
    assert all(checks.values()), (checks, notices, apart)
