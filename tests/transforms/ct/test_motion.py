"""Motion in CT: breathing drifts within a turn, in bands along the table, which lies still; jerks move a head."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.data.utils import list_data_collate

from monai_medaug.transforms import (
    Batched,
    RandCTBeamHardening,
    RandCTMotion,
    RandCTMotiond,
    augmentation_report,
    replay,
)
from monai_medaug.transforms.ct.motion import TRAJECTORIES, pose_course

N = 64
Y, X = torch.meshgrid(torch.arange(N) - 31.5, torch.arange(N) - 31.5, indexing="ij")
HEAD = torch.where(X**2 + Y**2 < 26**2, 40.0, -1000.0)
HEAD[(X**2 + Y**2 < 26**2) & (X**2 + Y**2 > 22**2)] = 900.0


def trunk(slices: int = 20, mm: float = 5.0) -> MetaTensor:
    """300 x 200 mm with lungs and a spine, on a table; the front lies towards the last row of the second axis."""
    x, y = torch.meshgrid(4.0 * (torch.arange(96) - 47.5), 4.0 * (torch.arange(80) - 39.5), indexing="ij")
    plane = torch.where((x / 150) ** 2 + (y / 100) ** 2 < 1, 40.0, -1000.0)
    for side in (-70, 70):
        plane[((x - side) / 40) ** 2 + (y / 60) ** 2 < 1] = -850.0
    plane[x**2 + (y + 75) ** 2 < 15**2] = 700.0
    plane[(x.abs() < 140) & (y > -132) & (y < -120)] = 100.0
    plane = plane + torch.randn(plane.shape, generator=torch.Generator().manual_seed(0))
    affine = torch.diag(torch.tensor([4.0, 4.0, mm, 1.0])).double()
    affine[:3, 3] = torch.tensor([-190.0, -158.0, 1000.0])
    return MetaTensor(plane[None, ..., None].repeat(1, 1, 1, slices), affine=affine)


ROWS = {"table": slice(5, 11), "back": slice(13, 17), "front": slice(62, 67)}
"""Along the second axis of the trunk."""


def change_of(image: MetaTensor, seed: int = 0, **arguments) -> torch.Tensor:
    out = RandCTMotion(prob=1.0, **arguments).set_random_state(seed)(image)
    return (out - image).as_tensor()[0]


def test_motion_keeps_the_anatomy_in_place_on_average():
    """The centroid of the skull moves less than a quarter voxel on average: poses are taken from their mean."""
    mask = (HEAD > 300).float()
    before = torch.stack([(mask * X).sum(), (mask * Y).sum()]) / mask.sum()
    transform = RandCTMotion(shift_mm=3, rotate_degrees=2, prob=1.0).set_random_state(0)
    moves = []
    for _ in range(20):
        skull = (transform(HEAD[None])[0] > 300).float()
        after = torch.stack([(skull * X).sum(), (skull * Y).sum()]) / skull.sum()
        moves.append(float((after - before).norm()))
    assert np.mean(moves) < 0.25


@pytest.mark.parametrize("trajectory", [*TRAJECTORIES[1:], "sinusoid"])
def test_courses_have_mean_zero_and_reach_one(trajectory):
    course = pose_course({"trajectory": trajectory, "cycles": 1.7, "phase": 0.3}, 360)
    assert abs(course.mean()) < 1e-9
    assert np.abs(course).max() == pytest.approx(1)


def test_breathing_makes_bands_along_the_table_of_its_own_period():
    """A breath of 4 s at 20 mm in 0.4 s is 200 mm: 40 slices. At rest, when breathed in or out, nothing changes."""
    timing = {"breath_seconds": 4, "turn_seconds": 0.4, "feed_mm": 20, "shift_mm": (3, 3)}
    change = change_of(trunk(80), trajectory="breathing", **timing).std((0, 1))
    assert float(change.max()) > 3
    assert float(change.min()) < 0.1 * float(change.max())
    torch.testing.assert_close(change[:40], change[40:], atol=0.15 * float(change.max()), rtol=0)
    assert float((change[:20] - change[20:40]).abs().max()) > 0.5 * float(change.max())


def test_the_front_breathes_and_the_back_and_the_table_lie_still():
    change = change_of(trunk(6), trajectory="breathing", shift_mm=(4, 4), breath_seconds=2).abs().amax((0, 2))
    back, front = ROWS["back"], ROWS["front"]
    assert float(change[front].max()) > 40
    assert float(change[back].max()) < 0.2 * float(change[front].max())
    assert float(change[ROWS["table"]].max()) < 10


@pytest.mark.parametrize("trajectory", ["step", "drift"])
def test_a_jerk_moves_the_patient_but_not_the_table(trajectory):
    change = change_of(trunk(2), trajectory=trajectory, shift_mm=(3, 3), rotate_degrees=0).abs().amax((0, 2))
    assert float(change[ROWS["front"]].max()) > 150
    assert float(change[ROWS["back"]].max()) > 150
    assert float(change[ROWS["table"]].max()) < 60


@pytest.mark.parametrize("shift", [4.0, 0.0])
def test_trunks_breathe_and_heads_jerk(shift):
    def course(image, **arguments):
        out = RandCTMotion(shift_mm=shift, prob=1.0, **arguments).set_random_state(1)(image)
        return augmentation_report(out)["steps"][0]

    head = MetaTensor(HEAD[None], affine=torch.diag(torch.tensor([3.0, 3.0, 1.0, 1.0])).double())
    assert course(trunk(2))["figures"]["course"] == "breathing"
    assert course(trunk(2))["figures"]["rotate_degrees"] == 0
    assert course(head)["figures"]["course"] in ("step", "drift")
    assert course(trunk(2), trajectory="step")["figures"] == {"course": "step"}
    assert course(head, trajectory="breathing")["figures"]["course"] == "breathing"
    assert course(MetaTensor(HEAD[None, 20:44, 20:44]), body_mm=200)["figures"]["course"] != "breathing"
    assert course(MetaTensor(HEAD[None, 20:44, 20:44]))["figures"]["course"] == "breathing"


def test_all_orientations_batches_and_replays_breathe_alike():
    image = trunk(6)
    breathe = RandCTMotiond(["a", "b"], prob=1.0, shift_mm=(3, 3), trajectory="breathing")
    turned = image.as_tensor().permute(0, 3, 2, 1).flip(2)
    affine = image.affine[:, [2, 1, 0, 3]].clone()
    affine[:3, 3] += affine[:3, 1] * 79
    affine[:3, 1] *= -1
    data = {"a": image, "b": MetaTensor(turned, affine=affine)}
    out = breathe.set_random_state(0)(data)
    first, second = (out[k].as_tensor() for k in data)
    torch.testing.assert_close(first, second.flip(2).permute(0, 3, 2, 1), atol=0.05, rtol=0)
    assert float((first - image.as_tensor()).abs().max()) > 20
    again = replay(data, augmentation_report(out))
    assert all(torch.equal(again[k].as_tensor(), out[k].as_tensor()) for k in data)
    plain = RandCTMotion(prob=1.0)
    batch = Batched(plain).set_random_state(5)(list_data_collate([image, trunk(6)]))
    plain.set_random_state(5)
    for i in range(2):
        torch.testing.assert_close(batch[i].as_tensor(), plain(image).as_tensor(), atol=2e-3, rtol=0)


def test_a_single_slice_drifts_within_its_turn_at_any_draw():
    for seed in range(6):
        assert 1 < float(change_of(trunk(1)[..., 0], seed, trajectory="breathing", shift_mm=(3, 3)).std()) < 20


def test_old_records_replay_with_the_table_and_the_sinusoid():
    """Records made before: their figures, to the last digit shown."""
    head = HEAD.clone()
    head[58:60] = 0.0
    volume = torch.stack([head, head + 10], -1)[None]
    affine = torch.diag(torch.tensor([2.0, 2.0, 4.0, 1.0])).double()
    whole, crop = MetaTensor(volume, affine=affine), MetaTensor(volume[:, 16:48, 16:48].clone(), affine=affine)
    old = {"shift_mm": 2.5, "direction_degrees": 75.0, "rotate_degrees": -1.5, "cycles": 1.7, "phase": 0.3}
    body = {"body_mm": 280.0}
    for image, more, expected in (
        (whole, {"trajectory": "sinusoid"}, (-1462.51, 1474.58, 67.16, 1074.06, 140.76)),
        (whole, {"trajectory": "step"} | body, (-1550.62, 1413.43, 43.09, 1112.93, 141.13)),
        (whole, {"trajectory": "drift"}, (-1172.51, 1125.92, 50.86, 1012.33, 51.11)),
        (crop, {"trajectory": "sinusoid"} | body, (37.57, 53.94, 52.11, 39.94, 1.24)),
        (crop, {"trajectory": "step"}, (-295.89, 245.89, 95.0, 23.83, 77.63)),
    ):
        step = {"name": "RandCTMotion", "keys": {"image": {"key": 0}}, "applied": True, "params": old | more}
        out = replay({"image": image}, {"steps": [step]})["image"].as_tensor()
        n = out.shape[1]
        found = [out.min(), out.max(), out[0, n // 4, n // 3, 1], out[0, n // 2, n - 7, 0], (out - image).std()]
        np.testing.assert_allclose([float(f) for f in found], expected, atol=0.011)


@pytest.mark.parametrize("operation", [RandCTMotion(3, 0, "breathing", prob=1.0), RandCTBeamHardening(1, prob=1.0)])
def test_records_without_coarse_surroundings_replay_with_all_pixels_and_views(operation):
    """Of a crop of 1 mm; a new record's result is within a twentieth of the effect, RMS."""
    crop = MetaTensor(HEAD[None, 4:44, 8:52].clone(), affine=torch.eye(4).double())
    report = augmentation_report(operation.set_random_state(0)(crop))
    new = replay(crop, report)
    assert report["steps"][0]["params"].pop("beyond") == "coarse"
    old = replay(crop, report)
    assert 0 < float((new - old).std()) < 0.05 * float((old - crop).std())


def test_a_homogeneous_crop_stays_homogeneous():
    side = torch.arange(256) - 127.5
    body = torch.where((1.6 * side / 110)[:, None] ** 2 + (1.6 * side / 160) ** 2 < 1, 50.0, -1000.0)[None]
    crop = MetaTensor(body[:, 88:168, 88:168].clone(), affine=torch.diag(torch.tensor([1.6, 1.6, 1, 1])).double())
    for trajectory in (None, "step", "drift"):
        moved = RandCTMotion(shift_mm=3, rotate_degrees=2, trajectory=trajectory, prob=1.0).set_random_state(0)(crop)
        change = (moved - crop).as_tensor().abs()
        assert float(change.max()) < 30
        assert float(change[:, 20:-20, 20:-20].max()) < 4


def test_bad_arguments_are_named():
    for arguments, name in (
        ({"trajectory": "jump"}, "trajectory"),
        ({"body_mm": 0}, "body_mm"),
        ({"breath_seconds": 0}, "breath_seconds"),
        ({"feed_mm": (0, 1)}, "feed_mm"),
    ):
        with pytest.raises(ValueError, match=name):
            RandCTMotion(**arguments)
