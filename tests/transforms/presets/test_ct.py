"""The CT preset, its report and the replay."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, Invertd, OneOf, RandFlipd, Rotate90d, ScaleIntensityd

from monai_medaug.transforms import (
    HUWindowd,
    RandAffineElasticd,
    RandCTDose,
    RandCTDosed,
    RandHUContrastd,
    augmentation_report,
    ct_augmentation,
    replay,
)
from tests.transforms.safety.test_preserving import body

SHAPES = [(64, 60), (40, 36, 20)]


def image(shape=(64, 60), seed=0, spacing=(1.0, 1.0, 1.0)):
    values = np.random.RandomState(seed).uniform(-900, 900, (1, *shape)).astype(np.float32)
    return MetaTensor(torch.from_numpy(values), affine=torch.diag(torch.tensor([*spacing, 1.0])).double())


def applied_steps(report):
    return {s["name"]: s["params"] for s in report["steps"] if s["applied"]}


@pytest.mark.parametrize("shape", SHAPES)
def test_source_stays_in_the_ranges_of_the_source(shape):
    preset = ct_augmentation("image", strength="source", prob=1.0)
    for seed in range(5):
        steps = applied_steps(augmentation_report(preset.set_random_state(seed)({"image": image(shape)})))
        geometry, contrast, dose = (steps[n] for n in ("RandAffineElasticd", "RandHUContrastd", "RandCTDosed"))
        assert abs(geometry["rotate_degrees"]) <= 5
        assert all(abs(f) <= 0.05 for f in geometry["translate_fraction"])
        assert 0.9 <= geometry["scale"] <= 1.1
        assert (geometry["elastic_alpha"], geometry["elastic_sigma"]) == (1000, 8)
        assert 0.85 <= contrast["factor"] <= 1.15
        assert dose["noise_hu"] <= 12.3
        assert dose["kernel"] == "white"


def test_each_step_is_applied_independently_with_its_probability():
    preset = ct_augmentation("image", strength="source").set_random_state(0)
    applied = np.array(
        [[s["applied"] for s in augmentation_report(preset({"image": image((8, 8))}))["steps"]] for _ in range(400)]
    )
    assert np.abs(applied.mean(0) - [0.8, 0.8, 0.3, 0.8]).max() < 0.07  # 3 standard deviations of 400 draws
    assert np.abs(np.corrcoef(applied.T)[np.triu_indices(4, 1)]).max() < 0.16


def test_the_call_seed_does_not_correlate_with_what_is_applied():
    preset = ct_augmentation("image", prob=0.5).set_random_state(1)
    reports = [augmentation_report(preset({"image": image((8, 8))})) for _ in range(300)]
    drawn = [p["RandHUContrastd"]["factor"] for p in map(applied_steps, reports) if "RandHUContrastd" in p]
    assert abs(np.mean(drawn) - 1) < 0.02
    assert len({r["seed"] for r in reports}) == 300


@pytest.mark.parametrize("shape", SHAPES)
def test_report_then_replay_is_bit_exact_through_json(shape):
    data = {"image": image(shape, spacing=(1, 1.5, 4))}
    preset = ct_augmentation("image", strength="source", prob=1.0).set_random_state(3)
    out = preset(data)
    report = augmentation_report(out)
    for form in (report, dict(report), report.to_json(), json.loads(report.to_json())):
        assert torch.equal(replay(data, form)["image"].as_tensor(), out["image"].as_tensor())
    again = replay(data, report, transform=ct_augmentation("image", strength="source", prob=1.0))
    assert torch.equal(again["image"].as_tensor(), out["image"].as_tensor())
    assert augmentation_report(replay(data, report))["steps"][0]["params"] == report["steps"][0]["params"]


def test_replay_repeats_the_noise_of_each_key():
    data = {"a": image(seed=1), "b": image(seed=2)}
    out = RandCTDosed(("a", "b"), prob=1.0).set_random_state(0)(data)
    again = replay(data, augmentation_report(out))
    assert all(torch.equal(again[k].as_tensor(), out[k].as_tensor()) for k in data)


def test_report_says_what_was_done_with_units():
    data = body()
    out = ct_augmentation("image", "label", "lesion", prob=1.0).set_random_state(0)(data)
    report = augmentation_report(out)
    text = str(report)
    assert report["images"]["image"] == {"shape": [48, 44, 40], "spacing_mm": [1.0, 1.0, 1.0]}
    for part in (
        "48 × 44 × 40 voxels",
        "°",
        " HU",
        " mm",
        "within [-1000, 1000] HU",
        "anatomy preserved    yes",
        "seed",
    ):
        assert part in text
    assert report["pathology_preserved"] == "yes"
    json.loads(report.to_json())
    assert all("models" in s for s in report["steps"] if s["applied"])


def test_range_is_reported_and_nothing_is_clipped():
    data = {"image": image() * 2}
    free = ct_augmentation("image", prob=0.0)(data)
    check = augmentation_report(free)["range_check"]["image"]
    inside_circle = data["image"][data["image"] > -1400]
    assert check["share_below"] == pytest.approx(float((inside_circle < -1000).float().mean()))
    assert check["share_above"] == pytest.approx(float((inside_circle > 1000).float().mean()))
    assert not check["passed"]
    assert torch.equal(free["image"].as_tensor(), data["image"].as_tensor())


def test_replay_refuses_what_it_cannot_repeat():
    data = {"image": image(), "flat": torch.zeros(1)}
    chain = Compose([RandHUContrastd("image", prob=1.0), RandFlipd("image", prob=1.0)]).set_random_state(0)
    report = augmentation_report(chain(data))
    with pytest.raises(ValueError, match="RandFlipd"):
        replay(data, report)
    with pytest.raises(ValueError, match="transform must be a preset"):
        replay(data, report, transform=chain)
    good = augmentation_report(RandHUContrastd("image", prob=1.0)(data))
    with pytest.raises(ValueError, match="'image'"):
        replay({"other": image()}, good)
    with pytest.raises(ValueError, match="shape"):
        replay({"image": image((10, 10))}, good)
    with pytest.raises(ValueError, match="JSON"):
        replay(data, "{not json")
    with pytest.raises(ValueError, match="steps"):
        replay(data, {"a": 1})
    bad = json.loads(good.to_json())
    bad["steps"][0]["params"]["factor"] = {"__import__": "os"}
    with pytest.raises(ValueError, match="factor"):
        replay(data, bad)
    del bad["steps"][0]["params"]["factor"]
    with pytest.raises(ValueError, match="is incomplete"):
        replay(data, bad)
    bad["steps"][0]["name"] = "os.system"
    with pytest.raises(ValueError, match=r"os\.system"):
        replay(data, bad)


def test_replay_passes_over_steps_that_were_skipped_and_containers():
    data = {"image": image()}
    chain = Compose(
        [OneOf([RandHUContrastd("image", prob=1.0), RandCTDosed("image", prob=1.0)]), RandFlipd("image", prob=0.0)]
    ).set_random_state(2)
    out = chain(data)
    assert torch.equal(replay(data, augmentation_report(out))["image"].as_tensor(), out["image"].as_tensor())


def test_replay_starts_before_our_first_step():
    data = {"image": image()}
    before = Rotate90d("image")(data)
    out = HUWindowd("image", preset="brain")(RandAffineElasticd("image", prob=1.0).set_random_state(0)(before))
    assert torch.equal(replay(before, augmentation_report(out))["image"].as_tensor(), out["image"].as_tensor())


def test_report_needs_a_trace():
    with pytest.raises(ValueError, match="bare arrays carry no trace"):
        augmentation_report(RandCTDose(prob=1.0)(np.random.RandomState(0).normal(0, 50, (1, 8, 8))))
    with pytest.raises(ValueError, match="must carry a record"):
        augmentation_report({"image": image()})


def test_single_images_have_reports_too():
    x = image()
    out = RandCTDose(prob=1.0).set_random_state(0)(x)
    report = augmentation_report(out)
    assert torch.equal(replay(x, report).as_tensor(), out.as_tensor())
    assert np.array_equal(replay(x.numpy(), report), out.numpy())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_collated_batch_has_a_report_each_and_inverts(workers):
    data = [{"image": image((24, 20), seed=i)} for i in range(4)]
    preset = ct_augmentation("image", prob=1.0).set_random_state(0)
    loader = DataLoader(Dataset(data, preset), batch_size=4, num_workers=workers)
    batch = next(iter(loader))
    reports = augmentation_report(batch)
    assert len({r["seed"] for r in reports}) == 4
    for i, report in enumerate(reports):
        again = replay(data[i], report)["image"]
        assert torch.equal(again.as_tensor(), batch["image"][i].as_tensor())
    for sample in decollate_batch(batch):
        back = Invertd("pred", preset, orig_keys="image")({**sample, "pred": sample["image"].clone()})["pred"]
        assert not back.applied_operations


def test_preset_copies_and_pickles_continue_and_invert():
    preset = ct_augmentation("image", prob=1.0).set_random_state(0)
    data = {"image": image()}
    out = preset(data)
    for twin in (copy.deepcopy(preset), pickle.loads(pickle.dumps(preset))):
        assert torch.equal(twin(data)["image"].as_tensor(), copy.deepcopy(preset)(data)["image"].as_tensor())
        assert twin.inverse(out)["image"].applied_operations == []


def test_preset_in_a_lazy_compose_and_over_lists():
    chain = Compose([Rotate90d("image"), ct_augmentation("image", prob=1.0)], lazy=True).set_random_state(0)
    out = chain({"image": image((20, 30))})
    assert out["image"].shape == (1, 30, 20)
    preset = ct_augmentation("image", prob=1.0).set_random_state(0)
    outs = preset([{"image": image()}, {"image": image()}])
    assert not torch.equal(outs[0]["image"].as_tensor(), outs[1]["image"].as_tensor())
    assert [o["image"].applied_operations for o in preset.inverse(outs)] == [[], []]


def test_preset_says_what_is_wrong():
    with pytest.raises(ValueError, match="strength"):
        ct_augmentation("image", strength="huge")
    with pytest.raises(ValueError, match=r"'image' must be in Hounsfield units.*window=\(low, high\)"):
        ct_augmentation("image", prob=1.0)(ScaleIntensityd("image")({"image": image()}))
    with pytest.raises(ValueError, match="start and end must not"):
        ct_augmentation("image")({"image": image()}, start=1)


def test_masks_move_along_and_keep_their_type():
    data = body()
    out = ct_augmentation("image", "label", "lesion", strength="strong", prob=1.0).set_random_state(4)(data)
    assert out["label"].dtype == torch.uint8
    assert set(out["label"].unique().tolist()) <= {0, 1, 2}
    inside = out["image"][out["label"] == 2].mean()
    assert abs(float(inside) - float(data["image"][data["label"] == 2].mean())) < 40
