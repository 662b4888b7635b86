"""The warp against scipy and torch's grid_sample, both fed with coordinates that numpy computed."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.nn.functional import grid_sample

from monai_medaug.functional import acceleration
from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.geometry.pull_back import PullBack, sampled_determinants
from monai_medaug.functional.geometry.warp import warp

PATHS = {"compiled": nullcontext, "torch": torch_only}
PADDINGS = ["border", "zeros", "reflection", -1000.0]
SHAPES = [(13, 17), (9, 11, 13)]


def whole(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (1, *shape) if len(shape) == 2 else shape


def random_map(
    shape: tuple[int, ...], seed: int, samples: int = 1, aligned: bool = True, amplitude: float = 0.8
) -> PullBack:
    """A turned, shifted and deformed pull-back whose sources partly lie far outside.

    ``aligned``: the lattice spans the grid, as for the reference key; else it lies askew and ends inside.
    """
    random = np.random.default_rng(seed)
    size = whole(shape)
    flat = np.array([n > 1 for n in size], dtype=float)
    nodes = [max(2, n // 3) if n > 1 else 1 for n in size]
    lattice, source, mix = np.zeros((samples, 3, 4)), np.zeros((samples, 3, 4)), np.zeros((samples, 3, 3))
    for s in range(samples):
        for a, (n, g) in enumerate(zip(size, nodes, strict=True)):
            lattice[s, a, a] = (g - 1) / (n - 1) if n > 1 else 0.0
        if not aligned:
            lattice[s, :, :3] += random.normal(0, 0.05, (3, 3)) * np.outer(flat, flat)
            lattice[s, :, 3] += random.normal(0, 0.5, 3) * flat
        source[s, :, :3] = np.eye(3) + random.normal(0, 0.2, (3, 3)) * np.outer(flat, flat)
        source[s, :, 3] = random.normal(0, 2, 3) * flat
        mix[s] = (np.eye(3) * 3 + random.normal(0, 0.3, (3, 3))) * np.outer(flat, flat)
    u = random.normal(0, amplitude, (samples, 3, *nodes)).astype(np.float32)
    return PullBack(*(torch.from_numpy(m) for m in (lattice, source, mix, u)))


def reference_coordinates(pull_back: PullBack, shape: tuple[int, ...], sample: int = 0) -> np.ndarray:
    """S i + P u(L i) in float64, (3, *size)."""
    size = whole(shape)
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in size], indexing="ij")).reshape(3, -1)
    lattice, source, mix = (m[sample].numpy() for m in (pull_back.lattice, pull_back.source, pull_back.mix))
    at = lattice[:, :3] @ index + lattice[:, 3:]
    u = pull_back.displacement[sample].double().numpy()
    displaced = np.stack([map_coordinates(c, at, order=1, mode="nearest") for c in u])
    return (source[:, :3] @ index + source[:, 3:] + mix @ displaced).reshape(3, *size)


def by_scipy(image: np.ndarray, coordinates: np.ndarray, mode: str, padding: str | float) -> np.ndarray:
    scipy_mode = {"border": "nearest", "reflection": "reflect"}.get(padding, "grid-constant")
    value = 0.0 if isinstance(padding, str) else padding
    order = 1 if mode == "bilinear" else 0
    return map_coordinates(image, coordinates, order=order, mode=scipy_mode, cval=value)


def by_grid_sample(image: np.ndarray, coordinates: np.ndarray, mode: str, padding: str | float) -> np.ndarray:
    value = 0.0 if isinstance(padding, str) else padding
    extent = np.array(image.shape).reshape(3, 1, 1, 1)
    grid = torch.from_numpy(np.moveaxis((2 * coordinates + 1) / extent - 1, 0, -1)[..., ::-1].copy())[None]
    name = padding if isinstance(padding, str) else "zeros"
    moved = grid_sample(
        torch.from_numpy(image - value)[None, None], grid, mode=mode, padding_mode=name, align_corners=False
    )
    return moved[0, 0].numpy() + value


REFERENCES = {"scipy": by_scipy, "grid_sample": by_grid_sample}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_linear_equals_the_reference(shape, aligned, padding, reference, path):
    pull_back = random_map(shape, 0, aligned=aligned)
    image = np.random.default_rng(1).normal(0, 500, shape)
    coordinates = reference_coordinates(pull_back, shape)
    last = np.array(whole(shape)).reshape(3, 1, 1, 1) - 1
    assert 0.05 < ((coordinates < 0) | (coordinates > last)).any(0).mean() < 0.95  # both cases are met
    expected = REFERENCES[reference](image.reshape(whole(shape)), coordinates, "bilinear", padding).reshape(shape)
    with PATHS[path]():
        double = warp(torch.from_numpy(image)[None, None], pull_back, "bilinear", padding)
        single = warp(torch.from_numpy(image).float()[None, None], pull_back, "bilinear", padding)
    assert double.dtype == torch.float64
    assert single.dtype == torch.float32
    np.testing.assert_allclose(double[0, 0], expected, atol=1e-6 * np.ptp(image))
    np.testing.assert_allclose(single[0, 0], expected, atol=1e-4 * np.ptp(image))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_nearest_equals_the_reference(shape, padding, reference, path):
    """Everywhere but where a source lies within 1e-4 of the border between two voxels."""
    pull_back = random_map(shape, 2, aligned=False)
    image = np.random.default_rng(3).integers(-500, 500, shape).astype(np.float64)
    coordinates = reference_coordinates(pull_back, shape)
    expected = REFERENCES[reference](image.reshape(whole(shape)), coordinates, "nearest", padding).reshape(shape)
    clear = (np.abs(coordinates - np.floor(coordinates) - 0.5) > 1e-4).all(0).reshape(shape)
    assert clear.mean() > 0.99
    with PATHS[path]():
        out = warp(torch.from_numpy(image).to(torch.int16)[None, None], pull_back, "nearest", padding)[0, 0].numpy()
    np.testing.assert_array_equal(out[clear], expected[clear])


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("shape", [(300, 400), (60, 70, 64)])
def test_compiled_and_torch_agree(shape, aligned, padding):
    pull_back = random_map(shape, 4, aligned=aligned, amplitude=0.3)
    image = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(5))
    smooth = gaussian_filter(np.random.default_rng(6).normal(0, 1, shape), 4)
    labels = torch.from_numpy(np.digitize(smooth, np.quantile(smooth, [0.2, 0.4, 0.6, 0.8])).astype(np.uint8))[
        None, None
    ]
    value = padding if isinstance(padding, str) else 7.0
    fast = warp(image, pull_back, "bilinear", value), warp(labels, pull_back, "nearest", value)
    with torch_only():
        slow = warp(image, pull_back, "bilinear", value), warp(labels, pull_back, "nearest", value)
    reach = float(image.max() - image.min())
    assert float((fast[0] - slow[0]).abs().max()) <= 1e-4 * reach
    assert float((fast[1] != slow[1]).float().mean()) < 1e-5


@pytest.mark.parametrize("shape", [(3000, 5), (70, 60, 9)])
def test_threads_change_nothing(shape, monkeypatch):
    pull_back = random_map(shape, 16, amplitude=0.3)
    image = torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(17))
    results = []
    for threads in (1, 4):
        monkeypatch.setattr(acceleration.torch, "get_num_threads", lambda threads=threads: threads)
        figures = sampled_determinants(pull_back, whole(shape))
        results.append([warp(image, pull_back), warp(image, pull_back, "nearest"), *figures])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", SHAPES)
def test_channels_share_the_map_and_samples_have_their_own(shape, mode, path):
    pull_back = random_map(shape, 7, samples=2)
    image = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(8))
    with PATHS[path]():
        together = warp(image, pull_back, mode)
        for sample in range(2):
            own = PullBack(*(getattr(pull_back, f)[sample, None] for f in ("lattice", "source", "mix", "displacement")))
            for channel in range(3):
                alone = warp(image[sample, channel][None, None], own, mode)[0, 0]
                torch.testing.assert_close(together[sample, channel], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(together[0], warp(image[:1], own, mode)[0])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64),
        *(torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
    ],
)
def test_nearest_copies_values_of_any_type(dtype, path):
    """Labels are copied and never computed: 2^53 + 1 has no float64."""
    shape = (9, 11, 13)
    pull_back = random_map(shape, 9)
    position = torch.arange(9 * 11 * 13).reshape(1, 1, *shape)
    if dtype == torch.int64:
        labels = position + 2**53
    elif dtype == torch.bool:
        labels = position % 2 == 1
    else:
        labels = (position % 100).to(dtype)
    before = labels.clone()
    with PATHS[path]():
        chosen = warp(position, pull_back, "nearest", "border")
        out = warp(labels, pull_back, "nearest", "border")
        padded = warp(labels, pull_back, "nearest", 1.0)
        where = warp(position, pull_back, "nearest", -1.0)
    assert out.dtype == dtype
    flat = before.flatten().tolist()
    assert out.flatten().tolist() == [flat[i] for i in chosen.flatten().tolist()]
    assert padded.flatten().tolist() == [flat[i] if i >= 0 else 1 for i in where.flatten().tolist()]
    assert 0 < (where == -1).float().mean() < 1
    assert labels.flatten().tolist() == flat


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", [(1, 9, 8), (9, 1, 8), (9, 8, 1), (1, 1, 8), (8, 1, 1), (1, 1, 1), (2, 2, 2)])
def test_thin_volumes(shape, padding, mode):
    pull_back = random_map(shape, 10)
    image = torch.randn(1, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    fast = warp(image, pull_back, mode, padding)
    with torch_only():
        slow = warp(image, pull_back, mode, padding)
    coordinates = reference_coordinates(pull_back, shape)
    expected = by_scipy(image[0, 0].numpy(), coordinates, mode, padding)
    np.testing.assert_allclose(fast[0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(slow[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_strided_input(path):
    pull_back = random_map((9, 11, 13), 12)
    image = torch.randn(1, 1, 13, 11, 9, generator=torch.Generator().manual_seed(13)).transpose(2, 4)
    with PATHS[path]():
        out, straight = warp(image, pull_back), warp(image.contiguous(), pull_back)
    torch.testing.assert_close(out, straight, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(9, 12), (6, 8, 9)])
def test_without_a_mix_the_map_is_affine(shape):
    pull_back = random_map(shape, 4)
    still = PullBack(pull_back.lattice, pull_back.source, torch.zeros_like(pull_back.mix), pull_back.displacement)
    expected = torch.from_numpy(reference_coordinates(still, shape))
    torch.testing.assert_close(still.coordinates(whole(shape), torch.float64)[0], expected)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_coordinates(shape, aligned):
    pull_back = random_map(shape, 14, samples=2, aligned=aligned)
    got = pull_back.coordinates(whole(shape), torch.float64)
    for sample in range(2):
        np.testing.assert_allclose(got[sample], reference_coordinates(pull_back, shape, sample), atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    "shape", [(9, 8, 7), (1, 9, 8), (9, 1, 8), (9, 8, 1), (2, 9, 8), (9, 2, 8), (9, 8, 2), (40, 60, 12)]
)
def test_sampled_determinants(shape, aligned, path):
    """Central differences by numpy; axes of one or two voxels count as rigid."""
    pull_back = random_map(shape, 15, samples=2, aligned=aligned, amplitude=0.3)
    with PATHS[path]():
        low, high = sampled_determinants(pull_back, shape)
    for sample in range(2):
        coordinates = reference_coordinates(pull_back, shape, sample)
        moving = [a for a, n in enumerate(shape) if n > 2]
        inner = (slice(None), *(slice(1, -1) if n > 2 else slice(None) for n in shape))
        columns = [np.gradient(coordinates, axis=a + 1)[inner][moving] for a in moving]
        det = np.linalg.det(np.moveaxis(np.stack(columns), (0, 1), (-2, -1)))
        assert low[sample].item() == pytest.approx(det.min(), abs=1e-4)
        assert high[sample].item() == pytest.approx(det.max(), abs=1e-4)
