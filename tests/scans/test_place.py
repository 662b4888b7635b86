"""Masks whose header differs from the image's: placed by it, and never in silence."""

import re
import warnings

import nibabel as nib
import numpy as np
import pytest

from monai_medaug.core import tensors
from monai_medaug.scans import ScanError, placed_labels, read_scan, require_same_place
from tests.commands.command_line import augment
from tests.scan_files import ct_volume, write_nifti

SHAPE = (40, 40, 40)
AFFINE = np.array([[0.9, 0, 0, -18.0], [0, 0.9, 0, -17], [0, 0, 0.9, -19], [0, 0, 0, 1.0]])
FLIP_X, PERMUTE = np.diag([-1.0, 1, 1, 1]), np.eye(4)[[1, 0, 2, 3]]
FLIP_X[0, 3] = 39
LPS = np.diag([-1.0, -1, 1, 1])
HALF = np.eye(4)
HALF[2, 3] = 18
TURNED = np.eye(4)
TURNED[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
WRONG = {
    "identity": (np.eye(4), r"voxels of 1 × 1 × 1 mm, not 0\.9 × 0\.9 × 0\.9; centre 34\.6 mm away"),
    "LAS for RAS": (AFFINE @ FLIP_X, "axis 1 flipped"),
    "mirrored about the origin": (np.diag([-1.0, 1, 1, 1]) @ AFFINE, r"axis 1 flipped; centre 0\.9 mm away"),
    "permuted axes": (AFFINE @ PERMUTE, "axes in the order 2, 1, 3"),
    "shifted by half the field": (HALF @ AFFINE, "centre 18 mm away"),
    "other spacing": (AFFINE @ np.diag([1, 1, 1.1, 1]), r"voxels of 0\.9 × 0\.9 × 0\.99 mm, not 0\.9 × 0\.9 × 0\.9"),
    "LPS read as RAS": (LPS @ AFFINE, "axes 1, 2 flipped"),
    "turned": (TURNED @ AFFINE, r"turned by 5\.73°"),
}


@pytest.fixture(autouse=True)
def heard_again(monkeypatch):
    monkeypatch.setattr(tensors, "_said", set())


def sphere():
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    return ((x - 0.1) ** 2 + y**2 + z**2 < 0.6).astype(np.uint8)


def image_of(folder, affine=AFFINE):
    return read_scan(write_nifti(folder / "image.nii", np.where(sphere(), 40, -1000).astype(np.int16), affine))


def notices(scan, labels, call=require_same_place):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            call(scan, labels, "the mask file")
        except ScanError as error:
            return [str(error)]
    return [str(w.message) for w in heard]


@pytest.mark.parametrize("name", WRONG)
def test_an_equal_shape_with_another_header_is_said_with_what_differs(tmp_path, name):
    affine, differs = WRONG[name]
    labels = read_scan(write_nifti(tmp_path / "m.nii", sphere(), affine), labels=True)
    (said,) = notices(image_of(tmp_path), labels)
    assert "the mask file" in said
    assert "header" in said
    assert re.search(differs, said), said


def test_a_lost_header_near_the_origin_is_accepted_and_said(tmp_path):
    scan = image_of(tmp_path, np.diag([0.9, 0.9, 0.9, 1]))
    labels = read_scan(write_nifti(tmp_path / "m.nii", sphere(), np.eye(4)), labels=True)
    with pytest.warns(tensors.Notice, match=r"another header \(voxels of 1 × 1 × 1 mm, not 0\.9 × 0\.9 × 0\.9; centre"):
        require_same_place(scan, labels)


def test_rounding_of_a_header_is_no_difference(tmp_path):
    near = AFFINE.copy()
    near[0, 0] += 0.2 * 0.9 / 40  # a fifth of a voxel at the far end
    near[1, 3] += 0.2
    scan = image_of(tmp_path)
    assert notices(scan, read_scan(write_nifti(tmp_path / "m.nii", sphere(), near), labels=True)) == []
    near[0, 0] += 0.1 * 0.9 / 40
    (said,) = notices(scan, read_scan(write_nifti(tmp_path / "n.nii", sphere(), near), labels=True))
    assert "has the input's shape but another header" in said


def test_another_grid_is_a_choice_and_needs_no_word(tmp_path):
    coarse = read_scan(write_nifti(tmp_path / "m.nii", sphere()[::2, ::2], AFFINE @ np.diag([2, 2, 1, 1])), labels=True)
    assert notices(image_of(tmp_path), coarse) == []


def test_an_empty_mask_with_another_header_is_said_too(tmp_path):
    empty = read_scan(write_nifti(tmp_path / "m.nii", 0 * sphere(), AFFINE @ FLIP_X), labels=True)
    (said,) = notices(image_of(tmp_path), empty)
    assert "axis 1 flipped" in said


def with_codes(path, sform, qform, array=None, other=AFFINE):
    image = nib.Nifti1Image(sphere() if array is None else array, AFFINE)
    image.header.set_zooms((0.9, 0.9, 0.9)[: image.ndim])
    image.set_qform(other, qform)
    image.set_sform(AFFINE, sform)
    nib.save(image, path)
    return read_scan(path, labels=True)


def test_a_file_without_a_position_is_a_guess_that_is_said(tmp_path):
    scan, labels = image_of(tmp_path), with_codes(tmp_path / "m.nii", 0, 0)
    assert labels.placement == "guessed"
    (said,) = notices(scan, labels)
    assert "the mask file states no position, so that its place is a guess" in said
    (said,) = notices(labels, scan)
    assert "the input states no position" in said
    assert notices(labels, labels) == []
    coarse = with_codes(tmp_path / "c.nii", 0, 0, sphere()[::2])
    (said,) = notices(scan, coarse)
    assert "states no position" in said


def test_sform_and_qform_that_disagree(tmp_path):
    for other, placement in ((AFFINE, "stated"), (HALF @ AFFINE, "disputed"), (AFFINE @ FLIP_X, "disputed")):
        labels = with_codes(tmp_path / "m.nii", 1, 1, other=other)
        assert labels.placement == placement
    assert with_codes(tmp_path / "q.nii", 1, 0, other=HALF @ AFFINE).placement == "stated"
    assert notices(image_of(tmp_path), labels) == []  # the sform, which counts, is the image's
    (said,) = notices(image_of(tmp_path, HALF @ AFFINE), labels)
    assert "the mask file states two places, by sform and qform" in said


def test_planes_are_compared_in_their_plane(tmp_path):
    plane = sphere()[..., 20]
    scan = read_scan(write_nifti(tmp_path / "i.nii", plane, AFFINE))
    other = AFFINE.copy()
    other[2, 3] += 100
    assert notices(scan, read_scan(write_nifti(tmp_path / "m.nii", plane, other), labels=True)) == []
    (said,) = notices(scan, read_scan(write_nifti(tmp_path / "n.nii", plane, AFFINE @ PERMUTE), labels=True))
    assert "axes in the order 2, 1" in said


def test_a_file_with_geometry_is_only_checked(tmp_path):
    scan = image_of(tmp_path)
    labels = read_scan(write_nifti(tmp_path / "m.nii", sphere(), AFFINE @ FLIP_X), labels=True)
    with pytest.warns(tensors.Notice, match="another header"):
        assert placed_labels(scan, labels) is labels


@pytest.mark.parametrize("option", ["--mask", "--lesion"])
def test_the_command_line_says_it(tmp_path, capfd, option):
    from tests.scan_files import AFFINE as OWN

    noise = np.random.default_rng(0).normal(0, 10, ct_volume().shape)
    image = write_nifti(tmp_path / "ct.nii.gz", (ct_volume() + noise).astype(np.float32))
    labels = (ct_volume() > -300).astype(np.uint8)
    more = ("--seed", 1, "--strength", "light")
    right = write_nifti(tmp_path / "Mueller_a.nii.gz", labels, OWN)
    assert augment(image, tmp_path / "out", option, right, *more) == 0
    assert "note" not in capfd.readouterr().err
    shift = np.eye(4)
    shift[0, 3] = 9
    wrong = write_nifti(tmp_path / "Mueller_b.nii.gz", labels, shift @ OWN)
    assert augment(image, tmp_path / "out", option, wrong, *more) == 0
    said = capfd.readouterr().err
    assert f"monai-medaug: note: ATTENTION: the {option[2:]} file has the input's shape but another header" in said
    assert "centre 9 mm away" in said
    assert "Mueller" not in said
