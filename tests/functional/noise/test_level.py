from __future__ import annotations

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file

from monai_medaug.functional.noise.level import diagonal_details, mad_sigma, near_constant
from monai_medaug.functional.noise.level_rician import (
    rician_sigma,
)
from tests.scan_files import real_scan


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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


class TestMad:
    @pytest.mark.parametrize("load", [ct_slice, t1_slice, t2_slice, radiograph, template])
    @pytest.mark.parametrize("sigma", [0.05, 0.1])
    def test_real_images_within_5_percent(self, load, sigma):
        image = unit_range(load())
        assert mad_sigma(image + sigma * noise(*image.shape)).item() == pytest.approx(sigma, rel=0.05)

    @pytest.mark.parametrize("shape", [(257, 131), (48, 40, 33), (128, 128, 1), (512, 2)])
    def test_white_noise(self, shape):
        assert mad_sigma(7 * noise(1, 1, *shape) - 1000).item() == pytest.approx(7, rel=0.05)

    @pytest.mark.parametrize("padding", [0, -1024, -2000, -3024])
    def test_padding_does_not_count(self, padding):
        image = torch.full((1, 1, 200, 200), float(padding))
        image[..., 70:130, 70:130] = 40 + 10 * noise(60, 60)
        assert mad_sigma(image).item() == pytest.approx(10, rel=0.07)

    @pytest.mark.parametrize("shape", [(64, 60), (40, 36, 30)])
    def test_edges_between_constant_parts_are_no_noise(self, shape):
        axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
        radius = torch.stack(axes).square().sum(0)
        image = (100.0 * (radius < 0.5) + 40.0 * (radius < 0.2) - 1000.0)[None, None]
        assert mad_sigma(image).item() == 0
        assert rician_sigma(image + 1000).item() == 0

    def test_integers_of_little_noise(self):
        image = (0.8 * noise(1, 1, 256, 256)).round()
        assert mad_sigma(image.short()).item() == pytest.approx(image.std().item(), rel=0.35)
        assert mad_sigma(image.short()).item() > 0

    @pytest.mark.parametrize("shape", [(16, 16), (8, 8, 8), (5, 1), (1, 1), (2, 2), (1, 9, 9)])
    def test_constant_images_are_noiseless(self, shape):
        assert mad_sigma(torch.full((2, 1, *shape), -1000.0)).tolist() == [[0.0], [0.0]]

    def test_each_channel_of_each_sample_has_its_own(self):
        scale = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        image = scale[:, :, None, None] * noise(2, 3, 128, 128)
        assert torch.allclose(mad_sigma(image), scale, rtol=0.06)
        assert torch.equal(mad_sigma(image)[1, 2], mad_sigma(image[1:, 2:])[0, 0])

    def test_half_precision_is_computed_in_single(self):
        assert mad_sigma(noise(1, 1, 64, 64).half()).dtype == torch.float32

    def test_smooth_anatomy_leaves_nothing(self):
        axis = torch.linspace(0, 6, 128)
        wave = torch.sin(axis)[:, None] * torch.cos(axis)
        assert mad_sigma(wave[None, None]).item() < 1e-4


def test_diagonal_details_by_hand():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 6
    assert diagonal_details(image).item() == pytest.approx(4)
    assert diagonal_details(noise(1, 1, 3000, 300)).std().item() == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("shape", [(9, 11), (7, 6, 8), (2, 9), (6, 1, 7)])
def test_near_constant_by_brute_force(shape):
    image = torch.randint(0, 9, shape, generator=torch.Generator().manual_seed(1)).numpy()
    image[tuple(slice(0, max(1, n // 2 + 1)) for n in shape)] = 3
    widths = [min(3, n) for n in shape]
    blocks = np.lib.stride_tricks.sliding_window_view(image, widths)
    inner = tuple(range(-len(shape), 0))
    constant = blocks.max(inner) == blocks.min(inner)
    from scipy.ndimage import binary_dilation

    wanted = binary_dilation(constant, np.ones([1 if n == 1 else 3 for n in shape]))
    assert constant.any()
    assert np.array_equal(near_constant(torch.from_numpy(image)[None, None])[0, 0].numpy(), wanted)
