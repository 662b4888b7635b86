"""The search for the greatest allowed flow time: what the check at full resolution does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry import maps
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.maps import anatomy_maps, maps_kept, moved_affinely, point_map

CPU = torch.device("cpu")
GRID = VoxelGrid((64, 64))


def params(seed: int, **changes: Any) -> dict[str, Any]:
    return {
        "rotate_degrees": 0.0,
        "rotate_axis": [0.0, 0.0, 1.0],
        "translate_fraction": [0.0] * 3,
        "scale": 1.0,
        "elastic_alpha": 1000.0,
        "elastic_sigma": 8.0,
        "elastic_unit": "voxel",
        "elastic_strength": 1.0,
        "min_jacobian": 0.2,
        "seed": seed,
        **changes,
    }


def test_a_fold_seen_at_full_resolution_backs_off(monkeypatch):
    """Twice 4 % for the sample that fails twice, nothing for the other; never to no deformation at all."""
    draws = [params(0), params(1)]
    free = anatomy_maps(draws, [GRID] * 2, CPU).figures
    verdicts = [[0.5, 0.1], [0.5, 0.199], [0.5, 0.2]]

    def seen(*_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(verdicts.pop(0), dtype=torch.float64), torch.ones(2)

    monkeypatch.setattr(maps, "sampled_determinants", seen)
    eased = anatomy_maps(draws, [GRID] * 2, CPU).figures
    assert not verdicts
    assert eased[0]["flow_time"] == free[0]["flow_time"]
    assert eased[1]["flow_time"] == pytest.approx(0.96**2 * free[1]["flow_time"], rel=1e-6)
    assert eased[1]["elastic_rms_mm"] > 0.85 * free[1]["elastic_rms_mm"]
    assert eased[1]["elastic_kept"] < free[1]["elastic_kept"]


def test_a_hopeless_case_ends(monkeypatch):
    """Where no time is short enough the elastic part goes, and the search ends."""
    monkeypatch.setattr(
        maps, "sampled_determinants", lambda *_: (torch.tensor([0.0], dtype=torch.float64), torch.ones(1))
    )
    figures = anatomy_maps([params(0)], [GRID], CPU).figures[0]
    assert figures["flow_time"] == 0
    assert figures["elastic_rms_mm"] == 0


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_known_figures_repeat_the_map_bit_for_bit(strength):
    draws = [params(s, elastic_strength=strength, scale=1.1) for s in range(3)]
    first = anatomy_maps(draws, [GRID] * 3, CPU)
    again = anatomy_maps(draws, [GRID] * 3, CPU, first.figures)
    assert torch.equal(first.groups[0][1], again.groups[0][1])
    assert again.figures == first.figures


def test_samples_of_different_grids_go_through_one_call():
    """Lattices of two shapes: every sample as if alone, within 1e-5 of the range."""
    grids = [GRID, VoxelGrid((64, 64), np.diag([3.0, 1, 1, 1]).tolist()), GRID]
    draws = [params(s, rotate_degrees=5.0) for s in range(3)]
    image = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    together = anatomy_maps(draws, grids, CPU)
    assert len(together.groups) == 2
    out = together.warp(image, grids, "bilinear", "border")
    for i in range(3):
        alone = anatomy_maps([draws[i]], [grids[i]], CPU).warp(image[i, None], [grids[i]], "bilinear", "border")
        torch.testing.assert_close(out[i], alone[0], atol=1e-5, rtol=0)


MOVED = {"rotate_degrees": 8.0, "scale": 1.1, "translate_fraction": [0.1, 0.02, 0.03]}
GRIDS = [GRID, VoxelGrid((24, 28, 20), np.diag([1.0, 1.5, 2.0, 1.0]).tolist())]


@pytest.mark.parametrize("grid", GRIDS, ids=["2D", "3D"])
def test_maps_kept_are_those_built_anew(grid, monkeypatch):
    drawn = params(3, **MOVED)
    points = np.random.RandomState(0).uniform(-5, 40, (200, 3))
    with maps_kept():
        figures = anatomy_maps([drawn], [grid], CPU).figures[0]
        other = point_map(params(4, **MOVED), figures, grid, inverse=True)(points)
        with monkeypatch.context() as patched:
            patched.delattr(maps, "anatomy_maps")
            kept = point_map(drawn, figures, grid, inverse=True)(points)
    anew = point_map(drawn, figures, grid, inverse=True)(points)
    assert np.array_equal(kept, anew)
    assert np.abs(other - anew).max() > 1
    forth = point_map(drawn, figures, grid)(anew)
    inside = np.all(np.abs(forth - points) < 1e-6, axis=1)
    assert inside.mean() > 0.5


@pytest.mark.parametrize("grid", GRIDS, ids=["2D", "3D"])
def test_a_map_between_grids_on_each_path(grid):
    drawn = params(3, **MOVED)
    back = point_map(drawn, anatomy_maps([drawn], [grid], CPU).figures[0], grid, inverse=True)
    points = np.random.RandomState(0).uniform(-5, 40, (200, 3))
    first, last = np.diag([1.0, 2.0, 0.5, 1.0]), np.linalg.inv(grid.matrix)
    first[:3, 3] = 3
    expected = moved_affinely(last, back(moved_affinely(first, points)))
    assert np.allclose(back.between(first, last)(points), expected, atol=1e-9)
    with torch_only():
        assert np.allclose(back.between(first, last)(points), expected, atol=1e-9)
