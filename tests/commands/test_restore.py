"""`restore` as a user meets it."""

import nibabel as nib
import numpy as np
import pytest

from monai_medaug.scans.restore import RESTORATIONS
from tests.commands.command_line import run
from tests.scan_files import AFFINE, CT_SMALL, ct_volume, dicom_folder, write_nifti
from tests.scans.test_correct import moved_slices


def test_a_ct_is_taken_for_one_and_the_noise_can_be_named(tmp_path, capfd):
    path = write_nifti(tmp_path / "in.nii.gz", ct_volume((48, 48, 10)))
    for arguments, said in (((), "ct noise"), (("--noise", "gaussian"), "gaussian noise")):
        assert run("restore", path, "--method", "wavelet", *arguments, "--out", tmp_path / "a.nii") == 0
        assert said in capfd.readouterr().out
    assert run("restore", path, "--method", "nlm", "--noise", "poisson", "--out", tmp_path / "b.nii") == 2


def test_a_doubtful_estimate_is_said_on_the_command_line(tmp_path, capfd):
    smooth = 500 * np.add.outer(np.hanning(40), np.hanning(36))[..., None] * np.ones(12) + 100
    fine = smooth + np.random.default_rng(0).normal(0, 0.1, smooth.shape)
    path = write_nifti(tmp_path / "in.nii.gz", fine.astype(np.float32))
    assert run("restore", path, "--method", "wavelet", "--out", tmp_path / "a.nii") == 0
    said = capfd.readouterr().err
    assert "monai-medaug: note: the noise of an image is estimated at less than 0.1%" in said
    assert str(tmp_path) not in said


def test_the_strength_is_the_share_that_is_removed(tmp_path, capfd):
    path = write_nifti(tmp_path / "in.nii.gz", ct_volume((48, 48, 10)))
    before, after = nib.load(path).get_fdata(), []
    for strength in (1, 0.5):
        arguments = ("--method", "gaussian", "--strength", strength, "--out", tmp_path / "a.nii")
        assert run("restore", path, *arguments) == 0
        after.append(nib.load(tmp_path / "a.nii").get_fdata() - before)
    np.testing.assert_allclose(after[1], after[0] / 2, atol=1e-2)
    assert np.abs(after[0]).max() > 10
    assert run("restore", path, "--method", "gaussian", "--strength", 2, "--out", tmp_path / "a.nii") == 2
    assert "strength" in capfd.readouterr().err


def test_an_unknown_method_is_said_with_those_there_are(tmp_path, capfd):
    assert run("restore", CT_SMALL, "--method", "blur", "--out", tmp_path / "x.nii") == 2
    said = capfd.readouterr().err
    assert "invalid choice" in said
    assert "collaborative" in said


@pytest.mark.parametrize("method", [*RESTORATIONS])
def test_a_dicom_slice(tmp_path, capfd, method):
    out = tmp_path / "new" / "clean.nii.gz"
    assert run("restore", CT_SMALL, "--method", method, "--out", out) == 0
    assert sorted(p.name for p in out.parent.iterdir()) == ["clean.nii.gz", "clean.png"]
    values = np.asarray(nib.load(out).dataobj)
    assert values.shape == (128, 128, 1)
    assert -1100 < values.min() < -700
    assert method in capfd.readouterr().out


def test_a_series_and_a_volume_keep_their_place(tmp_path):
    folder = dicom_folder(tmp_path / "series")
    assert run("restore", folder, "--method", "wavelet", "--out", tmp_path / "a.nii") == 0
    assert nib.load(tmp_path / "a.nii").shape == (128, 128, 6)
    path = write_nifti(tmp_path / "in.nii.gz", ct_volume())
    assert run("restore", path, "--method", "nlm", "--sigma", 15, "--out", tmp_path / "b.nii.gz") == 0
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii.gz").affine, AFFINE)
    magnitude = write_nifti(tmp_path / "mr.nii", (ct_volume() + 1000).clip(0).astype(np.uint16))
    arguments = ("--noise", "rician", "--method", "wavelet", "--out", tmp_path / "c.nii.gz")
    assert run("restore", magnitude, *arguments) == 0


def test_what_is_wrong_is_one_line(tmp_path, capfd):
    path = write_nifti(tmp_path / "in.nii.gz", ct_volume())
    for out, said in (
        (tmp_path / "x.png", "must be a file that ends in .nii"),
        (path, "--out is the input"),
        (tmp_path / "no" / ".nii", "must be a file that ends in .nii"),
    ):
        assert run("restore", path, "--method", "median", "--out", out) == 2
        assert said in capfd.readouterr().err
    bad = ct_volume().astype(np.float32)
    bad[1, 2, 3] = np.nan
    path = write_nifti(tmp_path / "nan.nii", bad)
    assert run("restore", path, "--method", "median", "--out", tmp_path / "y.nii") == 2
    assert "holds NaN in 1 of 17280 voxels" in capfd.readouterr().err
    assert not (tmp_path / "y.nii").exists()


def test_ct_noise_of_a_scan_that_is_not_in_hu_is_refused_in_words(tmp_path, capfd):
    hu = ct_volume((48, 48, 10)).astype(np.float32)
    for wrong in ((hu - hu.mean()) / hu.std(), hu + 32768):
        path = write_nifti(tmp_path / "in.nii.gz", wrong)
        assert run("restore", path, "--method", "wavelet", "--noise", "ct", "--out", tmp_path / "a.nii") == 2
        assert "must be in Hounsfield units" in capfd.readouterr().err
        assert not (tmp_path / "a.nii").exists()


def metal_ct(folder):
    volume = np.full((96, 90, 4), -1000, np.int16)
    volume[16:80, 12:78] = 40
    volume[30:34, 40:44, 1:3] = 3071
    volume[30:34, 20:40, 1:3] -= 300
    return write_nifti(folder / "in.nii.gz", volume)


def test_metal_is_found_or_given(tmp_path, capfd):
    path = metal_ct(tmp_path)
    assert run("restore", path, "--method", "mar", "--out", tmp_path / "a.nii.gz") == 0
    assert "mar, metal in 32 voxels" in capfd.readouterr().out
    assert (tmp_path / "a.png").stat().st_size > 10_000
    before, after = (nib.load(tmp_path / name).get_fdata() for name in ("in.nii.gz", "a.nii.gz"))
    assert np.array_equal(before[..., [0, 3]], after[..., [0, 3]])
    assert np.array_equal(after[30:34, 40:44, 1:3], before[30:34, 40:44, 1:3])
    assert not np.array_equal(before, after)
    mask = write_nifti(tmp_path / "mask.nii.gz", np.zeros((96, 90, 4), np.uint8))
    assert run("restore", path, "--method", "mar", "--metal-mask", mask, "--out", tmp_path / "b.nii.gz") == 0
    assert "no metal, nothing changed" in capfd.readouterr().out
    assert np.array_equal(nib.load(tmp_path / "b.nii.gz").get_fdata(), before)


def test_motion_needs_a_complex_image_and_segments(tmp_path, capfd):
    moved, _ = moved_slices()
    nib.save(nib.Nifti1Image(moved[0].numpy(), moved.affine.numpy()), tmp_path / "in.nii.gz")
    arguments = ("restore", tmp_path / "in.nii.gz", "--method", "motion", "--rotate-degrees", 0)
    assert run(*arguments, "--segments", 4, "--out", tmp_path / "a.nii.gz") == 0
    said = capfd.readouterr().out
    assert "motion of up to" in said
    assert "in 2 of 3 slices" in said
    assert np.iscomplexobj(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj))
    assert run(*arguments, "--out", tmp_path / "b.nii.gz") == 2
    assert "needs segments" in capfd.readouterr().err
    nib.save(nib.Nifti1Image(np.abs(moved[0].numpy()), moved.affine.numpy()), tmp_path / "in.nii.gz")
    assert run(*arguments, "--segments", 4, "--out", tmp_path / "b.nii.gz") == 2
    assert "must be complex" in capfd.readouterr().err
    assert not (tmp_path / "b.nii.gz").exists()


@pytest.mark.parametrize(
    ("method", "option"),
    [("mar", ("--sigma", 3)), ("motion", ("--metal-mask", "m.nii")), ("wavelet", ("--segments", 4))],
)
def test_options_of_another_method_are_refused(tmp_path, capfd, method, option):
    path = metal_ct(tmp_path)
    assert run("restore", path, "--method", method, *option, "--out", tmp_path / "a.nii") == 2
    assert not (tmp_path / "a.nii").exists()
    assert option[0].strip("-").replace("-", " ").split()[0] in capfd.readouterr().err


def test_a_complex_image_is_no_greyscale_image_to_a_denoiser(tmp_path, capfd):
    moved, _ = moved_slices()
    nib.save(nib.Nifti1Image(moved[0].numpy(), moved.affine.numpy()), tmp_path / "in.nii.gz")
    assert run("restore", tmp_path / "in.nii.gz", "--method", "wavelet", "--out", tmp_path / "a.nii") == 2
    assert "must be a greyscale image, got voxels of type complex64" in capfd.readouterr().err
