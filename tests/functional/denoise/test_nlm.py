"""Non-local means against its definition, and the compiled path against torch."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.denoise.nlm import CUT, non_local_means


def by_definition(x, sigma, patch, distance, strength, source=None):
    """Every pair of voxels, in float64."""
    source = x if source is None else source
    half, h = patch // 2, strength * sigma
    wide = np.pad(source, half, mode="reflect") if half else source
    windows = np.lib.stride_tricks.sliding_window_view(wide, (patch,) * x.ndim).reshape(*x.shape, -1)
    out = np.empty_like(x)
    for place in np.ndindex(*x.shape):
        total = weight = 0.0
        for offset in itertools.product(range(-distance, distance + 1), repeat=x.ndim):
            other = tuple(a + b for a, b in zip(place, offset, strict=True))
            if any(not 0 <= o < n for o, n in zip(other, x.shape, strict=True)):
                continue
            d = ((windows[place] - windows[other]) ** 2).mean()
            w = max(np.exp(-max(d - 2 * sigma**2, 0) / h**2) - np.exp(-CUT), 0) if any(offset) else 1.0
            total, weight = total + w * x[other], weight + w
        out[place] = total / weight
    return out


def textured(shape, seed=0):
    axes = np.meshgrid(*[np.linspace(0, 5, n) for n in shape], indexing="ij")
    return 100 * np.sin(axes[0]) * np.cos(axes[-1]) + 15 * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("shape", "patch", "distance"), [((13, 11), 3, 4), ((12, 15), 5, 3), ((6, 7, 8), 3, 2)])
@pytest.mark.parametrize("path", ["compiled", "torch"])
def test_is_what_the_definition_says(shape, patch, distance, path):
    x = textured(shape)
    wanted = by_definition(x, 15.0, patch, distance, 0.9)
    image = torch.from_numpy(x)[None, None]
    image = image if path == "torch" else image.float()  # float64 takes the torch path
    out = non_local_means(image, torch.tensor([15.0]), patch, distance, 0.9, passes=1)[0, 0].numpy()
    np.testing.assert_allclose(out, wanted, atol=1e-9 if path == "torch" else 0.1)
    assert np.abs(wanted - x).max() > 5


@pytest.mark.parametrize("shape", [(40, 37), (3, 64), (17, 18, 19), (9, 5, 30)])
def test_paths_agree(shape):
    image = torch.from_numpy(np.stack([textured(shape, s) for s in (0, 1)])).float()[:, None]
    sigma, strength = torch.tensor([15.0, 10.0]), torch.tensor([0.8, 1.0])
    for passes in (1, 2):
        fast = non_local_means(image, sigma, 3, 4, strength, passes=passes)
        with torch_only():
            slow = non_local_means(image, sigma, 3, 4, strength, passes=passes)
        assert float((fast - slow).abs().max()) < 2e-3 * float(image.max() - image.min())


def test_a_guide_gives_the_weights():
    x, guide = textured((20, 22)), textured((20, 22), 5)
    wanted = by_definition(x, 5.0, 3, 3, 0.8, guide)
    out = non_local_means(
        torch.from_numpy(x)[None, None],
        torch.tensor([15.0]),
        3,
        3,
        0.8,
        guide=torch.from_numpy(guide)[None, None],
        guide_sigma=torch.tensor([5.0]),
        passes=1,
    )
    np.testing.assert_allclose(out[0, 0].numpy(), wanted, atol=1e-9)
    with pytest.raises(ValueError, match="guide_sigma"):
        non_local_means(torch.zeros(1, 1, 4, 4), torch.ones(1), 3, 1, 1.0, guide=torch.zeros(1, 1, 4, 4))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.one_of(st.tuples(*[st.integers(1, 12)] * 2), st.tuples(*[st.integers(1, 7)] * 3)),
    value=st.floats(-3000, 3000, width=32),
)
def test_constants_stay_at_any_size(shape, value):
    image = torch.full((1, 1, *shape), value)
    out = non_local_means(image, torch.tensor([10.0]), 5, 4, 0.8)
    assert float((out - value).abs().max()) <= 1e-3


def test_without_noise_nothing_changes():
    image = torch.from_numpy(textured((30, 31))).float()[None, None]
    assert torch.equal(non_local_means(image, torch.zeros(1), 5, 5, 0.8), image)


def test_patches_and_distances_of_each_axis():
    image = torch.from_numpy(textured((12, 12, 6))).float()[None, None]
    flat = non_local_means(image, torch.tensor([15.0]), (5, 5, 1), (4, 4, 0), 0.8, passes=1)
    slices = [non_local_means(image[..., k], torch.tensor([15.0]), 5, 4, 0.8, passes=1) for k in range(image.shape[-1])]
    torch.testing.assert_close(flat, torch.stack(slices, -1), rtol=0, atol=0.05)
