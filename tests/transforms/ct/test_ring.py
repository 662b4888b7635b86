"""Rings lie about the isocentre, wherever the image was cropped."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import RandCTRing


def test_rings_of_a_crop_have_their_centre_at_the_isocentre():
    """Without arcs, a ring's pixels of one radius about the isocentre share their value, wherever the crop lies."""
    crop = MetaTensor(torch.full((1, 80, 80), 50.0))
    crop.affine = torch.tensor([[1.6, 0, 0, 10.0], [0, 1.6, 0, -150.0], [0, 0, 1, 0], [0, 0, 0, 1]]).double()
    ring = RandCTRing(gain=0.01, elements=1, drift=0, prob=1.0, isocentre_mm=(0, 0)).set_random_state(0)(crop)
    change = (ring - crop).as_tensor()[0]
    index = torch.arange(80.0)

    def explained(x0, y0):
        radius = torch.hypot(1.6 * index[:, None] + 10 - x0, 1.6 * index - 150 - y0)
        radius = (radius / 1.6).round().long()
        count = torch.bincount(radius.ravel()).clamp_min(1)
        mean = torch.zeros(len(count)).index_add_(0, radius.ravel(), change.ravel()) / count
        return float(mean[radius].var() / change.var())

    assert explained(0.0, 0.0) > 0.7
    assert explained(10 + 63.2, -150 + 63.2) < 0.3


def test_rings_of_a_crop_lie_about_a_random_axis_and_those_of_a_whole_slice_about_its_middle():
    def axis(image):
        change = (rings(image) - image)[0]
        flipped = torch.flip(change, (0, 1))
        return float((change * flipped).mean() / change.square().mean())

    rings = RandCTRing(gain=0.01, elements=1, drift=0, prob=1.0).set_random_state(0)
    whole = torch.full((1, 96, 96), -1000.0)
    whole[:, 20:76, 20:76] = 0
    assert axis(whole) > 0.9
    assert abs(np.mean([axis(torch.zeros(1, 96, 96)) for _ in range(5)])) < 0.3


def test_bad_arguments_are_named():
    for make, name in (
        (lambda: RandCTRing(drift=2), "drift"),
        (lambda: RandCTRing(isocentre_mm=3), "isocentre_mm"),
        (lambda: RandCTRing(isocentre_mm=(1, 2, 3)), "isocentre_mm"),
        (lambda: RandCTRing(isocentre_mm=(0, float("nan"))), "isocentre_mm"),
    ):
        with pytest.raises(ValueError, match=name):
            make()
