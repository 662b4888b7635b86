"""The display scale of radiographs, and their channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.core.batch import Batched
from monai_medaug.transforms.xray import Radiograph, RandXRayCollimation, RandXRayExposure, RandXRayScatter

from .shared import radiograph, seeded


@pytest.mark.parametrize("cls", [RandXRayExposure, RandXRayScatter, RandXRayCollimation])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 16), (1, 16, 1, 8), (2, 5, 7, 3), (1, 16, 16, 1)])
def test_thin_images(cls, shape):
    out = seeded(cls, torch.rand(shape))
    assert out.shape == shape
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("make", [RandXRayExposure, RandXRayScatter, RandXRayCollimation])
def test_photons_and_their_logarithm_are_one_image(make):
    """What is done to raw detector data is what is done to the display image made of them."""
    p = RandXRayExposure.example(2) / 1000  # 0..4
    photons = 5000 * torch.exp(-p)
    arguments = {"photons": 1e4} if make is not RandXRayCollimation else {"shutter": False}
    shown = make(prob=1.0, value_range=(0, 4), **arguments).set_random_state(0)(p)
    counted = make(prob=1.0, linear=True, value_range=(0, 5000), **arguments).set_random_state(0)(photons)
    torch.testing.assert_close(-torch.log(counted / 5000), shown, rtol=0, atol=2e-4)
    own = make(prob=1.0, linear=True, **arguments).set_random_state(0)(photons)
    torch.testing.assert_close(own, counted, rtol=0, atol=5.0)
    with pytest.raises(ValueError, match="inverted must be False"):
        make(linear=True, inverted=True)
    with pytest.raises(ValueError, match="linear must be True or False"):
        make(linear=1)


@pytest.mark.parametrize("cls", [RandXRayScatter, RandXRayCollimation])
def test_real_radiographs_stay_finite(cls):
    image = radiograph()
    for seed in range(3):
        out = seeded(cls, image, seed, inverted=True)
        assert np.isfinite(out).all()
        assert not np.array_equal(out, image)


OPERATIONS = (RandXRayExposure, RandXRayScatter, RandXRayCollimation)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("value", [-9000.0, 60000.0])
def test_one_hot_pixel_changes_little_else(operation, value):
    image = Radiograph.example(2).repeat(1, 4, 4)
    hot = image.clone()
    hot[0, 5, 5] = value
    runs = [seeded(operation, x) for x in (image, hot)]
    change = (runs[1] - runs[0]).abs()
    change[0, 5, 5] = 0
    assert float(change.max()) < 20  # of 4000; with the pixel's range it is some hundred


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_radiograph_stored_in_colour_gets_one_noise(operation, dtype):
    grey = (Radiograph.example(2) / 16).to(dtype)
    out = seeded(operation, grey.repeat(3, 1, 1))
    assert torch.equal(out, seeded(operation, grey).repeat(3, 1, 1))
    batch = torch.stack([grey.repeat(3, 1, 1), torch.cat([grey, grey.flip(1), grey])])
    together = Batched(operation(prob=1.0)).set_random_state(0)(batch)
    alone = operation(prob=1.0).set_random_state(0)
    assert all(torch.equal(a, alone(b)) for a, b in zip(together, batch, strict=True))
    assert torch.equal(together[0, 0], together[0, 2])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_opacity_is_refused_and_other_channels_are_said(operation, monkeypatch):
    grey = Radiograph.example(2)
    with pytest.raises(ValueError, match="last is constant"):
        seeded(operation, torch.cat([grey, grey, grey, torch.full_like(grey, 255.0)]))
    monkeypatch.setattr("monai_medaug.core.tensors._said", set())
    with pytest.warns(UserWarning, match="different channels"):
        seeded(operation, torch.cat([grey, grey.flip(1)]))
