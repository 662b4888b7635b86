"""σ of several coils whose sum of squares was zero-filled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.noise.level_coils import coils_background_sigma, holds_less_in_details
from monai_medaug.functional.noise.level_rician import foreground_sigma, rician_sigma
from monai_medaug.transforms.denoise.wavelet import WaveletDenoise


def head(shape: tuple[int, ...]) -> torch.Tensor:
    """An ellipse with structures, half of the field of view."""
    at = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = sum((a / 0.65) ** 2 for a in at) < 1
    return inside * (200 + 60 * torch.sin(9 * at[0]) * torch.cos(7 * at[1]))


def sum_of_squares(image: torch.Tensor, coils: int, sigma: float, fill: int = 1) -> torch.Tensor:
    """Coils of different sensitivity, each with complex noise of σ in a voxel, zero-filled ``fill`` times."""
    generator, total = torch.Generator().manual_seed(coils), 0
    axis = torch.linspace(0, 3, image.shape[0]).reshape(-1, *[1] * (image.ndim - 1))
    for k in range(coils):
        noise = sigma * torch.randn(2, *image.shape, generator=generator)
        seen = torch.complex(image * (1 + 0.3 * torch.cos(k + axis)) / coils**0.5 + noise[0], noise[1])
        spectrum = torch.fft.fftshift(torch.fft.fftn(seen))
        edges = [n * (fill - 1) // 2 for n in reversed(image.shape) for _ in range(2)]
        wide = torch.nn.functional.pad(spectrum, edges)
        total = total + (torch.fft.ifftn(torch.fft.ifftshift(wide)) * fill**image.ndim).abs().square()
    return total.sqrt()[None, None]


@pytest.mark.parametrize("shape", [(96, 120), (48, 56, 40)])
@pytest.mark.parametrize("coils", [4, 8, 32])
def test_zero_filled_coils_are_measured_in_their_background(shape, coils):
    image = sum_of_squares(head(shape), coils, 6.0, fill=2)
    assert holds_less_in_details(image)
    assert float(rician_sigma(image)) == pytest.approx(6, rel=0.15)
    assert float(foreground_sigma(image)) < 3  # so it was


def test_without_zero_filling_the_foreground_serves():
    image = sum_of_squares(head((128, 128)), 8, 6.0)
    assert not holds_less_in_details(image)
    assert torch.equal(rician_sigma(image)[0, 0], foreground_sigma(image))


@pytest.mark.parametrize("coils", [2, 5, 16, 40])
def test_moments_of_pure_noise(coils):
    parts = torch.randn(2 * coils, 1, 1, 160, 160, generator=torch.Generator().manual_seed(0))
    assert float(coils_background_sigma((3 * parts).square().sum(0).sqrt())) == pytest.approx(3, rel=0.05)


def test_tissue_and_masked_backgrounds_are_refused():
    image = sum_of_squares(head((96, 120)), 8, 6.0, fill=2)
    mask = torch.nn.functional.interpolate((head((96, 120)) > 0).float()[None, None], image.shape[2:]) > 0
    assert coils_background_sigma(image * mask) is None
    assert coils_background_sigma(torch.zeros(1, 1, 64, 64)) is None
    assert coils_background_sigma(image[..., 80:112, 90:150]) is None


def test_a_masked_zero_filled_image_is_said_to_be_doubtful():
    image = sum_of_squares(head((96, 120)), 8, 6.0, fill=2)
    mask = torch.nn.functional.interpolate((head((96, 120)) > 0).float()[None, None], image.shape[2:]) > 0
    denoise = WaveletDenoise(noise="rician", method="bayes")
    with pytest.warns(UserWarning, match="doubtful"):
        denoise((image * mask)[0])
    with np.testing.suppress_warnings() as said:
        found = said.record(UserWarning)
        denoise(image[0])
    assert not [w for w in found if "doubtful" in str(w.message)]
