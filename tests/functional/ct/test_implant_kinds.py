"""Which implant fits which anatomy, and where its pieces lie."""

import nibabel as nib
import numpy as np
import pytest
import torch

from monai_medaug.functional.ct.implant_kinds import IMPLANTS, MATERIALS, choose_implant, implant_pieces
from monai_medaug.functional.ct.implants import rod_share
from monai_medaug.functional.ct.spectrum import METALS
from monai_medaug.functional.geometry.grid import VoxelGrid
from tests.scan_files import real_scan

RODS = ([0.3, 0.7], [40.0, 50.0], [3.0, 0.0], 5)


def scan(name: str) -> tuple[torch.Tensor, VoxelGrid]:
    image = nib.load(real_scan(f"{name}.nii.gz"))
    volume = torch.from_numpy(np.asarray(image.dataobj, np.float32))[None]
    return volume, VoxelGrid(image.shape, image.affine.tolist())


def values(image: torch.Tensor, grid: VoxelGrid, points: np.ndarray) -> np.ndarray:
    index = np.round(np.linalg.solve(grid.matrix[:3, :3], (points - grid.matrix[:3, 3]).T).T).astype(int)
    return image[0].numpy()[tuple(index[((index >= 0) & (index < grid.size)).all(1)].T)]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("ct_head_ge_512", ["clips"] * 3),
        ("lidc_0001_ct", ["wires", "pacemaker", "rods"]),
        ("lungdx_A0001_ct_kernelB", ["wires", "pacemaker", "rods"]),
        ("msd_spleen2_ct_image", ["rods"] * 3),
        ("sts_001_ct_image", ["rods"] * 3),
    ],
)
def test_implants_suit_the_anatomy(name, kinds):
    image, grid = scan(name)
    assert [choose_implant(image, grid, pick) for pick in (0.1, 0.5, 0.9)] == kinds


def test_teeth_are_filled():
    image = torch.full((1, 90, 90, 8), -1000.0)
    x, y = torch.meshgrid(2.0 * (torch.arange(90) - 45), 2.0 * (torch.arange(90) - 45), indexing="ij")
    radius = torch.hypot(x, y)
    image[0][radius < 80] = 40.0
    image[0][(radius < 75) & (radius > 66)] = 1200.0
    image[0][(x.abs() < 12) & (y < -20) & (y > -40)] = 2500.0  # dense bone behind
    grid = VoxelGrid((90, 90, 8), np.diag([2.0, 2, 3, 1]).tolist())
    assert choose_implant(image, grid, 0.2) == "clips"
    image[0][((x - 30) ** 2 + (y - 40) ** 2 < 36)] = 2500.0
    assert choose_implant(image, grid, 0.2) == "dental"
    (filling,) = implant_pieces("dental", image, grid, *RODS)
    assert filling.radius == 1.5
    assert np.hypot(*(np.array(filling.ends[:2]) - (90 + 30, 90 + 40))) < 12


@pytest.mark.parametrize("name", ["lidc_0001_ct", "lungdx_A0001_ct_kernelB"])
def test_wires_hold_the_sternum_and_a_pacemaker_lies_under_the_skin_of_the_left_front(name):
    image, grid = scan(name)
    wires = implant_pieces("wires", image, grid, *RODS)
    places = np.array([piece.ends[:3] for piece in wires])
    body = np.argwhere(image[0].numpy() > -200)[::50] @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    middle, front = np.median(body[:, 0]), np.percentile(body[:, 1], 99.9)
    assert len(wires) % 15 == 0
    assert np.abs(places[:, 0] - middle).max() < 45
    assert (front - places[:, 1]).max() < 70
    assert (values(image, grid, places) > -200).mean() > 0.9
    can, *lead = implant_pieces("pacemaker", image, grid, *RODS)
    centre = (np.array(can.ends[:3]) + can.ends[3:]) / 2
    assert centre[0] < middle - 40  # the left, in RAS
    assert front - centre[1] < 90
    assert can.radius == 21
    assert np.linalg.norm(np.array(can.ends[:3]) - can.ends[3:]) == pytest.approx(7)
    assert values(image, grid, centre[None])[0] > -200
    assert values(image, grid, centre[None] + [0, 25, 0])[0] < -300
    assert lead


def test_rods_lie_rather_through_the_slices():
    image, grid = scan("sts_001_ct_image")
    ends = [implant_pieces("rods", image, grid, [k / 40, 0.5], [40.0, 40], [3.0, 0], k)[0].ends for k in range(40)]
    along = np.array([np.subtract(e[3:], e[:3]) for e in ends])
    along = along[np.linalg.norm(along, axis=1) > 1]
    lean = np.degrees(np.arccos(np.abs(along[:, 2]) / np.linalg.norm(along, axis=1)))
    assert np.median(lean) < 40
    assert lean.max() < 75


def test_air_has_no_place_and_materials_are_known():
    image, grid = torch.full((1, 40, 40, 5), -1000.0), VoxelGrid((40, 40, 5))
    for kind in IMPLANTS:
        assert implant_pieces(kind, image, grid, *RODS) == []
        assert set(MATERIALS[kind]) <= set(METALS)


@pytest.mark.parametrize("radius", [0.4, 0.8, 1.4])
def test_a_wire_thinner_than_a_voxel_keeps_its_section(radius):
    grid = VoxelGrid((40, 40, 12), np.diag([1.5, 1.5, 2, 1]).tolist())
    shares = []
    for shift in (0.0, 0.4, 0.75):
        ends = [[30 + shift, 30 - shift, 0.0, 30 + shift, 30 - shift, 22]]
        share = rod_share(ends, [radius], grid, torch.device("cpu"))[0, 0, :, :, 5].double()
        shares.append(float(share.sum()) * 1.5**2)
    assert np.mean(shares) == pytest.approx(np.pi * radius**2, rel=0.25)
