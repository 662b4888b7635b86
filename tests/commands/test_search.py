"""`search` as a user meets it."""

import json

import numpy as np
import pytest

from monai_medaug.policies import AugmentationPolicy, PolicySearch
from tests.commands.command_line import files, run
from tests.commands.test_compare import NETWORK
from tests.scan_files import write_nifti

pytest.importorskip("ignite")
pytest.importorskip("optuna")


@pytest.fixture
def datalist(tmp_path):
    rng, sets = np.random.default_rng(0), {}
    folder = tmp_path / "Mueller"
    folder.mkdir()
    for name, count in (("training", 4), ("validation", 2)):
        sets[name] = []
        for n in range(count):
            mask = np.zeros((24, 24), np.uint8)
            mask[6 : 13 + n, 7:16] = 1
            pair = {"image": f"{name}{n}_image.nii", "label": f"{name}{n}_label.nii"}
            image = (mask * 1000.0 + 200 + rng.normal(0, 20, mask.shape)).astype(np.float32)
            for array, file in zip((image, mask), pair.values(), strict=True):
                write_nifti(folder / file, array)
            sets[name].append(pair)
    file = folder / "data.json"
    file.write_text(json.dumps({**sets, "network": NETWORK}))
    return file


def search(file, out, *more):
    return run("search", file, "--modality", "xray", "--out", out, "--epochs", 1, "--trials", 2, *more)


def test_a_policy_a_table_and_a_picture_and_a_second_call_adds_nothing(datalist, tmp_path, capfd):
    out = tmp_path / "out"
    assert search(datalist, out) == 0
    said = capfd.readouterr()
    assert "| rank | trial | score |" in said.out
    assert "policy for xray, 5 sub-policies" in said.out
    assert "Mueller" not in said.out + said.err
    written = [
        "network",
        "policy.json",
        "search.json",
        "search.md",
        "search.png",
        "study.journal",
        "study.journal.lock",
    ]
    assert files(out) == written
    policy = AugmentationPolicy.from_json(out / "policy.json")
    assert policy == PolicySearch.from_json(out / "search.json").best
    for file in out.iterdir():
        if file.suffix != ".png" and file.is_file():
            assert "Mueller" not in file.read_text()
            assert "training0" not in file.read_text()
    before = (out / "search.json").read_text()
    assert search(datalist, out) == 0
    assert (out / "search.json").read_text() == before
    assert search(datalist, out, "--seed", 1) == 2
    assert "must hold the same search" in capfd.readouterr().err


@pytest.mark.slow
def test_full_training_with_small_policies(datalist, tmp_path):
    out = tmp_path / "out"
    assert search(datalist, out, "--objective", "training", "--sub-policies", 1, "--steps", 1) == 0
    found = PolicySearch.from_json(out / "search.json")
    assert found["settings"]["epochs"] == 1
    assert len(found.best.sub_policies) == len(found.best.sub_policies[0].steps) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.pop("validation"), "must hold training and validation"),
        (lambda held: held["training"][0].pop("label"), "sample 1 of 'training' must have image and label"),
        (lambda held: held["training"][0].update(image="absent.nii"), "sample 1 of 'training' cannot be loaded"),
        (lambda held: held.update(network={"_target_": "NoSuchNetwork"}), "network of the datalist cannot be made"),
    ],
)
def test_wrong_data_is_one_line(datalist, tmp_path, capfd, change, said):
    held = json.loads(datalist.read_text())
    change(held)
    datalist.write_text(json.dumps(held))
    assert search(datalist, tmp_path / "out") == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert "Mueller" not in error


@pytest.mark.slow
def test_two_jobs_share_the_trials(datalist, tmp_path):
    out = tmp_path / "out"
    assert search(datalist, out, "--jobs", 2, "--objective", "training", "--trials", 8) == 0
    found = PolicySearch.from_json(out / "search.json")
    assert sum(t["state"] in ("complete", "pruned") for t in found["trials"]) == 8
