"""Noise of a scan that holds no power at its highest frequencies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core.call import apply_record
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms import RandMRINoise

SHAPE = (128, 96)


def interpolated(acquired: float) -> torch.Tensor:
    """Signal of about 100 whose k-space along the first axis was filled with zeros."""
    image = 100 + 5 * torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    k = torch.fft.fftfreq(SHAPE[0]).abs() * 2
    return torch.fft.ifft(torch.fft.fft(image, dim=1) * (k <= acquired)[:, None], dim=1).real


@pytest.mark.parametrize("coils", [1, 4])
@pytest.mark.filterwarnings("ignore:an MR image without power")
def test_noise_has_no_power_where_the_scan_has_none(coils):
    image = interpolated(0.6)
    transform = RandMRINoise(snr=20, coils=coils, prob=1.0).set_random_state(0)
    out = transform(MetaTensor(image))
    noise = (out - image).as_tensor()[0].numpy()
    power = (np.abs(np.fft.fft(noise, axis=0)) ** 2).mean(1)
    k = np.abs(np.fft.fftfreq(SHAPE[0])) * 2
    assert power[k > 0.7].mean() < 0.02 * power[(k > 0) & (k < 0.5)].mean()
    assert noise.std() == pytest.approx(100 / 20, rel=0.05)
    across = (np.abs(np.fft.fft(noise, axis=1)) ** 2).mean(0)
    assert across[30:66].mean() == pytest.approx(across[1:20].mean(), rel=0.1)  # white along the other axis
    record = out.applied_operations[-1]
    assert torch.equal(apply_record(record, image, VoxelGrid(SHAPE)), out.as_tensor())


def test_noise_is_white_in_a_full_scan_and_on_request():
    for image, wanted in ((interpolated(2), True), (interpolated(0.6), False)):
        out = RandMRINoise(snr=20, prob=1.0, band_limited=wanted).set_random_state(0)(image)
        power = (torch.fft.fft((out - image)[0], dim=0).abs() ** 2).mean(1)
        k = torch.fft.fftfreq(SHAPE[0]).abs() * 2
        assert float(power[k > 0.7].mean()) == pytest.approx(float(power[(k > 0) & (k < 0.5)].mean()), rel=0.1)


@pytest.mark.filterwarnings("ignore:an MR image without power")
def test_records_of_the_first_version_stay_white():
    image = interpolated(0.6)
    transform = RandMRINoise(snr=20, prob=1.0, band_limited=False).set_random_state(0)
    out = transform(MetaTensor(image))
    record = out.applied_operations[-1]
    del record["extra_info"]["params"]["band_limited"]
    assert torch.equal(apply_record(record, image, VoxelGrid(SHAPE)), out.as_tensor())
