from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest

from monai_medaug.functional.noise.white import white_noise

CPU = torch.device("cpu")


def test_it_is_standard_normal():
    noise = white_noise((64, 64), [5], CPU).flatten().numpy()
    assert kstest(noise, "norm").pvalue > 0.01


def test_a_sample_depends_on_its_own_seed_alone():
    both = white_noise((3, 8), [1, 2], CPU)
    assert torch.equal(both[1], white_noise((3, 8), [2], CPU)[0])
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype(dtype):
    assert white_noise((4,), [0, 1], CPU, dtype).dtype == dtype
