"""Enhanced CT and MR: frames as slices, by their functional groups."""

import numpy as np
import pydicom
import pytest

from monai_medaug.scans import read_scan
from tests.commands.command_line import augment, run
from tests.dicom_files import (
    ENHANCED_CT,
    ENHANCED_MR,
    LEGACY_CT,
    RAW,
    enhanced,
    example,
    geometry,
    group,
    heard,
    place,
    refusal,
)

ORDER = (2, 0, 3, 1)
"""Places of the frames in the order of the file."""


def frames(**more):
    return [place((-10, -20, 3.5 * k), **more) for k in ORDER]


@pytest.mark.parametrize("sop_class", [ENHANCED_CT, LEGACY_CT])
@pytest.mark.parametrize("compressed", [False, True])
def test_frames_are_ordered_by_position(tmp_path, sop_class, compressed):
    dataset = enhanced(tmp_path / "x", frames(), sop_class=sop_class)
    if compressed:
        dataset.compress(pydicom.uid.RLELossless)
        dataset.save_as(tmp_path / "x")
    scan, notices = heard(tmp_path / "x")
    for k in range(4):
        np.testing.assert_array_equal(scan.image[0, ..., k].numpy(), RAW + ORDER.index(k))
    found = scan.image.affine.numpy()
    np.testing.assert_allclose(found[:3], [[-0.75, 0, 0, 10], [0, -0.5, 0, 20], [0, 0, 3.5, 0]], atol=1e-9)
    assert notices == []


def test_each_frame_has_its_own_slope_and_orientation(tmp_path):
    own = [place((k, 0, 0), **(geometry(1 + k, 10 * k) | {"PlaneOrientationSequence": sagittal})) for k in range(3)]
    enhanced(tmp_path / "x", own, shared={}, sop_class=ENHANCED_MR, Modality="MR")
    scan = read_scan(tmp_path / "x")
    for k in range(3):
        values = (RAW + 1024 + k) * (1 + k) + 10 * k
        np.testing.assert_array_equal(scan.image[0, ..., k].numpy(), values)
    np.testing.assert_allclose(scan.image.affine.numpy()[:3, 2], [-1, 0, 0], atol=1e-9)


sagittal = group(ImageOrientationPatient=[0, 1, 0, 0, 0, 1])


def test_one_frame_lies_where_its_groups_say(tmp_path):
    enhanced(tmp_path / "x", [place((1, 2, 3))])
    scan = read_scan(tmp_path / "x")
    np.testing.assert_array_equal(scan.image[0].numpy(), RAW)
    affine = [[-0.75, 0, 0, -1], [0, -0.5, 0, -2], [0, 0, 3, 3]]
    np.testing.assert_allclose(scan.image.affine.numpy()[:3], affine, atol=1e-9)


def test_commands_read_enhanced_images(tmp_path):
    enhanced(tmp_path / "x", frames())
    assert augment(tmp_path / "x", tmp_path / "out", "--seed", 1) == 0
    assert run("restore", tmp_path / "x", "--method", "median", "--out", tmp_path / "a.nii") == 0


def echo(k):
    return {"MREchoSequence": group(EffectiveEchoTime=10.0 * k)}


def diffusion(k):
    return {"MRDiffusionSequence": group(DiffusionBValue=500.0 * k)}


def index(k):
    return {"FrameContentSequence": group(DimensionIndexValues=[1, k + 1])}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (echo, ", which differ in echo time;"),
        (diffusion, ", which differ in b-value;"),
        (lambda k: echo(k) | diffusion(k) | index(k), ", which differ in echo time, b-value;"),
        (index, ", which differ in dimension index;"),
        (lambda k: {}, ";"),
    ],
)
def test_several_dimensions_are_refused(tmp_path, own, said):
    several = [place((0, 0, k), **own(e)) for e in range(2) for k in range(3)]
    enhanced(tmp_path / "x", several, sop_class=ENHANCED_MR, Modality="MR")
    assert f"several slices at one position: up to 2 at 3 of 3 positions{said}" in refusal(tmp_path / "x")


def test_frames_without_places_are_refused(tmp_path):
    example("emri_small.dcm", tmp_path / "x")
    assert "several frames whose places in space are not stated" in refusal(tmp_path / "x")
    enhanced(tmp_path / "y", [{}, {}])
    assert "slices without a position" in refusal(tmp_path / "y")
    enhanced(tmp_path / "z", frames(), NumberOfFrames=3)
    assert "3 frames, and 4 descriptions of frames" in refusal(tmp_path / "z")


def test_an_enhanced_image_cut_short(tmp_path):
    enhanced(tmp_path / "x", frames())
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-70000])
    assert "cut short" in refusal(tmp_path / "x")


def test_a_real_enhanced_ct(tmp_path):
    dataset = pydicom.dcmread(example("eCT_Supplemental.dcm", tmp_path / "x"))
    stored = dataset.pixel_array
    dataset.PixelPresentation = "MONOCHROME"
    dataset.save_as(tmp_path / "x")
    scan = read_scan(tmp_path / "x")
    assert scan.image.shape == (1, 512, 512, 2)
    first, second = (scan.image[0, ..., k].numpy().T + 1024 for k in (0, 1))
    affine = scan.image.affine.numpy()
    # the normal points down here, so that the upper frame, the file's second, comes first
    np.testing.assert_allclose(affine[:3, 2:], [[0, -99.5], [0, 301.5], [-10, -149]], atol=1e-9)
    np.testing.assert_array_equal(first, stored[1])
    np.testing.assert_array_equal(second, stored[0])
