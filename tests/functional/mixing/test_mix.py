"""Blending, boxes, soft targets, and regions that lesions shape: against slow and obvious computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_medaug.functional.mixing.mix import (
    Paste,
    blended,
    box_of_share,
    box_on_grid,
    mixed,
    soft_labels,
    soft_masks,
)

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def blobs(shape: tuple[int, ...], count: int, seed: int, radius: float = 2.5) -> torch.Tensor:
    """A mask of balls at random places, which may touch."""
    rng = np.random.default_rng(seed)
    at = np.indices(shape)
    mask = np.zeros(shape, dtype=bool)
    for _ in range(count):
        centre = rng.uniform(0, shape).reshape(-1, *[1] * len(shape))
        mask |= ((at - centre) ** 2).sum(0) <= rng.uniform(1, radius) ** 2
    return torch.from_numpy(mask)


@pytest.mark.parametrize("dtype", FLOATS)
def test_blend_is_the_formula_and_exact_at_its_ends(dtype):
    x = torch.randn(5, 2, 7, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    permutation, w = torch.tensor([3, 0, 4, 2, 1]), torch.tensor([1.0, 0.0, 0.25, 0.9, 0.5], dtype=torch.float64)
    out = blended(x, permutation, w, dtype)
    lam = w.reshape(-1, 1, 1, 1)
    expected = lam * x.double() + (1 - lam) * x[permutation].double()
    torch.testing.assert_close(out.double(), expected, atol=2 * torch.finfo(dtype).eps, rtol=2 * torch.finfo(dtype).eps)
    assert torch.equal(out[0], x[0])
    assert torch.equal(out[1], x[0])


def test_a_blend_of_large_float16_values_does_not_overflow():
    x = torch.tensor([[-60000.0], [60000.0]], dtype=torch.float16)
    out = blended(x, torch.tensor([1, 0]), torch.tensor([0.5, 0.25]), torch.float16)
    assert out.tolist() == [[0.0], [-30000.0]]


def test_gradients_flow_to_both():
    x = torch.ones(2, 1, 2, 2, requires_grad=True)
    paste = Paste((slice(0, 1), slice(0, 2)))
    mixed(x, torch.tensor([1, 0]), torch.tensor([0.25, 1.0]), [[], [paste]], x.dtype).sum().backward()
    assert x.grad is not None
    assert x.grad[0].tolist() == [[[1.25, 1.25], [0.25, 0.25]]]
    assert x.grad[1].tolist() == [[[0.75, 0.75], [1.75, 1.75]]]


@pytest.mark.parametrize("dims", [2, 3])
@given(share=st.floats(0, 1), centre=st.lists(st.floats(0, 1), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_box_has_the_sides_of_the_paper(dims, share, centre):
    low, high = box_of_share(share, centre[:dims])
    side = share ** (1 / dims)
    for a, b, c in zip(low, high, centre[:dims], strict=True):
        assert a == max(c - side / 2, 0)
        assert b == min(c + side / 2, 1)
    shape = (17, 40, 9)[:dims]
    for s, a, b, n in zip(box_on_grid(low, high, shape), low, high, shape, strict=True):
        assert 0 <= s.start <= s.stop <= n
        assert abs(s.start - a * n) <= 0.5
        assert abs(s.stop - b * n) <= 0.5


def test_mean_area_of_boxes_is_that_of_the_paper():
    """Clipped lengths of a side s of the image and a uniform centre: s - s²/4 on average, axes independent."""
    rng = np.random.default_rng(0)
    for dims, shape in ((2, (64, 48)), (3, (32, 48, 40))):
        for share in (0.1, 0.5, 0.9):
            side = share ** (1 / dims)
            boxes = [box_on_grid(*box_of_share(share, c), shape) for c in rng.uniform(size=(4000, dims))]
            area = np.mean([Paste(b).voxels() for b in boxes]) / np.prod(shape)
            assert area == pytest.approx((side - side**2 / 4) ** dims, rel=0.03)


def test_pasting_writes_where_it_says_and_nowhere_else():
    x = torch.arange(3 * 2 * 5 * 8).reshape(3, 2, 5, 8)
    before = x.clone()
    region = torch.tensor([[1, 0], [1, 1]]).bool()
    pastes = [[Paste((slice(1, 3), slice(4, 7)))], [Paste((slice(3, 5), slice(0, 2)), region)], []]
    out = mixed(x, torch.tensor([2, 0, 1]), None, pastes, x.dtype)
    expected = before.clone()
    expected[0, :, 1:3, 4:7] = before[2, :, 1:3, 4:7]
    for i, j in ((3, 0), (4, 0), (4, 1)):
        expected[1, :, i, j] = before[0, :, i, j]
    assert torch.equal(out, expected)
    assert torch.equal(x, before)


def test_a_paste_from_another_place():
    x = torch.arange(2 * 4 * 6).reshape(2, 1, 4, 6)
    region = torch.tensor([[1, 0], [1, 1]]).bool()
    paste = Paste((slice(0, 2), slice(0, 2)), region, (slice(2, 4), slice(3, 5)))
    out = mixed(x, torch.tensor([1, 0]), None, [[paste], []], x.dtype)
    assert out[0, 0, :2, :2].tolist() == [[39, 1], [45, 46]]


def test_labels_of_every_kind_become_soft():
    ids = torch.tensor([2, 0], dtype=torch.uint8)
    assert soft_labels(ids, 3, "y").tolist() == [[0, 0, 1], [1, 0, 0]]
    assert soft_labels(ids[:, None], 3, "y").tolist() == [[0, 0, 1], [1, 0, 0]]
    assert soft_labels(torch.tensor([[1, 1, 0]]), None, "y").dtype == torch.float32
    assert soft_labels(torch.tensor([True, False]), None, "y").tolist() == [1, 0]
    half = torch.tensor([[0.3, 0.7]], dtype=torch.float16)
    assert soft_labels(half, None, "y") is half


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (torch.tensor([0, 3]), None, "'y'.*num_classes.*pair"),
        (torch.tensor([0, 3]), 3, "'y' must lie within 0..2 for 3 classes, got 0..3"),
        (torch.tensor([0, -1]), 3, r"got -1..0"),
        (torch.tensor([[0, 2]]), None, "'y' must hold values of 0 and 1, got 0..2"),
        (torch.tensor(1), 3, "'y' must have a batch axis"),
    ],
)
def test_labels_that_cannot_be_mixed_are_named(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        soft_labels(labels, classes, "'y'")


def test_masks_become_soft_without_averaging_labels():
    mask = torch.tensor([0, 1, 2, 1], dtype=torch.uint8).reshape(1, 1, 2, 2)
    for dtype in (torch.uint8, torch.uint16, torch.int64, torch.float32):
        soft = soft_masks(mask.to(dtype), 3, "m")
        assert soft.shape == (1, 3, 2, 2)
        assert soft.dtype == torch.float32
        assert torch.equal(soft.argmax(1, keepdim=True), mask.long())
    for dtype in (torch.int16, torch.uint16, torch.bool):
        flags = soft_masks((mask > 0).to(dtype), None, "m")
        assert flags.dtype == torch.float32
        assert torch.equal(flags, (mask > 0).float())
    assert soft_masks(mask > 0, 2, "m").shape == (1, 2, 2, 2)
    maps = torch.rand(1, 3, 2, 2)
    assert soft_masks(maps, None, "m") is maps


@pytest.mark.parametrize(
    ("mask", "classes", "message"),
    [
        (torch.tensor([[[[0, 2]]]]), None, "m must hold values of 0 and 1, got 0..2.*num_mask_classes"),
        (torch.tensor([[[[0.0, 2.0]]]]), None, "num_mask_classes"),
        (torch.tensor([[[[0, 3]]]]), 3, "0..2 for 3 classes"),
        (torch.tensor([[[[0.5, 1.0]]]]), 3, "whole numbers"),
    ],
)
def test_masks_that_cannot_be_blended_are_named(mask, classes, message):
    with pytest.raises(ValueError, match=message):
        soft_masks(mask, classes, "m")


def test_ids_of_any_type_and_masks_that_are_no_labels():
    wanted = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    for ids in (torch.tensor([1.0, 0.0]), torch.tensor([[1.0], [0.0]]), torch.tensor([True, False])):
        assert soft_labels(ids, 3, "y").tolist() == wanted
    with pytest.raises(ValueError, match="got fractions"):
        soft_labels(torch.tensor([0.5, 1.0]), 3, "y")
    with pytest.raises(ValueError, match="give it as a mask"):
        soft_labels(torch.zeros(2, 1, 8, 8), 3, "y")
