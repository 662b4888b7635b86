"""The compiled loops over magnitudes, and the transforms along the phase axis, against the torch path."""

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.resolution import along_axis
from monai_medaug.functional.mri.coil import EXPONENTS, index_polynomial, magnitude_noise
from monai_medaug.functional.mri.kspace import line_matrix, weighted_parts
from monai_medaug.functional.mri.signal import foreground_mean, least_values, masked_background
from monai_medaug.functional.mri.support import line_supports

SHAPES = [(2, 3, 40, 51), (1, 2, 37, 20, 24), (1, 1, 1, 9), (1, 1, 5, 1, 1)]


def magnitudes(shape, share, scattered, value=0.0):
    """Noise, of which a share has one value, in one block or scattered."""
    g = torch.Generator().manual_seed(0)
    x = 1 + torch.rand(shape, generator=g)
    where = torch.rand(shape, generator=g) < share
    if not scattered:
        where = torch.zeros(shape, dtype=torch.bool)
        where.flatten(2)[..., : int(share * x[0, 0].numel())] = True
    x[where] = value
    return x


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("value", [0.0, -3.0])
@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_masked_background(shape, value, scattered, share):
    x = magnitudes(shape, share, scattered, value)
    x[:, -1:, ..., :1] = 0  # a background of one column, in one channel
    with torch_only():
        wanted = masked_background(x, least_values(x))
    found = masked_background(x, least_values(x))
    assert (found is None) == (wanted is None)
    assert found is None or torch.equal(found, wanted)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("zero", [None, 0.5])
def test_foreground_mean(shape, zero):
    x = magnitudes(shape, 0.3, True)
    start = None if zero is None else torch.full((*shape[:2], *[1] * (x.ndim - 2)), zero)
    with torch_only():
        wanted = foreground_mean(x.double(), None if start is None else start.double())
    found = foreground_mean(x, start)
    assert found.dtype == torch.float32
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-6


def test_foreground_mean_of_nothing():
    assert foreground_mean(torch.zeros(1, 1, 8, 8)).item() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_magnitude_noise(shape):
    g = torch.Generator().manual_seed(0)
    x, n, c = (torch.rand(shape, generator=g) for _ in range(3))
    sigma = torch.rand(*shape[:2], *[1] * (x.ndim - 2), generator=g)
    with torch_only():
        wanted = magnitude_noise(x.double(), sigma.double(), n.double(), c.double())
    kept = x.clone()
    assert (magnitude_noise(x, sigma, n.clone(), c.clone()) - wanted).abs().max() < 1e-6
    assert torch.equal(x, kept)
    turned = magnitude_noise(*(v.mT for v in (x, sigma, n.clone(), c.clone())))  # another memory layout
    assert (turned - wanted.mT).abs().max() < 1e-6


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lines", [1, 2, 7, 16])
@pytest.mark.parametrize("even", [True, False])
def test_weighted_parts(axis, lines, even):
    random = np.random.RandomState(0)
    shape = [4, 5, 6]
    shape[axis] = lines
    weights = random.uniform(size=lines)
    if even:
        centred = np.fft.ifftshift(weights)
        weights = np.fft.fftshift((centred + np.roll(centred[::-1], 1)) / 2)
    x = torch.from_numpy(random.uniform(size=(2, 3, *shape)))
    real, imaginary = line_matrix(weights)
    found, rest = weighted_parts(x, weights, axis)
    assert torch.allclose(found, along_axis(x, real, axis), atol=1e-12)
    assert (rest is None) == (imaginary is None)
    assert rest is None or torch.allclose(rest, along_axis(x, imaginary, axis), atol=1e-12)


@pytest.mark.parametrize("lines", [32, 61, 128])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97, 1.0])
@pytest.mark.parametrize("smooth", [False, True])
def test_line_supports(lines, kept, smooth):
    x = torch.randn(2, 1, lines, 20, 7, generator=torch.Generator().manual_seed(0)).cumsum(2)
    spectrum = torch.fft.rfft(x, dim=2)
    frequency = torch.linspace(0, 1, spectrum.shape[2])[:, None, None]
    spectrum *= torch.exp(-((frequency / kept) ** 2)) if smooth else frequency <= kept
    x = torch.fft.irfft(spectrum, lines, dim=2)
    with torch_only():
        wanted = line_supports(x, 0)
    assert line_supports(x, 0) == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 40), (1, 30, 40)])
def test_index_polynomial(shape):
    random = np.random.default_rng(0)
    affine = np.diag([1.0, 2, 3, 1])
    affine[:3] += 0.1 * random.normal(size=(3, 4))
    coefficients, grid = random.normal(size=len(EXPONENTS)).tolist(), VoxelGrid(shape, affine.tolist())
    with torch_only():
        wanted = index_polynomial(coefficients, grid)
    np.testing.assert_allclose(index_polynomial(coefficients, grid), wanted, atol=1e-12)
