"""Several series in a folder: listed without what identifies, and chosen by number."""

import nibabel as nib
import numpy as np
import pytest

from tests.commands.command_line import augment, run
from tests.dicom_files import RAW, enhanced, heard, place, refusal, series
from tests.scan_files import ct_volume, dicom_slice, write_nifti


@pytest.fixture
def two_series(tmp_path):
    """The longer series is second by name, number and UID."""
    folder = series(tmp_path / "s", 3, "A", SeriesInstanceUID="1.2.840.1", SeriesNumber=1, Modality="MR")
    return series(folder, 5, "B", SeriesInstanceUID="1.2.840.2", SeriesNumber=2)


LISTED = "1: CT, 5 slice(s) of 128 x 128; 2: MR, 3 slice(s) of 128 x 128"


def test_two_series_are_listed_and_one_is_chosen(two_series):
    said = f"the input file holds 2 DICOM series: {LISTED}; choose one by its number (series)"
    assert refusal(two_series) == said
    for number, count, modality in ((1, 5, "CT"), (2, 3, "MR")):
        scan, notices = heard(two_series, series=number)
        np.testing.assert_array_equal(scan.image[0].numpy(), np.stack([RAW + k for k in range(count)], axis=-1))
        assert scan.modality == modality
        assert notices == []
    for number in (0, 3, -1):
        said = f"series must be one of those that the input file holds ({LISTED}), got {number}"
        assert refusal(two_series, series=number) == said


def test_both_commands_choose(two_series, tmp_path, capfd):
    out = tmp_path / "out"
    restore = ("restore", two_series, "--method", "median", "--out", out / "a.nii")
    assert augment(two_series, out) == run(*restore) == 2
    assert capfd.readouterr().err.count(LISTED) == 2
    assert augment(two_series, out, "--series", 3) == run(*restore, "--series", 4) == 2
    assert capfd.readouterr().err.count(LISTED) == 2
    assert not out.exists()
    assert augment(two_series, out, "--series", 1, "--seed", 1) == 0
    assert nib.load(out / "augmented_001.nii.gz").shape == (128, 128, 5)
    assert run(*restore, "--series", 2) == 0
    assert nib.load(out / "a.nii").shape == (128, 128, 3)
    assert augment(two_series, out, "--series", 2) == 2  # the MR
    assert "modality MR, not CT" in capfd.readouterr().err


def test_equal_counts_go_by_number_then_by_uid(tmp_path):
    tags = (("3", 7), ("1", None), ("2", 7), ("4", 2))
    for k, (uid, number) in enumerate(tags):
        series(tmp_path / "s", 2, f"P{k}", SeriesInstanceUID=uid, SeriesNumber=number, RescaleIntercept=int(uid))
    lowest = [heard(tmp_path / "s", series=n)[0].image.min() - RAW.min() - 1024 for n in (1, 2, 3, 4)]
    assert lowest == [4, 2, 3, 1]


def test_a_series_of_unequal_slices_and_strange_modality_and_an_enhanced_one(tmp_path):
    folder = series(tmp_path / "s", 2, SeriesInstanceUID="1.1", Modality="MUELLER")
    dicom_slice(folder / "x", SeriesInstanceUID="1.1", Modality="MUELLER", Columns=64)
    enhanced(folder / "e", [place((0, 0, k)) for k in range(4)], SeriesInstanceUID="1.2")
    listed = "1: CT, 4 slice(s) of 128 x 128; 2: unknown modality, 3 slice(s) of several sizes"
    assert listed in refusal(folder)
    assert heard(folder, series=1)[0].image.shape == (1, 128, 128, 4)


def test_damage_in_another_series_is_no_matter(two_series):
    (two_series / "A0001").write_bytes((two_series / "A0001").read_bytes()[:20000])
    assert heard(two_series, series=1)[0].image.shape[-1] == 5
    assert "1 of 3 images are cut short" in refusal(two_series, series=2)


def test_nifti_and_single_files_have_no_series_to_choose(tmp_path):
    assert "chooses among DICOM series" in refusal(write_nifti(tmp_path / "a.nii", ct_volume()), series=1)
    dicom_slice(tmp_path / "x")
    assert heard(tmp_path / "x", series=1)[0].image.shape == (1, 128, 128)
    assert "(1: CT, 1 slice(s) of 128 x 128), got 2" in refusal(tmp_path / "x", series=2)


def test_only_exact_copies_are_duplicates(tmp_path):
    folder = series(tmp_path / "s", 4)
    dicom_slice(folder / "x", (0, 0, 4), 2)
    assert heard(folder)[0].image.shape[-1] == 4
    dicom_slice(folder / "y", (0, 0, 4), 3)  # another image at the same place
    assert "several slices at one position" in refusal(folder)
    dicom_slice(folder / "y", (0, 0, 4), 2, RescaleIntercept=0)  # the same stored values, other HU
    assert "several slices at one position" in refusal(folder)


def test_copies_of_an_enhanced_image_are_duplicates(tmp_path):
    enhanced(tmp_path / "s" / "a", [place((0, 0, k)) for k in range(3)])
    (tmp_path / "s" / "b").write_bytes((tmp_path / "s" / "a").read_bytes())
    scan, notices = heard(tmp_path / "s")
    assert scan.image.shape[-1] == 3
    assert "1 x duplicate" in notices[0]
    enhanced(tmp_path / "s" / "b", [place((0, 0, k)) for k in (3, 4, 5)], SOPInstanceUID="1.2.3")
    assert heard(tmp_path / "s")[0].image.shape[-1] == 6  # a series in parts
