from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, generate_binary_structure, label

from monai_medaug.functional.mixing.lesion_paste import (
    box_sparing_lesions,
    closed_box,
    lesion_mask,
    lesion_parts,
    lesion_region,
)


def blobs(shape: tuple[int, ...], count: int, seed: int, radius: float = 2.5) -> torch.Tensor:
    """A mask of balls at random places, which may touch."""
    rng = np.random.default_rng(seed)
    at = np.indices(shape)
    mask = np.zeros(shape, dtype=bool)
    for _ in range(count):
        centre = rng.uniform(0, shape).reshape(-1, *[1] * len(shape))
        mask |= ((at - centre) ** 2).sum(0) <= rng.uniform(1, radius) ** 2
    return torch.from_numpy(mask)


def cut_lesions(lesion: torch.Tensor, box: tuple) -> int:
    """Components of which some voxels lie in a box and some outside, counted voxel by voxel."""
    numbers, count = label(lesion.numpy(), generate_binary_structure(lesion.ndim, lesion.ndim))
    inside = np.zeros(lesion.shape, dtype=bool)
    inside[tuple(slice(a, b) for a, b in zip(*box, strict=True))] = True
    return sum(bool(inside[numbers == n].any()) and not inside[numbers == n].all() for n in range(1, count + 1))


@given(seed=st.integers(0, 10**6), dims=st.sampled_from([2, 3]), count=st.integers(0, 6))
@settings(max_examples=80, deadline=None)
def test_a_closed_box_cuts_nothing_and_holds_the_box(seed, dims, count):
    shape = (14, 20, 12)[:dims]
    lesion = blobs(shape, count, seed)
    rng = np.random.default_rng(seed)
    ends = np.sort([rng.integers(0, n + 1, 2) for n in shape], axis=1)
    box = tuple(ends[:, 0].tolist()), tuple(ends[:, 1].tolist())
    parts = lesion_parts(lesion)
    low, high = closed_box(box, parts)
    assert cut_lesions(lesion, (low, high)) == 0
    assert all(a <= b for a, b in zip(low, box[0], strict=True))
    assert all(a >= b for a, b in zip(high, box[1], strict=True))
    assert ((low, high) == box) == (cut_lesions(lesion, box) == 0)


def test_of_several_boxes_the_first_that_spares_or_the_one_that_grows_least():
    lesion = torch.zeros(1, 20, dtype=torch.bool)
    lesion[0, 2:8] = lesion[0, 12:14] = True
    parts = lesion_parts(lesion)
    cuts_much, cuts_little, spares = ((0, 0), (1, 4)), ((0, 13), (1, 16)), ((0, 8), (1, 12))
    assert box_sparing_lesions([cuts_much, cuts_little, spares], parts, (1, 20)) == spares
    assert box_sparing_lesions([cuts_much, cuts_little], parts, (1, 20)) == ((0, 12), (1, 16))
    all_over = lesion_parts(torch.ones(1, 20, dtype=torch.bool))
    assert box_sparing_lesions([cuts_much], all_over, (1, 20)) is None


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 1.2)])
@pytest.mark.parametrize("growth", [-0.5, -0.2, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_region_is_the_threshold_of_the_signed_distance(seed, growth, spacing):
    lesion = blobs((24, 22, 20), 4, seed, radius=6)
    distance = distance_transform_edt(~lesion, sampling=spacing) - distance_transform_edt(lesion, sampling=spacing)
    region, threshold = lesion_region(lesion, growth, spacing)
    assert threshold == pytest.approx(growth * -distance.min())
    expected = lesion.numpy() if growth == 0 else distance <= threshold
    np.testing.assert_array_equal(region.numpy(), expected)


def test_regions_of_no_lesion_and_of_all_lesion():
    for lesion in (torch.zeros(4, 5, dtype=torch.bool), torch.ones(4, 5, dtype=torch.bool)):
        assert torch.equal(lesion_region(lesion, 0.7, (1, 1))[0], lesion)


def test_which_voxels_are_lesion():
    mask = torch.tensor([[[0, 1, 2, 3]]], dtype=torch.int16)
    for dtype in (torch.int16, torch.uint16, torch.uint8, torch.float32):
        assert lesion_mask(mask.to(dtype), (), "m").tolist() == [[False, True, True, True]]
        assert lesion_mask(mask.to(dtype), (2, 3), "m").tolist() == [[False, False, True, True]]
    assert lesion_mask(mask > 1, (1,), "m").tolist() == [[False, False, True, True]]
    channels = torch.stack([mask[0] == 0, mask[0] == 1, mask[0] > 1])
    assert lesion_mask(channels, (2,), "m").tolist() == [[False, False, True, True]]
    with pytest.raises(ValueError, match="lesion_labels must name the lesions' channels of m"):
        lesion_mask(channels, (), "m")
    with pytest.raises(ValueError, match="below 3"):
        lesion_mask(channels, (3,), "m")
