"""`reader-study` as a user meets it."""

import json

import numpy as np
import pytest

from tests.commands.command_line import files, run
from tests.experiments.studies import page_data, result_by, written
from tests.scan_files import CT_SMALL, ct_volume, dicom_slice, write_nifti


@pytest.fixture
def scans(tmp_path):
    clean = ct_volume((48, 44, 5)).astype(np.float32)
    noisy = [clean + 20 * np.random.default_rng(n).standard_normal(clean.shape).astype(np.float32) for n in range(2)]
    return [
        [write_nifti(tmp_path / f"Mueller_{name}_{n}.nii.gz", x) for n, x in enumerate(own)]
        for name, own in (("noisy", noisy), ("clean", [clean, clean]))
    ]


def test_a_study_is_made_and_scored(scans, tmp_path, capfd):
    out = tmp_path / "new" / "study.html"
    more = ("--window", "brain", "--repeats", 1, "--prefer", "Which is better?", "--rate", "Edges", "--rate", "Noise")
    versions = ("--images", "noisy", *scans[0], "--images", "clean", *scans[1])
    assert run("reader-study", "make", *versions, "--out", out, *more) == 0
    said = capfd.readouterr().out
    assert "keep it to yourself" in said
    assert str(tmp_path) not in said
    assert files(out.parent) == ["study.html", "study_key.json"]
    for file in out.parent.iterdir():
        assert "Mueller" not in file.read_text()
    study = page_data(out)
    assert [q["text"] for q in study["questions"]] == ["Which is better?", "Edges", "Noise"]
    assert {(i["rows"], i["columns"]) for i in study["images"].values()} == {(44, 48)}
    key = out.with_name("study_key.json")
    results = [
        result_by(json.loads(key.read_text()), f"R{n}", lambda *_: 1, lambda c, version, r: 2 + version)
        for n in range(3)
    ]
    assert run("reader-study", "score", key, *written(tmp_path, *results), "--out", tmp_path / "score.json") == 0
    said = capfd.readouterr().out
    assert "preferred: clean, share" in said
    score = json.loads((tmp_path / "score.json").read_text())
    assert [q["value"] for q in score["questions"]] == [1, 1, 1]
    assert score["readers"] == 3


def test_a_dicom_slice_one_by_one(tmp_path):
    out = tmp_path / "s.html"
    versions = ("--images", "one", CT_SMALL, "--images", "same", CT_SMALL)
    assert run("reader-study", "make", *versions, "--layout", "one by one", "--out", out) == 0
    assert [len(t["images"]) for t in page_data(out)["trials"]] == [1, 1]


def test_a_radiograph_stored_inverted_is_shown_upright_beside_its_restored_file(tmp_path):
    dicom_slice(tmp_path / "film.dcm", PhotometricInterpretation="MONOCHROME1")
    restored = write_nifti(tmp_path / "restored.nii.gz", np.zeros((128, 128), np.float32))
    out = tmp_path / "s.html"
    versions = ("--images", "film", tmp_path / "film.dcm", "--images", "restored", restored)
    assert run("reader-study", "make", *versions, "--out", out) == 0
    assert [t["scale"]["inverted"] for t in page_data(out)["trials"]] == [True]


def test_what_is_wrong_is_one_line(scans, tmp_path, capfd):
    one, other = ("--images", "noisy", *scans[0]), ("--images", "clean", *scans[1])
    out = ("--out", tmp_path / "study.html")
    key = tmp_path / "study_key.json"
    for arguments, said in (
        (("make", *one, *out), "--images must be given twice"),
        (("make", *one, *one, *out), "--images must be given twice"),
        (("make", *one, *other, *one, *out), "--images must be given twice"),
        (("make", *one, *other[:-1], *out), "the same 1 to 1000 cases, got 2 and 1"),
        (("make", *one, *other[:-1], tmp_path / "Mueller.nii", *out), "file 2 of version 2 does not exist"),
        (("make", *one, *other, "--out", tmp_path / "Mueller"), "out must be a file that ends in .html"),
        (("make", *one, *other, *out, "--window", "Mueller"), "invalid choice"),
        (("score", key, tmp_path / "Mueller.json"), "the key file must be a file that can be read"),
        (("score", key, tmp_path / "r.json", "--out", tmp_path / "Mueller"), "--out must be a file that ends in .json"),
        ((), "required"),
    ):
        assert run("reader-study", *arguments) == 2
        error = capfd.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert "Mueller" not in error
    assert not key.exists()
