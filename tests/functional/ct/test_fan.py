"""Fan to parallel: the chords of a disc, which have a closed form in both."""

import math

import pytest
import torch

from monai_medaug.functional.ct.fan import FanBeam
from monai_medaug.functional.ct.metal_reduction import metal_trace, sinogram_without_metal
from monai_medaug.functional.ct.projection import ParallelBeam

BEAM = ParallelBeam((100, 100), (2.0, 2.0), views=180)


def chords(theta, s, place, radius):
    """Lengths of the lines x cos(theta) + y sin(theta) = s in a disc."""
    away = s - place[0] * torch.cos(theta) - place[1] * torch.sin(theta)
    return 2 * (radius**2 - away**2).clamp_min(0).sqrt()


def fan_rays(fan, place, radius):
    """Chords along the rays from the source to each element, by their end points."""
    beta = torch.arange(fan.views, dtype=torch.float64)[:, None] * (2 * math.pi / fan.views)
    offset = (torch.arange(fan.detectors, dtype=torch.float64) - (fan.detectors - 1) / 2) * fan.pitch_mm
    source = torch.stack([-fan.source_mm * beta.sin(), fan.source_mm * beta.cos()])
    if fan.curved:
        gamma = offset / fan.detector_mm
        across, along = fan.detector_mm * gamma.sin(), fan.detector_mm * gamma.cos()
    else:
        across, along = offset, torch.full_like(offset, fan.detector_mm)
    toward = torch.stack([beta.sin() * along + beta.cos() * across, -beta.cos() * along + beta.sin() * across])
    toward = toward / toward.norm(dim=0)
    to_centre = torch.tensor(place, dtype=torch.float64)[:, None, None] - source
    away = to_centre[0] * toward[1] - to_centre[1] * toward[0]
    return 2 * (radius**2 - away**2).clamp_min(0).sqrt()[None, None]


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("place", [(0.0, 0.0), (30.0, -45.0)])
def test_a_disc_has_the_chords_of_the_parallel_beam(curved, place):
    fan = FanBeam(550, 950, views=720, detectors=801, pitch_mm=0.7, curved=curved)
    found = fan.to_parallel(fan_rays(fan, place, 25.0), BEAM)[0, 0]
    theta = torch.from_numpy(BEAM.angles)[:, None]
    s = (torch.arange(BEAM.width, dtype=torch.float64) - (BEAM.width - 1) / 2) * BEAM.pitch
    expected = chords(theta, s, place, 25.0)
    assert (found - expected).abs().mean() < 0.02
    assert (found - expected)[expected > 25].abs().max() < 0.1  # the edge is too curved for linear interpolation


def test_metal_is_reduced_in_measured_fan_rays():
    fan = FanBeam(550, 950, views=720, detectors=801, pitch_mm=0.7)
    water, metal = fan_rays(fan, (0.0, 0.0), 80.0) * 0.0192, fan_rays(fan, (20.0, 10.0), 6.0) * 0.3
    rays = fan.to_parallel(water + torch.log1p(metal), BEAM).float()  # hardened
    y, x = torch.meshgrid(*[(torch.arange(100) - 49.5) * 2] * 2, indexing="ij")
    trace = metal_trace(((x - 20) ** 2 + (y - 10) ** 2 < 8**2)[None, None], BEAM)
    fixed = BEAM.fbp(sinogram_without_metal(rays, trace))[0, 0]
    inside = (x**2 + y**2 < 70**2) & ((x - 20) ** 2 + (y - 10) ** 2 > 12**2)
    wrong, right = ((image / 0.0192 - 1)[inside].square().mean().sqrt() for image in (BEAM.fbp(rays)[0, 0], fixed))
    assert right < 0.5 * wrong


def test_bad_geometry_and_shape_are_named():
    with pytest.raises(ValueError, match="source_mm"):
        FanBeam(950, 550, 360, 100, 1.0)
    with pytest.raises(ValueError, match="shape"):
        FanBeam(550, 950, 360, 100, 1.0).to_parallel(torch.zeros(1, 1, 360, 99), BEAM)
