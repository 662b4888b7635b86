"""`evaluate` as a user meets it."""

import json

import numpy as np
import pytest

from tests.commands.command_line import files, run
from tests.scan_files import AFFINE, CT_SMALL, ct_volume, write_nifti


@pytest.fixture
def scans(tmp_path):
    clean = ct_volume((48, 44, 12)).astype(np.float32)
    noise = 20 * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    names = {"noisy": clean + noise, "better": clean + noise / 4, "clean": clean}
    paths = {name: write_nifti(tmp_path / f"{name}.nii.gz", x) for name, x in names.items()}
    return paths | {"mask": write_nifti(tmp_path / "mask.nii.gz", (clean > -300).astype(np.uint8))}


def test_a_table_alone(scans, capfd):
    assert run("evaluate", scans["noisy"], scans["better"]) == 0
    said = capfd.readouterr().out
    assert "without a reference" in said
    assert "sharpness" in said


def test_json_and_a_picture_beside_it(scans, tmp_path, capfd):
    out = tmp_path / "new" / "evaluation.json"
    arguments = ("--reference", scans["clean"], "--mask", scans["mask"], "--window", "soft_tissue", "--out", out)
    assert run("evaluate", scans["noisy"], scans["better"], *arguments) == 0
    said = capfd.readouterr().out
    assert "against the reference" in said
    assert str(tmp_path) not in said
    assert files(out.parent) == ["evaluation.json", "evaluation.png"]
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["data_range"] == 400
    assert report["figures"]["psnr"]["enhanced"] > report["figures"]["psnr"]["original"] + 10
    assert out.with_suffix(".png").stat().st_size > 10_000


def test_a_dicom_slice_against_itself(tmp_path, capfd):
    out = tmp_path / "same.json"
    assert run("evaluate", CT_SMALL, CT_SMALL, "--reference", CT_SMALL, "--out", out) == 0
    assert json.loads(out.read_text())["figures"]["psnr"]["enhanced"] == 100
    assert "ATTENTION" not in capfd.readouterr().out


def test_what_is_wrong_is_one_line(scans, tmp_path, capfd):
    small = write_nifti(tmp_path / "small.nii.gz", ct_volume())
    elsewhere = AFFINE.copy()
    elsewhere[:3, 3] += 5
    moved = write_nifti(tmp_path / "moved.nii.gz", ct_volume((48, 44, 12)), elsewhere)
    nothing = write_nifti(tmp_path / "nothing.nii.gz", np.zeros((48, 44, 12), np.uint8))
    for arguments, said in (
        ((small,), "the enhanced file must have the original's shape"),
        ((moved,), "the enhanced file must lie on the original's grid"),
        ((scans["better"], "--reference", moved), "the reference file must lie on the original's grid"),
        ((scans["better"], "--mask", nothing), "mask must hold a voxel"),
        ((scans["better"], "--out", tmp_path / "x.png"), "--out must be a file that ends in .json"),
        ((scans["better"], "--reference", scans["clean"], "--data-range", "-3"), "data_range must be"),
        ((scans["better"], "--window", "Mueller"), "invalid choice"),
        ((tmp_path / "Mueller.nii.gz",), "the enhanced file does not exist"),
    ):
        assert run("evaluate", scans["noisy"], *arguments) == 2
        error = capfd.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert "Mueller" not in error
