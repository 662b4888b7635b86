"""Motion between views against closed forms: constant poses move the image, others follow the sinogram."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.ct.acquisition import hu_change, line_integrals
from monai_medaug.functional.ct.motion import breath, motion_artefact, view_times
from monai_medaug.functional.ct.projection import ParallelBeam

SIDE = 128
Y, X = torch.meshgrid(torch.arange(SIDE) - 63.5, torch.arange(SIDE) - 63.5, indexing="ij")
BEAM = ParallelBeam((SIDE, SIDE), (2.0, 2.0), views=180)


def disc(radius=50.0, hu=0.0) -> torch.Tensor:
    return torch.where(radius**2 > X**2 + Y**2, hu, -1000.0)[None, None]


def test_a_slice_in_a_stack_is_moved_as_alone():
    stack = torch.cat([disc(r, hu) for r, hu in ((50.0, 0.0), (30.0, 900.0), (40.0, 300.0))])
    generator = torch.Generator().manual_seed(0)
    shift = 5 * torch.randn(3, BEAM.views, 2, generator=generator)
    turn = 100 * torch.randn(3, BEAM.views, generator=generator)
    stretch = 0.1 * torch.randn(3, BEAM.views, generator=generator)
    along = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    for more in ((), (stretch, along)):
        moved = motion_artefact(stack, shift, turn, BEAM, "cosine", *more)
        for i in range(3):
            one = slice(i, i + 1)
            own = [x[one] for x in more]
            alone = motion_artefact(stack[one], shift[one], turn[one], BEAM, "cosine", *own)
            torch.testing.assert_close(moved[one], alone, atol=5e-3, rtol=1e-4)


def test_the_compiled_loop_moves_as_the_torch_path_does():
    generator = torch.Generator().manual_seed(3)
    stack = torch.cat([disc(50.0), disc(30.0, 900.0)])
    shift, turn = torch.randn(2, BEAM.views, 2, generator=generator), torch.randn(2, BEAM.views, generator=generator)
    stretch, along = 0.2 * torch.randn(2, BEAM.views, generator=generator), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    for more in ((), (stretch, along)):
        for size in (1, 40, 300):
            compiled = motion_artefact(stack, size * shift, size * turn, BEAM, "cosine", *more)
            with torch_only():
                plain = motion_artefact(stack, size * shift, size * turn, BEAM, "cosine", *more)
            assert float((compiled - plain).abs().max()) < 1e-4 * float(plain.abs().max())


def test_views_of_any_pose_are_the_sinogram_continued_and_interpolated():
    """Against numpy: half turns mirror the detector, between elements and views it is linear, outside 0."""
    body, generator = smooth_body(), np.random.default_rng(0)
    shift = torch.from_numpy(generator.normal(0, 20, (1, BEAM.views, 2)))
    turn = torch.from_numpy(generator.uniform(-400, 400, (1, BEAM.views)))
    sinogram = line_integrals(body, BEAM)[0, 0].double().numpy()
    around = np.concatenate([sinogram, sinogram[:, ::-1]])
    detector, expected = np.arange(BEAM.width), np.empty_like(sinogram)
    for v, angle in enumerate(BEAM.angles):
        row = v - float(turn[0, v])  # a degree a view
        below = int(np.floor(row))
        normal = np.array([np.cos(angle), np.sin(angle)])
        position = detector - shift[0, v].numpy() @ normal / BEAM.pitch
        seen = (below + 1 - row) * around[below % 360] + (row - below) * around[(below + 1) % 360]
        expected[v] = np.interp(position, np.arange(-1, BEAM.width + 1), np.pad(seen, 1), left=0, right=0)
    change = hu_change(torch.from_numpy(expected - sinogram).float()[None, None], BEAM, "cosine")
    found = motion_artefact(body, shift.float(), turn.float(), BEAM, "cosine")
    assert float((found - change).abs().max()) < 1e-4 * float(change.abs().max())


def smooth_body() -> torch.Tensor:
    body = disc(45.0)[0, 0].numpy().copy()
    body[30:50, 60:66] = 500
    return torch.from_numpy(gaussian_filter(body, 3))[None, None]


@pytest.mark.parametrize(("shift", "axis"), [((6.0, 0.0), 3), ((0.0, 6.0), 2)])
def test_a_constant_shift_moves_the_image(shift, axis):
    body = smooth_body()
    poses = torch.tensor(shift).expand(1, BEAM.views, 2)
    moved = body + motion_artefact(body, poses, torch.zeros(1, BEAM.views), BEAM, "ramp")
    expected = torch.roll(body, 3, axis)  # 6 mm at 2 mm
    assert float((moved - expected).abs().mean()) < 0.04 * float((body - expected).abs().mean())


def test_a_constant_rotation_turns_the_image():
    body = smooth_body()
    still = torch.zeros(1, BEAM.views, 2)
    turned = body + motion_artefact(body, still, torch.full((1, BEAM.views), 90.0), BEAM, "ramp")
    expected = torch.rot90(body, -1, (2, 3))
    assert float((turned - expected).abs().mean()) < 0.02 * float((body - expected).abs().mean())
    assert not motion_artefact(body, still, torch.zeros(1, BEAM.views), BEAM, "ramp").any()


@pytest.mark.parametrize("along", [(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)])
def test_a_constant_stretch_stretches_the_image_and_keeps_its_hu(along):
    body, u = smooth_body(), np.array(along)
    still, straight = torch.zeros(1, BEAM.views, 2), torch.zeros(1, BEAM.views)
    stretch = torch.full((1, BEAM.views), 0.15)
    more = (stretch, torch.tensor([along]))
    wide = body + motion_artefact(body, still, straight, BEAM, "ramp", *more)
    back = np.linalg.inv(np.eye(2) + 0.15 * np.outer(u[::-1], u[::-1]))  # rows, columns
    source = affine_transform(body[0, 0].double().numpy(), back, 63.5 - back @ [63.5, 63.5], order=1, cval=-1000)
    expected = torch.from_numpy(source).float()[None, None]
    assert float((wide - expected).abs().mean()) < 0.04 * float((body - expected).abs().mean())
    assert not motion_artefact(body, still, straight, BEAM, "ramp", torch.zeros_like(stretch), more[1]).any()


def test_each_slice_is_seen_in_the_half_turn_about_its_passage():
    place = torch.tensor([-30.0, 0.0, 7.0, 500.0])
    seconds = view_times(place, torch.arange(90) * torch.pi / 90, 0.4, 35.0, 70.0)
    passage = place / 35 * 0.4
    assert float((seconds - passage[:, None]).abs().max()) <= 0.1 + 1e-5
    # the gantry turns evenly: a view is taken whenever it, or its mirror image, comes round
    turns = seconds / 0.4 + 70 / 360
    angle = torch.arange(90) / 180
    off = torch.remainder(turns - angle + 0.25, 0.5) - 0.25
    assert float(off.abs().max()) < 1e-5
    assert not torch.equal(seconds[0] - passage[0], seconds[2] - passage[2])


def test_a_breath_has_its_period_and_stays_longer_out():
    time = torch.linspace(0, 8, 8001)
    course = breath(time, 4.0, 0.25)
    assert float((course[:4001] - course[4000:]).abs().max()) < 1e-4
    assert float(course.min()) == pytest.approx(-1, abs=1e-5)
    assert float(course.max()) == pytest.approx(1, abs=1e-5)
    assert float((course < 0).float().mean()) > 0.6
