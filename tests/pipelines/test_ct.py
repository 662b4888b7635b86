"""A spleen in CT, as MONAI's spleen tutorial trains it: crops about the organ, the preset, the scaling to [0, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor, TestTimeAugmentation, decollate_batch, list_data_collate
from monai.transforms import (
    AsDiscreted,
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    RandCropByPosNegLabeld,
    ScaleIntensityRanged,
    Spacingd,
)

from monai_medaug.transforms import RandAffineElasticd, SampleSeeded, augmentation_report, ct_augmentation

from .shared import FOLDER, epochs, needs_data, share_lost, without_meta

pytestmark = needs_data
KEYS = ("image", "label")
FILES = {k: str(FOLDER / f"msd_spleen2_ct_{n}.nii.gz") for k, n in (("image", "image"), ("label", "mask"))}
SIDE = (64, 64, 48)
SEEDS = range(3)


def inside_the_body(x: torch.Tensor) -> torch.Tensor:
    return x > -900


def loading() -> list:
    return [
        LoadImaged(KEYS),
        EnsureChannelFirstd(KEYS),
        Orientationd(KEYS, axcodes="RAS", labels=None),
        Spacingd(KEYS, pixdim=(1.5, 1.5, 2), mode=("bilinear", "nearest")),
        CropForegroundd(KEYS, source_key="image", select_fn=inside_the_body, allow_smaller=True),
    ]


def crop(keys: Any = KEYS, side: Any = SIDE) -> RandCropByPosNegLabeld:
    """Four crops, half of them about the organ; the threshold is in HU, since the image is."""
    return RandCropByPosNegLabeld(keys, "label", side, 1, 1, 4, "image", -500)


def scaling() -> ScaleIntensityRanged:
    return ScaleIntensityRanged("image", a_min=-57, a_max=164, b_min=0, b_max=1, clip=True)


def lost(augment: Any, crops: list[dict], label: str = "label") -> list[float]:
    """What each draw loses of each crop's organ."""
    shares = []
    for seed in SEEDS:
        for before, after in zip(crops, augment.set_random_state(seed)(crops), strict=True):
            shares.append(share_lost(before[label], after[label], after["image"]))
    return shares


@pytest.fixture(scope="module")
def scan() -> dict[str, MetaTensor]:
    return CacheDataset([FILES], Compose(loading()), progress=False)[0]


@pytest.fixture(scope="module")
def crops(scan: dict) -> list[dict]:
    return crop().set_random_state(0)(scan)


@pytest.mark.parametrize("strength", ["standard", "strong"])
def test_what_the_image_shows_of_the_spleen_is_labelled_spleen(crops, strength):
    assert max(lost(ct_augmentation("image", mask_keys="label", strength=strength), crops)) <= 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool])
def test_every_voxel_keeps_exactly_one_class(scan, dtype):
    hot = AsDiscreted("label", to_onehot=2)(scan)
    crops = crop().set_random_state(0)(hot)
    for item in crops:
        item["label"] = item["label"].to(dtype)
    augment = ct_augmentation("image", mask_keys="label", strength="strong")
    for seed in SEEDS:
        for before, after in zip(crops, augment.set_random_state(seed)(crops), strict=True):
            assert after["label"].dtype == dtype
            assert (after["label"].as_tensor().sum(0) == 1).all()
            assert share_lost(before["label"][1:], after["label"][1:], after["image"]) <= 0.01


def test_a_lesion_at_the_edge_is_kept_with_and_without_meta_data(scan):
    """The crop's lesion touches no border, but a draw would push it out: eased alike, whatever MONAI tracks."""
    label, image = (scan[k].as_tensor().numpy()[:, 8:72, 8:72, 8:56] for k in ("label", "image"))
    place = np.stack(np.meshgrid(*[np.arange(n) for n in SIDE], indexing="ij"))
    lesion = (np.square(place - np.reshape((5, 32, 24), (3, 1, 1, 1))).sum(0) <= 16)[None].astype(np.float32)
    data = {"image": image + 60 * lesion, "label": np.maximum(label, lesion), "lesion": lesion}
    chain = Compose(
        [
            RandCropByPosNegLabeld((*KEYS, "lesion"), "label", SIDE, 1, 1, 1),
            ct_augmentation("image", "label", "lesion", strength="strong"),
            scaling(),
        ]
    )
    eased = 0
    for seed in range(6):
        tracked = chain.set_random_state(seed)(data)[0]
        report = augmentation_report(tracked)
        with without_meta():
            plain = chain.set_random_state(seed)(data)[0]
        assert all(torch.equal(torch.as_tensor(plain[k]), tracked[k].as_tensor()) for k in data), report["strength"]
        assert float(plain["lesion"].sum()) >= 0.7 * lesion.sum()  # 0.9 of it, and it may shrink by a fifth each way
        eased += report["strength"] < 1
    assert eased >= 2


@pytest.fixture(scope="module")
def whole() -> Compose:
    """Without crops, which MONAI can't invert."""
    return Compose([*loading(), ct_augmentation("image", mask_keys="label"), scaling()])


@pytest.mark.parametrize("nearest", [True, False])
def test_a_prediction_comes_back_to_the_file(whole, nearest):
    original = LoadImaged("label")(FILES)["label"].as_tensor() > 0
    for seed in SEEDS:
        (out,) = decollate_batch(list_data_collate([whole.set_random_state(seed)(dict(FILES))]))
        out["pred"] = out["label"].clone() if nearest else 0.9 * out["label"]  # as a network's output, a MetaTensor
        back = Invertd("pred", whole, orig_keys="image", nearest_interp=nearest)(out)["pred"][0]
        assert back.shape == original.shape
        assert 0 <= float(back.min()) <= float(back.max()) <= 1
        if nearest:
            assert set(back.unique().tolist()) <= {0, 1}
        found = back.as_tensor() > 0.45
        assert 2 * float((found & original).sum()) / float(found.sum() + original.sum()) > 0.9


@pytest.mark.parametrize("kind", ["label", "uint8", "probability"])
@pytest.mark.parametrize("nearest", [True, False])
def test_air_as_padding_of_the_image_is_none_of_a_prediction(crops, kind, nearest):
    deform = RandAffineElasticd(
        KEYS, prob=1.0, translate_fraction=0.2, mode=["bilinear", "nearest"], padding_mode=-1000
    )
    chain = Compose([deform])
    for seed in SEEDS:
        (out,) = decollate_batch(list_data_collate([chain.set_random_state(seed)(crops[0])]))
        pred = out["label"].clone()
        out["pred"] = pred.to(torch.uint8) if kind == "uint8" else pred * (0.8 if kind == "probability" else 1)
        back = Invertd("pred", chain, orig_keys="image", nearest_interp=nearest)(out)["pred"]
        assert 0 <= float(back.min()) <= float(back.max()) <= 1
        if nearest and kind != "probability":
            assert set(back.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("nested", [False, True], ids=["preset", "Compose"])
def test_test_time_augmentation_is_sane(crops, nested):
    """A perfect network's mean of eight looks is the label, and they differ along its border alone."""
    sample = {"image": 1000 * crops[0]["label"], "label": crops[0]["label"]}
    augment = ct_augmentation("image", mask_keys="label")
    look = TestTimeAugmentation(
        Compose([augment]) if nested else augment,
        batch_size=4,
        inferrer_fn=lambda x: (x > 500).float(),
        orig_key="image",
        nearest_interp=False,
        progress=False,
    )
    _, mean, std, _ = look(sample, num_examples=8)
    assert 0 <= float(mean.min()) <= float(mean.max()) <= 1
    label, inner = sample["label"].as_tensor() > 0, (slice(None), *[slice(8, -8)] * 3)
    assert float(((mean > 0.5) == label)[inner].float().mean()) > 0.95
    assert 0 < float(std[inner].mean()) < 0.15


def test_two_fresh_workers():
    data = [{**FILES, "case": f"case_{i}"} for i in range(2)]
    runs = {}
    for workers in (0, 2):
        preset = ct_augmentation("image", mask_keys="label", sample_key="case", seed=3)
        chain = Compose([*loading(), SampleSeeded(crop(side=(40, 40, 32)), "case"), preset, scaling()])
        runs[workers] = epochs(data, chain, workers, preset, "forkserver")
    alone, shared = ([batch for epoch in runs[w] for batch in epoch] for w in runs)
    seeds = [[r["seed"] for r in augmentation_report({k: b[k] for k in KEYS})] for b in shared]
    pairs = [(a[k].as_tensor(), b[k].as_tensor()) for a, b in zip(alone, shared, strict=True) for k in KEYS]
    checks = {
        "as in the main process alone": all(torch.equal(a, b) for a, b in pairs),
        "cases and epochs differ": len({s[0] for s in seeds}) == 4,
        "four crops get four draws": all(len(set(s)) == 4 for s in seeds),
    }
    assert all(checks.values()), checks
