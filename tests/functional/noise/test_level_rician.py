from __future__ import annotations

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file

from monai_medaug.functional.noise.level_rician import (
    background_sigma,
    foreground_sigma,
    koay_factor,
    koay_sigma,
    otsu_level,
    rician_sigma,
)
from tests.scan_files import real_scan


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def magnitude(image: torch.Tensor, sigma: float, seed: int = 0) -> torch.Tensor:
    return torch.hypot(image + sigma * noise(*image.shape, seed=seed), sigma * noise(*image.shape, seed=seed + 1))


def ct_slice() -> np.ndarray:
    return nib.load(real_scan("ct_head_ge_512.nii.gz")).get_fdata()[:, :, 6]


def t1_slice() -> np.ndarray:
    with np.load(real_scan("t1_brain_aseg.npz")) as stored:
        return stored["vol"][80]


def t2_slice() -> np.ndarray:
    return nib.load(real_scan("t2w_head.nii.gz")).get_fdata()[:, :, 30]


def radiograph() -> np.ndarray:
    return pydicom.dcmread(get_testdata_file("RG1_UNCR.dcm")).pixel_array[::2, ::2]


def template() -> np.ndarray:
    from nilearn.datasets import load_mni152_template

    return load_mni152_template(resolution=1).get_fdata()[:, :, 90]


def unit_range(image: np.ndarray) -> torch.Tensor:
    image = image.astype(np.float64)
    return torch.from_numpy((image - image.min()) / np.ptp(image)).float()[None, None]


def zero_filled(image: torch.Tensor, sigma: float, kept: float, seed: int = 0) -> torch.Tensor:
    """Magnitude of an image with complex noise, both without the outer k-space along the first two axes."""
    white = torch.complex(noise(*image.shape, seed=seed), noise(*image.shape, seed=seed + 1))
    share = torch.ones(image.shape[2:])
    for axis, n in enumerate(image.shape[2:4]):
        inner = torch.fft.fftfreq(n).abs() < kept / 2
        share = share * inner.reshape([-1 if a == axis else 1 for a in range(share.ndim)])
    axes = tuple(range(2, image.ndim))
    return torch.fft.ifftn(
        torch.fft.fftn(image + sigma / share.mean().sqrt() * white, dim=axes) * share, dim=axes
    ).abs()


class TestRician:
    @pytest.mark.parametrize("kept", [0.8, 0.6, 0.45])
    def test_zero_filled_noise_within_5_percent(self, kept):
        clean = torch.nn.functional.interpolate(unit_range(t2_slice()), scale_factor=2, mode="bicubic").clamp_min(0)
        assert rician_sigma(zero_filled(clean, 0.04, kept)).item() == pytest.approx(0.04, rel=0.05)

    def test_zero_filled_volume(self):
        clean = torch.zeros(1, 1, 72, 64, 20)
        clean[..., 20:50, 20:44, 5:15] = 200
        assert rician_sigma(zero_filled(clean, 8, 0.5)).item() == pytest.approx(8, rel=0.05)

    @pytest.mark.parametrize("load", [t1_slice, t2_slice, template])
    @pytest.mark.parametrize("sigma", [0.05, 0.1])
    def test_real_images_within_5_percent(self, load, sigma):
        image = magnitude(unit_range(load()), sigma)
        assert background_sigma(image) is not None
        assert rician_sigma(image).item() == pytest.approx(sigma, rel=0.05)

    @pytest.mark.parametrize("load", [t1_slice, template])
    @pytest.mark.parametrize("sigma", [0.05, 0.1])
    def test_masked_background_takes_the_foreground(self, load, sigma):
        clean = unit_range(load())
        image = magnitude(clean, sigma) * (clean > 0)
        assert background_sigma(image) is None
        assert rician_sigma(image).item() == pytest.approx(sigma, rel=0.05)

    @pytest.mark.parametrize("load", [ct_slice, radiograph])
    @pytest.mark.parametrize("sigma", [0.05, 0.1])
    def test_dark_tissue_is_no_background(self, load, sigma):
        image = magnitude(unit_range(load()), sigma)
        assert rician_sigma(image).item() == pytest.approx(sigma, rel=0.05)

    @pytest.mark.parametrize("seed", range(4))
    def test_dark_tissue_of_a_small_stack_is_no_background(self, seed):
        stack = pydicom.dcmread(get_testdata_file("emri_small.dcm", download=False)).pixel_array.astype(np.float32)
        image = magnitude(torch.from_numpy(stack)[None, None], 20, seed=10 * seed)
        assert rician_sigma(image).item() == pytest.approx(20, rel=0.15)  # it has noise of its own

    def test_volume(self):
        clean = torch.zeros(1, 1, 48, 48, 40)
        clean[..., 14:34, 14:34, 10:30] = 200
        assert rician_sigma(magnitude(clean, 8)).item() == pytest.approx(8, rel=0.02)

    def test_no_background_at_all(self):
        assert rician_sigma(magnitude(torch.full((1, 1, 96, 96), 100.0), 5)).item() == pytest.approx(5, rel=0.05)

    @pytest.mark.parametrize("value", [0.0, 7.0])
    def test_constant_images_are_noiseless(self, value):
        assert rician_sigma(torch.full((1, 2, 24, 24), value)).tolist() == [[0.0, 0.0]]

    def test_foreground_alone(self):
        clean = torch.full((1, 1, 128, 128), 60.0)
        clean[..., :50] = 0
        assert foreground_sigma(magnitude(clean, 4)).item() == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("snr", [0.0, 0.7, 2.0, 5.0, 30.0])
def test_koay_against_the_rice_distribution(snr):
    from scipy.stats import rice

    mean, variance = rice.stats(snr, moments="mv")
    assert koay_factor(torch.tensor(snr, dtype=torch.float64)).item() == pytest.approx(float(variance), rel=1e-6)
    found = koay_sigma(torch.tensor(3 * float(mean)), torch.tensor(3 * float(variance) ** 0.5))
    assert found.item() == pytest.approx(3, rel=0.01)


def test_otsu_against_scikit_image():
    from skimage.filters import threshold_otsu

    values = torch.cat([noise(4000), 8 + 2 * noise(2000, seed=1)])
    assert otsu_level(values).item() == pytest.approx(threshold_otsu(values.numpy()), abs=0.2)
