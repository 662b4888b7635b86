"""``generate``: files, what they say of themselves, copies that are found, and bad input."""

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

from monai_medaug.networks import DCGANDiscriminator, DCGANGenerator, save_weights

from .command_line import run


def test_it_writes_images_of_a_class_and_says_that_they_are_generated(tmp_path, capsys):
    assert run("generate", "--count", "12", "--class", "1", "--seed", "3", "--out", tmp_path / "made") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "12 generated images of 32×32" in out
    assert "not checked for copies of training images" in out
    listed = json.loads((tmp_path / "made" / "datalist.json").read_text())
    assert listed["description"] == "generated images"
    assert [item["label"] for item in listed["training"]] == [1] * 12
    assert [item["image"] for item in listed["training"]] == [f"image_{n:02d}.png" for n in range(1, 13)]
    pictures = [np.asarray(Image.open(tmp_path / "made" / item["image"])) for item in listed["training"]]
    assert all(p.shape == (32, 32) and p.dtype == np.uint8 for p in pictures)
    assert Image.open(tmp_path / "made" / "grid.png").size == (4 * 33 + 1, 3 * 33 + 1)
    run("generate", "--count", "12", "--class", "1", "--seed", "3", "--out", tmp_path / "again")
    first = [(tmp_path / folder / "image_07.png").read_bytes() for folder in ("made", "again")]
    assert first[0] == first[1]


def test_weights_of_ones_own_training(tmp_path, capsys):
    torch.manual_seed(0)
    generator = DCGANGenerator(8, 64, features=16)
    generator.value_range = [0.0, 4095.0]
    save_weights(generator, tmp_path / "own.safetensors")
    assert run("generate", "--weights", tmp_path / "own.safetensors", "--count", "2", "--out", tmp_path / "made") == 0
    out = capsys.readouterr().out
    assert "2 generated images of 64×64" in out
    assert "label" not in json.loads((tmp_path / "made" / "datalist.json").read_text())["training"][0]


@pytest.mark.slow
def test_samples_that_are_training_images_are_found(tmp_path, capsys):
    """The generated images themselves, given as what the generator learned from."""
    run("generate", "--count", "60", "--out", tmp_path / "made")
    run("generate", "--count", "300", "--seed", "9", "--out", tmp_path / "others")
    for folder in ("made", "others"):
        (tmp_path / folder / "grid.png").unlink()
    code = run(
        "generate", "--count", "60", "--out", tmp_path / "checked", "--training", tmp_path / "made",
        "--held-out", tmp_path / "others",
    )  # fmt: skip
    out = capsys.readouterr().out
    assert code == 0
    assert "copies of training images: found" in out
    report = json.loads((tmp_path / "checked" / "generation_report.json").read_text())
    assert report["memorising"]["flagged"] > 0.95
    assert str(tmp_path) not in (tmp_path / "checked" / "generation_report.json").read_text()


def patient_folders(folder, patients, count=2):
    """Pictures of 40 × 28 pixels in a sub folder of each patient, the second a level deeper."""
    random = np.random.default_rng(len(patients))
    for patient in patients:
        for place in range(count):
            own = folder / patient / ("later" if place else "")
            own.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (28, 40), np.uint8)).save(own / f"{place}.PNG")
    return folder


def test_sub_folders_tell_patients(tmp_path, capsys, monkeypatch):
    seen = []
    report = import_module("monai_medaug.experiments.generation_report")  # the package has a function of that name
    monkeypatch.setattr(report, "generation_report", lambda *given, **_: seen.append(given) or "report")
    known, others = patient_folders(tmp_path / "known", "abc"), patient_folders(tmp_path / "others", "de")
    pair = ("--training", known, "--held-out", others, "--count", "2", "--out", tmp_path / "made")
    assert run("generate", *pair, "--patient-folders") == 0
    assert run("generate", *pair) == 0
    (_, training, held_out, *groups), (*_, first, second) = seen
    assert training.shape == (6, 1, 32, 32)
    assert held_out.shape == (4, 1, 32, 32)
    assert groups == [list("aabbcc"), list("ddee")]
    assert first is second is None
    patient_folders(tmp_path / "others", "c")
    assert run("generate", *pair, "--patient-folders") == 2
    assert "--held-out must hold no patient of --training, got 1 sub folders in both" in capsys.readouterr().err
    (known / "a" / "0.PNG").rename(known / "loose.png")
    assert run("generate", *pair, "--patient-folders") == 2
    assert "--training must have a sub folder for each patient, 1 of 6 files lie in none" in capsys.readouterr().err


def test_what_can_not_be_done_is_said_in_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    save_weights(DCGANDiscriminator(32, features=16), tmp_path / "other.safetensors")
    out = ("--out", tmp_path / "made")
    for arguments, message in (
        (("--training", tmp_path), "--training and --held-out must be given together"),
        (("--patient-folders",), "--patient-folders must be given with --training and --held-out"),
        (
            ("--training", tmp_path / "empty", "--held-out", tmp_path / "empty"),
            "--training must be a folder of",
        ),
        (("--weights", tmp_path / "absent.safetensors"), "--weights must be a file that can be read"),
        (("--weights", tmp_path / "no.safetensors"), "file must be a safetensors file"),
        (("--weights", tmp_path / "other.safetensors"), "file must hold weights of a DCGANGenerator"),
        (("--class", "2"), "labels must be classes of 0 to 1, got 2"),
        (("--model", "unet"), "argument --model"),
    ):
        assert run("generate", *arguments, *out) == 2
        err = capsys.readouterr().err
        assert message in err
        assert str(tmp_path) not in err
        assert err.count("\n") == 1
