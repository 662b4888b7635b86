"""Landmarks and boxes follow the anatomy: checked against what the warped image shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from scipy.spatial.transform import Rotation

from monai_medaug.transforms import Batched, RandAffineElasticd
from tests.folding import indices, inside_of

SHAPES = [(128, 120), (60, 56, 40)]
SPACINGS = {2: (0.8, 1.3, 1.0), 3: (0.8, 1.3, 2.5)}


def grid_of(shape: tuple[int, ...], kind: str) -> np.ndarray:
    """(4, 4) affine: 1 mm, or anisotropic, turned (in the plane for 2D) and away from the origin."""
    affine = np.eye(4)
    if kind == "turned":
        angles = [25, 0, 0] if len(shape) == 2 else [25, -10, 15]
        turn = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
        affine[:3, :3] = turn @ np.diag(SPACINGS[len(shape)])
        affine[:3, 3] = (-20, 35, 0 if len(shape) == 2 else 11)
    return affine


def in_space(index: np.ndarray, affine: np.ndarray, space: str) -> np.ndarray:
    """Voxel positions (N, D) as the space's coordinates."""
    if space == "voxel":
        return index
    axes = index.shape[1]
    return index @ affine[:axes, :axes].T + affine[:axes, 3]


def from_space(points: np.ndarray, affine: np.ndarray, space: str) -> np.ndarray:
    if space == "voxel":
        return points
    axes = points.shape[1]
    return (points - affine[:axes, 3]) @ np.linalg.inv(affine[:axes, :axes]).T


def inner_points(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.3, 0.7, (count, len(shape))) * np.array(shape)


def transform_of(space: str, seed: int, **arguments: Any) -> RandAffineElasticd:
    return RandAffineElasticd(["image"], prob=1.0, point_space=space, **arguments).set_random_state(seed)


def meta(array: Any, affine: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.as_tensor(array), affine=torch.from_numpy(affine))


@pytest.mark.parametrize("space", ["world", "voxel"])
@pytest.mark.parametrize("kind", ["plain", "turned"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_point_moves_to_the_voxel_that_shows_it(shape, kind, space):
    """Output voxel q shows the input at source(q), by the warped coordinates: so source(q) moves to q, exactly."""
    affine = grid_of(shape, kind)
    image = meta(indices(shape), affine)
    source = transform_of(space, 3)({"image": image})["image"].numpy()
    chosen = np.argwhere(inside_of(source))[:: 97 if len(shape) == 2 else 997]
    shown = source[(slice(None), *chosen.T)].T
    assert len(chosen) > 50
    assert np.linalg.norm(shown - chosen, axis=1).mean() > 1
    out = transform_of(space, 3, point_keys="points")({"image": image, "points": in_space(shown, affine, space)})
    np.testing.assert_allclose(from_space(out["points"], affine, space), chosen, atol=1e-4)


@pytest.mark.parametrize("kind", ["plain", "turned"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_a_bright_spot_lands_where_the_point_says(shape, kind, seed):
    """Within 0.1 voxel. A long correlation length, for where the map bends the spot's centre is not the point's."""
    affine, index = grid_of(shape, kind), inner_points(shape, 1, seed)
    distance = ((indices(shape).numpy() - index[0].reshape(-1, *[1] * len(shape))) ** 2).sum(0)
    data = {"image": meta(np.exp(-distance / 8)[None], affine), "points": in_space(index, affine, "world")}
    out = transform_of("world", seed, point_keys="points", elastic_sigma=30)(data)
    moved = from_space(out["points"], affine, "world")[0]
    weight = out["image"][0].numpy() ** 6
    seen = (indices(shape).numpy() * weight).reshape(len(shape), -1).sum(1) / weight.sum()
    assert np.linalg.norm(moved - index[0]) > 0.5
    np.testing.assert_allclose(seen, moved, atol=0.1)


@pytest.mark.parametrize("space", ["world", "voxel"])
@pytest.mark.parametrize("kind", ["plain", "turned"])
@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back(shape, kind, space):
    """Within 1e-6, also for points outside the image."""
    affine = grid_of(shape, kind)
    index = np.concatenate([inner_points(shape, 200, 2), np.array([[-30.0] * len(shape), np.array(shape) + 10.0])])
    points = in_space(index, affine, space)
    transform = transform_of(space, 5, point_keys="points")
    out = transform({"image": meta(np.zeros((1, *shape), np.float32), affine), "points": points})
    back = transform.inverse(out)["points"]
    assert np.abs(out["points"] - points).max() > 1
    np.testing.assert_allclose(back, points, atol=1e-6)


def test_the_affine_part_alone_in_closed_form():
    """30° about the middle of a plane takes (1, 0) to (cos 30°, sin 30°)."""
    centre = np.array([31.5, 31.5])
    arguments = {"rotate_degrees": (30, 30), "translate_fraction": 0, "scale_fraction": 0, "elastic_alpha": 0}
    transform = transform_of("world", 0, point_keys="points", **arguments)
    data = {"image": meta(np.zeros((1, 64, 64), np.float32), np.eye(4)), "points": centre + np.array([[10.0, 0.0]])}
    turned = transform(data)["points"] - centre
    np.testing.assert_allclose(turned, [[10 * np.cos(np.pi / 6), 10 * np.sin(np.pi / 6)]], atol=1e-9)


@pytest.mark.parametrize("kind", ["plain", "turned"])
@pytest.mark.parametrize(
    ("shape", "shares"), [((128, 120), (0.35, 0.6)), ((60, 56, 40), (0.35, 0.6)), ((256, 256), (0.18, 0.81))]
)
@pytest.mark.parametrize("seed", range(4))
def test_boxes_bound_the_warped_box_tightly(shape, shares, kind, seed):
    """The warped mask lies inside the moved box but for the sampling, by at most 2 voxels (a sharp corner)."""
    affine = grid_of(shape, kind)
    low, high = (np.round(np.array(shape) * share).astype(int) for share in shares)
    mask = np.zeros((1, *shape), np.uint8)
    mask[(0, *(slice(a, b + 1) for a, b in zip(low, high, strict=True)))] = 1
    box = np.concatenate([low - 0.5, high + 0.5])[None]
    data = {"image": meta(mask, affine), "boxes": box}
    out = transform_of("voxel", seed, box_keys="boxes", mode="nearest")(data)
    found = np.stack(np.nonzero(out["image"][0].numpy()))
    got = out["boxes"][0].reshape(2, -1)
    assert np.abs(got - box.reshape(2, -1)).max() > 0.5
    gaps = np.stack([found.min(1) - got[0], got[1] - found.max(1)])
    assert gaps.min() > (-0.75 if max(shape) > 200 else -0.25)
    assert gaps.max() < 2


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_in_world_coordinates(shape):
    """On a 1 mm grid at the origin both spaces are one."""
    box = np.concatenate([np.array(shape) * 0.3, np.array(shape) * 0.6])[None]
    image = meta(np.zeros((1, *shape), np.float32), np.eye(4))
    moved = [transform_of(s, 1, box_keys="boxes")({"image": image, "boxes": box})["boxes"] for s in ("world", "voxel")]
    np.testing.assert_allclose(*moved, atol=1e-9)


def test_a_plane_in_a_volume_takes_three_coordinates():
    affine = grid_of((60, 56, 40), "turned")
    image = meta(np.zeros((1, 60, 56), np.float32), affine)
    point = (affine @ [20, 30, 0, 1])[None, :3]
    transform = transform_of("world", 2, point_keys="points")
    out = transform({"image": image, "points": point})
    assert abs((out["points"][0] - point[0]) @ affine[:3, 2]) < 1e-9  # it stays in the plane
    assert np.linalg.norm(out["points"] - point) > 0.5
    np.testing.assert_allclose(transform.inverse(out)["points"], point, atol=1e-6)


@pytest.mark.parametrize(
    "kind", [np.float64, np.float32, np.int64, torch.float64, torch.float32, torch.float16, torch.int32]
)
def test_kinds_and_types(kind):
    points = np.array([[20.0, 30.0], [40.0, 25.0]])
    data = {"image": meta(np.zeros((1, 64, 64), np.float32), np.eye(4)), "points": points}
    expected = transform_of("world", 4, point_keys="points")(data)["points"]
    tensor = isinstance(kind, torch.dtype)
    given = torch.from_numpy(points).to(kind) if tensor else points.astype(kind)
    kept = given.clone() if tensor else given.copy()
    out = transform_of("world", 4, point_keys="points")({**data, "points": given})["points"]
    assert type(out) is type(given)
    floating = kind.is_floating_point if tensor else np.issubdtype(kind, np.floating)
    assert out.dtype == (kind if floating else torch.float32 if tensor else np.float32)
    np.testing.assert_allclose(
        np.asarray(out, dtype=np.float64), expected, rtol=2e-3 if kind == torch.float16 else 1e-6
    )
    np.testing.assert_array_equal(np.asarray(given), np.asarray(kept))


def test_no_points_and_no_boxes_at_all():
    """As in a scan without a lesion."""
    data = {"image": meta(np.zeros((1, 32, 32), np.float32), np.eye(4))}
    data |= {"points": np.zeros((0, 2)), "boxes": torch.zeros(0, 4)}
    transform = transform_of("world", 0, point_keys="points", box_keys="boxes")
    out = transform(data)
    for result in (out, transform.inverse(out)):
        assert result["points"].shape == (0, 2)
        assert result["boxes"].shape == (0, 4)


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_empty_sets_of_any_kind_stay_as_they_are(shape):
    """As numpy reads an empty list: one axis."""
    kinds = [np.zeros(shape), np.zeros(shape, np.float32), torch.zeros(shape), torch.zeros(shape, dtype=torch.int64)]
    wide = (0, 4) if len(shape) == 2 else shape
    for points in [*kinds, [], ()]:
        boxes = points.reshape(wide) if hasattr(points, "reshape") else points
        data = {"image": meta(np.zeros((1, 32, 32), np.float32), np.eye(4)), "points": points, "boxes": boxes}
        transform = transform_of("voxel", 0, point_keys="points", box_keys="boxes")
        out = transform(data)
        for result in (out, transform.inverse(out)):
            assert result["points"] is points
            assert result["boxes"] is boxes


@pytest.mark.parametrize("shape", [(0,), (0, 2)])
def test_empty_sets_in_a_batch(shape):
    image = np.zeros((1, 32, 32), np.float32)
    batch = list_data_collate([{"image": meta(image, np.eye(4)), "points": torch.zeros(shape)} for _ in range(3)])
    out = Batched(transform_of("world", 0, point_keys="points"))(batch)
    assert out["points"].shape == (3, *shape)


def test_skipped_calls_leave_points():
    points = np.array([[3.0, 4.0]])
    transform = RandAffineElasticd(["image"], prob=0.0, point_keys="points")
    out = transform({"image": meta(np.zeros((1, 16, 16), np.float32), np.eye(4)), "points": points})
    np.testing.assert_array_equal(out["points"], points)


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.zeros((3, 4)), "shape"), (np.zeros(3), "shape"), (np.array([[np.nan, 0.0]]), "finite")],
)
def test_bad_points_are_named(points, message):
    data = {"image": meta(np.zeros((1, 16, 16), np.float32), np.eye(4)), "marks": points}
    with pytest.raises(ValueError, match=f"(?s)marks.*{message}"):
        transform_of("world", 0, point_keys="marks")(data)


def test_points_need_a_trace_to_follow():
    data = {"image": torch.zeros(1, 16, 16), "points": np.zeros((1, 2))}
    with pytest.raises(ValueError, match="MetaTensor"):
        transform_of("world", 0, point_keys="points")(data)
