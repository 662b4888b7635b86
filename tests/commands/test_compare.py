"""`compare` as a user meets it."""

import json

import numpy as np
import pytest

from tests.commands.command_line import files, run
from tests.scan_files import write_nifti

pytest.importorskip("ignite")

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
}


@pytest.fixture
def datalist(tmp_path):
    rng, sets = np.random.default_rng(0), {}
    folder = tmp_path / "Mueller"
    folder.mkdir()
    for name, count in (("training", 3), ("test", 2), ("shifted", 2)):
        sets[name] = []
        for n in range(count):
            mask = np.zeros((16, 16), np.uint8)
            mask[4 : 9 + n, 5:11] = 1
            image = (mask * 100 + rng.normal(0, 10, mask.shape)).astype(np.float32)
            pair = {"image": f"{name}{n}_image.nii", "label": f"{name}{n}_label.nii"}
            for array, file in zip((image, mask), pair.values(), strict=True):
                write_nifti(folder / file, array)
            sets[name].append({**pair, "patient": f"{name}{n}"})
    file = folder / "data.json"
    file.write_text(json.dumps({**sets, "network": NETWORK}))
    return file


def compare(file, out, *more):
    return run("compare", file, "--out", out, "--strategy", "none", "--strategy", "monai_brats", *more)


def test_a_table_figures_and_a_picture(datalist, tmp_path, capfd):
    out = tmp_path / "out"
    assert compare(datalist, out, "--seeds", 1, "--epochs", 1, "--group-key", "patient") == 0
    said = capfd.readouterr()
    assert "| monai_brats |" in said.out
    assert "shifted: 2 cases, 1 seeds" in said.out
    assert "Mueller" not in said.out + said.err
    assert files(out) == ["comparison.json", "comparison.md", "comparison.png", "runs", "settings.json"]
    for text in out.rglob("*.json"):
        assert "Mueller" not in text.read_text()
        assert "training0" not in text.read_text()


def test_the_networks_that_come_by_themselves(datalist, tmp_path):
    config = json.loads(datalist.read_text())
    del config["network"]
    datalist.write_text(json.dumps(config))
    assert compare(datalist, tmp_path / "a", "--seeds", 1, "--epochs", 1) == 0
    classes = {
        name: [{"image": item["image"], "label": n % 2} for n, item in enumerate(config[name])]
        for name in ("training", "test")
    }
    load = {"_target_": "Compose", "transforms": [{"_target_": "LoadImaged", "keys": "image"}]}
    load["transforms"] += [
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Resized", "keys": "image", "spatial_size": [64, 64]},
    ]
    datalist.write_text(json.dumps({**classes, "load": load}))
    more = ("--task", "classification", "--seeds", 1, "--epochs", 1)
    assert compare(datalist, tmp_path / "b", *more) == 0


def test_what_is_wrong_is_one_line(datalist, tmp_path, capfd):
    config = json.loads(datalist.read_text())
    broken = {
        "no_json": "{",
        "no_object": "[]",
        "no_test": json.dumps({"training": config["training"]}),
        "no_label": json.dumps({**config, "test": [{"image": "Mueller.nii"}]}),
        "no_file": json.dumps({**config, "test": [{"image": "Mueller.nii", "label": "Mueller.nii"}]}),
        "no_network": json.dumps({**config, "network": {"_target_": "Mueller"}}),
    }
    for name, text in broken.items():
        (datalist.parent / f"{name}.json").write_text(text)
    for file, more, said in (
        ("no_json", (), "it is no JSON"),
        ("no_object", (), "must be a JSON object"),
        ("no_test", (), "must hold training and a test set"),
        ("no_label", (), "sample 1 of 'test' must have image and label"),
        ("no_file", (), "sample 1 of 'test' cannot be loaded"),
        ("no_network", (), "network of the datalist cannot be made"),
        ("absent", (), "the datalist cannot be read"),
        ("data", ("--strategy", "none"), "--strategy must be given twice or more, each another"),
        ("data", ("--strategy", "Mueller"), "invalid choice"),
        ("data", ("--group-key", "ward"), "'ward'"),
    ):
        assert compare(datalist.parent / f"{file}.json", tmp_path / "out", *more) == 2
        error = capfd.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert "Mueller" not in error
