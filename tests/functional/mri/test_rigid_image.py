import numpy as np
import torch

from monai_medaug.functional.mri.rigid_image import conjugate_gradients, image_at_rest
from monai_medaug.functional.mri.rigid_kspace import SegmentedKSpace
from tests.segmented_motion import magnitude_psnr, phantom, scanned


def test_conjugate_gradients_solve():
    random = np.random.default_rng(0)
    half = random.normal(size=(6, 6)) + 1j * random.normal(size=(6, 6))
    matrix, right = torch.from_numpy(half @ half.conj().T), torch.from_numpy(random.normal(size=6) + 0j)
    found = conjugate_gradients(lambda x: matrix @ x, right, torch.zeros_like(right), 12)
    assert torch.allclose(matrix @ found, right, atol=1e-6)


def test_conjugate_gradients_stay_at_the_solution():
    right = torch.ones(3)
    assert torch.equal(conjugate_gradients(lambda x: x, right, right, 3), right)


def test_fills_what_rotations_left_empty():
    truth, lines = phantom(64), np.array_split(np.arange(64), 4)
    turns = np.array([4.0, -4.0, 0.0, 5.0])
    scan = scanned(truth, lines, np.zeros((4, 2)), turns)
    kspace = SegmentedKSpace.of(torch.fft.fft2(torch.from_numpy(scan)), [(s - 32) % 64 for s in lines], (1.0, 1.0))
    poses = torch.zeros(4, 3, dtype=torch.float64)
    poses[:, 2] = torch.from_numpy(np.radians(turns))
    plain = magnitude_psnr(kspace.image(poses, True).numpy(), truth[None])
    assert magnitude_psnr(image_at_rest(kspace, poses, True).numpy(), truth[None]) > plain + 3
