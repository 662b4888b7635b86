from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_medaug.functional.denoise.wavelet_shrinkage import HARD_THRESHOLD, wavelet_shrinkage
from monai_medaug.functional.denoise.wavelets_stationary import shrink_stationary, stationary_levels

WAVELETS = ("haar", "db2", "db4", "sym8", "coif2", "bior2.2", "bior4.4", "rbio3.3")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    wavelet=st.sampled_from(WAVELETS),
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    levels=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_perfect_reconstruction(wavelet, shape, levels, seed):
    image = noise(2, 1, *shape, seed=seed).clamp(-1, 1)
    back = shrink_stationary(image, wavelet, levels, lambda band, gains: band)
    assert back.shape == image.shape
    assert (back - image).abs().max() < 1e-5


class TestStationary:
    @pytest.mark.parametrize(("shape", "levels"), [((40, 48), 3), ((16, 20, 24), 2)])
    def test_equal_to_cycle_spinning_over_all_shifts(self, shape, levels):
        """Decimated Haar by PyWavelets, all shifts, hard threshold; away from the border, where extensions differ."""
        image, level = noise(*shape).double(), 1.1
        total = np.zeros(shape)
        shifts = list(itertools.product(range(2**levels), repeat=len(shape)))
        axes = tuple(range(len(shape)))
        for shift in shifts:
            low, *details = pywt.wavedecn(np.roll(image.numpy(), shift, axes), "haar", "periodization", levels)
            details = [{k: np.where(np.abs(v) > level, v, 0) for k, v in bands.items()} for bands in details]
            back = pywt.waverecn([low, *details], "haar", "periodization")
            total += np.roll(back, [-s for s in shift], axes)
        sigma = torch.tensor([level / HARD_THRESHOLD], dtype=torch.float64)
        ours = wavelet_shrinkage(image[None, None], sigma, levels=levels)[0, 0]
        inner = (slice(2 * (2**levels - 1), -2 * (2**levels - 1)),) * len(shape)
        assert np.abs(ours.numpy() - total / len(shifts))[inner].max() < 1e-10

    @pytest.mark.parametrize("wavelet", ["haar", "db2"])
    def test_the_result_follows_a_shift(self, wavelet):
        image, sigma = noise(1, 1, 70, 67).double(), torch.tensor([0.5])
        first = wavelet_shrinkage(image[..., 3:, 11:], sigma, wavelet=wavelet, levels=2)
        second = wavelet_shrinkage(image, sigma, wavelet=wavelet, levels=2)[..., 3:, 11:]
        reach = 2 * 3 * (2 if wavelet == "haar" else 4)
        assert (first - second)[..., reach:-reach, reach:-reach].abs().max() < 1e-10

    @pytest.mark.parametrize("wavelet", ["haar", "db4", "bior4.4"])
    @pytest.mark.parametrize("shape", [(32, 40), (18, 19, 20)])
    def test_noise_gains(self, wavelet, shape):
        """The gain is the norm of the column: each band of white noise, borders included, has that deviation."""
        samples = noise(2000 if len(shape) == 2 else 400, 1, *shape).double()
        seen = []

        def look(band, gains):
            product = math.prod(torch.from_numpy(g) for g in gains)
            measured = band.square().mean((0, 1))
            expected = product.square().expand(measured.shape)
            seen.append((measured - expected).abs().max() / expected.max().clamp_min(0.5))
            return band

        shrink_stationary(samples, wavelet, 2, look)
        assert len(seen) >= 3
        assert max(seen) < (0.25 if len(shape) == 2 else 0.5)

    def test_levels_by_axis(self):
        assert stationary_levels((512, 3, 1), "haar", 4) == [4, 1, 0]
