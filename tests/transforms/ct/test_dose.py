"""The noise of RandCTDose beside that of real scans, in the same flat windows."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from monai.data import MetaTensor

from monai_medaug.transforms import RandCTDose
from tests.scan_files import real_scan

SIDE = 20


def flat_windows(volume: np.ndarray, chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Windows of soft tissue (n, SIDE, SIDE) minus a cubic surface, and which they are: the flattest eighth, if new."""
    place = np.arange(SIDE) / SIDE - 0.5
    terms = [np.outer(place**i, place**j).ravel() for i in range(4) for j in range(4 - i)]
    basis = np.linalg.qr(np.stack(terms, 1))[0]
    windows = np.lib.stride_tricks.sliding_window_view(volume, (SIDE, SIDE), (0, 1))[::10, ::10]
    values = windows.reshape(-1, volume.shape[2], SIDE * SIDE).astype(np.float64)
    mean = values.mean(2)
    values = values - mean[..., None]
    values -= (values @ basis) @ basis.T
    spread = values.std(2)
    if chosen is None:
        soft = (mean > -20) & (mean < 120) & (spread > 0.5)
        chosen = soft & (spread < np.quantile(spread[soft], 0.12))
    return values[chosen].reshape(-1, SIDE, SIDE), chosen


def mean_frequency(windows: np.ndarray, spacing: float) -> float:
    taper = np.hanning(SIDE)[:, None] * np.hanning(SIDE)
    power = (np.abs(np.fft.fft2(windows * taper)) ** 2).mean(0)
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(SIDE, spacing)] * 2))
    disc = f < 0.5 / spacing
    return float((f * power)[disc].sum() / power[disc].sum())


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("lungdx_A0001_ct_kernelB.nii.gz", "soft"),
        ("lungdx_A0001_ct_kernelL.nii.gz", "sharp"),
        ("ct_phantom_head_UB.nii.gz", "soft"),
        ("ct_phantom_head_YA.nii.gz", "sharp"),
        ("ct_head_ge_512.nii.gz", "standard"),
        ("msd_spleen2_ct_image.nii.gz", "standard"),
    ],
)
def test_mean_frequency_of_soft_and_sharp_kernels(name, kernel):
    """Within 10 %: two scans reconstructed with a smooth and a sharp kernel, and a head and an abdomen."""
    scan = nibabel.load(real_scan(name))
    volume = np.asarray(scan.dataobj, dtype=np.float32)[..., :12]
    spacing = float(scan.header.get_zooms()[0])
    real, chosen = flat_windows(volume)
    image = MetaTensor(volume[None], affine=scan.affine)
    noise = (RandCTDose(noise_hu=10, kernel=kernel, prob=1.0).set_random_state(0)(image) - image).numpy()[0]
    ours, _ = flat_windows(noise, chosen)
    assert mean_frequency(ours, spacing) == pytest.approx(mean_frequency(real, spacing), rel=0.1)
