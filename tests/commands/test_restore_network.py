"""`restore --method dncnn` and `sr`: weights by modality, the finer grid in the file, and what is refused.

The networks are untrained: one halves the noise that it is given, the other interpolates.
"""

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from monai_medaug.functional.geometry.upscale import cubic_resized
from monai_medaug.networks import MultiScaleSR
from monai_medaug.scans import network
from tests.commands.command_line import run
from tests.scan_files import AFFINE, CT_SMALL, ct_volume, dicom_folder, dicom_slice, write_nifti

MR = get_testdata_file("MR_small.dcm", download=False)


class Smoothing(torch.nn.Module):
    """The mean of a pixel and its neighbours along the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, (3, 1), padding=(1, 0), padding_mode="replicate", bias=False)
        torch.nn.init.constant_(self.conv.weight, 1 / 3)

    def forward(self, x):
        return self.conv(x)


@pytest.fixture
def loaded(monkeypatch):
    """Untrained networks; the names that were asked for."""
    names = []

    def stand_in(name):
        names.append(name)
        made = MultiScaleSR(features=2, num_blocks=1) if name.endswith("_sr") else Smoothing()
        made.value_range = (-1024.0, 3071.0) if name.startswith("ct") else "percentile"
        return made.eval()

    monkeypatch.setattr(network, "load_pretrained", stand_in)
    return names


def smoothed(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, [(1, 1)] + [(0, 0)] * (values.ndim - 1), "edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def test_a_ct_is_denoised_by_its_weights_and_by_a_share(tmp_path, capfd, loaded, monkeypatch):
    volume = ct_volume().astype(np.float32)
    path = write_nifti(tmp_path / "in.nii.gz", volume)
    assert run("restore", path, "--method", "dncnn", "--out", tmp_path / "a.nii.gz") == 0
    assert "dncnn with the weights ct_denoise_dncnn" in capfd.readouterr().out
    whole = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(whole.get_fdata(), smoothed(volume), atol=2e-3)
    np.testing.assert_allclose(whole.affine, AFFINE)
    monkeypatch.setattr(network, "_SLAB_VOXELS", 40 * 36 * 5)
    assert run("restore", path, "--method", "dncnn", "--strength", 0.5, "--out", tmp_path / "b.nii.gz") == 0
    half = nib.load(tmp_path / "b.nii.gz").get_fdata()
    np.testing.assert_allclose(half, (smoothed(volume) + volume) / 2, atol=2e-3)
    assert loaded == ["ct_denoise_dncnn"] * 2


@pytest.mark.parametrize("scale", [None, 4, 3, 1.5])
def test_a_ct_is_enlarged_within_its_slices_and_stays_in_place(tmp_path, capfd, loaded, scale):
    volume, out = ct_volume().astype(np.float32), tmp_path / "new" / "a.nii.gz"
    path = write_nifti(tmp_path / "in.nii.gz", volume)
    assert run("restore", path, "--method", "sr", *(["--scale", scale] if scale else []), "--out", out) == 0
    assert loaded == ["ct_sr"]
    scale = scale or 2
    size = [round(40 * scale), round(36 * scale), 12]
    assert f"{size[0]} × {size[1]} × 12 voxels of 40 × 36 × 12" in capfd.readouterr().out
    written = nib.load(out)
    assert list(written.shape) == size
    steps = [n / m for n, m in zip(volume.shape, size, strict=True)]
    np.testing.assert_allclose(written.header.get_zooms(), nib.affines.voxel_sizes(AFFINE) * steps, rtol=1e-5)
    for form in (written.get_sform(), written.get_qform()):
        for k in np.ndindex(2, 2, 2):
            ends = [form @ (*(np.array(k) * size - 0.5), 1), AFFINE @ (*(np.array(k) * volume.shape - 0.5), 1)]
            np.testing.assert_allclose(*ends, atol=2e-3 if form is written.get_sform() else 3)  # AFFINE is sheared
    if scale == 2:
        expected = cubic_resized(torch.from_numpy(volume)[None, None], size)[0, 0].numpy()
        inside = np.abs(written.get_fdata() - expected)
        assert np.median(inside) < 1e-3
    assert sorted(p.name for p in out.parent.iterdir()) == ["a.nii.gz", "a.png"]
    assert (out.parent / "a.png").stat().st_size > 10_000


def test_dicom_says_its_modality(tmp_path, loaded):
    assert run("restore", MR, "--method", "sr", "--out", tmp_path / "mr.nii") == 0
    assert nib.load(tmp_path / "mr.nii").shape == (128, 128, 1)
    assert run("restore", dicom_folder(tmp_path / "series"), "--method", "sr", "--out", tmp_path / "ct.nii") == 0
    assert nib.load(tmp_path / "ct.nii").shape == (256, 256, 6)
    assert run("restore", CT_SMALL, "--method", "dncnn", "--out", tmp_path / "slice.nii") == 0
    magnitude = write_nifti(tmp_path / "in.nii", (ct_volume() + 1000).clip(0).astype(np.uint16))
    assert run("restore", magnitude, "--method", "dncnn", "--out", tmp_path / "b.nii") == 0
    assert loaded == ["mri_sr", "ct_sr", "ct_denoise_dncnn", "mri_denoise_dncnn"]


def test_a_file_whose_place_is_not_stated_does_not_state_one_after(tmp_path, loaded):
    image = nib.Nifti1Image(ct_volume(), None)
    image.header.set_zooms((0.5, 0.5, 3))
    nib.save(image, tmp_path / "in.nii")
    assert run("restore", tmp_path / "in.nii", "--method", "sr", "--out", tmp_path / "a.nii") == 0
    header = nib.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    assert header.get_zooms() == (0.25, 0.25, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("sr", "--scale", 1), "argument --scale: must be above 1 and at most 64"),
        (("sr", "--scale", "two"), "argument --scale: must be a number"),
        (("sr", "--scale", "nan"), "argument --scale: must be above 1"),
        (("dncnn", "--scale", 2), "--scale does not belong to the method dncnn"),
        (("wavelet", "--scale", 2), "--scale does not belong to the method wavelet"),
        (("mar", "--scale", 2), "--scale does not belong to the method mar"),
        (("sr", "--sigma", 5), "--sigma does not belong to the method sr"),
        (("dncnn", "--noise", "rician"), "--noise does not belong to the method dncnn"),
        (("sr", "--segments", 4), "--segments does not belong to the method sr"),
        (("dncnn", "--strength", 2), "strength"),
    ],
)
def test_wrong_combinations_are_one_line(tmp_path, capfd, loaded, options, said):
    path = write_nifti(tmp_path / "in.nii.gz", ct_volume((20, 18, 4)))
    assert run("restore", path, "--method", *options, "--out", tmp_path / "a.nii") == 2
    error = capfd.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "a.nii").exists()


def test_what_has_no_weights_is_refused_in_words(tmp_path, capfd, loaded):
    grey = (np.random.default_rng(0).random((30, 40)) * 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([grey, grey.T[:30].repeat(2, 1)[:, :40], grey], -1)).save(tmp_path / "colour.png")
    dicom_slice(tmp_path / "dx.dcm", Modality="DX")
    dicom_slice(tmp_path / "off.dcm", RescaleIntercept=30000)
    cases = (
        (tmp_path / "grey.png", "has weights for CT and MR, and none for a picture without units"),
        (tmp_path / "colour.png", "greyscale"),
        (tmp_path / "dx.dcm", "has weights for CT and MR, and none for the modality DX"),
        (tmp_path / "off.dcm", "must be in Hounsfield units"),
    )
    for path, said in cases:
        for method in ("dncnn", "sr"):
            assert run("restore", path, "--method", method, "--out", tmp_path / "a.nii") == 2, path
            assert said in capfd.readouterr().err
            assert not (tmp_path / "a.nii").exists()
    assert not loaded
