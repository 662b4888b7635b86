"""Padding outside the reconstructed circle: found, and replaced by the nearest tissue."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from monai_medaug.functional.denoise.padding import padding_filled, padding_of


def circle(shape=(40, 36), value=-3024.0):
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    outside = torch.stack(axes[:2]).square().sum(0) > 0.9
    tissue = 40 + 10 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return torch.where(outside, torch.tensor(value), tissue)[None, None], outside[None, None]


@pytest.mark.parametrize("shape", [(40, 36), (20, 18, 6)])
def test_padding_takes_a_nearest_voxel_and_the_rest_stays(shape):
    image, outside = circle(shape)
    found = padding_of(image)
    assert torch.equal(found, outside)
    filled = padding_filled(image, found)
    assert torch.equal(filled[~outside], image[~outside])
    inside, outer = np.argwhere(~outside[0, 0].numpy()), np.argwhere(outside[0, 0].numpy())
    distance, _ = cKDTree(inside).query(outer)  # of a nearest one; several may be as near
    values = image[0, 0].numpy()
    source = {values[tuple(p)]: p for p in inside}
    for place, wanted in zip(outer, distance, strict=True):
        own = source[filled[0, 0].numpy()[tuple(place)]]
        assert np.linalg.norm(own - place) == pytest.approx(wanted)


def test_each_sample_has_its_own_padding():
    first, outside = circle()
    second, _ = circle(value=-1024.0)
    both = torch.cat([first, second])
    found = padding_of(both)
    assert torch.equal(found[:1], outside)
    assert not found[1].any()
    assert torch.equal(padding_filled(both, found)[1:], second)


def test_what_is_no_padding():
    air, _ = circle(value=-1024.0)
    assert padding_of(air) is None
    signed = 1000 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))  # as of phase images
    assert float(signed.min()) < -2000
    assert padding_of(signed) is None
    assert padding_of(torch.full((1, 1, 8, 8), -2000.0)) is None  # nothing else is there
