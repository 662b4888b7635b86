"""The picture: the right slice, the right way up, the grid bent as the image was, and nothing in the PNG but pixels."""

import struct

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from monai.data import MetaTensor

from monai_medaug.core.call import apply_record
from monai_medaug.figures import augmentation_figure, geometric_record
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms import RandAffineElastic, RandHUContrast, augmentation_report, ct_augmentation
from tests.contract.cases import RANDOM_CASES
from tests.scan_files import AFFINE, ct_volume

SHAPE = (9, 8, 7)


def ras_volume():
    """Values that tell where a voxel lies: 100 x + 10 y + z in voxels along R, A and S; the affine is the identity."""
    x, y, z = np.indices(SHAPE)
    return 100 * x + 10 * y + z


def reoriented(array, order, flips):
    """The same volume in the world, stored with other axes."""
    affine = np.eye(4)[:, [*order, 3]]
    array = array.transpose(order)
    for axis, flip in enumerate(flips):
        if flip:
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
            array = np.flip(array, axis)
    return array.copy(), affine


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(0, 0, 0), (1, 1, 0), (0, 1, 1)])
def test_axial_slice_with_right_on_the_left_and_anterior_on_top(order, flips):
    array, affine = reoriented(ras_volume(), order, flips)
    plane = DisplayPlane.through(VoxelGrid(array.shape, affine.tolist()))
    picture = plane.cut(array)
    x, y = np.arange(9)[::-1], np.arange(8)[::-1]
    np.testing.assert_array_equal(picture, 100 * x[None, :] + 10 * y[:, None] + 3)
    assert plane.letters == ("A", "R")


def test_2d_slices_stand_upright():
    coronal = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -2.0, 0, 0], [0, 0, 0, 1]])  # x to the right, y to the feet
    plane = DisplayPlane.through(VoxelGrid((5, 6), coronal.tolist()))
    array = np.arange(30).reshape(5, 6)
    np.testing.assert_array_equal(plane.cut(array), array[::-1].T)
    assert plane.letters == ("S", "R")
    assert plane.aspect == 2
    bare = DisplayPlane.through(VoxelGrid((5, 6)))
    np.testing.assert_array_equal(bare.cut(array), array)


def test_slice_with_most_of_the_mask_also_on_another_grid():
    mask = np.zeros((20, 18, 24), np.uint8)
    mask[3:6, 3:6, 4] = mask[4:15, 4:15, 9] = 1
    image = VoxelGrid((20, 18, 24), AFFINE.tolist())
    assert DisplayPlane.through(image, MetaTensor(mask[None], affine=AFFINE)).index == 9
    finer = AFFINE @ np.diag([1, 1, 0.5, 1])
    plane = DisplayPlane.through(image, MetaTensor(mask.repeat(2, axis=2)[None], affine=finer))
    assert plane.index in (9, 10)
    flipped, affine = mask[:, :, ::-1].copy(), AFFINE @ np.diag([1, 1, -1, 1])
    affine[:3, 3] = AFFINE[:3, :3] @ [0, 0, 23] + AFFINE[:3, 3]
    flipped = MetaTensor(flipped[None], affine=affine)
    plane = DisplayPlane.through(image, flipped)
    assert plane.index == 9
    np.testing.assert_array_equal(plane.resampled(flipped), plane.cut(mask))
    assert DisplayPlane.through(image, MetaTensor(0 * mask[None], affine=AFFINE)).index == 12


def test_the_drawn_grid_is_the_deformation_of_the_whole_volume():
    deform = RandAffineElastic(prob=1, elastic_alpha=200).set_random_state(3)
    image = MetaTensor(torch.from_numpy(ct_volume()).float()[None], affine=AFFINE)
    record = geometric_record(deform(image))
    grid = VoxelGrid(tuple(image.shape[1:]), AFFINE.tolist())
    plane = DisplayPlane.through(grid)
    whole, part = (
        torch.from_numpy(np.indices(shape, dtype=np.float32)[[plane.rows, plane.columns]])
        for shape in (grid.shape, plane.slab.shape)
    )
    expected = apply_record(record, whole, grid, padding="border")
    drawn = apply_record(record, part, plane.slab, padding="border")
    for want, got, straight in zip(expected, drawn, part, strict=True):
        np.testing.assert_allclose(plane.cut(got.numpy()), plane.cut(want.numpy()), atol=1e-3)
        assert (got - straight).abs().max() > 0.5


def test_last_geometric_step_is_found_and_intensity_steps_are_not():
    image = MetaTensor(torch.from_numpy(ct_volume()).float()[None], affine=AFFINE)
    assert geometric_record(image) is None
    assert geometric_record(np.zeros(3)) is None
    skipped = RandAffineElastic(prob=0)(image)
    assert geometric_record(RandHUContrast(prob=1)(skipped)) is None
    first = RandAffineElastic(prob=1).set_random_state(0)(image)
    second = RandAffineElastic(prob=1).set_random_state(1)(first)
    assert geometric_record(RandHUContrast(prob=1)(second)) is second.applied_operations[1]


def png_chunks(content):
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, names = 8, set()
    while at < len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        names.add(name)
        at += length + 12
    return names


def test_figure_of_a_preset_in_2d_and_3d(tmp_path):
    for n, part in enumerate((slice(None), 5)):
        volume = np.ascontiguousarray(ct_volume()[..., part])
        before = {
            "image": MetaTensor(torch.from_numpy(volume).float()[None], affine=AFFINE),
            "mask": MetaTensor(torch.from_numpy((volume > -300).astype(np.uint8))[None], affine=AFFINE),
        }
        after = ct_augmentation("image", "mask", prob=1.0).set_random_state(0)(before)
        report = augmentation_report(after)
        path = tmp_path / f"{n}.png"
        figure = augmentation_figure(before["image"], after["image"], before["mask"], after["mask"], report, path=path)
        titles = [axes.get_title() for axes in figure.axes]
        assert titles[:2] == ["original", "augmented"]
        assert titles[3:5] == ["deformation grid", "mask: before (white), after (orange)"]
        said = [text.get_text() for text in figure.axes[5].texts]
        assert "anatomy preserved: yes" in said
        assert "pathology preserved: not checked" in said
        assert ("slice" in said[0]) == (volume.ndim == 3)
        shown = [axes.images[0].get_array() for axes in figure.axes[:3]]
        np.testing.assert_allclose(shown[2], shown[1] - shown[0], atol=1e-3)
        assert png_chunks(path.read_bytes()) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}
    assert pyplot.get_fignums() == []


def test_figure_says_what_is_missing():
    figure = augmentation_figure(np.zeros((1, 9, 8), np.float32), torch.zeros(1, 9, 8))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[3:5] == ["no deformation", "no mask here"]
    with pytest.raises(ValueError, match="augmented must have the original's shape"):
        augmentation_figure(torch.zeros(1, 9, 8), torch.zeros(1, 9, 9))


def test_verdict_no_and_easing_are_written():
    report = {"steps": [], "anatomy_preserved": "no", "pathology_preserved": "yes", "strength": 0.35, "rejected": False}
    figure = augmentation_figure(torch.zeros(1, 9, 8), torch.zeros(1, 9, 8), report=report)
    said = [text.get_text() for text in figure.axes[5].texts]
    assert said == ["eased to 35% of what was drawn", "anatomy preserved: no", "pathology preserved: yes"]
    report |= {"rejected": True, "strength": 0.0}
    figure = augmentation_figure(torch.zeros(1, 9, 8), torch.zeros(1, 9, 8), report=report)
    assert figure.axes[5].texts[0].get_text() == "rejected: the input was returned"


def test_images_without_a_unit_and_inverted_ones():
    image = torch.linspace(0, 4000, 40 * 30).reshape(1, 40, 30)
    figure = augmentation_figure(image, image + 100, window=None, inverted=True, oriented=False)
    panels = figure.axes
    assert panels[0].images[0].get_cmap().name == "gray_r"
    np.testing.assert_allclose(panels[0].images[0].get_clim(), np.percentile(image, (0.5, 99.5)))
    assert panels[2].get_title() == "difference, -1980 (blue) to +1980 (red)"
    np.testing.assert_allclose(panels[2].images[0].get_array(), 100, atol=1e-3)
    assert not panels[0].texts[0].get_text()


@pytest.mark.parametrize("case", RANDOM_CASES, ids=str)
def test_every_operation_is_put_into_words(case):
    out = case.array()(MetaTensor(case.image(2)))
    figure = augmentation_figure(case.image(2).float(), out.as_tensor().float(), report=augmentation_report(out))
    words = " ".join(text.get_text() for text in figure.axes[5].texts)
    assert "{" not in words
    assert case.cls.phrases or case.cls.__name__.removeprefix("Rand") in words
