"""The compiled loops of radiographs against the torch path, in float64 where rounding matters."""

import math

import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.xray.collimation import collimation_change
from monai_medaug.functional.xray.detector import detector_noise
from monai_medaug.functional.xray.display import flat_black
from monai_medaug.functional.xray.exposure import exposure_change

SHAPES = [(2, 1, 45, 67), (1, 2, 30, 41, 3), (1, 1, 1, 5), (1, 1, 4, 1, 2), (1, 1, 2, 6)]


def attenuation(shape, depth=4.0):
    """Random, with black areas and single black pixels."""
    g = torch.Generator().manual_seed(0)
    p = depth * torch.rand(shape, generator=g)
    p[torch.rand(shape, generator=g) < 0.05] = 0
    p[:, :, : -(-shape[2] // 2), : shape[3] // 2] = 0
    if shape[2] < 3:
        p[:, :, :, :3] = 0  # what lies outside counts as black
    return p


@pytest.mark.parametrize("shape", SHAPES)
def test_flat_black(shape):
    p = attenuation(shape)
    with torch_only():
        wanted = flat_black(p)
    assert torch.equal(flat_black(p), wanted)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", [(0.14, 0.2), (1.0, 1.0)])
def test_detector_noise(shape, spacing):
    white = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch_only():
        wanted = detector_noise(white.double(), [spacing] * shape[0], 1.3)
    assert (detector_noise(white, [spacing] * shape[0], 1.3) - wanted).abs().max() < 2e-6


@pytest.mark.parametrize("shape", SHAPES[:2])
@pytest.mark.parametrize("q", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("depth", [0.5, 20.0])
def test_exposure(shape, q, depth):
    p, z = attenuation(shape, depth), torch.randn(shape, generator=torch.Generator().manual_seed(1))
    numbers = [torch.linspace(a, b, shape[0]).reshape(-1, *[1] * (p.ndim - 1)) for a, b in ((0.7, 1.3), (q, q))]
    read, level = torch.full_like(numbers[0], 2.0), torch.full_like(numbers[0], 0.9)
    with torch_only():
        wanted = exposure_change(p.double(), z.double(), *(n.double() for n in (*numbers, read, level)))
    slack = 2e-6 * max(1, wanted.abs().max())
    assert (exposure_change(p, z, *numbers, read, level) - wanted).abs().max() < slack
    turned = exposure_change(p.mT, z.mT, *numbers, read, level)  # another memory layout
    assert (turned - wanted.mT).abs().max() < slack


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", [0.0, 90.0, -33.0])
@pytest.mark.parametrize("edge", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("leakage", [1e-6, 0.05, 1.0])
def test_collimation(shape, angle, edge, leakage):
    """Against float64: torch's normal distribution has no exact tails in float32."""
    p = attenuation(shape)
    blades = [
        torch.tensor([[0.1, 0.2, 0.0, 0.3]]).repeat(shape[0], 1),
        torch.tensor([angle]).repeat(shape[0]),
        torch.tensor([edge]).repeat(shape[0]),
        torch.full((shape[0], *[1] * (p.ndim - 1)), leakage),
        torch.tensor([[0.7, 1.1]]).repeat(shape[0], 1),
        torch.full((shape[0], *[1] * (p.ndim - 1)), math.log(1e4)),
    ]
    with torch_only():
        wanted = collimation_change(p.double(), *(b.double() for b in blades))
    found = collimation_change(p, *blades)
    assert (found[0] - wanted[0]).abs().max() < 3e-6
    assert found[1].shape == wanted[1].shape
    assert (found[1] - wanted[1]).abs().max() < 1e-6
