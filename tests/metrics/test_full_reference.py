"""SSIM, HaarPSI, PSNR and HU accuracy as MONAI metrics."""

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import SSIMMetric
from skimage.metrics import structural_similarity

from monai_medaug.functional.quality.haarpsi import MEDICAL, haarpsi
from monai_medaug.metrics import BoundedPSNRMetric, HaarPSIMetric, HUAccuracyMetric, SeparableSSIMMetric
from tests.images import smooth_noise


def pair(shape, seed=0):
    truth = torch.from_numpy(smooth_noise(shape, seed)).float()
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return truth + 0.1 * noise, truth


@pytest.mark.parametrize("shape", [(2, 1, 40, 36), (1, 2, 18, 20, 24)])
def test_ssim_is_that_of_scikit_image_and_near_monais(shape):
    x, y = pair(shape)
    metric = SeparableSSIMMetric(data_range=1.0)
    found = metric(x, y)
    for b, c in np.ndindex(*shape[:2]):
        expected = structural_similarity(
            *(v[b, c].double().numpy() for v in (x, y)),
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
        )
        assert abs(float(found[b, c]) - expected) < 1e-5
    theirs = SSIMMetric(len(shape) - 2, data_range=1.0)
    theirs(x, y)
    assert float(metric.aggregate()) == pytest.approx(float(theirs.aggregate()), abs=1e-3)


def test_a_list_of_images_of_different_sizes_cumulates_and_resets():
    pairs = [pair((1, 32, 30 + 8 * k), k) for k in range(3)]
    metric = SeparableSSIMMetric(data_range=1.0, get_not_nans=True)
    metric([x for x, _ in pairs[:2]], [y for _, y in pairs[:2]])
    metric([pairs[2][0]], [pairs[2][1]])
    alone = [float(SeparableSSIMMetric(data_range=1.0)(x[None], y[None])) for x, y in pairs]
    mean, count = metric.aggregate()
    assert float(mean) == pytest.approx(np.mean(alone))
    assert int(count) == 3
    assert metric.get_buffer().shape == (3, 1)
    metric.reset()
    assert metric.get_buffer() is None


def test_a_mask_keeps_the_windows_around_its_voxels():
    x, y = pair((1, 1, 48, 48))
    x[..., 24:] = y[..., 24:]
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., 32:] = 1
    assert float(SeparableSSIMMetric(1.0)(x, y, mask=mask)) == 1
    assert float(HaarPSIMetric(1.0)(x, y, mask=mask)) == pytest.approx(1)
    assert float(SeparableSSIMMetric(1.0)(x, y)) < 0.99


def test_a_window_of_hu_is_clipped_to_and_gives_the_range():
    x, y = (200 * v for v in pair((1, 1, 40, 40)))
    clipped = [(v + 160).clamp(0, 400) for v in (x, y)]
    for cls in (SeparableSSIMMetric, HaarPSIMetric):
        assert torch.allclose(cls(hu_window="soft_tissue")(x, y), cls(data_range=400)(*clipped))
        assert torch.allclose(cls(hu_window=(40, 400))(x, y), cls(data_range=400)(*clipped))
    beyond = torch.where(y > 180, y + 2000, y)
    assert float(SeparableSSIMMetric(hu_window=(0, 360))(beyond, y)) == 1


def test_haarpsi_pools_the_axial_slices_of_a_volume():
    x, y = pair((1, 1, 6, 32, 28))
    affine = torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [3, 0, 0, 0], [0, 0, 0, 1]]).double()  # slices first
    placed = [MetaTensor(v, affine=affine) for v in (x, y)]
    found = HaarPSIMetric(1.0, constants="medical")(*placed)
    assert float(found) == pytest.approx(float(haarpsi(x[:, 0], y[:, 0], 1.0, MEDICAL)), abs=1e-6)
    last = HaarPSIMetric(1.0, constants="medical")(*(v.movedim(2, -1) for v in (x, y)))
    assert float(last) == pytest.approx(float(found), abs=1e-6)


def test_equal_images_have_a_finite_psnr():
    x, y = pair((2, 1, 16, 16))
    x[0] = y[0]
    metric = BoundedPSNRMetric(max_val=1.0)
    found = metric(x, y)
    assert found[0] == 100
    expected = -10 * math.log10(float((x[1] - y[1]).square().mean()))
    assert float(found[1]) == pytest.approx(expected, abs=1e-3)
    assert float(metric.aggregate()) == pytest.approx((100 + expected) / 2, abs=1e-3)


def test_hu_accuracy_is_of_the_means():
    image = torch.full((1, 1, 20, 20), 40.0)
    mask = torch.zeros(1, 1, 20, 20)
    mask[..., :10] = 1
    noisy = image + 10 * torch.randn(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    wanted = abs(float(noisy[..., :10].mean()) - 40)
    assert float(HUAccuracyMetric()(noisy, image, mask=mask)) == pytest.approx(wanted, abs=1e-4)
    assert float(HUAccuracyMetric(expected_hu=40)(noisy, mask=mask)) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("cls", [SeparableSSIMMetric, HaarPSIMetric, BoundedPSNRMetric, HUAccuracyMetric])
@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (torch.full((1, 1, 16, 16), math.nan), torch.zeros(1, 1, 16, 16), "y_pred must be finite"),
        (torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), math.inf), "y must be finite"),
        (torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 15), "shape"),
        (torch.zeros(16, 16), torch.zeros(16, 16), "y_pred must be channel-first"),
    ],
)
def test_what_cannot_be_compared_is_named(cls, x, y, said):
    metric = cls() if cls is HUAccuracyMetric else cls(1.0)
    with pytest.raises(ValueError, match=said):
        metric(x, y)


@pytest.mark.parametrize("cls", [SeparableSSIMMetric, HaarPSIMetric])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "data_range or hu_window must be given"),
        ({"data_range": 1.0, "hu_window": "lung"}, "data_range or hu_window must be given"),
        ({"data_range": 0.0}, "data_range must be"),
        ({"hu_window": "Lunge"}, "hu_window must be one of"),
        ({"hu_window": (1, 2, 3)}, "hu_window must be a name"),
    ],
)
def test_the_range_is_asked_for(cls, arguments, said):
    with pytest.raises(ValueError, match=said):
        cls(**arguments)


def test_masks_and_sizes_that_say_nothing_are_refused():
    x = torch.rand(2, 1, 20, 20)
    mask = torch.ones(2, 1, 20, 20)
    mask[1] = 0
    with pytest.raises(ValueError, match="mask must hold a voxel in each sample, got none in sample 1"):
        SeparableSSIMMetric(1.0)(x, x, mask=mask)
    with pytest.raises(ValueError, match="mask must have the image's shape"):
        HaarPSIMetric(1.0)(x, x, mask=mask[..., 1:])
    border = torch.zeros(2, 1, 20, 20)
    border[..., 0] = 1
    with pytest.raises(ValueError, match="mask must hold a voxel 5 or more from the border"):
        SeparableSSIMMetric(1.0)(x, x, mask=border)
    with pytest.raises(ValueError, match="y_pred must have an axis of 11"):
        SeparableSSIMMetric(1.0)(x[..., :1, :1], x[..., :1, :1])
    with pytest.raises(TypeError, match="takes no background"):
        SeparableSSIMMetric(1.0)(x, x, background=mask)
    one = torch.zeros(1, 1, 1, 1)
    assert float(HaarPSIMetric(1.0)(one, one)) == 1
