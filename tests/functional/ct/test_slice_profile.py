"""The slice profile against the closed form, and noise across slices against real scans."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from monai.data import MetaTensor

from monai_medaug.functional.ct.slice_profile import pair_taps, slice_taps
from monai_medaug.transforms import RandCTDose
from tests.scan_files import real_scan


def correlations(taps: tuple[float, ...]) -> np.ndarray:
    return np.correlate(taps, taps, "full")[len(taps) - 1 :]


@pytest.mark.parametrize(("spacing", "thickness"), [(5.0, 5.0), (2.5, 3.4), (0.5, 1.0), (0.3, 1.0), (1.0, 12.0)])
def test_slices_correlate_as_the_overlap_of_triangles(spacing, thickness):
    """The triangle's correlation with itself, by a sum over fine steps."""
    found = correlations(slice_taps(spacing, thickness))
    thickness *= 0.9
    z = np.linspace(-4, 4, 8001) * thickness
    profile = np.clip(1 - np.abs(z) / thickness, 0, None)
    expected = []
    for k in range(len(found)):
        shifted = np.clip(1 - np.abs(z - k * spacing) / thickness, 0, None)
        expected.append((profile * shifted).sum() / (profile**2).sum())
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert (len(found) - 1) * spacing < 2 * thickness


def test_thin_and_sequential_slices_are_independent():
    assert slice_taps(5.0, 2.5) == slice_taps(1.0, 0.0) == pair_taps(0.0) == (1.0,)


@pytest.mark.parametrize("correlation", [0.1, 0.3, 0.5])
def test_a_pair_of_weights_gives_the_correlation(correlation):
    np.testing.assert_allclose(correlations(pair_taps(correlation)), [1, correlation])


def flat_residuals(slices: np.ndarray, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Windows (S, n, side²) minus a cubic surface, and their means."""
    place = np.arange(side) / side - 0.5
    terms = [np.outer(place**i, place**j).ravel() for i in range(4) for j in range(4 - i)]
    basis = np.linalg.qr(np.stack(terms, 1))[0]
    windows = np.lib.stride_tricks.sliding_window_view(slices, (side, side), (1, 2))[:, ::side, ::side]
    values = windows.reshape(len(slices), -1, side * side).astype(np.float64)
    mean = values.mean(2)
    values = values - mean[..., None]
    return values - (values @ basis) @ basis.T, mean


def correlation_of_neighbours(residuals: np.ndarray, chosen: np.ndarray) -> float:
    """Median over windows (S - 1, n) that are flat in both slices."""
    first, second = residuals[:-1][chosen], residuals[1:][chosen]
    return float(np.median((first * second).mean(1) / np.sqrt((first**2).mean(1) * (second**2).mean(1))))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lidc_0003_ct.nii.gz", {}),
        ("lungdx_A0001_ct_kernelB.nii.gz", {}),
        ("lungdx_A0001_ct_kernelL.nii.gz", {"kernel": "sharp"}),
        ("msd_spleen2_ct_image.nii.gz", {}),
        ("sts_001_ct_image.nii.gz", {}),
        ("lidc_0001_ct.nii.gz", {"thickness_mm": 3.75}),
        ("ct_head_ge_512.nii.gz", {"slice_correlation": 0}),  # a sequential scan
    ],
)
def test_noise_correlates_across_slices_as_in_real_scans(name, arguments):
    """Flattest sixth of the windows in soft tissue, within 0.1: helical scans as thick as their spacing, and others."""
    scan = nibabel.load(real_scan(name))
    volume = np.asarray(scan.dataobj, dtype=np.float32)[..., :20]
    residuals, mean = flat_residuals(np.moveaxis(volume, 2, 0))
    spread = np.maximum(residuals.std(2)[:-1], residuals.std(2)[1:])
    soft = (np.minimum(mean[:-1], mean[1:]) > -50) & (np.maximum(mean[:-1], mean[1:]) < 150) & (spread > 0.3)
    chosen = soft & (spread < np.quantile(spread[soft], 0.15))
    found = correlation_of_neighbours(residuals, chosen)

    image = MetaTensor(volume[None], affine=scan.affine)
    noise = (RandCTDose(noise_hu=10, prob=1.0, **arguments).set_random_state(0)(image) - image).numpy()[0]
    ours = correlation_of_neighbours(flat_residuals(np.moveaxis(noise, 2, 0))[0], chosen)
    assert ours == pytest.approx(found, abs=0.1)
