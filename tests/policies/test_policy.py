"""Policies as data: JSON there and back, every wrong or hostile file refused, the same voxels from every way in."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from monai_medaug.policies import AugmentationPolicy, PolicyAugmentation, PolicyStep, SubPolicy, policy_operations
from monai_medaug.policies.operations import POLICY_MODALITIES, every_policy_operation
from monai_medaug.transforms import augmentation_report, replay

GOOD = {
    "schema": 1,
    "modality": "ct",
    "sub_policies": [
        {"weight": 2.0, "steps": [{"operation": "rotate", "probability": 0.8, "magnitude": 0.5}]},
        {
            "weight": 1.0,
            "steps": [
                {"operation": "contrast", "probability": 1.0, "magnitude": 0.3},
                {"operation": "ct_noise", "probability": 0.5, "magnitude": 0.9},
            ],
        },
    ],
    "provenance": {"study": "lungs", "seed": 3, "score": 0.91, "trials": 40, "versions": {"monai": "1.6.1"}},
}


def changed(**parts) -> str:
    return json.dumps(GOOD | parts)


def with_step(**parts) -> str:
    return changed(sub_policies=[{"steps": [GOOD["sub_policies"][0]["steps"][0] | parts]}])


def with_provenance(**parts) -> str:
    return changed(provenance=parts)


CALLED = "$__import__('os').environ.__setitem__('MEDAUG_EXECUTED', '1')"
HOSTILE = {
    "expression as operation": with_step(operation=CALLED),
    "expression as probability": with_step(probability=CALLED),
    "expression as magnitude": with_step(magnitude="$0.5"),
    "expression as study": with_provenance(study=CALLED),
    "expression behind a space": with_provenance(study="  " + CALLED),
    "reference as study": with_provenance(study="@network"),
    "macro as study": with_provenance(study="%other.json::x"),
    "expression as version": with_provenance(versions={"monai": CALLED}),
    "expression as package": with_provenance(versions={CALLED: "1"}),
    "target in a step": with_step(_target_="os.system"),
    "target in a sub-policy": changed(sub_policies=[{"_target_": "os.system", "steps": []}]),
    "target on top": changed(_target_="subprocess.run"),
    "imports on top": changed(imports=[CALLED]),
    "class path as operation": with_step(operation="os.system"),
    "class name as operation": with_step(operation="RandAffineElastic"),
    "dunder as operation": with_step(operation="__class__"),
    "operation of another modality": with_step(operation="mri_noise"),
    "operation in capitals": with_step(operation="ROTATE"),
    "empty operation": with_step(operation=""),
    "null operation": with_step(operation=None),
    "list as operation": with_step(operation=["rotate"]),
    "object as operation": with_step(operation={"rotate": 1}),
    "long operation": with_step(operation="r" * 100_000),
    "probability above 1": with_step(probability=1.01),
    "probability below 0": with_step(probability=-0.01),
    "probability null": with_step(probability=None),
    "probability true": with_step(probability=True),
    "probability text": with_step(probability="0.5"),
    "magnitude 0": with_step(magnitude=0),
    "magnitude above 1": with_step(magnitude=1.5),
    "magnitude list": with_step(magnitude=[0.1, 0.2]),
    "magnitude NaN": with_step(magnitude=float("nan")),
    "magnitude infinite": with_step(magnitude=float("inf")),
    "magnitude that overflows": with_step().replace('"magnitude": 0.5', '"magnitude": 1e999'),
    "whole number without end": with_step().replace('"magnitude": 0.5', '"magnitude": ' + "9" * 6000),
    "probability missing": changed(sub_policies=[{"steps": [{"operation": "rotate", "magnitude": 0.5}]}]),
    "a fourth entry": changed(sub_policies=[{"steps": [["rotate", 0.5, 0.5, CALLED]]}]),
    "weight negative": changed(sub_policies=[{"weight": -1, "steps": [["rotate", 1, 1]]}]),
    "weights all 0": changed(sub_policies=[{"weight": 0, "steps": [["rotate", 1, 1]]}]),
    "weight text": changed(sub_policies=[{"weight": "1", "steps": [["rotate", 1, 1]]}]),
    "no sub-policies": changed(sub_policies=[]),
    "no steps": changed(sub_policies=[{"steps": []}]),
    "too many sub-policies": changed(sub_policies=[[["rotate", 1, 1]]] * 1001),
    "too many steps": changed(sub_policies=[[["rotate", 1, 1]] * 21]),
    "sub-policies as object": changed(sub_policies={"0": [["rotate", 1, 1]]}),
    "sub-policies as text": changed(sub_policies="rotate"),
    "a sub-policy null": changed(sub_policies=[None]),
    "modality unknown": changed(modality="pet"),
    "modality expression": changed(modality=CALLED),
    "modality missing": json.dumps({k: v for k, v in GOOD.items() if k != "modality"}),
    "schema of tomorrow": changed(schema=2),
    "schema text": changed(schema="1"),
    "schema true": changed(schema=True),
    "schema missing": json.dumps({k: v for k, v in GOOD.items() if k != "schema"}),
    "provenance unknown": with_provenance(path="/home/jane/scan.nii"),
    "provenance list": changed(provenance=[1]),
    "provenance long": with_provenance(study="x" * 201),
    "provenance of two lines": with_provenance(study="a\nb"),
    "seed fraction": with_provenance(seed=1.5),
    "seed huge": with_provenance(seed=2**70),
    "score NaN": with_provenance(score=float("nan")),
    "versions nested": with_provenance(versions={"monai": {"a": "b"}}),
    "a key twice": '{"schema": 1, "schema": 1, "modality": "ct", "sub_policies": [[["rotate", 1, 1]]]}',
    "deep": "[" * 200_000,
    "deep object": '{"a":' * 50_000,
    "cut": json.dumps(GOOD)[:-20],
    "empty": "",
    "null": "null",
    "list": "[]",
    "text": '"$1"',
    "python": "AugmentationPolicy('ct', [])",
    "pickle": pickle.dumps(GOOD, protocol=0).decode("latin1"),
    "too large": changed() + " " * 1_000_001,
    "YAML": "!!python/object/apply:os.system ['true']",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("from_file", [False, True])
def test_a_hostile_or_malformed_policy_is_a_clear_error_and_nothing_runs(name, from_file, tmp_path):
    os.environ.pop("MEDAUG_EXECUTED", None)
    text = HOSTILE[name]
    if from_file:
        text = tmp_path / "policy.json"
        text.write_text(HOSTILE[name], encoding="utf-8")
    with pytest.raises(ValueError, match=r"(must|got)") as caught:
        AugmentationPolicy.from_json(text)
    said = str(caught.value)
    assert len(said) < 600, "the message quotes the whole file"
    assert str(tmp_path) not in said
    assert "MEDAUG_EXECUTED" not in os.environ


def test_there_are_at_least_fifty():
    assert len(HOSTILE) >= 50


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x80\x04\x95cos\nsystem\n", bytes(range(256))])
def test_bytes_that_are_no_text(data, tmp_path):
    file = tmp_path / "policy.json"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="UTF-8"):
        AugmentationPolicy.from_json(file)
    with pytest.raises(ValueError, match="can be read"):
        AugmentationPolicy.from_json(tmp_path / "absent.json")
    with pytest.raises(ValueError, match="JSON text or a Path"):
        AugmentationPolicy.from_json(data)


@st.composite
def policies(draw):
    modality = draw(st.sampled_from(POLICY_MODALITIES))
    names = st.sampled_from(sorted(every_policy_operation(modality)))
    step = st.builds(PolicyStep, names, st.floats(0, 1), st.floats(0.001, 1))
    sub = st.builds(SubPolicy, st.lists(step, min_size=1, max_size=3).map(tuple), st.floats(0.1, 10))
    provenance = st.fixed_dictionaries({}, optional={"seed": st.integers(0, 2**31), "score": st.floats(-1, 1)})
    return AugmentationPolicy(modality, draw(st.lists(sub, min_size=1, max_size=4)), draw(provenance))


@settings(max_examples=40, deadline=None)
@given(policies())
def test_json_there_and_back_is_the_identity(policy):
    text = policy.to_json()
    again = AugmentationPolicy.from_json(text)
    assert again == policy
    assert again.to_json() == text
    assert hash(again) == hash(policy)
    assert str(policy)
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_all_forms_of_a_policy_are_equal():
    forms = [
        AugmentationPolicy.from_json(json.dumps(GOOD)),
        AugmentationPolicy("ct", GOOD["sub_policies"], GOOD["provenance"]),
        AugmentationPolicy(
            "ct",
            [
                SubPolicy((PolicyStep("rotate", 0.8, 0.5),), 2),
                {"steps": [["contrast", 1, 0.3], PolicyStep("ct_noise", 0.5, 0.9)]},
            ],
            GOOD["provenance"],
        ),
    ]
    assert forms[0] == forms[1] == forms[2]
    assert forms[0].to_dict() == GOOD


@pytest.mark.parametrize(
    ("sub_policies", "error", "said"),
    [
        (None, TypeError, "sub_policies must be a list"),
        ([["rotate"]], TypeError, "a step must be operation, probability, magnitude"),
        ([[["rotate", 1, 2]]], ValueError, "magnitude of rotate"),
        ([[["spin", 1, 1]]], ValueError, "operation must be one of .*rotate.* for ct, got 'spin'"),
    ],
)
def test_errors_of_the_constructor(sub_policies, error, said):
    with pytest.raises(error, match=said):
        AugmentationPolicy("ct", sub_policies)


def sample(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 20, (1, 64, 56)).astype(np.float32)
    label = np.zeros((1, 64, 56), np.uint8)
    label[:, 20:44, 18:40] = 1
    return {"image": MetaTensor(torch.from_numpy(image + 200 * label)), "label": MetaTensor(torch.from_numpy(label))}


def test_every_way_in_gives_the_same_voxels_under_one_seed(tmp_path):
    policy = AugmentationPolicy.from_json(json.dumps(GOOD))
    policy.write(tmp_path / "policy.json")
    config = {
        "policy": {"_target_": "AugmentationPolicy", **{k: v for k, v in GOOD.items() if k != "schema"}},
        "by_method": "$@policy.to_compose('image', 'label')",
        "by_class": {"_target_": "PolicyAugmentation", "keys": "image", "policy": "@policy", "mask_keys": "label"},
        "by_values": {"_target_": "PolicyAugmentation", "keys": "image", "policy": GOOD, "mask_keys": "label"},
        "imports": ["$import monai_medaug"],
    }
    parser = ConfigParser(config)
    parser.parse()
    ways = [parser.get_parsed_content(name) for name in ("by_method", "by_class", "by_values")]
    ways += [
        policy.to_compose("image", mask_keys="label"),
        PolicyAugmentation("image", tmp_path / "policy.json", "label"),
        PolicyAugmentation("image", (tmp_path / "policy.json").read_text(), "label"),
    ]
    results = [[way.set_random_state(7)(sample(s)) for s in range(4)] for way in ways]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a["image"], b["image"])
            assert torch.equal(a["label"], b["label"])
    assert any(not torch.equal(out["image"], sample(s)["image"]) for s, out in enumerate(results[0]))


def test_weights_and_probabilities_hold():
    policy = AugmentationPolicy(
        "xray",
        [{"weight": 3, "steps": [["gamma", 0.5, 1]]}, {"weight": 1, "steps": [["blur", 1, 1]]}],
    )
    augment = policy.to_compose("image").set_random_state(0)
    image = MetaTensor(torch.rand(1, 12, 12))
    counts = {"RandIntensityCurved": 0, "RandBlurd": 0}
    for _ in range(600):
        for record in augment({"image": image})["image"].applied_operations:
            if record["class"] in counts and record["do_transforms"]:
                counts[record["class"]] += 1
    assert abs(counts["RandBlurd"] / 600 - 0.25) < 0.06
    assert abs(counts["RandIntensityCurved"] / 600 - 0.375) < 0.06


def test_a_policy_replays_from_its_report_and_by_the_pipeline():
    data = sample()
    augment = AugmentationPolicy.from_json(json.dumps(GOOD)).to_compose("image", "label").set_random_state(3)
    for _ in range(3):
        out = augment(data)
        report = augmentation_report(out)
        assert report["anatomy_preserved"] in ("yes", "no")
        text = report.to_json()
        assert torch.equal(replay(sample(), text, transform=augment)["image"], out["image"])
        if report["strength"] == 1 and not report["rejected"]:
            assert torch.equal(replay(sample(), text)["image"], out["image"])


def test_a_policy_stands_in_a_comparison():
    from monai_medaug.experiments.strategy import resolved_strategies

    policy = AugmentationPolicy("xray", [[["rotate", 1, 1]]])
    found = resolved_strategies({"none": None, "learned": policy}, "image", "label", (64, 56))
    assert isinstance(found["learned"].before, PolicyAugmentation)
    assert found["learned"].before.keys == ("image", "label")


def test_writing_leaves_no_half_file(tmp_path, monkeypatch):
    policy = AugmentationPolicy("ct", [[["rotate", 1, 1]]])
    file = tmp_path / "policy.json"
    policy.write(file)
    before = file.read_text()
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        AugmentationPolicy("ct", [[["blur", 1, 1]]]).write(file)
    assert file.read_text() == before
    assert [f.name for f in tmp_path.iterdir()] == ["policy.json"]


@pytest.mark.parametrize("modality", POLICY_MODALITIES)
def test_every_operation_of_a_modality_runs_as_a_policy(modality):
    for dims in (2, 3):
        for name, found in policy_operations(modality, dims).items():
            image = MetaTensor(found.operation.example(dims))
            if modality == "ct" and not found.operation.modality:
                image = image - 500
            label = MetaTensor((image > image.mean()).to(torch.uint8))
            policy = AugmentationPolicy(modality, [[[name, 1, 0.7]]])
            augment = policy.to_compose("image", "label", guard=False).set_random_state(1)
            out = augment({"image": image, "label": label})
            assert not torch.equal(out["image"], image) or name in ("beam_hardening", "collimation"), name
            assert set(out["label"].unique().tolist()) <= {0, 1}, name
