"""`augment` and `restore` of many scans, as a user meets them; the pool and Ray have tests of their own."""

import json

import nibabel as nib
import numpy as np
import pytest

from monai_medaug import scans
from monai_medaug.commands.datalist import loaded_sets
from tests.commands.command_line import augment, run
from tests.commands.many.data_sets import contents, decathlon, noisy_body
from tests.scan_files import dicom_folder, write_nifti


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"}


def test_a_bad_file_among_many_is_said_at_the_end_and_a_rerun_does_what_is_missing(tmp_path, capsys):
    data, out = decathlon(tmp_path / "the data", 2, 1), tmp_path / "out"
    bad = data / "imagesTr" / "body 01.nii.gz"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    assert augment(data, out, "--seed", 4) == 2
    said = capsys.readouterr()
    assert "3 scans: 2 done, 1 failed\n  imagesTr/body 01  the input file cannot be read" in said.out
    assert said.err.endswith(
        "error: 1 of 3 scans failed, see above; the same command again does only what is missing\n"
    )
    assert str(tmp_path) not in said.out + said.err
    assert not (out / "imagesTr" / "body 01").exists()
    assert not [*out.rglob(".unfinished*")]
    record = json.loads((out / "scans.json").read_text())
    assert [scan["state"] for scan in record["scans"].values()] == ["done", "failed", "done"]
    assert [*record["training"][0].values()] == [
        f"imagesTr/body 00/augmented_001{kind}.nii.gz" for kind in ("", "_mask")
    ]
    assert len(record["training"]) == len(record["test"]) == 1
    bad.write_bytes(whole)
    (out / "imagesTs/body 02/augmented_001_report.json").unlink()
    before = times(out / "imagesTr")
    assert augment(data, out) == 0
    said = capsys.readouterr().out
    assert "seed 4" in said, "that of the earlier run"
    assert "3 scans: 2 done, 1 already there\n" in said
    assert before.items() < times(out / "imagesTr").items()
    assert augment(data, tmp_path / "anew", "--seed", 4) == 0
    assert contents(out) == contents(tmp_path / "anew")
    sets = loaded_sets(json.loads((out / "scans.json").read_text()) | {"test": []}, out, "segmentation")
    assert sets["training"][0]["label"].shape == (1, 16, 16, 6)


def test_a_sample_depends_on_its_seed_and_scan_alone(tmp_path, capsys):
    many, few = tmp_path / "many", tmp_path / "few"
    for folder, names in ((many, ("a/x", "b/x", "c")), (few, ("b/x",))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_nifti(folder / f"{name}.nii.gz", noisy_body(0)[0])
    assert augment(many, tmp_path / "out1", "--seed", 1) == 0
    assert augment(few, tmp_path / "out2", "--seed", 1, "--count", 2) == 0
    one, two = (contents(tmp_path / name) for name in ("out1", "out2"))
    assert one["b/x/augmented_001.nii.gz"] == two["b/x/augmented_001.nii.gz"]
    assert one["b/x/augmented_001.nii.gz"] != one["a/x/augmented_001.nii.gz"]
    assert two["b/x/augmented_001.nii.gz"] != two["b/x/augmented_002.nii.gz"]
    capsys.readouterr()
    assert augment(few, tmp_path / "out2", "--seed", 2) == 2
    assert "holds results of another run (seed 1, now 2)" in capsys.readouterr().err
    write_nifti(few / "b/x.nii.gz", noisy_body(1, (12, 16, 6))[0])
    assert augment(few, tmp_path / "out2") == 0
    assert "1 scan: 1 done" in capsys.readouterr().out, "the file has changed"


def test_channels_of_nnunet_share_their_geometry(tmp_path, capsys):
    data = tmp_path / "Dataset001"
    (data / "imagesTr").mkdir(parents=True)
    (data / "labelsTr").mkdir()
    (data / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii"}))
    image, mask = noisy_body(0)
    for name in ("a", "b"):
        for n in (0, 1):
            write_nifti(data / f"imagesTr/{name}_{n:04d}.nii", image * (n + 1.0))
    write_nifti(data / "labelsTr/a.nii", mask)
    assert augment(data, tmp_path / "out", "--seed", 3, "--strength", "light") == 2
    assert "imagesTr/b  the mask file does not exist" in capsys.readouterr().out
    folder = tmp_path / "out/imagesTr/a"
    assert sorted(p.name for p in folder.glob("*.nii.gz")) == [
        *("augmented_001.nii.gz", "augmented_001_0001.nii.gz", "augmented_001_mask.nii.gz")
    ]
    first, second, moved = (nib.load(path).get_fdata() for path in sorted(folder.glob("*.nii.gz")))
    assert (moved != mask).mean() > 0.01
    for channel, scale in ((first, 1), (second, 2)):
        assert ((channel > -480 * scale) == moved).mean() > 0.99
    item = json.loads((tmp_path / "out/scans.json").read_text())["training"][0]
    assert item["image"] == [f"imagesTr/a/augmented_001{n}.nii.gz" for n in ("", "_0001")]
    assert run("restore", data, "--method", "gaussian", "--out", tmp_path / "clean") == 0
    assert sorted(p.name for p in (tmp_path / "clean/imagesTr").iterdir())[:2] == ["a_0000.nii.gz", "a_0000.png"]
    assert "4 scans: 4 done" in capsys.readouterr().out


def test_masks_and_results_may_lie_in_the_folder(tmp_path, capsys):
    for k, name in enumerate(("x", "y")):
        image, mask = noisy_body(k)
        for folder, array in (("in", image), ("in/masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_nifti(tmp_path / folder / f"{name}.nii.gz", array)
    (tmp_path / "in/masks/y.nii.gz").unlink()
    arguments = ("augment", tmp_path / "in", "--modality", "ct", "--mask", tmp_path / "in/masks")
    for said in ("2 scans: 1 done, 1 failed\n  y  --mask has no file of its name", "1 already there, 1 failed"):
        assert run(*arguments, "--out", tmp_path / "in/out") == 2
        assert said in capsys.readouterr().out
    assert (tmp_path / "in/out/x/augmented_001_mask.nii.gz").is_file()


def test_restored_scans_keep_their_names(tmp_path, capsys):
    data, out = decathlon(tmp_path / "in", 1, 1), tmp_path / "out"
    assert run("restore", data, "--method", "median", "--out", out) == 0
    names = [f"{where}.{kind}" for where in ("imagesTr/body 00", "imagesTs/body 01") for kind in ("nii.gz", "png")]
    assert [*contents(out)] == [*names, "scans.json"]
    assert run("restore", data / "imagesTr/body 00.nii.gz", "--method", "median", "--out", tmp_path / "one.nii.gz") == 0
    assert contents(out)[names[0]] == (tmp_path / "one.nii.gz").read_bytes()
    before = times(out)
    (out / names[1]).unlink()
    assert run("restore", data, "--method", "median", "--out", out) == 0
    assert "2 scans: 1 done, 1 already there" in capsys.readouterr().out
    assert {path: times(out)[path] for path in map(out.joinpath, names[2:])}.items() < before.items()


def test_settings_may_change_as_long_as_nothing_is_done(tmp_path, capsys):
    data = tmp_path / "in"
    data.mkdir()
    write_nifti(data / "x.nii.gz", np.stack([noisy_body(0)[0]] * 2, axis=-1))
    assert run("restore", data, "--method", "median", "--out", tmp_path / "out") == 2
    assert "x  the input file holds 2 volumes: choose one by volume" in capsys.readouterr().out
    assert run("restore", data, "--method", "median", "--volume", 2, "--out", tmp_path / "out") == 0
    assert nib.load(tmp_path / "out/x.nii.gz").shape == (16, 16, 6)
    assert run("restore", data, "--method", "median", "--out", tmp_path / "out") == 2
    assert "(volume 2, now not given)" in capsys.readouterr().err


def test_interrupt_keeps_what_is_done(tmp_path, capsys, monkeypatch):
    data, calls, write = decathlon(tmp_path / "in", 3), [], scans.write_scan

    def interrupted(image, scan, path):
        calls.append(path)
        if len(calls) == 4:  # the mask of the second scan
            raise KeyboardInterrupt
        write(image, scan, path)

    monkeypatch.setattr(scans, "write_scan", interrupted)
    assert augment(data, tmp_path / "out") == 130
    said = capsys.readouterr()
    assert "3 scans: 1 done, 2 missing" in said.out
    assert "Traceback" not in said.err
    assert {name.split("/")[1] for name in contents(tmp_path / "out") if "/" in name} == {"body 00"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--jobs", 0), "argument --jobs: must be 1 or more"),
        (("--address", "auto"), "--address goes with --engine ray"),
        (("--mask", "in/imagesTr/body 00.nii.gz"), "--mask must be a folder with files named like the scans"),
        (("--portable",), "--portable goes with --modality xray"),
        (("--out", "in"), "--out must be another folder than the input"),
        (("--out", "in/dataset.json"), "--out must be a folder, since the input holds many scans, and is a file"),
        (("--out", "taken"), "--out holds a scans.json that is not of an earlier run"),
        (("--out", "in/dataset.json/out"), "cannot write the results: Not a directory"),
    ],
)
def test_what_is_wrong_for_all_is_said_before_any_scan(tmp_path, capsys, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    decathlon(tmp_path / "in", 1)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/scans.json").write_text("[]")
    before = contents(tmp_path)
    assert run("augment", "in", "--modality", "ct", "--out", "out", *more) == 2
    assert said in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_what_goes_with_one_and_with_many(tmp_path, capsys):
    dicom = dicom_folder(tmp_path / "dicom", [(0.0, 0.0, 0.0)])
    for name in ("a.nii", "b.nii", "c.nii"):
        (dicom / name).touch()
    assert augment(dicom, tmp_path / "d", "--engine", "processes") == 2
    said = capsys.readouterr().err
    assert "3 volumes beside it are passed over" in said
    assert "--engine goes with many scans, and the input is one: a file, or a DICOM folder" in said
    data = decathlon(tmp_path / "in", 1)
    one = data / "imagesTr/body 00.nii.gz"
    assert augment(one, tmp_path / "out", "--jobs", 2) == 2
    assert "--jobs goes with many scans, and the input is one" in capsys.readouterr().err
    assert run("restore", data, "--method", "median", "--out", tmp_path / "x.nii.gz") == 2
    assert "--out must be a folder" in capsys.readouterr().err
    assert run("restore", data, "--method", "motion", "--out", tmp_path / "x") == 2
    assert "needs segments" in capsys.readouterr().err
    assert augment(one, tmp_path / "alone") == 0
    assert not (tmp_path / "alone/scans.json").exists()
    assert nib.load(tmp_path / "alone/augmented_001.nii.gz").shape == (16, 16, 6)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", [("augment", "--modality", "mri"), ("restore", "--method", "median")])
def test_a_mask_among_the_scans_of_a_folder_is_refused(tmp_path, capsys, command):
    (tmp_path / "in").mkdir()
    image, mask = noisy_body(0, (24, 24, 12))
    write_nifti(tmp_path / "in/case.nii.gz", np.abs(image))
    write_nifti(tmp_path / "in/case_seg.nii.gz", mask)
    assert run(command[0], tmp_path / "in", *command[1:], "--out", tmp_path / "out") == 2
    said = capsys.readouterr().out
    assert "2 scans: 1 done, 1 failed" in said
    assert "case_seg  the input file looks like a label map, with 2 different whole numbers" in said
