"""The collimated field of radiographs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms.xray import Radiograph, RandXRayCollimation, RandXRayScatter

from .shared import DEPTH, discs, scale, seeded


def collimated(data: Any, seed: int = 0, **arguments: Any) -> Any:
    settings = {"share": 0.1, "rotate_degrees": 0.0, "edge_mm": 2.0, "leakage": 0.05, "shutter": False}
    return seeded(RandXRayCollimation, data, seed, **{**settings, **scale(data), **arguments})


def test_edges_lie_where_they_should():
    """Open inside to 1e-3, leakage outside, half way at the edge, the width of the penumbra in mm."""
    image = torch.zeros(1, 200, 100)
    image[0, 100, 50] = DEPTH
    affine = torch.diag(torch.tensor([0.5, 1.0, 1, 1], dtype=torch.float64))
    field = torch.exp(-collimated(MetaTensor(image, affine=affine)).as_tensor())[0]
    assert float(field[30:90, 15:45].min()) > 0.999
    for outside in (field[:10], field[-10:], field[:, :5], field[:, -5:]):
        torch.testing.assert_close(outside.amax(), torch.tensor(0.05), atol=2e-3, rtol=0)
    line = (field[10:30, 30] - 0.05) / 0.95  # the edge lies at 20 pixels, between the centres of 19 and 20
    assert float(line[9] + line[10]) == pytest.approx(1, abs=1e-4)
    sigma = 2.0 / 2.3548
    assert float(line[10]) == pytest.approx(0.5 * (1 + math.erf(0.25 / sigma / math.sqrt(2))), abs=1e-3)


def test_blades_turn_and_end_at_the_scale():
    image = discs(1.0)
    straight, turned = collimated(image), collimated(image, rotate_degrees=(10, 10))
    assert float((straight[0, 25] - straight[0, 25].median()).abs()[30:130].max()) < 0.2
    edges = [(turned[0, :80, c] - image[0, :80, c] > 1).sum().item() for c in (30, 80, 130)]
    assert abs(edges[0] - edges[2]) == pytest.approx(100 * math.tan(math.radians(10)), abs=2.5)
    assert float(collimated(image, leakage=1e-4).max()) == DEPTH


@pytest.mark.parametrize("inverted", [False, True])
def test_no_blades_and_constants(inverted):
    image = discs(1.0)
    assert torch.equal(collimated(image, leakage=1.0, inverted=inverted), image)
    constant = np.full((1, 9, 8, 3), 7, np.float32)
    np.testing.assert_array_equal(collimated(constant, inverted=inverted), constant)


@pytest.mark.parametrize(
    ("cls", "arguments", "name"),
    [
        (RandXRayScatter, {"scatter_to_primary": -1}, "scatter_to_primary"),
        (RandXRayScatter, {"fwhm_mm": 0}, "fwhm_mm"),
        (RandXRayCollimation, {"share": 0.5}, "share"),
        (RandXRayCollimation, {"edge_mm": -1}, "edge_mm"),
        (RandXRayCollimation, {"leakage": 0}, "leakage"),
    ],
)
def test_other_bad_arguments_are_named(cls, arguments, name):
    with pytest.raises(ValueError, match=name):
        cls(**arguments)


@pytest.mark.parametrize("inverted", [False, True])
def test_a_shutter_is_black_as_archives_hold_it(inverted):
    image = Radiograph.example(2).repeat(1, 4, 4) + 50
    image = 4000 - image if inverted else image
    out = collimated(image, shutter=True, inverted=inverted, value_range=(0, 4000), edge_mm=0.0)
    assert bool((out[:, :9] == (4000 if inverted else 0)).all())
    assert torch.equal(out[:, 12:80, 12:70], image[:, 12:80, 12:70])


def test_raw_data_show_the_blades():
    counts = 5000 * torch.exp(-(Radiograph.example(2).repeat(1, 4, 4) + 50) / 1000)
    out = collimated(counts, shutter=True, linear=True)
    assert float(out[:, :9].mean()) < 0.1 * float(counts[:, :9].mean())


def test_a_blade_of_no_share_is_out_of_sight():
    image = discs(1.0) + 0.1
    assert torch.equal(collimated(image, share=0.0, rotate_degrees=(3, 3), shutter=True), image)
    eased = RandXRayCollimation(prob=1.0).set_random_state(0)
    eased.strength = 0.0
    assert torch.equal(eased(image), image)


def test_no_rim_on_a_shutter_that_is_there():
    image = Radiograph.example(2).repeat(1, 4, 4) + 50
    image[:, :30] = 0
    out = collimated(image, shutter=True, value_range=(0, 4000), edge_mm=3.0)
    assert not out[:, :29].any()


@pytest.mark.parametrize("angle", [0.0, 6.0])
def test_blades_stay_off_the_organ(angle):
    """10 mm and the penumbra, on each side; where there is room they close as far as drawn."""
    organ = torch.zeros(1, 200, 160)
    organ[0, 30:100, 12:150] = 1
    affine = torch.diag(torch.tensor([2.0, 2.0, 1, 1], dtype=torch.float64))
    image = MetaTensor(torch.full((1, 200, 160), 2.0), affine=affine)
    settings = {"share": 0.3, "rotate_degrees": (angle, angle), "shutter": True, **scale(image), "value_range": (0, 4)}
    closing = RandXRayCollimation(**settings, edge_mm=1.0, prob=1.0).set_random_state(0)
    out = closing(image, organ=organ)
    near = torch.nn.functional.max_pool2d(organ[None], 9, 1, 4)[0] > 0  # 8 mm round it
    assert torch.equal(out[near], image[near])
    assert not bool(out[0, 155:].any())
    assert float((out[0, :30] == 0).float().mean()) > 0.3
    blades = out.applied_operations[-1]["extra_info"]["figures"]["blades"]
    assert blades[1] == pytest.approx(0.3)
    assert blades[0] < 0.15
    assert torch.equal(closing.set_random_state(0)(image, organ=organ * 0), closing.set_random_state(0)(image))


def test_background_of_one_hot_masks_is_no_organ_and_other_grids_are_left_out():
    image, organ = discs(1.0), torch.zeros_like(discs(1.0))
    organ[:, 60:80, 60:80] = 1
    close = RandXRayCollimation(share=0.4, rotate_degrees=0, prob=1.0, shutter=True)
    one = close.set_random_state(0)(image, organ=organ)
    assert torch.equal(close.set_random_state(0)(image, organ=torch.cat([1 - organ, organ])), one)
    free = close.set_random_state(0)(image)
    assert not torch.equal(one, free)
    assert torch.equal(close.set_random_state(0)(image, organ=organ[:, ::2, ::2]), free)
