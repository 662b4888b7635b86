"""Curves of grey values and blur: formula, order, units, padding, zeros, real images."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file
from scipy.ndimage import gaussian_filter

from monai_medaug.transforms import RandBlur, RandBlurd, RandIntensityCurve


def curve(**arguments):
    neutral = {"gamma": 1, "contrast": 1, "brightness": 0}
    return RandIntensityCurve(**{**neutral, **arguments}, prob=1.0).set_random_state(0)


def ct_slice():
    from pydicom import dcmread

    held = dcmread(get_testdata_file("CT_small.dcm", download=False))
    return torch.from_numpy(held.pixel_array * float(held.RescaleSlope) + float(held.RescaleIntercept)).float()[None]


@pytest.mark.parametrize("shift", [0.0, -1000.0])
def test_the_formula(shift):
    """Against numpy, on values of either sign: nothing depends on where 0 lies."""
    x = np.linspace(0, 50, 401)[None, None].repeat(3, 1) + shift
    u = (x - x.min()) / 50
    g = u**1.7
    expected = x.min() + 50 * (1.3 * (g - g[g > 0].mean()) + g[g > 0].mean() + 0.1)
    out = curve(gamma=1.7, contrast=1.3, brightness=(0.1, 0.1))(torch.from_numpy(x)).numpy()
    flat = 3 / x.size >= 0.01
    np.testing.assert_allclose(out[u > 0] if not flat else out, expected[u > 0], atol=0.15)


def test_the_order_of_values_is_kept_and_outliers_and_padding_are_no_harm():
    image = ct_slice()
    image[0, :20] = -3024.0
    image[0, 64, 64] = 30000.0
    for arguments in ({"gamma": 0.5}, {"gamma": 2.5}, {"contrast": 1.6}, {"brightness": (-0.2, -0.2)}):
        out = curve(**arguments)(image)
        assert bool((out[:, :20] == -3024).all()), "padding was changed"
        rest, before = out[:, 20:].flatten(), image[:, 20:].flatten()
        assert bool((rest[before.argsort()].diff() >= -1e-2).all())
        assert bool(torch.isfinite(out).all())
        assert 5 < float((out - image)[:, 20:].abs().mean()) < 700, "the outlier sets the scale"


def test_contrast_keeps_the_mean_and_gamma_the_ends():
    image = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0)) * 300 - 200
    assert float((curve(contrast=1.5)(image) - image).mean()) == pytest.approx(0, abs=1e-3)
    bent = curve(gamma=2)(image)
    assert float(bent.min()) == pytest.approx(float(image.min()), abs=1)
    assert float(bent.max()) == pytest.approx(float(image.max()), abs=1)


def test_masked_zeros_stay_and_a_constant_image_too():
    image = torch.zeros(1, 30, 30)
    image[:, 8:22, 8:22] = 100 + torch.rand(14, 14, generator=torch.Generator().manual_seed(0)) * 50
    out = curve(contrast=0.6, brightness=(0.2, 0.2))(image)
    assert bool((out[image == 0] == 0).all())
    assert not torch.equal(out, image)
    flat = torch.full((1, 9, 9), 7.0)
    assert torch.equal(curve(gamma=2, contrast=1.5, brightness=(0.1, 0.1))(flat), flat)


def test_neutral_values_change_nothing_bit_for_bit():
    image = torch.randn(2, 21, 17, generator=torch.Generator().manual_seed(1)) * 1000
    assert torch.equal(curve()(image), image)
    assert torch.equal(RandBlur(fwhm_mm=0, prob=1.0)(image), image)


def test_blur_is_in_mm_and_that_of_scipy():
    volume = torch.rand(1, 20, 22, 9, generator=torch.Generator().manual_seed(2))
    image = MetaTensor(volume, affine=torch.diag(torch.tensor([0.8, 0.8, 4.0, 1.0], dtype=torch.float64)))
    out = RandBlur(fwhm_mm=3, prob=1.0)(image)
    widths = np.array([3 / 2.3548 / s for s in (0.8, 0.8, 4.0)])
    expected = gaussian_filter(volume[0].double().numpy(), widths, mode="nearest")
    np.testing.assert_allclose(out[0].numpy(), expected, atol=1e-5)


def test_blur_does_not_mix_padding_with_tissue():
    image = ct_slice()
    padded = image.clone()
    padded[0, :40] = -3024.0
    out = RandBlur(fwhm_mm=4, prob=1.0)(padded)
    assert bool((out[:, :40] == -3024).all())
    assert float(out[:, 40:].min()) > -1100
    assert float((RandBlur(fwhm_mm=4, prob=1.0)(image) - out)[:, 50:].abs().max()) < 1e-2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RandIntensityCurve(gamma=0), r"gamma must lie within"),
        (lambda: RandIntensityCurve(contrast=(2, 1)), r"contrast must be a pair"),
        (lambda: RandIntensityCurve(brightness="0.1"), r"brightness must be a number"),
        (lambda: RandBlur(fwhm_mm=-1), r"fwhm_mm must lie within"),
        (lambda: RandBlurd("image", fwhm_mm=(1, 2, 3)), r"fwhm_mm must be a number or a pair"),
    ],
)
def test_errors(make, said):
    with pytest.raises(ValueError, match=said):
        make()
