"""Level and correlation of CT noise: on noise that is known, and inserted into real CTs."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file
from scipy.signal import convolve

from monai_medaug.functional.noise.correlation import _valid_correlation, correlated_noise, correlation_matrix
from monai_medaug.transforms import RandCTDose
from tests.scan_files import real_scan


def dicom_ct(name: str) -> np.ndarray:
    data = pydicom.dcmread(get_testdata_file(name, download=False))
    return data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)


CTS = {
    "head": lambda: dicom_ct("693_UNCR.dcm"),
    "skull base": lambda: dicom_ct("J2K_pixelrep_mismatch.dcm"),
    "spine": lambda: dicom_ct("CT_small.dcm"),
    "tilted head": lambda: nib.load(real_scan("ct_head_ge_512.nii.gz")).get_fdata()[:, :, 6],
    "pelvis": lambda: nib.load(real_scan("sts_001_ct_image.nii.gz")).get_fdata()[:, :, 30],
}


def moving_average(shape: tuple[int, ...], taps: list[list[float]], seed: int = 0) -> np.ndarray:
    """Noise of deviation 1 whose correlation along each axis is that of its taps."""
    kernel = np.ones(1)
    for row in taps:
        kernel = np.multiply.outer(kernel, np.array(row))
    kernel = kernel[0] / np.linalg.norm(kernel)
    wide = np.random.default_rng(seed).normal(size=[n + k - 1 for n, k in zip(shape, kernel.shape, strict=True)])
    return convolve(wide, kernel, "valid")


def correlation_of(taps: list[float]) -> list[float]:
    full = np.correlate(taps, taps, "full")[len(taps) - 1 :]
    return list(full / full[0])


@pytest.mark.parametrize(
    ("shape", "taps", "across"),
    [
        ((300, 280), [[1, 1], [1, 2, 1]], None),
        ((256, 256), [[1], [1]], None),
        ((200, 200), [[1, -0.5], [1, 1]], None),
        ((160, 150, 30), [[1, 1], [1, 1], [1, 0.3]], 2),
        ((20, 160, 150), [[1], [1, 1], [1, 1, 1]], 0),
    ],
)
def test_known_noise(shape, taps, across):
    found = correlated_noise(torch.from_numpy(20 * moving_average(shape, taps) + 40), across)
    assert found is not None
    sigma, correlation, doubtful = found
    assert not doubtful
    assert sigma == pytest.approx(20, rel=0.04)
    for row, measured in zip(taps, correlation, strict=True):
        wanted = correlation_of(row)
        assert measured[0] == 1
        for distance in range(1, len(wanted)):  # the taper takes some, and the surfaces of the windows
            assert measured[distance] == pytest.approx(wanted[distance], abs=0.12)
        assert abs(measured[3]) < 0.1


@pytest.mark.parametrize("name", CTS)
@pytest.mark.parametrize("noise_hu", [10, 25])
def test_noise_added_to_real_cts(name, noise_hu):
    image = MetaTensor(torch.from_numpy(CTS[name]()).float()[None], affine=np.diag([0.5, 0.5, 5, 1]))
    own = correlated_noise(image[0].as_tensor(), None)
    assert own is not None
    more = RandCTDose(noise_hu=noise_hu, prob=1.0).set_random_state(1)(image)
    sigma, correlation, _ = correlated_noise(more[0].as_tensor(), None)
    # flat tissue lies deep inside, where noise is stronger than on the average of the body
    assert 0.94 < sigma / np.hypot(own[0], noise_hu) < 1.2
    assert all(0.1 < row[1] < 0.9 for row in correlation)


def test_the_flat_parts_of_a_textured_abdomen():
    sigma, *_ = correlated_noise(torch.from_numpy(dicom_ct("explicit_VR-UN.dcm")), None)
    assert 12 < sigma < 16  # as in its liver; its commonest windows, of fat and gut, have 31


@pytest.mark.parametrize("slice_", range(12))
def test_every_slice_of_a_head_is_about_alike_or_doubtful(slice_):
    image = nib.load(real_scan("ct_head_ge_512.nii.gz")).get_fdata()[:, :, slice_]
    found = correlated_noise(torch.from_numpy(image), None)
    assert found.doubtful == (slice_ < 4)  # muscles at the skull base are all that is soft
    assert 4.4 < found.sigma < (10 if slice_ < 4 else 6)


def test_a_chest_has_a_level_that_is_doubtful():
    image = nib.load(real_scan("lidc_0001_ct.nii.gz")).get_fdata()
    found = correlated_noise(torch.from_numpy(image), 2)
    assert found.doubtful
    assert 16 < found.sigma < 24  # 19 to 23 in its aorta and heart; the finest details have 5


@pytest.mark.parametrize("kernel", ["B", "L"])
def test_the_same_noise_is_found_among_texture_and_without(kernel):
    image = torch.from_numpy(nib.load(real_scan(f"lungdx_A0001_ct_kernel{kernel}.nii.gz")).get_fdata())
    found = [correlated_noise(s, None) for s in image.unbind(2)]
    sure = np.median([f.sigma for f in found if not f.doubtful])
    doubtful = [f.sigma for f in found if f.doubtful]
    assert len(doubtful) > 3
    assert np.median(doubtful) == pytest.approx(sure, rel=0.25)


def test_a_volume_of_thick_slices():
    image = nib.load(real_scan("ct_head_ge_512.nii.gz"))
    head = MetaTensor(torch.from_numpy(image.get_fdata()).float()[None], affine=torch.from_numpy(image.affine))
    own, *_ = correlated_noise(head[0].as_tensor(), 2)
    assert 3.5 < own < 6
    more = RandCTDose(noise_hu=20, slice_correlation=0.3, prob=1.0).set_random_state(0)(head)
    sigma, correlation, _ = correlated_noise(more[0].as_tensor(), 2)
    assert 0.94 < sigma / np.hypot(own, 20) < 1.2
    assert correlation[2][1] == pytest.approx(0.3, abs=0.12)
    assert correlation[0][1] > 0.5


def test_a_noiseless_or_foreign_image_has_no_estimate():
    ramp = torch.linspace(-100, 100, 128).expand(128, 128)
    found = correlated_noise(ramp, None)
    assert found is None or found[0] < 1e-3
    assert correlated_noise(torch.full((64, 64), 30.0), None)[0] == 0
    x, y = torch.meshgrid(torch.linspace(-1, 1, 256), torch.linspace(-1, 1, 256), indexing="ij")
    phantom = torch.where(x**2 + y**2 < 0.8, 40.0, -1000.0)
    for k in range(8):
        phantom[(x - 0.1 * k + 0.4) ** 2 + (y - 0.5 * (-1) ** k * 0.1 * k) ** 2 < 0.004 * (k + 1)] = 40.0 + 10 * k
    assert correlated_noise(phantom, None)[0] == 0
    assert correlated_noise(phantom[..., None].expand(-1, -1, 6), 2)[0] == 0
    assert correlated_noise(torch.full((64, 64), -1000.0) + torch.randn(64, 64), None) is None
    assert correlated_noise(10 * torch.randn(6, 300), None) is None
    assert correlated_noise(10 * torch.randn(20, 20), None) is None  # four windows


def test_what_is_not_flat_does_not_count():
    noise = torch.from_numpy(10 * moving_average((256, 256), [[1, 1], [1, 1]]))
    edges = 100 * ((torch.arange(256) // 5) % 2)[:, None].expand(256, 100)
    striped = noise.clone()
    striped[:, :100] += edges
    assert correlated_noise(striped, None)[0] == pytest.approx(correlated_noise(noise, None)[0], rel=0.05)


def test_a_correlation_has_no_negative_power():
    valid = _valid_correlation([1.0, -0.9, 0.9, -0.9, 0.0, 0.0, 0.0, 0.0])
    assert valid[0] == 1
    for n in (4, 16, 50):
        assert np.linalg.eigvalsh(correlation_matrix(tuple(valid), n)).min() > -1e-9


def test_texture_is_said_to_be_doubtful_and_its_flattest_parts_count():
    noise = 20 * moving_average((256, 256), [[1, 1], [1, 1]])
    grade = np.linspace(0.25, 1, 256)
    texture = 60 * grade[:, None] * np.sin(np.arange(256) * 2 * np.pi / 9)  # more and more of it
    found = correlated_noise(torch.from_numpy(noise + texture + 40), None)
    assert found.doubtful
    assert 18 < found.sigma < 29  # the commonest windows have 36
