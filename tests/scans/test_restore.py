"""Whole scans restored in slabs, and the command for it."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug import cli
from monai_medaug.figures.augmentation import restoration_figure
from monai_medaug.scans import restore
from monai_medaug.scans.restore import RESTORATIONS, restored_scan
from monai_medaug.transforms import WaveletDenoise
from tests.scan_files import AFFINE, CT_SMALL, ct_volume, dicom_folder, write_nifti

METHODS = [*RESTORATIONS]


def volume(shape=(26, 24, 60), sigma=20, seed=0):
    body = torch.from_numpy(ct_volume(shape).astype(np.float32))[None]
    return MetaTensor(body + sigma * torch.randn(body.shape, generator=torch.Generator().manual_seed(seed)))


def run(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.mark.parametrize("method", METHODS)
def test_slabs_leave_no_trace(method, monkeypatch):
    image = volume()
    whole, level = restored_scan(image, method, sigma=20)
    assert level == (None if method in ("gaussian", "median") else 20)
    monkeypatch.setattr(restore, "SLAB_VOXELS", 26 * 24 * 7)
    parts, _ = restored_scan(image, method, sigma=20)
    assert parts.shape == image.shape
    difference = (parts - whole).abs()
    assert float(difference.max()) < (1e-2 if method != "collaborative" else 7)  # whose search ends at a slab's edge
    assert float(difference.mean()) < 0.2


@pytest.mark.parametrize("shape", [(64, 60), (26, 24, 60), (60, 24, 26)])
def test_the_noise_level_of_a_scan(shape):
    image = 100 + 10 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    out, level = restored_scan(image, "wavelet")
    assert level == pytest.approx(10, rel=0.08)
    assert float(out.std()) < 5
    assert restored_scan(image, "median")[1] is None


@pytest.mark.parametrize("method", ["nlm", "collaborative", "wavelet"])
def test_a_ct_in_slabs_has_one_noise(method, monkeypatch):
    white = torch.randn(1, 61, 61, 40, generator=torch.Generator().manual_seed(0))
    image = MetaTensor(20 * (white[:, 1:, 1:] + white[:, :-1, 1:] + white[:, 1:, :-1] + white[:, :-1, :-1]) / 2)
    whole, level = restored_scan(image, method, noise="ct")
    assert level == pytest.approx(20, rel=0.05)
    monkeypatch.setattr(restore, "SLAB_VOXELS", 60 * 60 * 10)
    parts, again = restored_scan(image, method, noise="ct")
    assert again == level
    assert float((parts - whole).abs().mean()) < 0.5
    assert float(whole.std()) < 10


def test_a_ct_is_taken_for_one_and_the_noise_can_be_named(tmp_path, capfd):
    path = write_nifti(tmp_path / "in.nii.gz", ct_volume((48, 48, 10)))
    for arguments, said in (((), "ct noise"), (("--noise", "gaussian"), "gaussian noise")):
        assert run("restore", path, "--method", "wavelet", *arguments, "--out", tmp_path / "a.nii") == 0
        assert said in capfd.readouterr().out
    assert run("restore", path, "--method", "nlm", "--noise", "poisson", "--out", tmp_path / "b.nii") == 2


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_the_level_is_that_of_the_transform_however_much_is_empty(noise, monkeypatch):
    x = torch.zeros(1, 40, 40, 200)
    generator = torch.Generator().manual_seed(0)
    x[..., 80:130] = 100 + 10 * torch.randn(1, 40, 40, 50, generator=generator)
    x = x.clamp_min(0)
    alone = WaveletDenoise(noise=noise).measured(x)[0]
    assert alone == pytest.approx(10, rel=0.1)
    assert restored_scan(x, "wavelet", noise=noise)[1] == alone
    monkeypatch.setattr(restore, "_ENOUGH_VOXELS", x.numel() // 2)
    assert restored_scan(x, "wavelet", noise=noise)[1] == pytest.approx(alone, rel=0.1)


def test_rician_slabs_have_one_zero(monkeypatch):
    image = volume((26, 24, 60)).abs() + torch.linspace(-300, 0, 60)
    whole, _ = restored_scan(image, "wavelet", sigma=20, noise="rician")
    monkeypatch.setattr(restore, "SLAB_VOXELS", 26 * 24 * 12)
    parts, _ = restored_scan(image, "wavelet", sigma=20, noise="rician")
    assert float((parts - whole).abs().mean()) < 0.5


def test_a_doubtful_estimate_is_said_on_the_command_line(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("monai_medaug.core.tensors._said", set())
    smooth = 500 * np.add.outer(np.hanning(40), np.hanning(36))[..., None] * np.ones(12) + 100
    fine = smooth + np.random.default_rng(0).normal(0, 0.1, smooth.shape)
    path = write_nifti(tmp_path / "in.nii.gz", fine.astype(np.float32))
    assert run("restore", path, "--method", "wavelet", "--out", tmp_path / "a.nii") == 0
    said = capfd.readouterr().err
    assert "monai-medaug: note: the noise of an image is estimated at less than 0.1%" in said
    assert str(tmp_path) not in said


def test_an_unknown_method_is_said_with_those_there_are(tmp_path, capfd):
    with pytest.raises(
        ValueError, match="'gaussian', 'median', 'bilateral', 'nlm', 'wavelet', 'collaborative', got 'blur'"
    ):
        restored_scan(torch.zeros(1, 8, 8), "blur")
    assert run("restore", CT_SMALL, "--method", "blur", "--out", tmp_path / "x.nii") == 2
    said = capfd.readouterr().err
    assert "invalid choice" in said
    assert "collaborative" in said


@pytest.mark.parametrize("method", METHODS)
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
    assert "1 NaN or Inf" in capfd.readouterr().err
    assert not (tmp_path / "y.nii").exists()


def test_the_picture_shows_what_was_removed():
    image = volume()
    figure = restoration_figure(image, image - 5, "less 5", window="soft_tissue")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["original", "less 5"]
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), 5, atol=1e-3)
    with pytest.raises(ValueError, match="restored must have"):
        restoration_figure(image, image[:, 1:])
