from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_medaug.functional.denoise.wavelets import (
    decimated_transform,
    equivalent_filter,
    extension_index,
    inverse_decimated_transform,
    noise_gain_profile,
    wavelet_filters,
    wavelet_noise_gain,
    wide_axes,
)
from monai_medaug.functional.noise.correlation import correlation_matrix

WAVELETS = ("haar", "db2", "db4", "sym8", "coif2", "bior2.2", "bior4.4", "rbio3.3")
SHAPES = ((32, 48), (33, 57), (257, 31), (12, 16, 20), (9, 13, 17), (24, 30, 1), (5, 7))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestDecimated:
    @pytest.mark.parametrize("wavelet", WAVELETS)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_equal_to_pywavelets(self, wavelet, shape):
        image = noise(*shape).double()
        axes = [a for a, n in enumerate(shape) if n > 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            low, *details = pywt.wavedecn(image.numpy(), wavelet, "symmetric", 3, axes)
        ours, bands = decimated_transform(image[None, None], wavelet, 3)
        assert np.allclose(ours[0, 0], low, atol=1e-10)
        for mine, theirs in zip(bands, details, strict=True):
            assert mine.keys() == theirs.keys()
            assert all(np.allclose(mine[k][0, 0], theirs[k], atol=1e-10) for k in theirs)

    def test_haar_by_hand(self):
        image = torch.tensor([[1.0, 2.0], [3.0, 6.0]])[None, None]
        low, (bands,) = decimated_transform(image, "haar", 1)
        found = {k: round(v.item(), 5) for k, v in bands.items()}
        assert low.item() == pytest.approx(6)
        # down minus up, right minus left, and their product, with PyWavelets' sign: first minus second
        assert found == {"da": -3.0, "ad": -2.0, "dd": 1.0}


@settings(max_examples=60, deadline=None)
@given(
    wavelet=st.sampled_from(WAVELETS),
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    levels=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_decimated_perfect_reconstruction(wavelet, shape, levels, seed):
    image = noise(2, 1, *shape, seed=seed).clamp(-1, 1)
    back = inverse_decimated_transform(*decimated_transform(image, wavelet, levels), wide_axes(image), wavelet)
    assert (back[(..., *map(slice, shape))] - image).abs().max() < 1e-5


class TestNoiseGains:
    def test_gain_profiles_by_impulses(self):
        for wavelet, level, high in itertools.product(("haar", "db4", "bior2.2"), (0, 1, 2), (False, True)):
            size, after = 11, 5
            columns = np.eye(size)[extension_index(size, 200, after)]
            for j in range(level + 1):
                filters = wavelet_filters(wavelet)
                taps = filters.dec_hi if high and j == level else filters.dec_lo
                reach = 2**j * (len(taps) - 1)
                parts = [t * columns[reach - 2**j * m : len(columns) - 2**j * m] for m, t in enumerate(taps)]
                columns = np.sum(parts, 0)
            wanted = np.linalg.norm(columns[-(size + after) :], axis=1)
            assert np.allclose(noise_gain_profile(wavelet, level, high, size, after), wanted)

    @pytest.mark.parametrize(("wavelet", "level", "high"), [("haar", 1, True), ("db4", 0, True), ("db4", 1, False)])
    def test_gain_profiles_of_correlated_noise_by_samples(self, wavelet, level, high):
        size, after, correlation = 16, 5, (1.0, 0.4, -0.1)
        draws = (
            np.random.default_rng(0).normal(size=(40000, size))
            @ np.linalg.cholesky(correlation_matrix(correlation, size)).T
        )
        taps = equivalent_filter(wavelet, level, high)
        wide = draws[:, extension_index(size, len(taps) - 1, after)]
        found = np.stack([np.convolve(row, taps, "valid") for row in wide]).std(0)
        profile = noise_gain_profile(wavelet, level, high, size, after, correlation)
        np.testing.assert_allclose(profile, found, rtol=0.02, atol=0.01)
        middle = wavelet_noise_gain(wavelet, level, high, correlation)
        assert middle == pytest.approx(found[size // 2], rel=0.02)

    @pytest.mark.parametrize("wavelet", ["haar", "db4", "sym5", "coif1"])
    def test_orthogonal_wavelets_have_gain_1(self, wavelet):
        gains = [wavelet_noise_gain(wavelet, j, high) for j in range(4) for high in (False, True)]
        assert np.allclose(gains, 1, atol=1e-6)
