"""`augment` as a user meets it: files, errors, interrupts, and no patient anywhere."""

import errno
import gzip
import json
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from monai_medaug import scans
from monai_medaug.scans.files import read_scan
from monai_medaug.transforms import replay
from tests.commands.command_line import augment, files, run
from tests.scan_files import AFFINE, CT_SMALL, ct_files, ct_volume, dicom_folder, dicom_slice, real_scan, write_nifti

PATIENT = {
    "PatientName": "MUELLER^ERIKA",
    "PatientID": "PID8675309",
    "PatientBirthDate": "19640812",
    "StudyDate": "20190317",
    "SeriesDate": "20190318",
    "ContentDate": "20190319",
    "AcquisitionTime": "101112.1314",
    "AccessionNumber": "ACC55512",
    "InstitutionName": "Waldklinikum Musterstadt",
    "ReferringPhysicianName": "Brinkmann^Klaus",
    "StudyDescription": "Verlaufskontrolle",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.111",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.222",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.333",
    "StationName": "CTSTATION7",
}
PLANTED = [part for value in PATIENT.values() for part in value.split("^")]


def test_samples_come_with_masks_report_and_picture_in_the_same_place(tmp_path, capsys):
    inputs = ct_files(tmp_path)
    more = ("--mask", inputs["mask"], "--lesion", inputs["lesion"], "--seed", 7, "--count", 2)
    assert augment(inputs["image"], tmp_path / "new" / "out", *more) == 0
    out = tmp_path / "new" / "out"
    kinds = (".nii.gz", ".png", "_lesion.nii.gz", "_mask.nii.gz", "_report.json")
    assert files(out) == [f"augmented_00{k}{kind}" for k in (1, 2) for kind in kinds]
    for name, key, dtype in (("", "image", np.float32), ("_mask", "mask", np.uint8), ("_lesion", "lesion", np.int16)):
        source = nib.load(inputs[key])
        results = [nib.load(out / f"augmented_00{k}{name}.nii.gz") for k in (1, 2)]
        for result in results:
            assert result.get_data_dtype() == dtype
            assert result.shape == source.shape
            np.testing.assert_array_equal(result.affine, source.affine)
            np.testing.assert_array_equal(result.header["pixdim"], source.header["pixdim"])
        assert not np.array_equal(results[0].get_fdata(), results[1].get_fdata())
        if key != "image":
            assert set(np.unique(results[0].get_fdata())) == set(np.unique(source.get_fdata()))
    report = json.loads((out / "augmented_001_report.json").read_text())
    assert report["anatomy_preserved"] in ("yes", "no")
    assert report["pathology_preserved"] in ("yes", "no")
    printed = capsys.readouterr()
    assert "seed 7" in printed.out
    assert printed.out.count("ct_augmentation report") == 2
    assert "2/2" in printed.err


def test_a_written_report_replays_to_the_written_image(tmp_path):
    inputs = ct_files(tmp_path)
    more = ("--mask", inputs["mask"], "--seed", 2, "--strength", "source")
    assert augment(inputs["image"], tmp_path / "out", *more) == 0
    before = {"image": read_scan(inputs["image"]).image, "mask": read_scan(inputs["mask"], labels=True).image}
    again = replay(before, (tmp_path / "out" / "augmented_001_report.json").read_text())
    for key, name in (("image", ""), ("mask", "_mask")):
        found = nib.load(tmp_path / "out" / f"augmented_001{name}.nii.gz").get_fdata(dtype=np.float32)
        np.testing.assert_array_equal(again[key][0].numpy(), found)
        assert not np.array_equal(found, before[key][0].numpy())


def test_a_skipped_geometry_leaves_every_voxel_where_it_was(tmp_path):
    image = ct_files(tmp_path)["image"]
    for seed in range(30):
        assert augment(image, tmp_path / "out", "--seed", seed, "--strength", "light") == 0
        steps = json.loads((tmp_path / "out" / "augmented_001_report.json").read_text())["steps"]
        if not steps[0]["applied"]:
            found = nib.load(tmp_path / "out" / "augmented_001.nii.gz").get_fdata()
            assert np.abs(found - ct_volume())[ct_volume() > -900].max() < 0.05 * 900 + 5 * 6
            return
    pytest.fail("no sample without geometry among 30 at probability 0.8")


def test_a_seed_repeats_a_run_and_a_sample_does_not_depend_on_the_count(tmp_path, capsys):
    image = ct_files(tmp_path)["image"]
    for name, count in (("a", 1), ("b", 2)):
        assert augment(image, tmp_path / name, "--seed", 11, "--count", count) == 0
    for name in files(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    capsys.readouterr()
    assert augment(image, tmp_path / "c") == 0
    seed = re.search(r"seed (\d+)", capsys.readouterr().out).group(1)
    assert augment(image, tmp_path / "d", "--seed", seed) == 0
    for name in files(tmp_path / "c"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()


def test_another_run_leaves_no_mask_of_the_earlier_one(tmp_path):
    inputs = ct_files(tmp_path)
    assert augment(inputs["image"], tmp_path / "out", "--mask", inputs["mask"]) == 0
    assert augment(inputs["image"], tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["augmented_001.nii.gz", "augmented_001.png", "augmented_001_report.json"]


@pytest.mark.parametrize("make", [lambda f: CT_SMALL, lambda f: dicom_slice(f / "IM1") and f / "IM1", dicom_folder])
def test_dicom_goes_through(tmp_path, make):
    path = make(tmp_path / "dicom")
    source = read_scan(path)
    assert augment(path, tmp_path / "out", "--seed", 2) == 0
    result = nib.load(tmp_path / "out" / "augmented_001.nii.gz")
    np.testing.assert_allclose(result.affine, source.image.affine.numpy(), atol=1e-5)
    assert result.shape == (128, 128, 6 if source.image.ndim == 4 else 1)


def everything(folder):
    """Names and bytes of all files, what is compressed unpacked as well."""
    for path in folder.rglob("*"):
        yield str(path.relative_to(folder)).encode()
        if path.is_file():
            content = path.read_bytes()
            yield content
            if path.suffix == ".gz":
                yield gzip.decompress(content)


def test_no_output_carries_a_patient_or_a_path(tmp_path, capfd):
    home = tmp_path / "Mueller_Erika_1964" / "PID8675309"
    folder = dicom_folder(home / "Verlaufskontrolle", **PATIENT)
    mask = write_nifti(home / "Mueller_mask.nii.gz", np.ones((128, 128, 6), np.uint8))
    image = nib.load(mask)
    image.header["descrip"], image.header["aux_file"] = b"MUELLER^ERIKA 19640812", b"PID8675309"
    image.header["intent_name"], image.header["db_name"] = b"Brinkmann", b"ACC55512"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Waldklinikum Musterstadt"))
    image.set_sform(read_scan(folder).image.affine.numpy(), 1)
    nib.save(image, mask)
    assert b"Waldklinikum" in gzip.decompress(mask.read_bytes())
    out = tmp_path / "results"
    command = [
        sys.executable,
        "-m",
        "monai_medaug",
        "augment",
        folder,
        "--modality",
        "ct",
        "--mask",
        mask,
        "--out",
        out,
    ]
    done = subprocess.run([str(c) for c in [*command, "--count", "2"]], capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert len(files(out)) == 8
    secrets = [*PLANTED, "Mueller", str(tmp_path), "Verlauf"]
    for content in [*everything(out), done.stdout, done.stderr]:
        lowered = content.lower()
        for secret in secrets:
            assert secret.lower().encode() not in lowered
            assert secret.lower().encode("utf-16-le") not in lowered
    # an error is as discreet
    (folder / "001").write_bytes((folder / "001").read_bytes()[:3000])
    capfd.readouterr()
    assert run(*command[3:]) == 2
    said = capfd.readouterr()
    assert said.err.startswith("monai-medaug: error: the input file")
    assert said.err.count("\n") == 1
    for secret in secrets:
        assert secret.lower() not in (said.out + said.err).lower()


def mr_slice(folder):
    dicom_slice(folder / "x", Modality="MR")
    return folder / "x"


def bright(folder):
    return write_nifti(folder / "x.nii", np.abs(ct_volume()))


def normalised(folder):
    volume = ct_volume().astype(np.float32)
    return write_nifti(folder / "x.nii", (volume - volume.min()) / np.ptp(volume))


def with_nan(folder):
    volume = ct_volume().astype(np.float32)
    volume[0, 0, 0] = np.nan
    return write_nifti(folder / "x.nii", volume)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda f: f / "Mueller.nii.gz", "the input file does not exist"),
        (lambda f: f, "the input file holds no DICOM"),
        (mr_slice, "modality MR, not CT"),
        (normalised, "must be in Hounsfield units, got values within [0, 1], as if normalised"),
        (with_nan, "the input file holds NaN in 1 of 17280 voxels"),
        (lambda f: write_nifti(f / "x.nii", np.full((4, 4, 4), 0.5)), "holds only one value, 0.5"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capfd, make, problem):
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    assert augment(path, tmp_path / "out" / "deep") == 2
    assert not (tmp_path / "out").exists()
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("monai-medaug: error: ")
    assert printed.err.count("\n") == 1
    assert problem in printed.err
    assert "Mueller" not in printed.err


@pytest.mark.parametrize(
    ("option", "array", "affine", "problem"),
    [
        ("--mask", ct_volume() > 0.5, np.eye(4), "the mask file does not match the input"),
        ("--lesion", ct_volume()[..., 3] > 0.5, AFFINE, "the lesion file must have 3 axes"),
        ("--mask", np.full((40, 36, 12), 0.5), AFFINE, "the mask file must hold whole numbers"),
        ("--lesion", None, None, "the lesion file does not exist"),
    ],
)
def test_bad_labels_are_refused(tmp_path, capsys, option, array, affine, problem):
    path = tmp_path / "Mueller.nii.gz"
    if array is not None:
        write_nifti(path, array.astype(np.uint8 if array.dtype == bool else array.dtype), affine)
    assert augment(ct_files(tmp_path)["image"], tmp_path / "out", option, path) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_out_must_be_a_folder_and_no_input_is_overwritten(tmp_path, capsys):
    inputs = ct_files(tmp_path)
    (tmp_path / "file").write_text("")
    assert augment(inputs["image"], tmp_path / "file") == 2
    assert "--out must be a folder" in capsys.readouterr().err
    own = inputs["image"].rename(tmp_path / "augmented_001.nii.gz")
    content = own.read_bytes()
    assert augment(own, tmp_path) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert own.read_bytes() == content


def test_interrupt_ends_cleanly_and_keeps_whole_samples(tmp_path, capsys, monkeypatch):
    inputs, calls = ct_files(tmp_path), []

    def interrupted(image, scan, path):
        calls.append(path)
        if len(calls) == 4:  # the mask of the second sample
            raise KeyboardInterrupt
        write(image, scan, path)

    write = scans.write_scan
    monkeypatch.setattr(scans, "write_scan", interrupted)
    assert augment(inputs["image"], tmp_path / "out", "--mask", inputs["mask"], "--count", 3) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert {name[:13] for name in files(tmp_path / "out")} == {"augmented_001"}
    calls[:] = [None] * 3
    assert augment(inputs["image"], tmp_path / "gone") == 130
    assert not (tmp_path / "gone").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    def full(image, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    path = ct_files(tmp_path)["image"]
    monkeypatch.setattr(nib, "save", full)
    assert augment(path, tmp_path / "out") == 2
    assert capsys.readouterr().err.endswith("monai-medaug: error: cannot write the results: No space left on device\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["ct_head_ge_12.dcm", "ct_head_ge_512.nii.gz", "sts_001_ct_image.nii.gz"])
def test_real_scans_come_back_in_the_same_place(tmp_path, name):
    path = real_scan(name)
    more = ()
    if name.startswith("sts"):
        mask = real_scan("sts_001_ct_mask.nii.gz")
        more = ("--mask", mask, "--lesion", mask)
    assert augment(path, tmp_path / "out", "--seed", 4, *more) == 0
    source, result = read_scan(path), nib.load(tmp_path / "out" / "augmented_001.nii.gz")
    np.testing.assert_allclose(result.affine, source.image.affine.numpy(), atol=1e-5 if name.endswith("dcm") else 0)
    labels = {
        key: read_scan(path, labels=True).image for key, path in zip(("mask", "lesion"), more[1::2], strict=False)
    }
    again = replay({"image": source.image, **labels}, (tmp_path / "out" / "augmented_001_report.json").read_text())
    np.testing.assert_array_equal(again["image"].numpy().reshape(result.shape), result.get_fdata(dtype=np.float32))
    if more:
        report = json.loads((tmp_path / "out" / "augmented_001_report.json").read_text())
        assert report["anatomy_preserved"] == "yes"
        assert report["pathology_preserved"] == "not checked"  # the sarcoma is about as dense as muscle
        assert report["checked"]["pathology"] == ["not checked: the lesion was not visible before"]
        assert nib.load(tmp_path / "out" / "augmented_001_lesion.nii.gz").get_data_dtype() == np.uint8


def radiograph(folder, bits, **tags):
    """A radiograph of some depth: CT_small's pixels stretched to it, unsigned, without an orientation."""
    dataset = dicom_slice(folder / "x", Modality="DX", ImageOrientationPatient=None, ImagePositionPatient=None, **tags)
    values = dataset.pixel_array.astype(float)
    values = (values - values.min()) / np.ptp(values) * (2**bits - 1)
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, bits, bits - 1
    dataset.RescaleIntercept = 0
    for name in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
        if name in dataset:
            delattr(dataset, name)
    dataset.PixelData = values.round().astype(np.uint16).tobytes()
    dataset.save_as(folder / "x")
    return folder / "x"


@pytest.mark.parametrize("bits", [10, 12, 15, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_radiographs_of_any_depth(tmp_path, bits, photometric):
    path = radiograph(tmp_path, bits, PhotometricInterpretation=photometric, PixelSpacing=[0, 0])
    assert run("augment", path, "--modality", "xray", "--out", tmp_path / "out", "--seed", 3) == 0
    report = json.loads((tmp_path / "out" / "augmented_001_report.json").read_text())
    assert report["settings"]["inverted"] == (photometric == "MONOCHROME1")
    assert report["images"]["image"]["spacing_mm"] == [1, 1]
    values = np.asarray(nib.load(tmp_path / "out" / "augmented_001.nii.gz").dataobj)
    assert np.isfinite(values).all()
    assert 0.2 < np.ptp(values) / (2**bits - 1) < 2


def test_settings_of_the_presets(tmp_path, capfd):
    path = radiograph(tmp_path, 12, PhotometricInterpretation="MONOCHROME2", PixelSpacing=[0, 0])
    wanted = ("augment", path, "--modality", "xray", "--out", tmp_path / "out", "--seed", 3)
    assert run(*wanted, "--portable") == 0
    report = json.loads((tmp_path / "out" / "augmented_001_report.json").read_text())
    assert report["settings"]["portable"] is True
    assert run(*wanted, "--low-dose-screening") != 0
    assert "--low-dose-screening goes with --modality ct" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG3_UNCR.dcm"])
def test_real_radiographs(tmp_path, name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    assert run("augment", path, "--modality", "xray", "--out", tmp_path, "--seed", 3) == 0
    report = json.loads((tmp_path / "augmented_001_report.json").read_text())
    assert report["settings"]["inverted"]


def test_mr_of_a_file_and_of_a_dicom(tmp_path, capfd):
    volume = np.clip(ct_volume() + 1000, 0, None).astype(np.uint16)
    path = write_nifti(tmp_path / "mr.nii.gz", volume)
    labels = write_nifti(tmp_path / "labels.nii.gz", (volume > 500).astype(np.uint8))
    arguments = ("--modality", "mri", "--mask", labels, "--out", tmp_path / "out", "--seed", 5)
    assert run("augment", path, *arguments) == 0
    report = json.loads((tmp_path / "out" / "augmented_001_report.json").read_text())
    assert report["pipeline"] == "mri_augmentation"
    assert report["anatomy_preserved"] == "yes"
    assert report["range_check"] == {}
    assert "augmented_001.png" in files(tmp_path / "out")
    assert "negative values" not in capfd.readouterr().err
    assert run("augment", mr_slice(tmp_path), "--modality", "mri", "--out", tmp_path / "dicom") == 0
    negative = write_nifti(tmp_path / "z.nii", ct_volume())
    assert run("augment", negative, "--modality", "mri", "--out", tmp_path / "z", "--seed", 1) == 0
    assert "0.1th percentile counts as zero signal" in capfd.readouterr().err


def test_a_crop_without_air_is_a_ct(tmp_path):
    crop = write_nifti(tmp_path / "crop.nii", np.random.default_rng(0).normal(40, 30, (40, 40, 12)).astype(np.float32))
    assert augment(crop, tmp_path / "out", "--seed", 1) == 0


@pytest.mark.parametrize(
    ("modality", "make", "problem"),
    [
        ("mri", lambda f: dicom_slice(f / "x") and f / "x", "modality CT, not an MR image"),
        ("xray", mr_slice, "modality MR, not a radiograph"),
        ("mri", with_nan, "the input file holds NaN in 1 of"),
        ("xray", lambda f: write_nifti(f / "x.nii", np.full((4, 4), 7, np.int16)), "only one value, 7"),
    ],
)
def test_what_is_no_mr_and_no_radiograph(tmp_path, capfd, modality, make, problem):
    assert run("augment", make(tmp_path), "--modality", modality, "--out", tmp_path / "out") == 2
    assert problem in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
