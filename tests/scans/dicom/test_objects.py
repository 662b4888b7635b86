"""Files that can't be read, what lies beside images, and what is no image."""

import gzip

import numpy as np
import pydicom
import pytest

from tests.commands.command_line import augment, run
from tests.dicom_files import CAPTURE_CLASS, RAW, example, heard, refusal, series, without_preamble
from tests.scan_files import dicom_slice


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def cut_compressed(path):
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    cut(path, path.stat().st_size - 500)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.write_bytes(b"damaged" * 99), "2 of 8 files that are broken or not DICOM: slices may be missing"),
        (lambda p: p.write_bytes(b""), "2 of 8 files"),
        (lambda p: cut(p, 100), "2 of 8 files"),
        (lambda p: cut(p, 600), "2 of 8 files"),
        (cut_compressed, "2 of 8 files"),
        (lambda p: p.rename(p.with_suffix(".gz")).write_bytes(gzip.compress(b"a slice")), "2 of 8 files"),
        (lambda p: cut(p, 3000), "2 of 8 images are cut short or without pixels"),
        (lambda p: cut(p, 20000), "2 of 8 images are cut short or without pixels"),
    ],
)
def test_slices_are_not_dropped_in_silence(tmp_path, damage, said):
    folder = series(tmp_path / "s", 8)
    for name in ("IM0000", "IM0007"):
        damage(folder / name)
    assert said in refusal(folder)


def test_both_commands_refuse_a_folder_with_broken_files(tmp_path, capfd):
    folder = series(tmp_path / "s", 4)
    (folder / "IM0000").write_text("damaged")
    assert augment(folder, tmp_path / "out") == 2
    assert "1 of 4 files" in capfd.readouterr().err
    assert run("restore", folder, "--method", "median", "--out", tmp_path / "out" / "a.nii") == 2
    assert "1 of 4 files" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_cut_short_is_said_to_be(tmp_path):
    dicom_slice(tmp_path / "x")
    cut(tmp_path / "x", 20000)
    assert "it is cut short" in refusal(tmp_path / "x")


def test_files_without_a_preamble_are_read(tmp_path):
    folder = series(tmp_path / "s", 8)
    without_preamble(folder / "IM0000")
    without_preamble(folder / "IM0003", meta=False)
    without_preamble(folder / "IM0007", meta=False, implicit=True)
    scan, notices = heard(folder)
    np.testing.assert_array_equal(scan.image[0].numpy(), np.stack([RAW + k for k in range(8)], axis=-1))
    assert notices == []
    assert heard(folder / "IM0003")[0].image.shape == (1, 128, 128)


def test_litter_is_passed_over(tmp_path):
    folder = series(tmp_path / "s", 3)
    for name in (
        "._IM0000",
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "README.TXT",
        "viewer.exe",
        "report.pdf",
        "a.jpg",
    ):
        (folder / name).write_bytes(b"\0\5\x16\7litter")
    example("DICOMDIR", folder / "DICOMDIR")
    (folder / "IM0001").rename(folder / "IM0001.txt")  # read all the same
    scan, notices = heard(folder)
    assert scan.image.shape == (1, 128, 128, 3)
    assert notices == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("examples_palette.dcm", "colour image"),
        ("SC_rgb_small_odd.dcm", "colour image"),
        ("examples_ybr_color.dcm", "colour image"),
        ("eCT_Supplemental.dcm", "colour image"),
        ("liver_1frame.dcm", "Segmentation; give a mask as NIfTI"),
        ("liver.dcm", "Segmentation; give a mask as NIfTI"),
        ("rtdose_1frame.dcm", "RT Dose"),
        ("rtdose.dcm", "RT Dose"),
        ("rtplan.dcm", "RT Plan"),
        ("rtstruct.dcm", "RT Structure Set"),
        ("reportsi.dcm", "Basic Text SR"),
        ("waveform_ecg.dcm", "12-lead ECG Waveform"),
        ("DICOMDIR", "Media Storage Directory"),
    ],
)
@pytest.mark.parametrize("labels", [False, True])
def test_what_is_no_greyscale_image_is_refused(tmp_path, name, kind, labels):
    said = refusal(example(name, tmp_path / "Mueller"), labels=labels)
    assert said == f"the input file must be a greyscale image, got a DICOM of kind {kind}"


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"SOPClassUID": CAPTURE_CLASS, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screenshot"),
        ({"SOPClassUID": CAPTURE_CLASS, "ConversionType": "SD"}, "screenshot"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.30"}, "Parametric Map"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, "Grayscale Softcopy Presentation State"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "Encapsulated PDF"),
        ({"SOPClassUID": "1.2.3.4", "PixelData": None}, "object of a private kind"),
        ({"Modality": "SEG"}, "SEG"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour image"),
    ],
)
def test_objects_are_judged_by_class_and_content(tmp_path, tags, kind):
    dicom_slice(tmp_path / "x", **tags)
    assert f"got a DICOM of kind {kind}" in refusal(tmp_path / "x")
    folder = series(tmp_path / "s", 3)
    dicom_slice(folder / "x", (0, 0, 99), **tags)
    scan, notices = heard(folder)
    assert scan.image.shape == (1, 128, 128, 3)
    said = "the input file holds more than the images that are read: 1 x {} passed over"
    assert notices == [said.format(kind)]


def test_a_folder_as_exported(tmp_path):
    folder = series(tmp_path / "s", 6)
    for name in ("rtdose.dcm", "rtdose_1frame.dcm", "liver_1frame.dcm", "rtstruct.dcm", "SC_rgb_small_odd.dcm"):
        example(name, folder / name)
    dicom_slice(folder / "scout", (0, 0, 99), SeriesInstanceUID="1.2.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    dicom_slice(folder / "capture", SOPClassUID=CAPTURE_CLASS, SeriesInstanceUID="1.2.8", Rows=64)
    dicom_slice(folder / "again", (0, 0, 4), 2, InstanceNumber=77)
    (folder / "and again").write_bytes((folder / "IM0005").read_bytes())
    scan, notices = heard(folder, what="the scan")
    np.testing.assert_array_equal(scan.image[0].numpy(), np.stack([RAW + k for k in range(6)], axis=-1))
    assert notices == [
        "the scan holds more than the images that are read: 2 x RT Dose, 1 x RT Structure Set, 1 x Segmentation, "
        "1 x colour image, 2 x duplicate, 1 x localizer, 1 x secondary capture passed over"
    ]


def test_localizers_and_captures_are_read_where_there_is_nothing_else(tmp_path):
    dicom_slice(tmp_path / "a" / "x", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert heard(tmp_path / "a")[1] == heard(tmp_path / "a" / "x")[1] == []
    dicom_slice(tmp_path / "b" / "x", SOPClassUID=CAPTURE_CLASS, Modality="CR")
    for path in (tmp_path / "b", tmp_path / "b" / "x"):
        scan, notices = heard(path)
        np.testing.assert_array_equal(scan.image[0].numpy(), RAW)
        assert notices == [
            "the input file is a secondary capture: its values may not be those that the scanner measured"
        ]


def test_a_folder_without_an_image_says_what_it_holds_or_where_to_look(tmp_path):
    example("rtdose.dcm", tmp_path / "a" / "x")
    example("SC_rgb_small_odd.dcm", tmp_path / "a" / "y")
    assert refusal(tmp_path / "a").endswith("must hold a greyscale image, got 1 x RT Dose, 1 x colour image")
    example("DICOMDIR", tmp_path / "b" / "DICOMDIR")
    (tmp_path / "b" / "empty").mkdir()
    assert refusal(tmp_path / "b").endswith("holds no DICOM file")
    for name in ("1", "2"):
        series(tmp_path / "b" / "study" / name, 2)
    assert "2 folder(s) inside hold files: give the one that holds the series" in refusal(tmp_path / "b")


@pytest.mark.parametrize("name", ["LICENSE", "VERSION", "checksums.md5", "scan.bval"])
def test_text_beside_the_slices_is_passed_over(tmp_path, name):
    folder = series(tmp_path / "s", 4)
    (folder / name).write_text("CC-BY 4.0, see https://example.org\n")
    assert heard(folder)[0].image.shape[-1] == 4


def test_a_link_to_nowhere_may_be_a_slice(tmp_path):
    folder = series(tmp_path / "s", 4)
    (folder / "IM0009").symlink_to(tmp_path / "annex" / "object")
    assert "1 of 5 files" in refusal(folder)
