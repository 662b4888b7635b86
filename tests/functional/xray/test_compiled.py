"""The compiled loops of radiographs against the torch path, in float64 where rounding matters."""

import math

import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.xray.collimation import Blades, behind_shutter, collimation_change
from monai_medaug.functional.xray.detector import detector_noise
from monai_medaug.functional.xray.display import DisplayScale, flat_black
from monai_medaug.functional.xray.exposure import exposed, exposure_change
from monai_medaug.functional.xray.scatter import scatter_share

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
@pytest.mark.parametrize("inverted", [0.0, 1.0])
@pytest.mark.parametrize("keep_black", [True, False])
def test_exposed(shape, inverted, keep_black):
    """In one pass: equal to the change of the attenuation, added on the display's scale."""
    image = 1000 * attenuation(shape) - 200
    image[:, :, : shape[2] // 2, ::2] = 4000
    columns = [torch.full((shape[0], *[1] * (image.ndim - 1)), v) for v in (0.0, 4000.0, 4.0, inverted)]
    numbers = [torch.full_like(columns[0], v) for v in (0.8, 0.01, 2.0, 0.9)]
    z = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch_only():
        doubles = ([c.double() for c in columns], [n.double() for n in numbers])
        wanted = exposed(image.double(), DisplayScale(*doubles[0], False), z.double(), doubles[1], keep_black)
    found = exposed(image, DisplayScale(*columns, False), z, numbers, keep_black)
    assert (found - wanted).abs().max() < 8e-3  # two millionths of the range


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", [0.0, 90.0, -33.0])
@pytest.mark.parametrize("edge", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("leakage", [1e-6, 0.05, 1.0])
def test_collimation(shape, angle, edge, leakage):
    """Against float64: torch's normal distribution has no exact tails in float32."""
    p = attenuation(shape)
    blades, depth = collimators(shape, angle, edge, leakage), torch.tensor(math.log(1e4))
    with torch_only():
        wanted = collimation_change(p.double(), blades, depth.double())
    found = collimation_change(p, blades, depth)
    assert (found[0] - wanted[0]).abs().max() < 3e-6
    assert found[1].shape == wanted[1].shape
    assert (found[1] - wanted[1]).abs().max() < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angle", [0.0, 90.0, -33.0])
@pytest.mark.parametrize("edge", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("leakage", [1e-6, 0.05, 1.0])
@pytest.mark.parametrize("inverted", [0.0, 1.0])
def test_shutter(shape, angle, edge, leakage, inverted):
    """Against float64, with flat black areas across the edges and between radiographs of a stack."""
    image = 1000 * attenuation(shape) - 200
    image[:, :, : shape[2] // 2, shape[3] // 3 :] = -200
    image[:, :, shape[2] // 2 :, ::2] = 4000
    ends = [torch.full((shape[0], *[1] * (image.ndim - 1)), v) for v in (0.0, 4000.0, 4.0, inverted)]
    blades = collimators(shape, angle, edge, leakage)
    with torch_only():
        wanted = behind_shutter(image.double(), DisplayScale(*(e.double() for e in ends), False), blades)
    found = behind_shutter(image, DisplayScale(*ends, False), blades)
    assert (found - wanted).abs().max() < 4e-3  # a millionth of the range
    turned = behind_shutter(image.mT.contiguous().mT, DisplayScale(*ends, False), blades)  # another memory layout
    assert torch.equal(turned, found)


def collimators(shape, angle, edge, leakage):
    """The same for all samples; no pixel lies on an edge, where rounding decides."""
    one = ([0.11, 0.2, 0.0, 0.3], angle, edge, leakage, [0.7, 1.1])
    return Blades(*([number] * shape[0] for number in one))


@pytest.mark.parametrize("shape", SHAPES)
def test_scatter(shape):
    batch, p = shape[0], attenuation(shape)
    numbers = [torch.full((batch, 1), 4.0), torch.linspace(0.5, 2, batch)[:, None], torch.full((batch, 1), 30.0)]
    given = (p, *numbers, torch.tensor([[1.0, 0.7]]).expand(batch, 2))
    with torch_only():
        wanted = scatter_share(*(t.double() for t in given))
    assert (scatter_share(*given) - wanted).abs().max() < 1e-6 * wanted.max()
