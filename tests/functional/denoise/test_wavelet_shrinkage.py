from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import pywt
import torch

from monai_medaug.functional.denoise.wavelet_shrinkage import (
    SHRINKAGE_METHODS,
    bayes_threshold,
    hard_threshold,
    soft_threshold,
    wavelet_shrinkage,
)
from monai_medaug.functional.denoise.wavelets import decimated_transform, inverse_decimated_transform

SHAPES = ((32, 48), (33, 57), (257, 31), (12, 16, 20), (9, 13, 17), (24, 30, 1), (5, 7))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def psnr(out: torch.Tensor, clean: torch.Tensor) -> float:
    return -10 * math.log10((out - clean).double().square().mean().item())


def universal_by_pywavelets(image: np.ndarray, sigma: float, wavelet: str, levels: int) -> np.ndarray:
    axes = [a for a, n in enumerate(image.shape) if n > 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more levels than the size calls for
        low, *details = pywt.wavedecn(image, wavelet, "symmetric", levels, axes)
    level = sigma * np.sqrt(2 * np.log(image.size))
    details = [{k: pywt.threshold(v, level, "soft") for k, v in bands.items()} for bands in details]
    back = pywt.waverecn([low, *details], wavelet, "symmetric", axes)
    return back[tuple(slice(n) for n in image.shape)]


class TestPeers:
    @pytest.mark.parametrize("wavelet", ["haar", "db4", "sym8"])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_universal_equal_to_pywavelets(self, wavelet, shape):
        image = noise(*shape) + torch.linspace(0, 5, shape[-1])
        ours = wavelet_shrinkage(image[None, None], torch.tensor([0.3]), "universal", wavelet)[0, 0]
        assert np.abs(ours.numpy() - universal_by_pywavelets(image.numpy(), 0.3, wavelet, 3)).max() < 1e-5

    def test_bayes_thresholds_close_to_scikit_image(self):
        from skimage.restoration import denoise_wavelet

        clean = torch.zeros(128, 128)
        clean[40:90, 30:70] = 1
        noisy = clean + 0.1 * noise(128, 128)
        low, details = decimated_transform(noisy[None, None], "db4", 3)
        details = [{k: soft_threshold(b, bayes_threshold(b, torch.tensor(0.1))) for k, b in d.items()} for d in details]
        ours = inverse_decimated_transform(low, details, [2, 3], "db4")[0, 0, :128, :128]
        theirs = denoise_wavelet(noisy.numpy(), sigma=0.1, wavelet="db4", wavelet_levels=3, method="BayesShrink")
        assert np.abs(ours.numpy() - theirs).max() < 1e-4


class TestShrinkage:
    @pytest.mark.parametrize("method", SHRINKAGE_METHODS)
    @pytest.mark.parametrize("shape", [(64, 64), (257, 131), (20, 21, 22), (32, 32, 1), (1, 1), (2, 3)])
    @pytest.mark.parametrize("wavelet", [None, "db4", "bior2.2"])
    def test_constants_stay(self, method, shape, wavelet):
        image = torch.full((1, 1, *shape), -1000.0)
        out = wavelet_shrinkage(image, torch.tensor([20.0]), method, wavelet)
        assert out.shape == image.shape
        assert (out - image).abs().max() < 1e-3

    @pytest.mark.parametrize("method", SHRINKAGE_METHODS)
    def test_without_noise_nothing_changes(self, method):
        image = noise(2, 1, 30, 31)
        out = wavelet_shrinkage(image, torch.tensor([0.0, 0.5]), method)
        assert torch.equal(out[0], image[0])
        assert not torch.equal(out[1], image[1])

    @pytest.mark.parametrize("method", SHRINKAGE_METHODS)
    def test_a_batch_is_its_samples(self, method):
        image, sigma = noise(3, 2, 40, 33), torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
        out = wavelet_shrinkage(image, sigma, method)
        for b, c in itertools.product(range(3), range(2)):
            alone = wavelet_shrinkage(image[b : b + 1, c : c + 1], sigma[b : b + 1, c], method)
            assert (out[b, c] - alone[0, 0]).abs().max() < 1e-6

    @pytest.mark.parametrize("method", SHRINKAGE_METHODS)
    def test_scale_and_offset_carry_through(self, method):
        image = noise(1, 1, 48, 48).double()
        plain = wavelet_shrinkage(image, torch.tensor([0.7]), method)
        moved = wavelet_shrinkage(100 * image - 1000, torch.tensor([70.0]), method)
        assert (moved - (100 * plain - 1000)).abs().max() < 1e-3

    @pytest.mark.parametrize(
        ("dtype", "wanted"), [(torch.float16, torch.float16), (torch.int16, torch.float32), (torch.float64,) * 2]
    )
    def test_dtypes(self, dtype, wanted):
        image = (100 * noise(1, 1, 32, 32)).to(dtype)
        before = image.clone()
        assert wavelet_shrinkage(image, torch.tensor([10.0])).dtype == wanted
        assert torch.equal(image, before)

    @pytest.mark.parametrize("shape", [(256, 256), (48, 48, 48)])
    def test_residual_of_a_flat_phantom_is_white(self, shape):
        clean = torch.zeros(1, 1, *shape)
        clean[(..., *(slice(n // 4, 3 * n // 4) for n in shape))] = 100
        noisy = clean + 5 * noise(*clean.shape)
        rest = noisy - wavelet_shrinkage(noisy, torch.tensor([5.0]))
        rest = rest - rest.mean()
        for axis in range(2, rest.ndim):
            n = rest.shape[axis]
            lag = (rest.narrow(axis, 0, n - 1) * rest.narrow(axis, 1, n - 1)).mean() / rest.square().mean()
            assert abs(lag.item()) < 0.05

    def test_borders_are_as_quiet_as_the_middle(self):
        out = wavelet_shrinkage(noise(40, 1, 64, 64), torch.ones(40))
        edge = torch.cat([out[..., 0, :], out[..., -1, :], out[..., 0], out[..., -1]], -1)
        assert edge.std() < 2 * out[..., 16:48, 16:48].std()

    def test_thin_volumes(self):
        """Twelve slices, and one: no worse than slice by slice."""
        clean = torch.zeros(1, 1, 64, 64, 12)
        clean[..., 20:50, 10:40, :] = 1
        noisy, sigma = clean + 0.1 * noise(*clean.shape), torch.tensor([0.1])
        whole = wavelet_shrinkage(noisy, sigma)
        one = torch.cat([wavelet_shrinkage(noisy[..., k : k + 1], sigma) for k in range(12)], -1)
        flat = torch.stack([wavelet_shrinkage(noisy[..., k], sigma) for k in range(12)], -1)
        assert torch.equal(one, flat)
        assert psnr(whole, clean) > psnr(flat, clean) + 1

    def test_quality_on_a_real_image(self):
        """The order of the methods on nilearn's T1, and by how much at least."""
        from nilearn.datasets import load_mni152_template

        image = load_mni152_template(resolution=1).get_fdata()[:, :, 90]
        clean = torch.from_numpy(image / image.max()).float()[None, None]
        noisy, sigma = clean + 0.1 * noise(*clean.shape), torch.tensor([0.1])
        best, bayes, universal = (psnr(wavelet_shrinkage(noisy, sigma, m), clean) for m in SHRINKAGE_METHODS)
        assert best > bayes + 0.8
        assert bayes > universal + 3
        assert best > 30

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"method": "sure"}, "method must be one of translation_invariant"),
            ({"wavelet": "mexh"}, "wavelet must be a discrete wavelet such as"),
            ({"levels": 0}, "levels must be at least 1, got 0"),
            ({"sigma": torch.tensor([-1.0])}, "sigma must be at least 0"),
            ({"sigma": torch.tensor([math.nan])}, "sigma must be at least 0"),
            ({"sigma": torch.ones(3)}, "sigma must be .B,. or .B, C."),
        ],
    )
    def test_errors_name_the_argument(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            wavelet_shrinkage(**{"image": noise(1, 1, 16, 16), "sigma": torch.ones(1), **arguments})

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
    @pytest.mark.parametrize("method", SHRINKAGE_METHODS)
    @pytest.mark.parametrize("shape", [(65, 70), (20, 33, 24)])
    def test_cuda_equals_cpu(self, method, shape):
        image, sigma = noise(2, 1, *shape), torch.tensor([0.1, 0.2])
        there = wavelet_shrinkage(image.cuda(), sigma.cuda(), method).cpu()
        assert (there - wavelet_shrinkage(image, sigma, method)).abs().quantile(0.999) < 1e-5


def test_thresholds_by_pywavelets():
    values = torch.linspace(-3, 3, 41)
    assert np.allclose(soft_threshold(values, 1.01), pywt.threshold(values.numpy(), 1.01, "soft"))
    assert np.allclose(hard_threshold(values, 1.01), pywt.threshold(values.numpy(), 1.01, "hard"))
