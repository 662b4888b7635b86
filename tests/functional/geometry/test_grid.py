from __future__ import annotations

import numpy as np
import pytest

from monai_medaug.functional.geometry.grid import VoxelGrid


@pytest.mark.parametrize("order", [4, 3])
def test_a_plane_is_embedded_with_its_normal_first(order):
    affine = np.array([[0.0, -3.0, 0, 10], [2.0, 0, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])
    if order == 3:
        affine = affine[np.ix_([0, 1, 3], [0, 1, 3])]
    grid = VoxelGrid((5, 7), affine.tolist())
    assert grid.size == (1, 5, 7)
    assert grid.spacing == (2.0, 3.0)
    assert grid.embedded_spacing == (1.0, 2.0, 3.0)
    np.testing.assert_allclose(
        (grid.matrix @ [0, 4, 6, 1])[: order - 1],
        (affine @ [4, 6, 0, 1][-order:] if order == 4 else affine @ [4, 6, 1])[: order - 1],
    )
    assert np.linalg.det(grid.matrix[:3, :3]) > 0


def test_finest_spacing_passes_over_axes_of_one_voxel():
    assert VoxelGrid((1, 5, 7), np.diag([0.1, 2, 3, 1]).tolist()).finest_spacing == 2
    assert VoxelGrid((1, 1, 1)).finest_spacing == 1


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        ((5, 7), [[1, 2, 0, 0], [2, 4, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        ((5, 7, 3), [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_a_bad_affine_is_named(shape, affine):
    with pytest.raises(ValueError, match="affine"):
        _ = VoxelGrid(shape, affine).matrix
