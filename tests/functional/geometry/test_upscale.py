"""Finer grids: corners, consistency of back-projection, slice profiles, labels."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_medaug.functional.geometry.upscale import METHODS, cubic_resized, nearest_resized, reduced, upscaled


def smooth(shape, sigma: float = 2.0) -> torch.Tensor:
    noise = np.random.RandomState(0).normal(size=shape)
    return torch.from_numpy(ndimage.gaussian_filter(noise, sigma)).float()[None, None] * 10


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    extent = float(b.max() - b.min())
    return float(10 * torch.log10(extent**2 / (a - b).square().mean()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(12, 15), (9, 8, 7)])
def test_a_ramp_keeps_its_place_in_the_world(method, shape):
    axes = [
        torch.arange(float(n)).reshape([-1 if a == b else 1 for b in range(len(shape))]) for a, n in enumerate(shape)
    ]
    ramp = sum((i + 1) * a for i, a in enumerate(axes))[None, None]
    sizes = [3 * n for n in shape]
    out = upscaled(ramp, sizes, method)[0, 0]
    finer = [(torch.arange(float(n)) + 0.5) / 3 - 0.5 for n in sizes]
    wanted = sum((i + 1) * f.reshape([-1 if i == b else 1 for b in range(len(shape))]) for i, f in enumerate(finer))
    inside = tuple(slice(9, n - 9) for n in sizes)
    # cubic kernels with a = -0.75 reproduce lines up to a ripple
    assert float((out - wanted)[inside].abs().max()) < (1e-4 if method == "bilinear" else 0.3)
    assert abs(float((out - wanted)[inside].mean())) < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_catmull_rom_keeps_a_line_exactly(dims):
    ramp = sum((a + 1) * torch.arange(12.0).reshape(*[-1 if a == b else 1 for b in range(dims)]) for a in range(dims))
    out = cubic_resized(ramp[None, None], [24] * dims, True)[0, 0]
    places = torch.arange(24.0) / 2 - 0.25  # half a pixel counts at the corners
    wanted = sum((a + 1) * places.reshape(*[-1 if a == b else 1 for b in range(dims)]) for a in range(dims))
    inside = (slice(6, -6),) * dims
    assert torch.allclose(out[inside], wanted[inside], atol=1e-4)


@pytest.mark.parametrize(("blur", "factors"), [("cubic", (2, 2)), ("gaussian", (1, 4)), ("trapezoid", (3, 1))])
def test_back_projection_agrees_with_the_image_that_it_enlarges(blur, factors):
    fine = smooth((48, 60))
    coarse = reduced(fine, [n // f for n, f in zip((48, 60), factors, strict=True)], blur)
    plain, better = (upscaled(coarse, (48, 60), m, blur) for m in ("bicubic", "backprojection"))
    left, before = ((reduced(x, coarse.shape[2:], blur) - coarse).abs().median() for x in (better, plain))
    assert left < 0.05 * before
    assert psnr(better, fine) > psnr(plain, fine) + 0.5


def test_the_scanners_profile_restores_more_than_another():
    fine = smooth((40, 40, 60), 1.5)
    thick = reduced(fine, (40, 40, 15), "gaussian")
    right, wrong = (psnr(upscaled(thick, (40, 40, 60), "backprojection", blur), fine) for blur in ("gaussian", "cubic"))
    assert right > wrong + 0.1


@pytest.mark.parametrize("profile", ["gaussian", "trapezoid"])
def test_a_reduced_image_is_the_profiles_mean(profile):
    """Of a cosine: its amplitude times the profile's Fourier transform, in closed form for the Gaussian."""
    n, width, cycles = 240, 6, 1 / 30
    line = torch.cos(2 * torch.pi * cycles * (torch.arange(n) - 2.5))[None, None, None].double()
    out = reduced(line, [1, n // width], profile)[0, 0, 0, 5:-5]
    centres = (torch.arange(n // width) * width)[5:-5]
    amplitude = float(
        out
        @ torch.cos(2 * torch.pi * cycles * centres.double())
        / torch.cos(2 * torch.pi * cycles * centres).square().sum()
    )
    if profile == "gaussian":
        sigma = width / (2 * np.sqrt(2 * np.log(2)))
        assert amplitude == pytest.approx(np.exp(-2 * (np.pi * sigma * cycles) ** 2), rel=0.01)
    else:  # a box of its width, smoothed by one of a flank's
        assert amplitude == pytest.approx(np.sinc(width * cycles) * np.sinc(0.4 * width * cycles), rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_values_stay_within_their_range(method):
    step = torch.zeros(1, 2, 16, 16)
    step[..., 8:] = 1
    step[:, 1] += 5
    out = upscaled(step, (64, 64), method)
    assert [float(out[:, c].min()) for c in (0, 1)] == [0, 5]
    assert [float(out[:, c].max()) for c in (0, 1)] == [1, 6]


def test_labels_take_the_value_at_their_centre():
    labels = torch.tensor([[[[0, 2**24 + 1], [7, 3]]]])
    assert nearest_resized(labels, (4, 4)).tolist() == [[[[0, 0, 2**24 + 1, 2**24 + 1]] * 2 + [[7, 7, 3, 3]] * 2]][0:1]
    line = torch.arange(7)[None, None, None]
    for n in (3, 5, 7, 10, 14):
        wanted = torch.nn.functional.interpolate(line.float(), (1, n), mode="nearest-exact")
        assert torch.equal(nearest_resized(line, (1, n)).float(), wanted)


def test_the_t1_protocol_is_reached():
    """A slice of nilearn's T1, reduced by antialiased cubic interpolation and enlarged again."""
    from nilearn.datasets import load_mni152_template

    whole = load_mni152_template(resolution=1).get_fdata()[:196, 110, :188]
    fine = torch.from_numpy((whole / whole.max()).astype(np.float32))[None, None]
    for scale, gain in ((2, 0.6), (4, 0.5)):
        coarse = reduced(fine, [n // scale for n in fine.shape[2:]])
        plain, better = (psnr(upscaled(coarse, fine.shape[2:], m), fine) for m in ("bicubic", "backprojection"))
        assert better > plain + gain
