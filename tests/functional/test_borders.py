"""Edges at label borders, on balls whose edges are known."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.borders import REACH, border_lines, borders_in_place, inner_lines, label_blocks
from monai_medaug.functional.edges import disturbed_places, edges_kept
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.transfer import transfer_curve
from monai_medaug.functional.voxels import values_at

GRIDS = {
    "3d": VoxelGrid((56, 52, 48), np.eye(4).tolist()),
    "thick": VoxelGrid((64, 60, 16), np.diag([0.8, 0.8, 4.0, 1]).tolist()),
    "2d": VoxelGrid((96, 90), np.eye(3).tolist()),
}


def ball(grid, shift=0.0, share=0.6):
    """A ball, bright with texture, and its label; ``shift`` in mm along the first axis."""
    axes = np.meshgrid(*[np.arange(n) * s for n, s in zip(grid.shape, grid.spacing, strict=True)], indexing="ij")
    sizes = np.array(grid.shape) * grid.spacing
    sizes[0] += 2 * shift
    distance = np.sqrt(sum((a - s / 2) ** 2 for a, s in zip(axes, sizes, strict=True)))
    sizes[0] -= 2 * shift
    radius = share * sizes.min() / 2
    smooth = np.clip((radius - distance) / min(grid.spacing) + 0.5, 0, 1)
    texture = gaussian_filter(np.random.RandomState(0).normal(0, 1, grid.shape), 1)
    return 100 * smooth + 10 * texture / texture.std(), (distance < radius).astype(np.uint8)


def compared(grid, before, after, labels):
    lines = border_lines(labels, grid)
    first, known = values_at(torch.from_numpy(before), lines.index)
    last, _ = values_at(torch.from_numpy(after), lines.index)
    return edges_kept(lines.place, first, last, known[:, 3:-3].all(1), transfer_curve(before.ravel(), after.ravel()))


@pytest.mark.parametrize("name", GRIDS)
def test_lines_cross_the_border_along_its_normal(name):
    grid = GRIDS[name]
    _, labels = ball(grid)
    lines = border_lines(labels, grid)
    sizes = np.array(grid.size) * grid.embedded_spacing
    start, end = (lines.index[:, i] * grid.embedded_spacing for i in (REACH, -1))
    outward = (start - sizes / 2) * (np.array(grid.size) > 1)
    cosine = ((end - start) * outward).sum(1) / np.linalg.norm(end - start, axis=1) / np.linalg.norm(outward, axis=1)
    assert np.median(cosine) > 0.97
    assert (values_at(labels, lines.index[:, REACH], linear=False)[0] == 1).all()
    assert (values_at(labels, lines.index[:, REACH + 2], linear=False)[0] == 0).mean() > 0.95
    assert (np.diff(lines.place) >= 0).all()
    assert len(np.unique(lines.place)) >= 12


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: 0.02 * x - 3,
        lambda x: np.clip(x, 20, 80),
        lambda x: (x - x.min()) ** 0.7,
        lambda x: x + np.random.RandomState(1).normal(0, 15, x.shape),
        lambda x: gaussian_filter(x, 0.5),
    ],
)
def test_harmless_changes_keep_the_edges(name, change):
    image, labels = ball(GRIDS[name])
    found = compared(GRIDS[name], image, change(image), labels)
    assert found.visible > 0.8 * found.places > 8
    assert found.kept >= 0.95
    assert max(found.disturbed) <= 0.05


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize(
    "change",
    [
        lambda x, grid: np.full_like(x, 7.0),
        lambda x, grid: -x,
        lambda x, grid: ball(grid, shift=5 * grid.spacing[0])[0],
        lambda x, grid: gaussian_filter(x, 6),
        lambda x, grid: ball(grid, share=0.8)[0],
        lambda x, grid: np.random.RandomState(2).normal(0, 50, x.shape),
    ],
)
def test_edges_that_moved_or_vanished_are_not_kept(name, change):
    image, labels = ball(GRIDS[name])
    assert compared(GRIDS[name], image, change(image, GRIDS[name]), labels).kept < 0.75


def test_steepness_is_the_gain_and_falls_with_blur():
    image, labels = ball(GRIDS["3d"])
    assert compared(GRIDS["3d"], image, 0.3 * image, labels).steepness == pytest.approx(0.3)
    assert compared(GRIDS["3d"], image, gaussian_filter(image, 3), labels).steepness < 0.5


def test_structure_that_appears_disturbs_and_noise_or_a_bias_do_not():
    grid = GRIDS["3d"]
    image, labels = ball(grid, share=0.9)
    lines = inner_lines(labels)
    assert (values_at(labels, lines.index[:, REACH], linear=False)[0] == 1).all()
    z = np.arange(grid.shape[0])[:, None, None]
    changed = {
        "noise": image + np.random.RandomState(1).normal(0, 15, image.shape),
        "bias": image * (1 + 0.4 * z / grid.shape[0]),
        "stripes": image + 60 * (z // 4 % 2),
    }
    shares = {}
    for name, after in changed.items():
        values = (values_at(torch.from_numpy(v), lines.index)[0] for v in (image, after))
        shares[name] = disturbed_places(lines.place, *values, transfer_curve(image.ravel(), after.ravel()))[0]
    assert shares["noise"] == shares["bias"] == 0
    assert shares["stripes"] > 0.25  # those along the stripes' axis


def test_a_border_that_moved_is_seen_and_resampling_is_not():
    grid = GRIDS["3d"]
    _, labels = ball(grid)
    lines = border_lines(labels, grid)
    assert borders_in_place(lines, labels, labels, lines.index) == (1, 1)
    grown = ball(grid, share=0.68)[1]
    assert borders_in_place(lines, labels, grown, lines.index)[0] < 0.5
    moved = lines.index + np.array([0.4, 0, 0])
    assert min(borders_in_place(lines, labels, labels, moved)) > 0.95
    assert borders_in_place(lines, labels, labels, lines.index + np.array([3, 0, 0]))[0] < 0.8


def test_maps_without_a_border_have_no_lines():
    grid = GRIDS["2d"]
    assert border_lines(np.zeros(grid.shape, np.uint8), grid) is None
    assert border_lines(np.ones(grid.shape, np.uint8), grid) is None
    assert inner_lines(np.zeros(grid.shape, np.uint8)) is None
    one = np.zeros(grid.shape, np.uint8)
    one[40, 40] = 1
    assert len(border_lines(one, grid).place) == 1


@pytest.mark.parametrize("n", [15, 71, 79])
def test_borders_at_the_far_end_are_seen(n):
    labels = np.zeros((n, n), np.uint8)
    labels[n - 6 : n - 1, n - 6 : n - 1] = 1
    lines = border_lines(labels, VoxelGrid((n, n), np.eye(3).tolist()))
    assert len(lines.place) >= 12
    assert values_at(labels, lines.index[:, REACH], linear=False)[1].all()


@pytest.mark.parametrize("shape", [(40, 37, 50), (90, 101), (61, 64), (20, 5, 60), (20, 17, 24), (3, 3, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32])
def test_blocks_and_lines_do_not_depend_on_the_path(shape, kind):
    field = gaussian_filter(np.random.RandomState(0).rand(*shape), 2)
    labels = ((300 * field).astype(int) % 7).astype(kind)
    grid = VoxelGrid(shape, np.diag([1, 1.5, 2, 1]).tolist() if len(shape) == 3 else None)
    blocks, lines = label_blocks(labels), border_lines(labels, grid)
    with torch_only():
        other_blocks, other_lines = label_blocks(labels), border_lines(labels, grid)
    assert np.array_equal(blocks.mixed, other_blocks.mixed)
    assert np.array_equal(blocks.inner, other_blocks.inner)
    for name in ("place", "label", "index"):
        assert np.allclose(getattr(lines, name), getattr(other_lines, name), rtol=1e-12)
