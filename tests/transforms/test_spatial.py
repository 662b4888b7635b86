"""RandAffineElastic in world coordinates, against closed forms, scipy and measured coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy.ndimage import affine_transform, binary_erosion, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from monai_medaug.core.call import apply_record
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.transforms import RandAffineElastic, RandAffineElasticd
from tests.folding import NO_AFFINE, indices, inside_of, unclamped_map

STILL = {**NO_AFFINE, "elastic_alpha": 0}
BOTH = {"keys": ["image", "mask"], "prob": 1.0, "mode": ("bilinear", "nearest")}


def grid_affine(kind: str, spacing: tuple[float, ...]) -> torch.Tensor:
    """(4, 4) of a grid with this spacing: plain, turned, flipped with axes exchanged, or sheared."""
    affine = np.diag([*spacing, *[1.0] * (4 - len(spacing))])
    affine[:3, 3] = (-30, 12, 7)
    if kind == "turned":
        affine[:3, :3] = Rotation.from_euler("zyx", [30, 20, -15], degrees=True).as_matrix() @ affine[:3, :3]
    elif kind == "flipped":
        affine[:3, :3] = np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]]) @ affine[:3, :3]
    elif kind == "sheared":
        affine[:3, :3] = np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 0.95]]) @ affine[:3, :3]
    return torch.from_numpy(affine)


def meta(array: Any, affine: Any = None) -> MetaTensor:
    return MetaTensor(torch.as_tensor(array), affine=torch.eye(4) if affine is None else torch.as_tensor(affine))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def world_of(affine: np.ndarray, index: np.ndarray) -> np.ndarray:
    """World positions (3, N) of voxel indices (D, N)."""
    return affine[:3, : len(index)] @ index + affine[:3, 3:]


def measured_world_map(shape: tuple[int, ...], affine: torch.Tensor, seed: int = 0, **arguments: Any):
    """World positions (3, N) of output voxels and of their sources, where these lie inside, and the record."""
    index = indices(shape)
    transform = RandAffineElastic(prob=1.0, **{**STILL, **arguments}).set_random_state(seed)
    out = transform(meta(index, affine))
    source = out.numpy()
    inside = inside_of(source)
    assert inside.mean() > 0.3
    positions = [world_of(affine.numpy(), x[:, inside]) for x in (index.numpy(), source)]
    return *positions, out.applied_operations[-1]["extra_info"]["params"]


def fitted(points: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Least-squares linear map between centred point sets; zero across a plane."""
    centred = [x - x.mean(1, keepdims=True) for x in (points, images)]
    return centred[1] @ np.linalg.pinv(centred[0], rcond=1e-9)


# ---- the affine part --------------------------------------------------------------------------------------------

GRIDS_3D = [("plain", (1, 1, 5)), ("turned", (1, 1, 5)), ("flipped", (0.7, 2, 1.5)), ("sheared", (1, 1, 5))]


@pytest.mark.parametrize(("kind", "spacing"), GRIDS_3D)
def test_five_degrees_are_five_degrees(kind, spacing):
    shape = (40, 36, 14)
    affine = grid_affine(kind, spacing)
    world, source, params = measured_world_map(shape, affine, rotate_degrees=(5, 5))
    linear = fitted(world, source)
    np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-8)  # a rotation: no skew, no scaling
    turn = Rotation.from_matrix(linear).as_rotvec(degrees=True)
    assert np.linalg.norm(turn) == pytest.approx(5, abs=1e-6)
    np.testing.assert_allclose(turn, -5 * np.array(params["rotate_axis"]), atol=1e-6)  # the source lies back


@pytest.mark.parametrize(
    ("kind", "order"), [("plain", 4), ("turned", 4), ("flipped", 4), ("sheared", 4), ("plain", 3), ("sheared", 3)]
)
def test_five_degrees_in_a_plane(kind, order):
    affine = grid_affine(kind, (1, 3))
    if order == 3:
        affine = affine[[0, 1, 3]][:, [0, 1, 3]]
    full = torch.eye(4, dtype=torch.float64)
    full[: order - 1, :2], full[: order - 1, 3] = affine[:-1, :2], affine[:-1, -1]
    index = indices((60, 30))
    out = RandAffineElastic(prob=1.0, **{**STILL, "rotate_degrees": (5, 5)})(meta(index, affine)).numpy()
    inside = inside_of(out)
    world, source = (world_of(full.numpy(), x[:, inside]) for x in (index.numpy(), out))
    arms = [x - x.mean(1, keepdims=True) for x in (world, source)]
    lengths = [np.linalg.norm(a, axis=0) for a in arms]
    np.testing.assert_allclose(lengths[0], lengths[1], atol=1e-8)
    far = lengths[0] > 5
    cosine = ((arms[0] * arms[1]).sum(0) / (lengths[0] * lengths[1]))[far]
    np.testing.assert_allclose(np.degrees(np.arccos(cosine)), 5, atol=1e-5)


@pytest.mark.parametrize(("kind", "spacing"), GRIDS_3D)
def test_scaling_is_isotropic_in_millimetres(kind, spacing):
    world, source, _ = measured_world_map((30, 32, 12), grid_affine(kind, spacing), scale_fraction=(0.1, 0.1))
    np.testing.assert_allclose(fitted(world, source), np.eye(3) / 1.1, atol=1e-8)


@pytest.mark.parametrize(("kind", "spacing"), GRIDS_3D)
def test_the_shift_is_a_share_of_the_field_of_view(kind, spacing):
    """5 % of the voxels along each of the grid's axes, times their spacing."""
    affine = grid_affine(kind, spacing)
    world, source, _ = measured_world_map((40, 36, 14), affine, translate_fraction=(0.05, 0.05))
    expected = affine[:3, :3].numpy() @ (0.05 * np.array([40, 36, 14]))
    if kind == "plain":
        np.testing.assert_allclose(expected, [2, 1.8, 3.5])
    np.testing.assert_allclose(world - source, np.broadcast_to(expected[:, None], world.shape), atol=1e-8)


@pytest.mark.parametrize(("kind", "spacing"), GRIDS_3D)
def test_the_similarity_as_documented(kind, spacing):
    """The anatomy moves to centre + scale R (x - centre) + shift, and the source is the inverse of it."""
    shape = np.array([40, 36, 14])
    affine = grid_affine(kind, spacing)
    ranges = {"rotate_degrees": 20, "translate_fraction": 0.1, "scale_fraction": 0.2}
    world, source, params = measured_world_map(tuple(shape), affine, seed=4, **ranges)
    matrix = affine.numpy()
    centre = world_of(matrix, (shape[:, None] - 1) / 2)
    shift = matrix[:3, :3] @ (np.array(params["translate_fraction"]) * shape)
    turn = Rotation.from_rotvec(np.radians(params["rotate_degrees"]) * np.array(params["rotate_axis"])).as_matrix()
    np.testing.assert_allclose(centre + params["scale"] * turn @ (source - centre) + shift[:, None], world, atol=1e-8)


@pytest.mark.parametrize("shape", [(50, 60), (24, 30, 20)])
def test_without_elastic_part_it_equals_scipy(shape):
    image = gaussian_filter(np.random.default_rng(0).normal(0, 1, shape), 1.5)
    transform = RandAffineElastic(prob=1.0, elastic_alpha=0, rotate_degrees=30, scale_fraction=0.2).set_random_state(1)
    out = transform(meta(image[None].astype(np.float32)))
    extra = out.applied_operations[-1]["extra_info"]
    params = extra["params"]
    angle, axes = np.radians(params["rotate_degrees"]), len(shape)
    if axes == 2:
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    else:
        turn = Rotation.from_rotvec(angle * np.array(params["rotate_axis"])).as_matrix()
    back = np.linalg.inv(params["scale"] * turn)
    centre = (np.array(shape) - 1) / 2
    shift = np.array(params["translate_fraction"][-axes:]) * shape
    expected = affine_transform(image, back, centre - back @ (centre + shift), order=1, mode="nearest")
    assert np.abs(expected - image).max() > 0.1
    np.testing.assert_allclose(out[0].numpy(), expected, atol=1e-4 * np.ptp(image))
    assert extra["figures"]["elastic_rms_mm"] == 0


# ---- image and mask on grids of their own --------------------------------------------------------------------


def ball(shape: tuple[int, ...], affine: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """1 minus the normalised distance from an ellipsoid's centre, positive inside."""
    world = world_of(affine, indices(shape).numpy().reshape(3, -1)).reshape(3, *shape)
    offset = (world - centre.reshape(3, 1, 1, 1)) / radii.reshape(3, 1, 1, 1)
    return 1 - np.sqrt((offset**2).sum(0))


CENTRE, RADII = np.array([48.0, 45, 44]), np.array([32.0, 25, 28])


def other_grid(kind: str) -> tuple[tuple[int, ...], np.ndarray]:
    """2 mm grids round the 96 mm cube of the image: another origin, other axes, or turned."""
    if kind == "origin":
        matrix, corner, shape = np.diag([2.0, 2, 2]), (-7.3, -4.9, -6.1), (56, 54, 55)
    elif kind == "axes":
        matrix, corner, shape = np.array([[0, 0, 2.0], [0, -2, 0], [2, 0, 0]]), (-6.5, 102.2, -4.4), (54, 56, 55)
    else:
        turn = Rotation.from_euler("zyx", [25, -10, 15], degrees=True).as_matrix()
        matrix, shape = 2 * turn, (66, 66, 66)
        corner = 47.5 - matrix @ (np.array(shape) - 1) / 2
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, corner
    return shape, affine


@pytest.mark.parametrize("kind", ["origin", "axes", "turned"])
@pytest.mark.parametrize("seed", range(2))
def test_image_and_mask_on_different_grids_stay_aligned(kind, seed):
    """The 1 mm image's outline and the 2 mm mask: Dice ≥ 0.95 on one grid, centres within 0.25 mm."""
    shape, affine = other_grid(kind)
    inner = indices((96, 96, 96)).numpy().reshape(3, -1)
    data = {
        "image": meta(ball((96, 96, 96), np.eye(4), CENTRE, RADII)[None].astype(np.float32)),
        "mask": meta((ball(shape, affine, CENTRE, RADII) > 0).astype(np.uint8)[None], affine),
    }

    def compared(image: torch.Tensor, mask: torch.Tensor) -> tuple[float, float]:
        there = np.linalg.inv(affine)
        shown = map_coordinates(mask[0].numpy(), there[:3, :3] @ inner + there[:3, 3:], order=0) > 0
        outlined = image[0].numpy().ravel() > 0
        index = np.stack(np.nonzero(mask[0].numpy()))
        offset = inner[:, outlined].mean(1) - world_of(affine, index).mean(1)
        return dice(outlined, shown), float(np.linalg.norm(offset))

    out = RandAffineElasticd(**BOTH, rotate_degrees=10).set_random_state(seed)(data)
    assert compared(out["image"], data["mask"])[0] < 0.93  # it did move
    overlap, offset = compared(out["image"], out["mask"])
    assert overlap >= 0.95
    assert offset < 0.25
    np.testing.assert_allclose(out["mask"].affine, affine)


def test_a_key_without_affine_takes_that_of_the_first_key_of_equal_shape():
    shape, affine = (30, 32, 9), grid_affine("turned", (1, 1, 5))
    labels = (torch.rand(1, *shape, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
    image = meta(torch.zeros(1, *shape), affine)

    def mask_of(mask: Any) -> np.ndarray:
        transform = RandAffineElasticd(**BOTH, rotate_degrees=(15, 15)).set_random_state(0)
        return np.asarray(transform({"image": image, "mask": mask})["mask"])

    expected = mask_of(meta(labels, affine))
    np.testing.assert_array_equal(mask_of(labels), expected)
    np.testing.assert_array_equal(mask_of(labels.numpy()), expected)
    assert (mask_of(meta(labels)) != expected).any()
    smaller = labels[:, :-1]
    np.testing.assert_array_equal(mask_of(smaller), mask_of(meta(smaller)))  # another shape: 1 mm


# ---- the elastic part ----------------------------------------------------------------------------------------


def elastic_map(shape: tuple[int, ...], spacing: tuple[float, ...], seed: int, **arguments: Any) -> np.ndarray:
    """Displacement (D, *shape) in mm; NaN where the source lies outside."""
    index = indices(shape)
    affine = torch.diag(torch.tensor([*spacing, *[1.0] * (4 - len(spacing))], dtype=torch.float64))
    transform = RandAffineElastic(prob=1.0, **{**NO_AFFINE, **arguments}).set_random_state(seed)
    source = transform(meta(index, affine)).numpy()
    moving = [a for a, n in enumerate(shape) if n > 1]
    inside = inside_of(source[moving][(slice(None), *(slice(None) if n > 1 else 0 for n in shape))])
    scale = np.array(spacing).reshape(-1, *[1] * len(shape))
    return np.where(inside.reshape(shape), (source - index.numpy()) * scale, np.nan)


@pytest.mark.parametrize(("shape", "spacing"), [((64, 64, 22), (1, 1, 3)), ((96, 40), (0.5, 1.2))])
def test_displacement_is_equal_in_millimetres_along_all_axes(shape, spacing):
    """RMS of each component within 20 % of their mean, over 16 seeds: in voxels they would differ by the spacing."""
    squares = [
        np.nanmean(elastic_map(shape, spacing, s, elastic_sigma=6) ** 2, axis=(1, 2, 3)[: len(shape)])
        for s in range(16)
    ]
    rms = np.sqrt(np.mean(squares, axis=0))
    np.testing.assert_allclose(rms / rms.mean(), 1, atol=0.2)


def test_a_short_axis_moves_as_far_as_a_long_one():
    """Eight voxels take two cells of 3.5, sixty take ten of 5.9: the displacement in voxels is the same."""
    maps = [unclamped_map((60, 8), seed, 16, elastic_alpha=60, elastic_sigma=12)[0] for seed in range(24)]
    rms = np.sqrt(np.mean([(m - indices((60, 8)).numpy()) ** 2 for m in maps], axis=(0, 2, 3)))
    np.testing.assert_allclose(rms / rms.mean(), 1, atol=0.15)


def test_the_unit_is_the_finest_spacing():
    """On a grid of half the spacing the same draw moves half as many mm, on the very same path."""
    fine, coarse = (elastic_map((50, 60), (s, s), 3, elastic_alpha=300) for s in (0.5, 1.0))
    np.testing.assert_allclose(2 * fine, coarse, atol=1e-4)


def test_millimetres_are_voxels_at_one_millimetre():
    arguments = {"elastic_alpha": 500, "elastic_sigma": 7}
    maps = [elastic_map((40, 44, 36), (1, 1, 1), 2, elastic_unit=u, **arguments) for u in ("mm", "voxel")]
    np.testing.assert_array_equal(*maps)


def test_in_millimetres_the_grid_does_not_matter():
    """The same 64 mm at 1 and at 2 mm: the same field at the points that they share."""
    arguments = {"elastic_alpha": 100, "elastic_sigma": 8, "elastic_unit": "mm"}
    fine = elastic_map((65, 65), (1, 1), 1, **arguments)[:, ::2, ::2]
    coarse = elastic_map((33, 33), (2, 2), 1, **arguments)
    np.testing.assert_allclose(fine, coarse, atol=1e-4)
    assert np.nanmax(np.abs(coarse)) > 1


@pytest.mark.parametrize("axis", range(3))
def test_an_axis_of_one_voxel_gets_no_displacement(axis):
    shape = [48, 48, 48]
    shape[axis] = 1
    displacement = elastic_map(tuple(shape), (1, 1, 1), 0)
    rms = np.sqrt(np.nanmean(displacement**2, axis=(1, 2, 3)))
    assert rms[axis] == 0
    assert min(np.delete(rms, axis)) > 1


def test_rms_grows_with_sigma():
    maps = [[elastic_map((160, 160), (1, 1), seed, elastic_sigma=s) for seed in range(4)] for s in (4, 8, 16)]
    rms = [np.sqrt(np.nanmean(np.square(m))) for m in maps]
    assert rms[0] * 1.4 < rms[1] < rms[2] / 1.4


def test_strength_scales_toward_the_identity():
    image = meta(indices((64, 64)))
    figures, maps = [], []
    for strength in (1.0, 0.5, 0.0):
        transform = RandAffineElastic(prob=1.0).set_random_state(2)
        transform.strength = strength
        out = transform(image)
        extra = out.applied_operations[-1]["extra_info"]
        figures.append({**extra["figures"], **extra["params"]})
        maps.append(out.numpy())
    assert figures[1]["rotate_degrees"] == figures[0]["rotate_degrees"] / 2
    assert figures[1]["scale"] - 1 == pytest.approx((figures[0]["scale"] - 1) / 2)
    assert figures[1]["elastic_rms_mm"] == pytest.approx(figures[0]["elastic_rms_mm"] / 2, rel=0.2)
    assert figures[2]["displacement_max_mm"] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(maps[2], image.numpy(), atol=1e-9)


# ---- the inverse ---------------------------------------------------------------------------------------------


def smooth_image(shape: tuple[int, ...]) -> np.ndarray:
    """Waves of 30 to 60 voxels, values within about [0, 100]."""
    axes = indices(shape).numpy()
    phase = sum(np.sin(2 * np.pi * a / (30 + 10 * k) + k) for k, a in enumerate(axes))
    return (50 + 50 * phase / len(shape))[None].astype(np.float32)


@pytest.mark.parametrize("path", ["compiled", "torch"])
@pytest.mark.parametrize(
    ("shape", "spacing"), [((256, 256), (1, 1)), ((80, 84, 72), (1, 1, 1)), ((96, 90, 48), (1, 1, 2))]
)
def test_the_inverse_brings_image_and_mask_back(shape, spacing, path, monkeypatch):
    """Mean error ≤ 1 % of the range where nothing left the image, Dice ≥ 0.97, with the affine part on."""
    if path == "torch":
        monkeypatch.setattr("monai_medaug.functional.acceleration._enabled", False)
    affine = grid_affine("turned", spacing)
    extent = np.array(shape).reshape(-1, *[1] * len(shape))
    offset = (indices(shape).numpy() - (extent - 1) / 2) / (0.33 * extent)
    labels = ((offset**2).sum(0) < 1).astype(np.uint8)[None]
    for seed in range(2 if path == "compiled" else 1):
        data = {"image": meta(smooth_image(shape), affine), "mask": meta(labels, affine)}
        transform = RandAffineElasticd(**BOTH).set_random_state(seed)
        out = transform(data)
        back = transform.inverse(out)
        assert dice(out["mask"].numpy() > 0, labels > 0) < 0.96  # it did move
        seen = RandAffineElasticd(["image"], prob=1.0, padding_mode="zeros").set_random_state(seed)
        shown = seen.inverse(seen({"image": meta(np.ones((1, *shape), np.float32), affine)}))["image"][0].numpy()
        interior = binary_erosion(shown > 0.999, iterations=2)
        assert interior.mean() > 0.3
        error = np.abs(back["image"].numpy() - data["image"].numpy())[0][interior]
        assert error.mean() <= 0.01 * np.ptp(data["image"].numpy())
        assert dice(back["mask"].numpy() > 0, labels > 0) >= 0.97
        assert back["mask"].dtype == torch.uint8
        assert back["image"].applied_operations == []


def test_the_inverse_holds_for_keys_on_other_grids():
    shape, affine = other_grid("axes")
    labels = (ball(shape, affine, CENTRE, RADII) > 0).astype(np.uint8)[None]
    data = {"image": meta(torch.zeros(1, 96, 96, 96)), "mask": meta(labels, affine)}
    transform = RandAffineElasticd(**BOTH).set_random_state(0)
    out = transform(data)
    assert dice(out["mask"].numpy() > 0, labels > 0) < 0.95
    assert dice(transform.inverse(out)["mask"].numpy() > 0, labels > 0) >= 0.95  # 2 mm voxels: 0.97 at 1 mm


# ---- padding and invariants ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padding", "image_fill", "mask_fill"),
    [(-1000, -1000, 0), (-1000.0, -1000, 0), ("zeros", 0, 0), ((-1000, 3), -1000, 3), (("border", 3), 100, 3)],
)
def test_what_lies_outside(padding, image_fill, mask_fill):
    """An image and a mask of one value each, moved by 30 %: the rest is padding."""
    data = {"image": meta(torch.full((1, 40, 40, 40), 100.0)), "mask": meta(torch.full((1, 40, 40, 40), 7).short())}
    transform = RandAffineElasticd(**BOTH, **{**STILL, "translate_fraction": (0.3, 0.3)}, padding_mode=padding)
    out = transform(data)
    moved = np.zeros((40, 40, 40), bool)
    moved[12:, 12:, 12:] = True
    np.testing.assert_allclose(out["image"][0].numpy(), np.where(moved, 100, image_fill), atol=1e-4)
    np.testing.assert_array_equal(out["mask"][0].numpy(), np.where(moved, 7, mask_fill))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 24), min_size=2, max_size=3),
    spacing=st.lists(st.sampled_from([0.4, 1.0, 5.0]), min_size=3, max_size=3),
    seed=st.integers(0, 2**31 - 1),
    sigma=st.sampled_from([1.0, 4.0, 30.0]),
    padding=st.sampled_from(["border", "reflection", "zeros", -1000.0]),
)
def test_invariants(shape, spacing, seed, sigma, padding):
    """A constant stays constant, labels are only copied, values stay in their range, and no fold is recorded."""
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    random = np.random.default_rng(seed)
    labels = random.choice([0, 3, 200], (1, *shape)).astype(np.uint8)
    values = random.normal(0, 300, (1, *shape)).astype(np.float32)
    data = {
        "constant": meta(torch.full((1, *shape), 37.0), affine),
        "values": meta(values, affine),
        "mask": meta(labels, affine),
    }
    modes, paddings = ("bilinear", "bilinear", "nearest"), ("border", padding, padding if padding != -1000 else 0.0)
    transform = RandAffineElasticd(list(data), prob=1.0, mode=modes, padding_mode=paddings, elastic_sigma=sigma)
    out = transform.set_random_state(seed)(data)
    np.testing.assert_allclose(out["constant"].numpy(), 37, rtol=1e-6)
    fill = {"zeros": [0.0], -1000.0: [-1000.0]}.get(padding, [])
    allowed = np.append(values, fill)
    assert allowed.min() - 1e-3 <= out["values"].numpy().min()
    assert out["values"].numpy().max() <= allowed.max() + 1e-3
    assert set(np.unique(out["mask"].numpy())) <= set(np.unique(labels)) | ({0} if fill else set())
    figures = out["constant"].applied_operations[-1]["extra_info"]["figures"]
    assert figures["min_det_j"] >= 0.2 - 1e-6
    assert np.isfinite(list(figures.values())).all()


@pytest.mark.parametrize("shape", [(33, 40), (17, 20, 1), (17, 20, 14)])
def test_the_identity_draw_returns_the_image(shape):
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    labels = (image > 0).to(torch.int32)
    affine = grid_affine("turned", (0.9, 1.1, 3.0)[: len(shape)])
    out = RandAffineElasticd(**BOTH, **STILL)({"image": meta(image, affine), "mask": meta(labels, affine)})
    torch.testing.assert_close(out["image"].as_tensor(), image, atol=1e-5, rtol=0)
    assert torch.equal(out["mask"].as_tensor(), labels)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"rotate_degrees": 200}, "rotate_degrees"),
        ({"translate_fraction": (0.2, 0.1)}, "translate_fraction"),
        ({"scale_fraction": -0.95}, "scale_fraction"),
        ({"scale_fraction": 0.9}, "scale_fraction"),
        ({"elastic_alpha": -1}, "elastic_alpha"),
        ({"elastic_sigma": 0}, "elastic_sigma"),
        ({"elastic_unit": "pixel"}, "elastic_unit"),
        ({"min_jacobian": 0}, "min_jacobian"),
        ({"mode": "bicubic"}, "mode"),
        ({"padding_mode": "wrap"}, "padding_mode"),
        ({"prob": 1.5}, "prob"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        RandAffineElastic(**arguments)


# ---- the axis of rotation ------------------------------------------------------------------------------------


def turned_axis(kind: str, spacing: tuple[float, ...], rotate_axis: str | None) -> tuple[np.ndarray, dict]:
    """Measured unit vector of a rotation by 5°, and the record's parameters."""
    arguments = {"rotate_degrees": (5, 5), "rotate_axis": rotate_axis}
    world, source, params = measured_world_map((40, 36, 14), grid_affine(kind, spacing), **arguments)
    turn = Rotation.from_matrix(fitted(source, world)).as_rotvec(degrees=True)
    return turn / np.linalg.norm(turn), params


@pytest.mark.parametrize("kind", ["plain", "turned", "flipped", "sheared"])
def test_thick_slices_rotate_in_their_plane(kind):
    """About the normal of the planes, also where a tilted gantry shears the grid."""
    matrix = grid_affine(kind, (1, 1, 3.2)).numpy()
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    for rotate_axis in ("automatic", "slice"):
        axis, params = turned_axis(kind, (1, 1, 3.2), rotate_axis)
        assert abs(axis @ normal) / np.linalg.norm(normal) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(params["rotate_axis"], axis, atol=1e-6)


def test_which_volumes_rotate_about_the_slice_axis():
    drawn = turned_axis("plain", (1, 1, 2.9), None)[0]
    np.testing.assert_allclose(turned_axis("plain", (1, 1, 2.9), "automatic")[0], drawn, atol=1e-6)
    np.testing.assert_allclose(turned_axis("plain", (1, 1, 9), None)[0], drawn, atol=1e-6)
    assert abs(drawn).max() < 0.99
    np.testing.assert_allclose(abs(turned_axis("plain", (1, 1, 2.9), "slice")[0]), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(abs(turned_axis("plain", (1, 4, 1), "automatic")[0]), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(abs(turned_axis("plain", (1, 1, 1), "slice")[0]), [0, 0, 1], atol=1e-6)


def test_rotation_in_the_plane_replays_and_inverts():
    affine = grid_affine("turned", (1, 1, 4))
    image = meta(torch.rand(1, 30, 28, 12), affine)
    out = RandAffineElastic(prob=1.0, rotate_axis="automatic").set_random_state(3)(image)
    record = out.applied_operations[-1]
    grid = VoxelGrid(tuple(image.shape[1:]), affine.tolist())
    assert torch.equal(apply_record(record, image.as_tensor(), grid), out.as_tensor())
    first = {**record["extra_info"]["params"]}
    del first["rotate_about"]  # as a record of the first version
    older = {**record, "extra_info": {**record["extra_info"], "params": first}}
    assert torch.equal(apply_record(older, image.as_tensor(), grid), out.as_tensor())


# ---- shear -------------------------------------------------------------------------------------------------------


def sheared(image, axes, degrees=10.0):
    shear = {"rotate_degrees": 0, "translate_fraction": 0, "scale_fraction": 0, "elastic_mm": 0}
    operation = RandAffineElastic(**shear, shear_degrees=(degrees, degrees), prob=1.0)
    for seed in range(40):  # one that draws these axes
        out = operation.set_random_state(seed)(image)
        if out.applied_operations[-1]["extra_info"]["params"]["shear_axes"] == axes:
            return operation, out
    raise AssertionError(axes)


@pytest.mark.parametrize(("axes", "moved"), [([1, 2], 0), ([2, 1], 1)])
def test_shear_moves_lines_by_the_tangent_in_mm(axes, moved):
    """A ramp across the plane, whose shear is known, on pixels of 2 × 0.5 mm."""
    spacing = torch.tensor([2.0, 0.5])
    place = torch.stack(torch.meshgrid(torch.arange(30) * 2.0, torch.arange(80) * 0.5, indexing="ij"))
    affine = torch.diag(torch.tensor([2.0, 0.5, 1.0, 1.0], dtype=torch.float64))
    operation, out = sheared(MetaTensor(place[moved][None].clone(), affine=affine), axes)
    across = place[1 - moved] - spacing[1 - moved] * (place.shape[2 - moved] - 1) / 2
    expected = place[moved] - np.tan(np.radians(10)) * across
    middle = (slice(8, 22), slice(20, 60))
    assert float((out[0] - expected)[middle].abs().max()) < 1e-3
    back = operation.inverse(out)
    assert float((back[0] - place[moved])[middle].abs().max()) < 0.05


def test_without_shear_the_draws_are_those_of_before():
    """Seeds of users who don't know of it keep their images."""
    drawn = RandAffineElastic().set_random_state(5).draw()
    assert "shear_degrees" not in drawn
    assert drawn["rotate_degrees"] == pytest.approx(0.184180, abs=1e-5)


def test_shear_stays_within_thick_slices_and_keeps_volumes():
    label = torch.zeros(1, 40, 40, 6)
    label[:, 12:28, 12:28, 1:5] = 1
    image = MetaTensor(label, affine=torch.diag(torch.tensor([1.0, 1, 6, 1], dtype=torch.float64)))
    arguments = {"rotate_degrees": 0, "translate_fraction": 0, "scale_fraction": 0, "elastic_mm": 0, "prob": 1.0}
    operation = RandAffineElastic(**arguments, shear_degrees=(12, 12), rotate_axis="automatic", mode="nearest")
    for seed in range(6):
        out = operation.set_random_state(seed)(image)
        assert set(out.applied_operations[-1]["extra_info"]["params"]["shear_axes"]) == {0, 1}
        assert float(out[..., 0].sum()) == float(out[..., 5].sum()) == 0, "a slice leaned over"
        assert float(out.sum()) == pytest.approx(float(label.sum()), rel=0.05)
