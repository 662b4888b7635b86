"""Thick slices: where structures lie afterwards, and on which axis."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.core.batch import Batched
from monai_medaug.transforms.resolution import RandThickSlice
from tests.notices import unsaid

PROFILES = ["gaussian", "trapezoid"]


def thick(data: Any, seed: int = 0, **arguments: Any) -> Any:
    return RandThickSlice(**{"thickness_mm": 4.0, "axis": "slice", "prob": 1.0, **arguments}).set_random_state(seed)(
        data
    )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("shape", "spacing"), [((1, 12, 10, 90), 1.0), ((1, 12, 10, 40), 2.5), ((1, 90, 12), 0.8)])
def test_image_faces(shape, spacing, profile):
    """A ramp in mm and a constant, on anisotropic grids, at other slice positions by seed."""
    axis = len(shape) - 1 if len(shape) == 4 else 1
    affine = np.diag([1.0, 1.0, spacing, 1]) if len(shape) == 4 else np.diag([spacing, 1.0, 1.0, 1])
    position = torch.arange(shape[axis]) * spacing
    ramp = position.reshape([-1 if a == axis else 1 for a in range(len(shape))]).expand(shape).contiguous()
    margin = int(10 / spacing)
    for seed in range(4):
        out = thick(MetaTensor(ramp, affine=torch.as_tensor(affine)), seed, profile=profile).as_tensor()
        inner = [t.narrow(axis, margin, shape[axis] - 2 * margin) for t in (out, ramp)]
        torch.testing.assert_close(*inner, atol=2e-4, rtol=0)
        constant = thick(MetaTensor(torch.full(shape, -1000.0), affine=torch.as_tensor(affine)), seed, profile=profile)
        torch.testing.assert_close(constant.as_tensor(), torch.full(shape, -1000.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_blob_stays_and_spreads_as_theory_says(profile):
    """Its centroid moves by less than a twentieth of a voxel; its variance grows by the profile's and the hat's."""
    z = torch.arange(96.0, dtype=torch.float64)
    moves, growths = [], []
    for seed in range(12):
        where = 47 + 0.37 * seed
        blob = torch.exp(-0.5 * ((z - where) / 4) ** 2).expand(1, 3, 4, 96).contiguous()
        out = thick(blob, seed, thickness_mm=6, profile=profile)[0, 0, 0]
        centre = float((out * z).sum() / out.sum())
        moves.append(abs(centre - where))
        growths.append(float((out * (z - centre) ** 2).sum() / out.sum()) - 16)
    assert max(moves) < 0.05
    steps = np.linspace(-12, 12, 4801)
    shape = (
        np.exp(-4 * np.log(2) * (steps / 6) ** 2) if profile == "gaussian" else np.clip((4.2 - abs(steps)) / 2.4, 0, 1)
    )
    expected = (shape * steps**2).sum() / shape.sum() + 36 / 6  # linear interpolation over 6 mm: t² / 6
    assert np.mean(growths) == pytest.approx(expected, rel=0.05)


def test_thin_slices_change_nothing():
    image = torch.randn(1, 9, 8, 20)
    affine = torch.diag(torch.tensor([1.0, 1, 5, 1], dtype=torch.float64))
    for width in (0, 2, 5):
        torch.testing.assert_close(thick(MetaTensor(image, affine=affine), thickness_mm=width).as_tensor(), image)
    assert not torch.allclose(thick(MetaTensor(image, affine=affine), thickness_mm=6).as_tensor(), image)


def changed_axes(out: Any) -> list[int]:
    """Axes along which what was random in every direction has become smooth."""
    x = np.asarray(out)[0]
    return [a for a in range(x.ndim) if np.diff(x, axis=a).var() < 0.5 * 2 * x.var()]


@pytest.mark.parametrize("axis", range(3))
def test_the_axis_nearest_to_the_scanners(axis):
    image = torch.randn(1, 40, 36, 44, generator=torch.Generator().manual_seed(0))
    order = [a for a in range(3) if a != axis]
    affine = torch.zeros(4, 4, dtype=torch.float64)
    affine[2, axis], affine[0, order[0]], affine[1, order[1]], affine[3, 3] = -1, 1, 1, 1
    affine[1, axis] = 0.4  # a tilted gantry
    assert changed_axes(thick(MetaTensor(image, affine=affine))) == [axis]
    assert changed_axes(thick(image, axis=axis)) == [axis]


@pytest.mark.parametrize("shape", [(1, 30, 40), (1, 30, 40, 1)])
def test_a_single_slice_has_no_thickness_to_change_which_is_said_once(shape):
    image = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    step = RandThickSlice(thickness_mm=6, prob=1.0)
    unsaid()
    with pytest.warns(UserWarning, match="leaves a single slice unchanged"):
        assert torch.equal(step(image), image)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="RandThickSlice leaves")
        assert torch.equal(step(image), image)
        assert changed_axes(step(torch.randn(1, 40, 36, 44))) == [2]


def test_axes_of_2d_images():
    image = torch.randn(1, 50, 60, generator=torch.Generator().manual_seed(0))
    sagittal = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    assert changed_axes(thick(image)) == [0]
    assert changed_axes(thick(MetaTensor(image, affine=sagittal))) == [1]
    assert changed_axes(thick(image, axis=1)) == [1]
    found = {tuple(changed_axes(thick(image, seed, axis=None))) for seed in range(12)}
    assert found == {(0,), (1,)}
    assert RandThickSlice(axis=None).settings() == RandThickSlice(axis="random").settings()


def test_noise_of_the_thick_slices():
    """At the slices it has the sigma asked for; linear interpolation leaves 2/3 of the variance on average."""
    out = thick(torch.zeros(1, 64, 64, 60), noise=5, thickness_mm=6)
    assert float(out.var()) == pytest.approx(25 * 2 / 3, rel=0.05)
    assert changed_axes(out) == [2]
    assert not thick(torch.zeros(1, 8, 8, 20), noise=0).any()


def test_a_batch_is_its_samples():
    """Other axes, spacings and widths in one batch."""
    images = torch.randn(4, 2, 20, 22, 24)
    rows = [torch.diag(torch.tensor([1.0, 1, s, 1], dtype=torch.float64)) for s in (1.0, 2.0, 1.0, 5.0)]
    rows[2] = rows[2][[2, 1, 0, 3]]
    batch = MetaTensor(images, affine=torch.stack(rows))
    batch.is_batch = True
    together = Batched(RandThickSlice(thickness_mm=(2, 9), noise=(0, 1), prob=1.0)).set_random_state(5)(batch)
    alone = RandThickSlice(thickness_mm=(2, 9), noise=(0, 1), prob=1.0).set_random_state(5)
    for i in range(4):
        single = alone(MetaTensor(images[i], affine=rows[i])).as_tensor()
        torch.testing.assert_close(together[i].as_tensor(), single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 16), (1, 16, 1, 8), (1, 16, 16, 1), (2, 5, 7, 3), (1, 2, 2)])
def test_thin_images(shape):
    out = thick(torch.rand(shape), thickness_mm=30, noise=1)
    assert out.shape == shape
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"thickness_mm": -1}, "thickness_mm"),
        ({"thickness_mm": (8, 3)}, "thickness_mm"),
        ({"axis": "row"}, "axis"),
        ({"axis": True}, "axis"),
        ({"axis": 3}, "axis"),
        ({"profile": "box"}, "profile"),
        ({"noise": -1}, "noise"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        RandThickSlice(**arguments)


def test_an_axis_that_is_not_there():
    with pytest.raises(ValueError, match="axis"):
        thick(torch.rand(1, 8, 8), axis=2)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_never_mix_padding_with_tissue(axis):
    """Padding stays where it is, and no voxel holds a value between it and tissue."""
    image = torch.rand(1, 20, 18, 16, generator=torch.Generator().manual_seed(0)) * 100
    padding = torch.zeros_like(image, dtype=torch.bool)
    padding[:, :5, :6, :4] = True
    image[padding] = -3024.0
    out = RandThickSlice(thickness_mm=4, axis=axis, prob=1.0).set_random_state(0)(image)
    assert torch.equal(out == -3024, padding)
    assert out[~padding].min() > -50
    assert (out[~padding] - image[~padding]).abs().max() > 10
