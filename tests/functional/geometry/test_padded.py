"""Padding of a CT stays padding and never mixes with tissue, in the compiled and the torch loops."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry.padded import padding_levels
from monai_medaug.functional.geometry.pull_back import PullBack
from monai_medaug.functional.geometry.warp import warp

SHAPES = [(24, 22), (10, 24, 22), (1, 24, 22)]


def disc(shape: tuple[int, ...], padding: float) -> torch.Tensor:
    """A reconstructed disc of 0 to 100 HU in padding."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape[-2:]], indexing="ij")
    tissue = np.random.default_rng(0).uniform(0, 100, shape)
    return torch.from_numpy(np.where(np.broadcast_to(y**2 + x**2 < 0.8, shape), tissue, padding)).float()[None, None]


def turned(shape: tuple[int, ...]) -> PullBack:
    """By 10° within the plane, about its middle, and two voxels away."""
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
    linear = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    middle = np.array([0, (shape[-2] - 1) / 2, (shape[-1] - 1) / 2])
    shift = middle - linear @ middle + [0.3 * (len(shape) == 3 and shape[0] > 1), 2, -1]
    source = np.concatenate([linear, shift[:, None]], 1)
    zero = torch.zeros(1, 3, 3, dtype=torch.float64)
    return PullBack(torch.eye(3, 4).double()[None], torch.from_numpy(source)[None], zero, torch.zeros(1, 3, 1, 2, 2))


@pytest.mark.parametrize("loops", [contextlib.nullcontext, torch_only], ids=["compiled", "torch"])
@pytest.mark.parametrize("padding_mode", ["border", "zeros", "reflection", -1024.0, -3024.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_warp_holds_no_value_between_padding_and_tissue(loops, padding_mode, shape):
    image = disc(shape, -3024)
    with loops():
        out = warp(image, turned(shape), padding_mode=padding_mode)
        inside = warp(torch.zeros_like(image), turned(shape), padding_mode=1.0) == 0
    padding = out == -3024
    assert 0.05 < padding[inside].float().mean() < 0.5
    assert out[inside & ~padding].min() >= 0
    assert out[inside & ~padding].max() <= 100
    assert (out[inside & ~padding] % 1).std() > 0.1  # tissue is interpolated as ever
    tissue = warp((image > -1000).float(), turned(shape), padding_mode="border") == 1
    plain = warp(image.clamp_min(-1000), turned(shape), padding_mode=padding_mode)
    torch.testing.assert_close(out[tissue & inside], plain[tissue & inside], atol=1e-3, rtol=0)


@pytest.mark.parametrize("loops", [contextlib.nullcontext, torch_only], ids=["compiled", "torch"])
def test_padding_filled_in_from_outside_does_not_mix_either(loops):
    image = torch.rand(1, 1, 20, 20) * 100
    with loops():
        out = warp(image, turned((20, 20)), padding_mode=-2048.0)
    assert set(out[out < 0].tolist()) == {-2048.0}
    with loops():
        air = warp(image, turned((20, 20)), padding_mode=-1000.0)
    assert ((air > -990) & (air < 0)).any()  # air is a measurement and has partial volumes


def test_only_a_coherent_least_value_is_padding():
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 1000, (1, 1, 32, 32))).float()
    mild = disc((24, 22), -1000)
    for image in (noise, mild, noise.clamp_min(-1500)):
        assert torch.isinf(padding_levels(image)).all()
    points = np.random.default_rng(1).uniform(2, 29, (2, 1))
    shift = PullBack(
        torch.eye(3, 4).double()[None],
        torch.tensor([[[0, 0, 0, 0], [0, 0, 0, points[0, 0]], [0, 0, 0, points[1, 0]]]], dtype=torch.float64),
        torch.zeros(1, 3, 3, dtype=torch.float64),
        torch.zeros(1, 3, 1, 2, 2),
    )
    expected = map_coordinates(noise[0, 0].numpy(), points, order=1)[0]
    assert warp(noise, shift)[0, 0, 0, 0].item() == pytest.approx(expected, abs=0.1)
