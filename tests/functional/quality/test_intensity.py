"""Entropy and contrast against closed forms."""

import numpy as np
import pytest
import torch
from skimage.measure import shannon_entropy

from monai_medaug.functional.quality.intensity import contrast_to_noise, histogram_entropy


def test_entropy_is_that_of_the_grey_levels():
    grey = torch.from_numpy(np.random.default_rng(0).binomial(255, 0.4, (50, 60)).astype(np.float64))
    assert float(histogram_entropy(grey, -0.5, 255.5)) == pytest.approx(shannon_entropy(grey.numpy()), abs=1e-9)


def test_entropy_of_even_bins_and_of_a_constant():
    assert float(histogram_entropy(torch.arange(256.0), 0.0, 256.0)) == pytest.approx(8)
    assert float(histogram_entropy(torch.full((9,), 3.0), 3.0, 3.0)) == 0
    assert float(histogram_entropy(torch.full((9,), 3.0), 0.0, 5.0)) == 0
    outside = torch.tensor([-9.0, 0.1, 0.9, 9.0])
    assert float(histogram_entropy(outside, 0.0, 1.0, 2)) == 1


def test_contrast_to_noise_by_hand_and_without_noise():
    assert float(contrast_to_noise(torch.tensor([10.0, 14.0]), torch.tensor([-3.0, 3.0]))) == 4
    with pytest.raises(ValueError, match="background must show noise, got 5 voxels"):
        contrast_to_noise(torch.ones(3), torch.ones(5))
