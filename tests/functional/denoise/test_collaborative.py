"""The collaborative filter: quality, borders, flat images, sizes, and its two paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_medaug.functional.acceleration import loops, torch_only
from monai_medaug.functional.denoise.collaborative import collaborative_filter
from monai_medaug.functional.denoise.collaborative_paths import _haar_matrix
from monai_medaug.functional.denoise.collaborative_stage import patch_stage, patch_transform
from monai_medaug.functional.noise.correlation import correlation_matrix

SIGMA = 0.08


def phantom(shape: tuple[int, ...]) -> np.ndarray:
    """Nested ellipsoids, values 0.1 to 1, with an oblique edge and a fine grating."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(g**2 for g in grid))
    image = 0.1 + 0.5 * (radius < 0.9) + 0.3 * (radius < 0.5) + 0.1 * (grid[-1] + 0.5 * grid[-2] > 0.2)
    return image + 0.05 * np.sin(np.arange(shape[-1]) * 1.5) * (radius < 0.4)


def noisy(image: np.ndarray, sigma: float = SIGMA, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy((image + np.random.default_rng(seed).normal(0, sigma, image.shape)).astype(np.float32))


def filtered(image: torch.Tensor, sigma: float = SIGMA, **options) -> np.ndarray:
    return collaborative_filter(image[None, None], torch.tensor([sigma]), **options)[0, 0].numpy()


def decibel(image: np.ndarray, truth: np.ndarray) -> float:
    return -10 * np.log10(np.mean((image - truth) ** 2, dtype=float))


@pytest.mark.parametrize(("shape", "first", "second"), [((96, 80), 9, 9.7), ((28, 24, 32), 7, 8)])
def test_noise_goes_and_the_second_stage_helps(shape, first, second):
    truth = phantom(shape)
    image = noisy(truth)
    before = decibel(image.numpy(), truth)
    one, two = (decibel(filtered(image, stages=n), truth) - before for n in (1, 2))
    assert one > first
    assert two > second
    assert two > one


@pytest.mark.parametrize("shape", [(128, 128), (32, 32, 32)])
def test_what_is_taken_off_a_flat_phantom_is_white_and_all_of_the_noise(shape):
    image = noisy(np.full(shape, 40.0), 5.0)
    out = filtered(image, 5.0)
    residual = image.numpy().astype(float) - out
    for axis in range(residual.ndim):
        a = residual.take(range(1, shape[axis]), axis) - residual.mean()
        b = residual.take(range(shape[axis] - 1), axis) - residual.mean()
        assert abs(np.mean(a * b) / residual.var()) < 0.05
    assert residual.std() == pytest.approx(5, rel=0.03)
    assert abs(residual.mean()) < 0.1
    edge = np.concatenate([out[0].ravel(), out[-1].ravel(), out[..., 0].ravel(), out[..., -1].ravel()])
    assert abs(edge.mean() - 40) < 0.5, "the border has another mean"


@pytest.mark.parametrize("shape", [(9, 8), (57, 31), (1, 20, 23), (20, 1, 23), (3, 21, 20), (5, 40), (2, 2), (1, 1, 1)])
def test_any_size_keeps_constants_and_loses_noise(shape):
    constant = torch.full(shape, -1000.0)
    np.testing.assert_allclose(filtered(constant, 20.0), constant.numpy(), atol=1e-3)
    image = noisy(np.full(shape, -1000.0), 20.0)
    out = filtered(image, 20.0)
    assert out.shape == shape
    assert np.isfinite(out).all()
    assert out.std() <= image.numpy().std()
    if image.numel() >= 400:
        assert out.std() < 8


def test_a_volume_of_one_slice_is_an_image():
    image = noisy(phantom((30, 33)))
    expected = filtered(image)
    for axis in range(3):
        np.testing.assert_array_equal(filtered(image.unsqueeze(axis)).squeeze(axis), expected)


def test_offset_and_scale_pass_through():
    image = noisy(phantom((40, 40))).double()
    a = filtered(image)
    b = filtered(image * 500 - 1024, SIGMA * 500)
    np.testing.assert_allclose(b, a * 500 - 1024, atol=1e-3)


def test_sigma_zero_gives_the_image_back_and_samples_are_their_own():
    images = torch.stack([noisy(phantom((30, 28)), seed=i) for i in range(4)]).reshape(2, 2, 30, 28)
    sigma = torch.tensor([0.0, SIGMA])
    out = collaborative_filter(images, sigma)
    assert torch.equal(out[0], images[0])
    assert torch.equal(out[1], collaborative_filter(images[1:], sigma[1:])[0])
    assert torch.equal(out[1, 1], torch.from_numpy(filtered(images[1, 1])))
    assert collaborative_filter(images.half(), sigma).dtype == torch.float16


def test_a_noise_free_image_is_not_smeared():
    truth = phantom((64, 64))
    assert decibel(filtered(torch.from_numpy(truth), 1e-4), truth) > 75


@pytest.mark.parametrize("shape", [(40, 37), (14, 13, 16), (3, 18, 17)])
def test_both_paths_agree(shape):
    image = noisy(phantom(shape))
    for stages, tolerance in ((1, 1e-4), (2, 0.02)):  # pilots that differ by rounding may order equals differently
        ours = filtered(image, stages=stages)
        with torch_only():
            theirs = filtered(image, stages=stages)
        np.testing.assert_allclose(theirs, ours, atol=tolerance * SIGMA, rtol=0)
        assert np.sqrt(np.mean((theirs - ours) ** 2)) < 1e-3 * SIGMA


def test_the_result_does_not_depend_on_the_threads():
    image = noisy(phantom((70, 50)))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(filtered(image))
    finally:
        torch.set_num_threads(before)
    exact = loops("denoise._numba_collaborative", image) is not None
    np.testing.assert_allclose(*results, rtol=0, atol=0 if exact else 1e-5)


@pytest.mark.parametrize("shape", [(96, 96), (24, 26, 22)])
def test_correlated_noise_is_removed_better_when_known(shape):
    rough = np.random.default_rng(0).normal(size=[n + 1 for n in shape])
    for axis in range(len(shape)):
        rough = np.take(rough, range(shape[axis]), axis) + np.take(rough, range(1, shape[axis] + 1), axis)
    truth = phantom(shape)
    image = torch.from_numpy(truth + SIGMA * rough / rough.std()).float()
    known = filtered(image, correlation=[[1.0, 0.5]] * len(shape))
    assert decibel(known, truth) > decibel(filtered(image), truth) + 2
    with torch_only():
        again = filtered(image, stages=1, correlation=[[1.0, 0.5]] * len(shape))
    np.testing.assert_allclose(again, filtered(image, stages=1, correlation=[[1.0, 0.5]] * len(shape)), atol=1e-4)


@pytest.mark.parametrize("kind", ["dct", "bior1.5"])
def test_the_noise_of_each_coefficient_by_samples(kind):
    grain = ((1.0,), (1.0, 0.5), (1.0, 0.3, -0.2))
    stage = patch_stage((1, 30, 30), (1, 8, 8), 3, (0, 9, 9), 16, 3.0, kind == "dct", grain)
    roots = [np.linalg.cholesky(correlation_matrix(g, n)) for g, n in zip(grain[1:], (8, 8), strict=True)]
    draws = roots[0] @ np.random.default_rng(0).normal(size=(20000, 8, 8)) @ roots[1].T
    found = (stage.forward[1] @ draws @ stage.forward[2].T).std(0)
    np.testing.assert_allclose(stage.spread.reshape(8, 8), found, rtol=0.04)
    assert not any(1 <= abs(o).max() < 2 for o in stage.offsets)


@pytest.mark.parametrize("patch", [(4, 4, 2), (4, 4, 1), (1, 2, 3)])
def test_thin_patches_leave_no_gap(patch):
    image = noisy(phantom((20, 22, 13)))
    out = filtered(image, patch=patch)
    assert np.isfinite(out).all()
    assert decibel(out, phantom((20, 22, 13))) > decibel(image.numpy(), phantom((20, 22, 13))) + 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees_and_repeats_itself():
    image = noisy(phantom((14, 23, 26)))[None, None]
    sigma = torch.tensor([SIGMA])
    out = collaborative_filter(image.cuda(), sigma.cuda())
    torch.testing.assert_close(out.cpu(), collaborative_filter(image, sigma), atol=0.02 * SIGMA, rtol=0)
    assert torch.equal(out, collaborative_filter(image.cuda(), sigma.cuda()))


@pytest.mark.parametrize("kind", ["dct", "bior1.5"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_patch_transforms_invert_and_keep_the_noise(kind, n):
    forward, backward = patch_transform(n, kind)
    np.testing.assert_allclose(backward @ forward, np.eye(n), atol=1e-12)
    np.testing.assert_allclose((forward**2).sum(1), 1)
    np.testing.assert_allclose(forward[1:] @ np.ones(n), 0, atol=1e-12)  # the mean is in the first alone
    haar = _haar_matrix(8)
    np.testing.assert_allclose(haar @ haar.T, np.eye(8), atol=1e-12)


def test_distances_are_exact_and_bounds_hold():
    for patch in ((1, 8, 8), (4, 4, 4), (1, 4, 4)):
        for similar in (4.0, 0.64):
            stage = patch_stage((1 if patch[0] == 1 else 20, 20, 20), patch, 3, (5, 5, 5), 16, similar, wiener=True)
            assert stage.cap * np.prod(patch) <= 2**24
            assert stage.cap >= stage.limit, "a voxel outside the image would not be enough to be unlike"
            assert [int(s[-1]) + p for s, p in zip(stage.starts[1:], patch[1:], strict=True)] == [20, 20]


def test_a_wrong_number_of_axes_is_refused():
    with pytest.raises(ValueError, match="two or three spatial axes"):
        collaborative_filter(torch.zeros(1, 1, 9), torch.ones(1))
    with pytest.raises(ValueError, match="one for each spatial axis"):
        collaborative_filter(torch.zeros(1, 1, 9, 9), torch.ones(1), patch=(4, 4, 4))
