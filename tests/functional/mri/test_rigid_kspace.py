import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from monai_medaug.functional.mri.rigid_kspace import SegmentedKSpace, coil_mixture
from tests.segmented_motion import moved, smooth_phase

POSES = {2: (2.3, -1.7, 0.08), 3: (1.2, -0.7, 0.4, 0.06, -0.09, 0.1)}


def blob(shape, seed=0):
    """A smooth complex image, 0 near its borders."""
    image = np.zeros(shape)
    image[tuple(slice(n // 4, -(n // 4)) for n in shape)] = 1
    image *= 1 + gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return gaussian_filter(image, 1.5) * smooth_phase(shape, seed)


def model(image, segments, spacing=None):
    axes = tuple(range(1, image.ndim + 1))
    whole = torch.fft.fftn(torch.from_numpy(image)[None], dim=axes)
    lines = np.array_split(np.arange(image.shape[0]), segments)
    return SegmentedKSpace.of(whole, lines, spacing or (1.0,) * image.ndim)


def relative(found, wanted):
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize(("shape", "turn"), [((48, 40), 5.0), ((32, 36, 40), (2.0, -3.0, 4.0))])
def test_undoes_a_motion_put_in_by_splines(shape, turn):
    image, shift = blob(shape), (1.3, -2.1, 0.6)[: len(shape)]
    kspace = model(moved(image, shift, turn), 1)
    pose = torch.zeros(kspace.pose_size, dtype=torch.float64)
    pose[: len(shape)] = torch.tensor(shift)
    if len(shape) == 2:
        pose[2] = np.radians(turn)
    else:  # the three angles of this rotation, by the model's own matrix
        from scipy.optimize import least_squares
        from scipy.spatial.transform import Rotation

        wanted = Rotation.from_rotvec(turn, degrees=True).as_matrix()
        full = np.zeros(6)

        def rest(angles):
            full[3:] = angles
            return (kspace.rotation(torch.from_numpy(full)).numpy() - wanted).ravel()

        pose[3:] = torch.from_numpy(least_squares(rest, np.zeros(3)).x)
    assert relative(kspace.image(pose[None], True)[0], image) < 0.01


def test_mm_are_world_millimetres():
    image = blob((48, 40))
    kspace = model(moved(image, (2, -3), 0.0), 1, (0.5, 2.0))
    assert relative(kspace.image(torch.tensor([[1.0, -6.0, 0.0]]), False)[0], image) < 0.01


@pytest.mark.parametrize("dims", [2, 3])
def test_acquired_is_the_inverse(dims):
    image = blob((24, 20, 22)[:dims])
    kspace = model(image, 3)
    pose = torch.tensor(POSES[dims], dtype=torch.float64)
    whole = kspace.image(pose.expand(3, -1), True)
    for j in range(3):
        again = kspace.acquired(whole, j, pose, True)
        assert relative(again, kspace.lines[j].numpy()) < 1e-9


def test_slabs_equal_the_whole(monkeypatch):
    image = blob((24, 20, 22))
    kspace, pose = model(image, 2), torch.tensor(POSES[3], dtype=torch.float64)
    wanted = kspace.moved_back(0, pose, True)
    monkeypatch.setattr("monai_medaug.functional.mri.rigid_kspace.elements_at_once", lambda device: 1000)
    assert relative(kspace.moved_back(0, pose, True), wanted.numpy()) < 1e-12


@pytest.mark.parametrize("dims", [2, 3])
def test_slopes_by_the_poses(dims):
    """Of a linear function of the image, against finite differences; a segment alone rings to the borders, so 5 %."""
    image, weight = blob((40, 44, 36)[:dims]), torch.from_numpy(blob((40, 44, 36)[:dims], 1))[None]
    kspace = model(image, 2, (1.0, 1.3, 0.9)[:dims])
    poses = torch.tensor([POSES[dims], [-p for p in POSES[dims]]], dtype=torch.float64)
    parts = [kspace.moved_back(j, poses[j], True) for j in (0, 1)]
    found = kspace.pose_slopes(parts, poses, weight, True)
    wanted = torch.zeros_like(poses)
    for place in np.ndindex(*poses.shape):
        ends = []
        for sign in (1, -1):
            other = poses.clone()
            other[place] += sign * 1e-4
            ends.append(float((weight.conj() * kspace.image(other, True)).real.sum()))
        wanted[place] = (ends[0] - ends[1]) / 2e-4
    assert float((found - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_cropped_is_the_coarse_image():
    image = blob((48, 40))
    kspace = model(image, 4).cropped((24, 20), [0, 3])
    assert kspace.shape == (24, 20)
    assert kspace.steps == (2.0, 2.0)
    coarse = kspace.image(torch.zeros(2, 3, dtype=torch.float64), False)[0] / 4
    assert relative(coarse, image[::2, ::2]) < 0.02


def test_virtual_coils_hold_the_energy():
    random = np.random.default_rng(0)
    weights = torch.from_numpy(random.normal(size=(6, 2)) + 1j * random.normal(size=(6, 2)))
    lines = [
        torch.tensordot(weights, line.expand(2, -1, -1) * torch.tensor([[[1.0]], [[2.0]]]), 1)
        for line in model(blob((24, 20)), 2).lines
    ]
    kspace = SegmentedKSpace(lines, model(blob((24, 20)), 2).places, (24, 20), (1.0, 1.0), (11.5, 9.5))
    few = kspace.mixed(coil_mixture(kspace, 2))
    energy = [sum(float(line.abs().square().sum()) for line in k.lines) for k in (kspace, few)]
    assert energy[1] == pytest.approx(energy[0], rel=1e-9)
