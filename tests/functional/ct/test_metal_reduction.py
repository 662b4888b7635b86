"""LI and NMAR: closed forms along the detector, the trace of each view, and phantoms with known truth."""

import math

import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.ct.metal import metal_artefact
from monai_medaug.functional.ct.metal_reduction import (
    interpolated,
    is_padding,
    metal_trace,
    sinogram_without_metal,
    without_metal,
)
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.spectrum import METALS

N, MM = 128, 1.6
Y, X = torch.meshgrid(*[(torch.arange(N) - (N - 1) / 2) * MM] * 2, indexing="ij")
BEAM = ParallelBeam((N, N), (MM, MM), views=240, detector_spacing=1.1)


def ellipse(x, y, a, b) -> torch.Tensor:
    return ((X - x) / a) ** 2 + ((Y - y) / b) ** 2 < 1


def body() -> torch.Tensor:
    """Fat round muscle, two bones and lung."""
    hu = torch.full((N, N), -1000.0)
    hu[ellipse(0, 0, 92, 70)], hu[ellipse(0, 0, 82, 60)] = -100.0, 45.0
    hu[ellipse(0, 40, 14, 10)], hu[ellipse(-62, 0, 8, 12)] = 700.0, 900.0
    hu[ellipse(10, -25, 22, 14)] = -850.0
    return hu


def streaky(name: str, places, radius=6.0, photons=1e6):
    """The body with discs of metal as a scanner sees it, and the mask of the metal."""
    metal = torch.zeros(N, N)
    for x, y in places:
        metal[ellipse(x, y, radius, radius)] = 1.0
    white = torch.randn(1, 1, BEAM.views, BEAM.width, generator=torch.Generator().manual_seed(0))
    figures = (torch.full((1, 1, 1, 1), v) for v in (photons, 2e-5))
    image = metal_artefact(body()[None, None], metal[None, None], white, [METALS[name]], *figures, BEAM, "cosine")
    return image, (metal > 0)[None, None]


def error(image: torch.Tensor, metal: torch.Tensor) -> float:
    """RMSE in the body outside the metal."""
    inside = ellipse(0, 0, 92, 70) & ~metal[0, 0]
    return float((image[0, 0] - body())[inside].square().mean().sqrt())


# ---- along the detector ------------------------------------------------------------------------------------------


def test_interpolation_is_linear_in_each_gap_and_towards_air_beyond_the_ends():
    line = torch.arange(3.0, 15.0, dtype=torch.float64).repeat(2, 1)
    missing = torch.zeros_like(line, dtype=torch.bool)
    missing[0, 3:6] = missing[0, 8] = missing[1, 9:] = True
    broken = torch.where(missing, torch.tensor(math.nan, dtype=torch.float64), line)
    out = interpolated(broken, missing)
    assert torch.equal(out[0], line[0])
    assert torch.allclose(out[1, 9:], 11 * torch.tensor([0.75, 0.5, 0.25], dtype=torch.float64))


def test_views_do_not_mix():
    sinogram = torch.arange(4.0)[:, None].expand(4, 9).clone()
    missing = torch.zeros_like(sinogram, dtype=torch.bool)
    missing[:, 3:6] = True
    assert torch.equal(interpolated(torch.where(missing, 99.0, sinogram), missing), sinogram)


def test_an_exact_prior_gives_the_exact_rays():
    rays = BEAM.project(body()[None, None] + 1000)
    trace = torch.zeros_like(rays, dtype=torch.bool)
    trace[..., 60:90] = True
    spoiled = torch.where(trace, torch.tensor(7.0), rays)
    assert (sinogram_without_metal(spoiled, trace, rays) - rays).abs().max() < 1e-4 * rays.max()
    assert (sinogram_without_metal(spoiled, trace) - rays).abs().max() > 0.02 * rays.max()


@pytest.mark.parametrize("place", [(0.0, 0.0), (40.0, -30.0)])
def test_the_trace_follows_the_metal_from_view_to_view(place):
    radius = 8.0
    trace = metal_trace(ellipse(*place, radius, radius)[None, None], BEAM)[0, 0]
    angles = torch.from_numpy(BEAM.angles)
    centre = place[0] * angles.cos() + place[1] * angles.sin()
    position = (torch.arange(BEAM.width, dtype=torch.float64) - (BEAM.width - 1) / 2) * BEAM.pitch
    found = (trace * position).sum(1) / trace.sum(1)
    assert (found - centre).abs().max() < BEAM.pitch
    wide = trace.sum(1) * BEAM.pitch
    assert (wide > 2 * radius).all()
    assert (wide < 2 * radius + 2 * MM + 3 * BEAM.pitch).all()


# ---- slices ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["steel", "cocr", "titanium"])
def test_nmar_beats_li_and_li_beats_nothing(name):
    image, metal = streaky(name, [(-45, 15), (50, 10)])
    li, nmar = (without_metal(image, metal, BEAM, method).slices for method in ("li", "nmar"))
    assert error(nmar, metal) < 0.78 * error(li, metal)
    assert error(nmar, metal) < 0.5 * error(image, metal)
    assert torch.equal(nmar[metal], image[metal])


def test_mild_metal_is_not_made_worse():
    # a marker so thin that its streaks are fainter than what interpolation costs
    image, metal = streaky("titanium", [(20, 40)], radius=1.7, photons=1e8)
    li, nmar = (without_metal(image, metal, BEAM, method).slices for method in ("li", "nmar"))
    beyond = ellipse(20, 40, 8, 8)[None, None]
    assert error(nmar, metal) < error(image, metal)
    assert error(nmar, beyond) < 9
    assert error(li, metal) < error(image, metal)
    assert error(li, beyond) < 9  # interpolation alone costs 18 HU


def test_a_mask_where_nothing_is_wrong_changes_little():
    image = body()[None, None] + 10 * torch.randn(1, 1, N, N, generator=torch.Generator().manual_seed(1))
    metal = ellipse(0, 38, 4, 4)[None, None]
    result = without_metal(image, metal, BEAM)
    whole = (result.slices - image)[:, :, ellipse(0, 0, 82, 60) & ~ellipse(0, 38, 12, 12)]
    assert float(whole.square().mean().sqrt()) < 8  # below the noise
    assert 0 < float(result.weight) < 1


def test_linear_interpolation_of_a_strong_artefact_is_not_held_back():
    image, metal = streaky("steel", [(-45, 15), (50, 10)])
    assert float(without_metal(image, metal, BEAM, "li").weight) == 1.0


def test_far_from_the_trace_nothing_changes_and_neither_does_padding():
    image, metal = streaky("steel", [(-45, 15)])
    padded = torch.where(ellipse(0, 0, 100, 100), image[0, 0], torch.tensor(-3024.0))[None, None]
    result = without_metal(padded, metal, BEAM)
    outside = is_padding(padded)
    assert torch.equal(outside[0, 0], ~ellipse(0, 0, 100, 100))
    assert torch.equal(result.slices[outside], padded[outside])
    assert error(result.slices, metal) == pytest.approx(error(without_metal(image, metal, BEAM).slices, metal), rel=0.1)
    assert 0.05 < float(result.rays) < 0.25


def test_dark_streaks_are_no_padding():
    image = torch.full((1, 1, 32, 32), 40.0)
    image[..., 10:12, 5:25] = -3000.0
    assert not is_padding(image).any()


def test_slices_are_independent_and_paths_agree():
    image, metal = streaky("steel", [(-45, 15)])
    other, none = streaky("titanium", [(30, 0)])
    both = without_metal(torch.cat([image, other]), torch.cat([metal, none]), BEAM).slices
    single = without_metal(image, metal, BEAM).slices
    assert (both[:1] - single).abs().max() < 0.05
    with torch_only():
        assert (without_metal(image, metal, BEAM).slices - single).abs().max() < 0.5
    double = without_metal(image.double(), metal, BEAM).slices
    assert double.dtype == torch.float64
    assert (double - single).abs().max() < 0.5


def test_frequency_split_keeps_more_detail_near_the_metal():
    image, metal = streaky("titanium", [(-45, 15)])
    plain, split = (without_metal(image, metal, BEAM, split=s).slices for s in (False, True))
    near = ellipse(-45, 15, 14, 14) & ~ellipse(-45, 15, 9, 9)
    assert float((split - plain)[0, 0][near].abs().mean()) > 10 * float((split - plain)[0, 0, :20].abs().mean())
