"""CT artefacts and the projection domain of dose, through the public transforms."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_medaug.transforms import RandCTBeamHardening, RandCTDose, RandCTMotion, RandCTRing, augmentation_report
from monai_medaug.transforms.ct.acquisition import TRAJECTORIES, pose_course

N = 64
Y, X = torch.meshgrid(torch.arange(N) - 31.5, torch.arange(N) - 31.5, indexing="ij")
HEAD = torch.where(X**2 + Y**2 < 26**2, 40.0, -1000.0)
HEAD[(X**2 + Y**2 < 26**2) & (X**2 + Y**2 > 22**2)] = 900.0
ALL = [
    RandCTDose(domain="projection", dose_fraction=0.2, prob=1.0),
    RandCTMotion(shift_mm=3, rotate_degrees=2, prob=1.0),
    RandCTBeamHardening(amount=1, prob=1.0),
    RandCTRing(gain=0.01, prob=1.0),
]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_slices_lie_across_the_scanner_axis_whatever_the_array_order(transform):
    """The same head with its slices along the first and the last array axis gives the same volume."""
    volume = torch.stack([HEAD, HEAD + 10, HEAD - 10], dim=-1)[None]
    last = MetaTensor(volume, affine=torch.diag(torch.tensor([1.0, 1.0, 4.0, 1.0])).double())
    swap = torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0], [4, 0, 0, 0], [0, 0, 0, 1]]).double()
    first = MetaTensor(volume.permute(0, 3, 1, 2), affine=swap)
    a, b = (transform.set_random_state(3)(x).as_tensor() for x in (last, first))
    torch.testing.assert_close(a.permute(0, 3, 1, 2), b, atol=1e-2, rtol=0)
    assert float((a - volume).abs().max()) > 1


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_padding_stays_and_nothing_is_undefined(transform):
    image = torch.where(X**2 + Y**2 < 31**2, HEAD, -3024.0)[None].to(torch.int16)
    out = transform.set_random_state(0)(image)
    assert out.dtype == torch.float32
    assert torch.equal(out[image == -3024], torch.full_like(out[image == -3024], -3024))
    assert bool(torch.isfinite(out).all())


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


@pytest.mark.parametrize("trajectory", TRAJECTORIES)
def test_courses_have_mean_zero_and_reach_one(trajectory):
    course = pose_course({"trajectory": trajectory, "cycles": 1.7, "phase": 0.3}, 360)
    assert abs(course.mean()) < 1e-9
    assert np.abs(course).max() == pytest.approx(1)


def test_dose_report_and_slices():
    volume = MetaTensor(torch.stack([HEAD, HEAD], dim=-1)[None])
    transform = RandCTDose(domain="projection", dose_fraction=(0.1, 0.5), prob=1.0).set_random_state(0)
    out = transform(volume)
    noise = (out - volume).as_tensor()[0]
    centre = X**2 + Y**2 < 15**2
    assert abs(float(noise[centre].mean())) < 0.5 * float(noise[centre].std())
    correlation = np.corrcoef(noise[..., 0][centre], noise[..., 1][centre])[0, 1]
    assert abs(correlation) < 0.15
    params = augmentation_report(out)["steps"][0]["params"]
    assert 0.1 <= params["dose_fraction"] <= 0.5
    assert "noise_hu" not in params


def test_bad_arguments_are_named():
    for make, name in (
        (lambda: RandCTMotion(trajectory="jump"), "trajectory"),
        (lambda: RandCTRing(drift=2), "drift"),
        (lambda: RandCTDose(domain="fourier"), "domain"),
        (lambda: RandCTDose(domain="projection", kernel="white"), "kernel"),
        (lambda: RandCTDose(domain="projection", dose_fraction=(0, 1)), "dose_fraction"),
    ):
        with pytest.raises(ValueError, match=name):
            make()
