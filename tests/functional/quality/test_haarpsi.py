"""HaarPSI against the formula of the paper, written with scipy's convolution."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from skimage.data import camera

from monai_medaug.functional.quality.haarpsi import MEDICAL, PAPER, haarpsi
from tests.images import smooth_noise


def centred(image, kernel):
    """Convolution whose even kernels reach one pixel further to the right, as in the authors' code."""
    return convolve2d(image[::-1, ::-1], kernel[::-1, ::-1], mode="same")[::-1, ::-1]


def by_formula(image, reference, c, alpha):
    first, second = (centred(x, np.full((2, 2), 0.25))[::2, ::2] for x in (image, reference))
    numerator = denominator = 0.0
    for turn in (0, 1):
        size = []
        for scale in (1, 2, 3):
            kernel = np.full((2**scale, 2**scale), 2.0**-scale)
            kernel[: 2 ** (scale - 1)] *= -1
            size.append([np.abs(centred(x, kernel.T if turn else kernel)) for x in (first, second)])
        alike = sum((2 * a * b + c) / (a**2 + b**2 + c) for a, b in size[:2]) / 2
        weight = np.maximum(*size[2])
        numerator += (weight / (1 + np.exp(-alpha * alike))).sum()
        denominator += weight.sum()
    share = numerator / denominator
    return (np.log(share / (1 - share)) / alpha) ** 2


@pytest.mark.parametrize("constants", [PAPER, MEDICAL])
@pytest.mark.parametrize("shape", [(64, 64), (51, 46)])
def test_the_formula_of_the_paper(shape, constants):
    reference = camera()[100 : 100 + shape[0], 200 : 200 + shape[1]].astype(float)
    for image in (reference + 20 * np.random.default_rng(0).standard_normal(shape), 255 * smooth_noise(shape, 1)):
        expected = by_formula(image, reference, *constants)
        x, y = (torch.from_numpy(v / 255)[None, None] for v in (image, reference))
        assert abs(float(haarpsi(x, y, 1.0, constants)) - expected) < 1e-10
        assert abs(float(haarpsi(x.float(), y.float(), 1.0, constants)) - expected) < 1e-5


def test_slices_are_pooled_and_a_mask_leaves_pixels_out():
    x, y = (torch.from_numpy(smooth_noise((1, 3, 40, 40), s)) for s in (0, 1))
    same = torch.cat([x[:, :1], y[:, 1:]], 1)
    assert float(haarpsi(same, y, 1.0)) > float(haarpsi(x, y, 1.0))
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask[:, 1:] = True
    assert float(haarpsi(same, y, 1.0, mask=mask)) == pytest.approx(1)


def test_images_without_edges_are_alike():
    assert haarpsi(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16), 1.0).tolist() == [1.0]
