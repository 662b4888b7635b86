"""Slices continued beyond a border that cuts through the body."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.slices import slice_stacks
from monai_medaug.functional.ct.truncation import continued, continued_lines, margins, touches_border
from monai_medaug.functional.geometry.grid import VoxelGrid


def test_a_crop_of_water_continues_to_a_disc_of_the_body():
    crop = torch.zeros(1, 1, 40, 60)
    body = continued(crop, (2.0, 1.0), 200.0)
    m, n = margins((40, 60), (2.0, 1.0), 200.0)
    assert body.shape[2:] == (40 + 2 * m, 60 + 2 * n)
    assert torch.equal(body[..., m:-m, n:-n], crop)
    water = body[0, 0] / 1000 + 1
    for width in (float(water[m + 20].sum()), 2 * float(water[:, n + 30].sum())):
        assert width == pytest.approx(190, abs=3)  # the last 10 mm fade out
    assert float(water.sum()) * 2 == pytest.approx(math.pi * 95**2, rel=0.03)
    assert float(water.min()) == 0


def test_bone_at_the_border_ends_soon_and_air_stays_air():
    crop = torch.zeros(1, 1, 100, 100)
    crop[..., 40:45, :] = 900.0
    crop[..., 50:] = -1000.0
    body = continued(crop, (1.0, 1.0), 250.0)[0, 0]
    m = (len(body) - 100) // 2
    assert float(body[m + 42, m - 1]) > 700
    assert abs(float(body[m + 42, m - 50])) < 20
    assert float(body[m + 50, -60:].max()) < -990
    assert float(body[m + 50, m - 5]) == 0


def test_padding_beyond_the_field_is_air():
    crop = torch.full((1, 1, 50, 50), -3024.0)
    crop[..., 10:40, 0:40] = 30.0
    assert float(continued(crop, (1.0, 1.0), 100.0).min()) == -1000


@pytest.mark.parametrize("where", [(0, slice(20, 40)), (-1, slice(20, 40)), (slice(20, 40), 0), (slice(20, 40), -1)])
def test_tissue_at_any_side_of_any_slice_touches(where):
    slices = torch.full((3, 1, 60, 50), -1000.0)
    slices[:, :, 10:50, 10:40] = 0.0
    assert not any(touches_border(slices))
    slices[1, 0][where] = -50.0
    assert any(touches_border(slices))


def test_the_scanner_of_a_continued_stack_reconstructs_the_crop_in_its_place():
    """A disc in the middle of the crop comes back, of its value, from the line integrals of the continued slice."""
    side = torch.arange(48) - 23.5
    crop = torch.where(side[:, None] ** 2 + (side - 6) ** 2 < 8**2, 300.0, 0.0)[None, None]
    stack = next(iter(slice_stacks(crop, [VoxelGrid((48, 48))], [150.0])))
    beam = stack.beam
    found = beam.fbp(beam.project(stack.body(slice(None)) + 1000)) - 1000
    assert found.shape == crop.shape
    assert float(found[..., 20:28, 26:34].mean()) == pytest.approx(300, abs=10)
    assert abs(float(found[..., 5:12, 5:12].mean())) < 10


@pytest.mark.parametrize(("shape", "spacing"), [((96, 80), (1.0, 1.0)), ((60, 33), (0.7, 3.0)), ((41, 57), (1.6, 1.2))])
def test_a_continued_slice_is_seen_with_few_pixels_as_with_all(shape, spacing):
    """Organs and a bone at the border, against all pixels: within 4 HU RMS after reconstruction."""
    generator = torch.Generator().manual_seed(0)
    blobs = torch.nn.functional.interpolate(torch.randn(2, 1, 8, 8, generator=generator), shape, mode="bicubic")
    crop = torch.where(blobs > 0.8, 700.0, torch.where(blobs < -0.6, -850.0, 40.0))
    volume = crop[:, 0].movedim(0, -1)[None, None]
    grid = VoxelGrid((*shape, 2), np.diag([*spacing, 1.0, 1.0]).tolist())
    stack = next(iter(slice_stacks(volume, [grid], [250.0])))
    beam, attenuation = stack.beam, (stack.body(slice(None)) + 1000) / 1000
    exact = beam.project(attenuation)
    found = continued_lines(attenuation, beam)
    error = 1000 * beam.fbp(found - exact, "cosine")
    assert float(error.std()) < 4
    assert abs(float(error.mean())) < 0.5
    needed = torch.zeros(beam.views, beam.width, dtype=torch.bool)
    needed[::3, beam.width // 3 :] = True
    some = continued_lines(attenuation, beam, needed)
    assert torch.equal(some[:, :, needed], found[:, :, needed])
    for whole in (ParallelBeam(beam.shape, beam.spacing, 60), replace(beam, views=60, spacing=(2.0, 3.0))):
        assert torch.equal(continued_lines(attenuation, whole), whole.project(attenuation))
