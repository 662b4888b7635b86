"""Implants lie in bone, without bone in tissue, never in air or lung, and fill the voxels of a rod."""

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter, uniform_filter

from monai_medaug.functional.ct.implant_kinds import implant_pieces
from monai_medaug.functional.ct.implants import Anatomy, place_rod, rod_share
from monai_medaug.functional.geometry.grid import VoxelGrid
from tests.scan_files import real_scan

SCANS = ("ct_head_ge_512", "lidc_0001_ct", "lidc_0002_ct", "msd_spleen2_ct_image", "sts_001_ct_image")


def phantom(shape=(80, 80, 20), bone: bool = True) -> torch.Tensor:
    """A body with a lung and a shaft of bone, in air."""
    x, y = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    plane = np.where((x - 40) ** 2 + (y - 40) ** 2 < 36**2, 20.0, -1000.0)
    plane[(x - 55) ** 2 + (y - 40) ** 2 < 14**2] = -850.0
    if bone:
        ring = (x - 22) ** 2 + (y - 40) ** 2
        plane[ring < 9**2] = 60.0  # marrow
        plane[(ring < 9**2) & (ring > 6**2)] = 900.0
    plane = torch.from_numpy(plane).float()
    return plane[None] if len(shape) == 2 else plane[None, ..., None].expand(1, *shape)


def grid_of_phantom(shape=(80, 80, 20)) -> VoxelGrid:
    return VoxelGrid(shape, np.diag([-1.0, 1.0, 4.0, 1.0][: 1 + 3]).tolist())


def values(image: torch.Tensor, ends: list[float], grid: VoxelGrid) -> np.ndarray:
    """HU along a rod, as far as it lies in the image."""
    start, end = np.array(ends[:3]), np.array(ends[3:])
    line = start + np.linspace(0, 1, 60)[:, None] * (end - start)
    index = np.round(np.linalg.solve(grid.matrix[:3, :3], (line - grid.matrix[:3, 3]).T).T).astype(int)
    index = index[((index >= 0) & (index < grid.size)).all(1)]
    return image.reshape(grid.size).numpy()[tuple(index.T)]


@pytest.mark.parametrize("shape", [(80, 80, 20), (80, 80)])
def test_rods_lie_along_bone_and_without_it_in_tissue(shape):
    grid = grid_of_phantom(shape)
    for bone in (True, False):
        image = phantom(shape, bone)
        anatomy = Anatomy(image, grid)
        for seed in range(40):
            ends = place_rod(anatomy, (seed + 0.5) / 40, 40.0, seed)
            assert values(image, ends, grid).min() > -300
            assert ends == place_rod(anatomy, (seed + 0.5) / 40, 40.0, seed)
            middle = np.round(np.linalg.solve(grid.matrix[:3, :3], anatomy.place((seed + 0.5) / 40)))
            distance = np.hypot(*(middle[-3:][-len(shape) :][:2] - (22, 40)))
            assert not bone or distance < 12


def test_rods_take_any_direction_but_follow_a_shaft_more_often():
    grid, image = grid_of_phantom(), phantom()
    anatomy = Anatomy(image, grid)
    ends = np.array([place_rod(anatomy, (k + 0.5) / 60, 40.0, k) for k in range(60)])
    along = (ends[:, 3:] - ends[:, :3]) / np.linalg.norm(ends[:, 3:] - ends[:, :3], axis=1, keepdims=True)
    assert np.abs(along[:, 2]).mean() > 0.7  # 0.5 if all were equally frequent
    assert np.abs(along[:, 2]).min() < 0.6
    assert np.ptp(np.arctan2(along[:, 1], along[:, 0])) > 3


def test_an_image_of_air_has_no_place():
    assert place_rod(Anatomy(torch.full((1, 30, 30, 4), -1000.0), VoxelGrid((30, 30, 4))), 0.3, 20.0, 0) == []


@pytest.mark.parametrize("along", [(0, 0, 1), (1, 0, 0), (1, 1, 0), (1, -1, 1)])
def test_a_rod_has_its_volume_in_any_direction(along):
    """Within 6 %, in slices thicker than their pixels, and where the affine says."""
    grid = VoxelGrid((60, 60, 30), [[-1, 0, 0, 30], [0, 1, 0, -30], [0, 0, 3, -45], [0, 0, 0, 1]])
    u = np.array(along) / np.linalg.norm(along)
    share = rod_share([[*(-15 * u), *(15 * u)], []], [5.0, 3.0], grid, torch.device("cpu"))[0, 0].double().numpy()
    assert share.sum() * 3 == pytest.approx(np.pi * 25 * 30, rel=0.06)
    index = np.argwhere(share > 0.5)
    world = index @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    distance = np.linalg.norm(world - (world @ u)[:, None] * u, axis=1)
    assert distance.max() < 6.5
    assert not rod_share([[500.0, 0, 0, 520.0, 0, 0]], [5.0], grid, torch.device("cpu")).any()


@pytest.mark.parametrize("name", SCANS)
def test_in_real_scans_rods_are_in_bone(name):
    """Of 100, none centred in air or lung; with 9 of 10 bone lies within 5 mm of the centre."""
    image = nib.load(real_scan(f"{name}.nii.gz"))
    volume, grid = np.asarray(image.dataobj, np.float32), VoxelGrid(image.shape, image.affine.tolist())
    anatomy = Anatomy(torch.from_numpy(volume)[None], grid)
    centres = [anatomy.place((k + 0.5) / 100) for k in range(100)]
    index = np.round([np.linalg.solve(grid.matrix[:3, :3], c - grid.matrix[:3, 3]) for c in centres]).astype(int)
    size = [2 * max(1, round(5 / s)) + 1 for s in grid.spacing]
    places = tuple(index.T)
    assert uniform_filter(volume, [3, 3, 1])[places].min() > -300
    assert (maximum_filter(volume, size)[places] > 300).mean() >= 0.9


def test_contrast_agent_is_no_bone():
    """A vessel of 24 mm at 380 HU beside a shaft with cortical bone: no rod lies in it; alone it is soft tissue."""
    x, y = np.meshgrid(np.arange(80), np.arange(80), indexing="ij")
    vessel = torch.from_numpy((x - 42) ** 2 + (y - 18) ** 2 < 12**2)[None, ..., None]
    grid, image = grid_of_phantom(), torch.where(vessel, 380.0, phantom())
    anatomy = Anatomy(image, grid)
    middles = [np.linalg.solve(grid.matrix[:3, :3], anatomy.place((k + 0.5) / 40)) for k in range(40)]
    assert all(np.hypot(x - 22, y - 40) < 12 for x, y, _ in middles)
    assert not Anatomy(torch.where(vessel, 380.0, phantom(bone=False)), grid).bone.any()


@pytest.mark.parametrize(("side", "most"), [(8, 0.25), (16, 0.25), (64, 0.1)])
def test_metal_takes_a_tenth_of_a_small_crop(side, most):
    """At most twice that by the voxels of its edge; of large crops the radii are those asked for."""
    grid, crop = VoxelGrid((side,) * 3), torch.full((1, side, side, side), 40.0)
    for seed in range(4):
        pieces = implant_pieces("rods", crop, grid, [0.3, 0.7], [40.0, 50.0], [3.2, 3.8], seed)
        share = rod_share([p.ends for p in pieces], [p.radius for p in pieces], grid, torch.device("cpu"))
        assert 0 < float((share > 0.5).float().mean()) < most
        assert side < 64 or [p.radius for p in pieces] == [3.2, 3.8]
