"""Entropy, contrast, sharpness and noise level as MONAI metrics."""

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.metrics import ContrastMetric, EntropyMetric, NoiseLevelMetric, SharpnessMetric
from tests.images import smooth_noise

EVERY = (EntropyMetric, ContrastMetric, SharpnessMetric, NoiseLevelMetric)


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("shape", [(2, 3, 24, 20), (1, 1, 12, 14, 16)])
def test_each_gives_a_figure_for_each_channel_and_ignores_a_label(cls, shape):
    image = torch.from_numpy(smooth_noise(shape, 0)).float()
    metric = cls()
    found = metric(image, torch.zeros(2))
    assert found.shape == shape[:2]
    as_list = cls()(list(image))
    assert torch.allclose(found, as_list, atol=1e-6)
    alone = torch.stack([cls()(image[i : i + 1])[0] for i in range(len(image))])
    assert torch.allclose(found, alone, atol=1e-6)
    assert float(metric.aggregate()) == pytest.approx(float(found.mean()), abs=1e-5)


@pytest.mark.parametrize("cls", EVERY)
def test_a_constant_image_and_one_voxel_have_zero(cls):
    for shape in ((1, 1, 16, 16), (1, 1, 1, 1), (1, 1, 1, 1, 1)):
        assert float(cls()(torch.full(shape, -1000.0))) == 0


@pytest.mark.parametrize("cls", EVERY)
def test_what_is_not_finite_is_named(cls):
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 1, 2] = math.nan
    with pytest.raises(ValueError, match="y_pred must be finite, got 1 NaN"):
        cls()(image)
    with pytest.raises(TypeError, match="y_pred must hold real numbers"):
        cls()(torch.zeros(1, 1, 8, 8, dtype=torch.complex64))


@pytest.mark.parametrize("cls", [EntropyMetric, ContrastMetric, SharpnessMetric])
def test_a_mask_keeps_its_voxels_and_an_empty_one_is_refused(cls):
    image = torch.from_numpy(smooth_noise((1, 1, 40, 40), 0)).float()
    whole = cls()(image)
    image[..., :20] = 0
    mask = torch.ones(1, 1, 40, 40)
    assert torch.allclose(cls()(image, mask=mask), cls()(image), atol=1e-6)
    mask[..., :24] = 0
    assert 0.2 < float(cls()(image, mask=mask) / whole) < 4
    with pytest.raises(ValueError, match="mask must hold a voxel in each sample"):
        cls()(image, mask=0 * mask)


def test_contrast_is_a_deviation_or_a_ratio_to_the_noise():
    random = np.random.default_rng(0)
    image = torch.from_numpy(random.normal(0, 5, (1, 1, 200, 200)))
    image[..., 100:] += 40
    inside = torch.zeros(1, 1, 200, 200)
    inside[..., 100:] = 1
    assert float(ContrastMetric()(image)) == pytest.approx(float(image.std(correction=0)))
    assert float(ContrastMetric()(image, mask=inside, background=1 - inside)) == pytest.approx(8, rel=0.03)
    with pytest.raises(ValueError, match="mask must be given with background"):
        ContrastMetric()(image, background=inside)


def test_integers_count_as_their_values_and_thick_slices_by_their_spacing():
    image = torch.from_numpy((1000 * smooth_noise((1, 1, 20, 20, 20), 0, 1.0)).astype(np.int16))
    assert torch.equal(SharpnessMetric()(image), SharpnessMetric()(image.float()))
    thick = MetaTensor(image.float(), affine=torch.diag(torch.tensor([1.0, 1.0, 5.0, 1.0])))
    assert float(SharpnessMetric()(thick)) != float(SharpnessMetric()(image))


def test_the_noise_of_a_ct_is_that_of_its_flat_tissue():
    noise = torch.randn(1, 1, 202, 202, generator=torch.Generator().manual_seed(0))
    correlated = torch.nn.functional.avg_pool2d(noise, 3, stride=1) * 3
    found = [float(NoiseLevelMetric(kind)(40 + 12 * correlated)) for kind in ("ct", "gaussian")]
    assert found[0] == pytest.approx(12, rel=0.1)
    assert found[1] < 6
    assert math.isnan(float(NoiseLevelMetric("ct")(torch.full((1, 1, 32, 32), -1000.0) + noise[..., :32, :32])))


def test_arguments_are_checked():
    for make, said in (
        (lambda: EntropyMetric(bins=1), "bins must be"),
        (lambda: EntropyMetric(value_range=(1, 1)), "value_range must be"),
        (lambda: SharpnessMetric(smoothing=-1), "smoothing must be"),
        (lambda: NoiseLevelMetric("rician"), "noise must be one of"),
    ):
        with pytest.raises(ValueError, match=said):
            make()
