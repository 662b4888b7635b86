import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.voxels import FACES, equal_at, holds_at, values_at


@pytest.mark.parametrize("shape", [(9, 8, 7), (12, 11)])
@pytest.mark.parametrize("kind", [torch.float32, torch.int16])
def test_values_equal_scipys(shape, kind):
    random = np.random.RandomState(0)
    image = torch.from_numpy(100 * random.rand(*shape)).to(kind)
    index = random.uniform(-1.5, 12, (500, 3))
    own = index[:, 3 - len(shape) :].T
    for linear in (True, False):
        values, inside = values_at(image, index, linear)
        expected = map_coordinates(image.double().numpy(), own, order=int(linear), mode="nearest")
        assert np.allclose(values, expected, atol=1e-4)
        assert np.array_equal(inside, [all(-0.5 <= p <= n - 0.5 for p, n in zip(q, shape, strict=True)) for q in own.T])
    assert np.array_equal(values_at(image.numpy(), index, False)[0], values_at(image, index, False)[0])


def test_a_mask_holds_at_a_voxel_or_beside_it():
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = True
    at = np.array([[2, 2, 2], [2, 2, 3], [2, 3, 3]])
    assert holds_at(mask, at).tolist() == [True, True, False]
    assert holds_at(mask, at, everywhere=True).tolist() == [False, False, False]
    assert holds_at(np.ones((5, 5), bool), at, everywhere=True).all()


@pytest.mark.parametrize("shape", [(9, 8, 7), (12, 11)])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int64, np.float32, bool])
def test_labels_at_and_beside_positions(shape, kind):
    random = np.random.RandomState(0)
    labels = random.randint(0, 3, shape).astype(kind)
    index = random.uniform(-1.5, 12, (300, 3))
    wanted = random.randint(0, 3, 300).astype(kind)
    values, inside = values_at(labels.astype(float), (index[:, None] + FACES), linear=False)
    expected = (values == wanted[:, None]) + 2 * ~inside
    assert np.array_equal(equal_at(labels, index, FACES, wanted), expected)
    with torch_only():
        assert np.array_equal(equal_at(labels, index, FACES, wanted), expected)


@pytest.mark.parametrize("shape", [(9, 8, 7), (12, 11)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.uint8, torch.bool])
def test_paths_agree(shape, kind):
    random = np.random.RandomState(0)
    image = torch.from_numpy(3 * random.rand(*shape)).to(kind)
    index = random.uniform(-1.5, 12, (4, 50, 3))
    for linear in (True, False):
        found = values_at(image, index, linear)
        with torch_only():
            expected = values_at(image, index, linear)
        assert found[0].dtype == expected[0].dtype
        assert np.allclose(found[0], expected[0], rtol=1e-12)
        assert np.array_equal(found[1], expected[1])
