from __future__ import annotations

import numpy as np
import torch

from monai_medaug.functional.ct.slices import slice_axis, slice_stacks
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
