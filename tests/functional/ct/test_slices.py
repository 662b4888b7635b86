from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.slices import isocentre_offset, slice_axis, slice_stacks
from monai_medaug.functional.geometry.grid import VoxelGrid


def test_stacks_go_apart_and_together():
    image = torch.arange(2 * 3 * 4 * 5 * 6.0).reshape(2, 3, 4, 5, 6)
    thick = np.diag([1.0, 1.0, 3.0, 1.0]).tolist()
    flipped = [[0, 0, 1.0, 0], [0, 1.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]]
    grids = [VoxelGrid((4, 5, 6), thick), VoxelGrid((4, 5, 6), flipped)]
    assert [slice_axis(g) for g in grids] == [2, 0]
    for stack in slice_stacks(image, grids):
        assert torch.equal(stack.restored(stack.slices), image[stack.members])
        assert stack.spread([7.0, 9.0]).unique().tolist() == [[7.0, 9.0][stack.members[0]]]


def test_the_isocentre_is_found_in_whole_and_cropped_slices_of_any_orientation():
    """The axis at world (12, -7), seen from the middle of slices that lie along either array axis or tilted."""
    whole = VoxelGrid((101, 81, 9), [[-0.8, 0, 0, 40.0], [0, 0.5, 0, -20.0], [0, 0, 3, 0], [0, 0, 0, 1]])
    assert isocentre_offset(whole, (12.0, -7.0)) == pytest.approx((-12.0, -7.0))
    crop = VoxelGrid((21, 31, 9), [[-0.8, 0, 0, 32.0], [0, 0.5, 0, -20.0], [0, 0, 3, 0], [0, 0, 0, 1]])
    assert isocentre_offset(crop, (12.0, -7.0)) == pytest.approx((12.0, 5.5))
    first = VoxelGrid((9, 101, 81), [[0, -0.8, 0, 40.0], [0, 0, 0.5, -20.0], [3, 0, 0, 0], [0, 0, 0, 1]])
    assert isocentre_offset(first, (12.0, -7.0)) == pytest.approx((-12.0, -7.0))
    plane = VoxelGrid((101, 81), [[-0.8, 0, 0, 40.0], [0, 0.5, 0, -20.0], [0, 0, 3, 0], [0, 0, 0, 1]])
    assert isocentre_offset(plane, (12.0, -7.0)) == pytest.approx((-12.0, -7.0))


def test_an_isocentre_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="isocentre_mm must be within 500 mm"):
        isocentre_offset(VoxelGrid((64, 64)), (0.0, 2000.0))
    sagittal = VoxelGrid((64, 64), [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    with pytest.raises(ValueError, match="isocentre_mm must be left out"):
        isocentre_offset(sagittal, (0.0, 0.0))
