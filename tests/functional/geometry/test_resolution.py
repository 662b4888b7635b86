from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry.resolution import profile_weights, thick_slice_matrices, thick_slices

PROFILES = ["gaussian", "trapezoid"]


def half_width(curve: np.ndarray) -> float:
    """Full width at half maximum by linear interpolation, in samples."""
    above = np.flatnonzero(curve >= curve.max() / 2)
    first, last, half = above[0], above[-1], curve.max() / 2
    left = first - (curve[first] - half) / (curve[first] - curve[first - 1])
    return last + (curve[last] - half) / (curve[last] - curve[last + 1]) - left


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("width", [2.5, 4.0, 7.3])
def test_width_of_the_profile(profile, width):
    """The response of a slice to an impulse that moves past it in steps of a fiftieth of a voxel."""
    shifts = np.arange(-2 * width, 2 * width, 0.02)
    voxels = np.arange(-40, 41)
    response = profile_weights(voxels[None] + shifts[:, None], width, profile)[:, 40]
    assert half_width(response) * 0.02 == pytest.approx(width, rel=0.03)


def test_profiles_have_their_shapes():
    x = np.arange(-300, 301)[None]
    gaussian, trapezoid = (profile_weights(x, 200.0, p)[0] for p in PROFILES)
    np.testing.assert_allclose(gaussian / gaussian.max(), np.exp(-4 * np.log(2) * (x[0] / 200) ** 2), atol=1e-4)
    expected = np.clip((140 - np.abs(x[0])) / 80, 0, 1)
    np.testing.assert_allclose(trapezoid / trapezoid.max(), expected, atol=0.01)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("width", [1.1, 1.5, 3.0, 6.7])
@pytest.mark.parametrize("phase", [-0.5, 0.0, 0.31])
def test_a_ramp_comes_back_in_the_interior(profile, width, phase):
    sampling, back = thick_slice_matrices(64, width, phase, profile)
    ramp = np.arange(64.0)
    margin = int(3 * width) + 1
    np.testing.assert_allclose((back @ sampling @ ramp)[margin:-margin], ramp[margin:-margin], atol=1e-9)
    np.testing.assert_allclose(back @ sampling @ np.ones(64), 1, atol=1e-12)
    assert sampling.shape[0] < 64


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 37, 21), 0), ((2, 1, 21, 37), 1), ((1, 2, 9, 30, 23), 1)])
@pytest.mark.parametrize("widths", [(1.0, 3.3), (1.01, 50.0), (2.0, 4.0)])
def test_compiled_slices_are_those_of_the_matrices(profile, shape, axis, widths):
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    phases = [-0.5, 0.21]
    widths, phases = list(widths[: shape[0]]), phases[: shape[0]]
    with torch_only():
        wanted = thick_slices(image.double(), axis, widths, phases, profile)
    assert (thick_slices(image, axis, widths, phases, profile) - wanted).abs().max() < 3e-6
    turned = image.mT.contiguous().mT  # another memory layout
    assert torch.equal(
        thick_slices(turned, axis, widths, phases, profile), thick_slices(image, axis, widths, phases, profile)
    )
