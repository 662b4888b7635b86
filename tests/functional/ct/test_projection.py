"""The parallel-beam projector against closed forms, its adjoint, and scikit-image's reconstruction."""

import math

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.ct.projection import (
    FILTERS,
    ParallelBeam,
    attenuation_to_hu,
    filter_views,
    hu_to_attenuation,
)


def ellipse(shape, spacing, centre, radii, samples=6):
    """Share of each pixel inside an ellipse (mm, y and x from the slice's centre), by supersampling."""
    axes = []
    for n, s in zip(shape, spacing, strict=True):
        fine = (np.arange(n * samples) + 0.5) / samples - 0.5
        axes.append((fine - (n - 1) / 2) * s)
    y, x = np.meshgrid(*axes, indexing="ij")
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    return torch.from_numpy(inside.reshape(shape[0], samples, shape[1], samples).mean((1, 3)).astype(np.float32))


def ellipse_integrals(beam, centre, radii):
    s = (np.arange(beam.width) - (beam.width - 1) / 2) * beam.pitch
    lines = []
    for angle in beam.angles:
        half = (radii[1] * math.cos(angle)) ** 2 + (radii[0] * math.sin(angle)) ** 2
        offset = s - centre[1] * math.cos(angle) - centre[0] * math.sin(angle)
        lines.append(2 * radii[0] * radii[1] * np.sqrt(np.maximum(half - offset**2, 0)) / half)
    return np.stack(lines)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.7), (0.5, 2.0)])
@pytest.mark.parametrize("radii", [(30.0, 30.0), (18.0, 33.0)])
def test_ellipses_against_the_closed_form(spacing, radii):
    shape = tuple(int(90 / s) for s in spacing)
    beam = ParallelBeam(shape, spacing, views=60)
    centre = (5.0, -3.0)
    found = beam.project(ellipse(shape, spacing, centre, radii)[None, None])[0, 0].numpy()
    expected = ellipse_integrals(beam, centre, radii)
    assert np.abs(found - expected).mean() < 0.004 * expected.max() * max(spacing)
    np.testing.assert_allclose(found.sum(1) * beam.pitch, math.pi * radii[0] * radii[1], rtol=5e-3)


@pytest.mark.parametrize("slices", [1, 2, 3, 35])
@pytest.mark.parametrize("shape", [(64, 64), (33, 50), (1, 20)])
def test_the_adjoint_is_exact(shape, slices):
    beam = ParallelBeam(shape, (1.0, 1.3), views=31, detectors=70)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(slices, 1, *shape, generator=generator)
    y = torch.randn(slices, 1, 31, 70, generator=generator)
    left, right = (beam.project(x).double() * y).sum(), (x.double() * beam.adjoint(y)).sum()
    scale = beam.project(x).double().norm() * y.double().norm()
    assert abs(float(left - right)) < 1e-6 * float(scale)


@pytest.mark.parametrize("slices", [2, 3, 16])
def test_compiled_and_torch_agree(slices):
    beam = ParallelBeam((40, 52), (1.2, 0.9), views=36)
    x = torch.randn(slices, 1, 40, 52, generator=torch.Generator().manual_seed(0))
    sinogram = beam.project(x)
    results = [sinogram, beam.adjoint(sinogram), beam.fbp(sinogram, "hann")]
    with torch_only():
        torched = [beam.project(x), beam.adjoint(sinogram), beam.fbp(sinogram, "hann")]
    doubled = [beam.project(x.double()), beam.adjoint(sinogram.double()), beam.fbp(sinogram.double(), "hann")]
    for ours, plain, exact in zip(results, torched, doubled, strict=True):
        scale = float(exact.abs().max())
        assert float((ours - plain).abs().max()) < 1e-4 * scale
        assert float((plain - exact).abs().max()) < 1e-4 * scale


@pytest.mark.parametrize("slices", [1, 3])
def test_only_the_rays_that_are_needed(slices):
    """Several runs in a view, one to either end, single rays and none."""
    beam = ParallelBeam((40, 51), (1.0, 1.2), views=36)
    image = torch.rand(slices, 1, 40, 51, generator=torch.Generator().manual_seed(0))
    needed = torch.rand(beam.views, beam.width, generator=torch.Generator().manual_seed(1)) < 0.3
    needed[:9], needed[9], needed[10, :40], needed[11, -40:] = False, True, True, True
    whole, some = beam.project(image), beam.project(image, needed)
    assert (some - whole)[..., needed].abs().max() < 1e-5 * whole.max()
    assert some[..., ~needed].abs().max() == 0  # left out by the compiled loops
    with torch_only():
        assert (beam.project(image, needed) - whole)[..., needed].abs().max() < 1e-4 * whole.max()
    none = torch.zeros_like(needed)
    assert beam.project(image, none).abs().max() == 0


def test_gradients_flow_both_ways():
    beam = ParallelBeam((12, 10), views=9)
    x = torch.randn(1, 1, 12, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(beam.project, (x,), eps=1e-6, atol=1e-6)
    y = torch.randn(1, 1, 9, beam.width, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(beam.adjoint, (y,), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(lambda s: beam.fbp(s, "cosine"), (y,), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("window", FILTERS)
def test_reconstruction_has_the_right_level(window):
    beam = ParallelBeam((101, 81), (0.8, 1.0), views=180)
    exact = torch.from_numpy(ellipse_integrals(beam, (4.0, -6.0), (25.0, 25.0)).astype(np.float32))
    image = beam.fbp(exact[None, None], window)[0, 0]
    core = ellipse((101, 81), (0.8, 1.0), (4.0, -6.0), (20.0, 20.0)) == 1
    assert float(image[core].mean()) == pytest.approx(1, abs=2e-3)
    outside = ellipse((101, 81), (0.8, 1.0), (4.0, -6.0), (30.0, 30.0)) == 0  # beyond the blur of the window
    assert float(image[outside].mean()) == pytest.approx(0, abs=3e-3)


def test_reconstruction_is_at_least_as_accurate_as_scikit_image():
    from skimage.data import shepp_logan_phantom
    from skimage.transform import iradon, radon, resize

    phantom = resize(shepp_logan_phantom(), (128, 128), anti_aliasing=True).astype(np.float32)
    beam = ParallelBeam((128, 128), views=180)
    ours = beam.fbp(beam.project(torch.from_numpy(phantom)[None, None]))[0, 0].numpy()
    theta = np.arange(180.0)
    theirs = iradon(radon(phantom, theta, circle=False), theta, circle=False, output_size=128)
    assert np.sqrt(((ours - phantom) ** 2).mean()) <= np.sqrt(((theirs - phantom) ** 2).mean())


def test_slices_are_independent_and_hu_round_trips():
    beam = ParallelBeam((20, 24), views=12)
    stack = torch.randn(3, 2, 20, 24, generator=torch.Generator().manual_seed(1))
    whole = beam.project(stack)
    for b in range(3):
        for c in range(2):
            alone = stack[b : b + 1, c : c + 1]
            torch.testing.assert_close(beam.project(alone)[0, 0], whole[b, c])
            torch.testing.assert_close(beam.fbp(beam.project(alone))[0, 0], beam.fbp(whole)[b, c])
            torch.testing.assert_close(beam.adjoint(beam.project(alone))[0, 0], beam.adjoint(whole)[b, c])
    hu = torch.tensor([-1100.0, -1000.0, 0.0, 3000.0])
    torch.testing.assert_close(attenuation_to_hu(hu_to_attenuation(hu)), hu, atol=1e-3, rtol=0)
    assert float(hu_to_attenuation(hu)[0]) < 0


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="views"):
        ParallelBeam((4, 4), views=0)
    with pytest.raises(ValueError, match="window"):
        filter_views(torch.zeros(1, 1, 2, 5), 1.0, "butterworth")


def test_the_rotation_axis_may_lie_aside_and_the_field_be_smaller():
    """Against the same slice in a larger one whose middle is the axis."""
    part = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = torch.zeros(1, 1, 60, 50, dtype=torch.float64)
    whole[..., 34:54, 2:32] = part  # its middle at (43.5, 16.5), the axis at (29.5, 24.5)
    aside = ParallelBeam((20, 30), (2.0, 1.0), 40, 99, 1.0, centre=(-28.0, 8.0))
    large = ParallelBeam((60, 50), (2.0, 1.0), 40, 99, 1.0)
    sinogram = aside.project(part)
    torch.testing.assert_close(sinogram, large.project(whole))
    back = large.fbp(sinogram)
    torch.testing.assert_close(aside.fbp(sinogram), back[..., 34:54, 2:32])
    inner = ParallelBeam((60, 50), (2.0, 1.0), 40, 99, 1.0, field=(40, 30))
    torch.testing.assert_close(inner.fbp(sinogram), back[..., 10:50, 10:40])
    assert ParallelBeam((20, 30), centre=(5.0, -3.0)).width == math.ceil(math.hypot(30, 36)) + 1
