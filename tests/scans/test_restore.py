"""Whole scans restored in slabs."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.scans import restore
from monai_medaug.scans.restore import RESTORATIONS, restored_scan
from monai_medaug.transforms import WaveletDenoise
from tests.scan_files import ct_volume

METHODS = [*RESTORATIONS]


def volume(shape=(26, 24, 60), sigma=20, seed=0):
    body = torch.from_numpy(ct_volume(shape).astype(np.float32))[None]
    return MetaTensor(body + sigma * torch.randn(body.shape, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("method", METHODS)
def test_slabs_leave_no_trace(method, monkeypatch):
    image = volume()
    whole, level = restored_scan(image, method, sigma=20)
    assert level == (20 if RESTORATIONS[method].by_level else None)
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
    whole, level = restored_scan(image, method, noise="ct", strength=1)
    assert level == pytest.approx(20, rel=0.05)
    half, _ = restored_scan(image, method, noise="ct")
    assert 8 < float(half.std()) < 12
    monkeypatch.setattr(restore, "SLAB_VOXELS", 60 * 60 * 10)
    parts, again = restored_scan(image, method, noise="ct", strength=1)
    assert again == level
    assert float((parts - whole).abs().mean()) < 0.5
    assert float(whole.std()) < 10


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


def test_an_unknown_method_is_said_with_those_there_are():
    with pytest.raises(
        ValueError, match="'bilateral', 'collaborative', 'gaussian', 'low-pass', 'median', 'nlm', 'wavelet', got 'blur'"
    ):
        restored_scan(torch.zeros(1, 8, 8), "blur")


@pytest.mark.parametrize("method", METHODS)
def test_padding_stays_in_slabs(method, monkeypatch):
    image = volume()
    image[:, :5] = -3024
    monkeypatch.setattr(restore, "SLAB_VOXELS", 26 * 24 * 12)
    out, _ = restored_scan(image, method, sigma=20)
    assert bool((out[:, :5] == -3024).all())
    assert float(out[:, 5:].min()) > -1400


@pytest.mark.parametrize("axis", [1, 3])
def test_slabs_know_the_noise_of_their_slices(axis, monkeypatch):
    shape = (96, 60, 20) if axis == 1 else (60, 60, 90)
    white = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    image = MetaTensor(40 + white * torch.linspace(8, 24, shape[2]))
    whole, _ = restored_scan(image, "wavelet", noise="ct")
    monkeypatch.setattr(restore, "SLAB_VOXELS", image.numel() // 5)
    parts, _ = restored_scan(image, "wavelet", noise="ct")
    assert float((parts - whole).abs().max()) < 0.1
