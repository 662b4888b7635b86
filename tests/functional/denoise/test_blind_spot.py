"""What blind-spot training hides, and what it cannot betray."""

import numpy as np
import pytest
import torch

from monai_medaug.functional.denoise.blind_spot import blinded


def numbered(*shape: int) -> torch.Tensor:
    """Each voxel with a value of its own, so that its source is known."""
    return torch.arange(float(torch.tensor(shape).prod())).reshape(1, 1, *shape)


@pytest.mark.parametrize(("shape", "reach"), [((40, 50), (0, 0)), ((40, 50), (3, 1)), ((20, 24, 18), (2, 0, 1))])
def test_hidden_voxels_come_from_beyond_the_reach(shape, reach):
    image = numbered(*shape)
    given, target = blinded(image, 0.01, reach, torch.Generator().manual_seed(3))
    chosen = (~target.isnan())[0, 0]
    assert torch.equal(target[0, 0][chosen], image[0, 0][chosen])
    for place in chosen.nonzero():
        window = tuple(slice(max(0, int(p) - r), int(p) + r + 1) for p, r in zip(place, reach, strict=True))
        assert not bool((given[0, 0][window] == image[0, 0][window]).any()), "a voxel within reach shows its own value"
        value = int(given[0, 0][tuple(place)])
        source = np.unravel_index(value, shape)
        assert any(abs(int(a) - int(b)) > r for a, b, r in zip(source, place, reach, strict=True))


def test_the_share_is_kept_and_seeds_repeat():
    image = torch.rand(4, 2, 100, 100)
    given, target = blinded(image, 0.05, (0, 0), torch.Generator().manual_seed(0))
    chosen = ~target.isnan()
    assert torch.equal(chosen[:, 0], chosen[:, 1]), "channels show what others hide"
    assert float(chosen.float().mean()) == pytest.approx(0.05, abs=0.005)
    again = blinded(image, 0.05, (0, 0), torch.Generator().manual_seed(0))
    assert torch.equal(again[0], given)


@pytest.mark.parametrize("shape", [(1, 30), (2, 2), (30, 1)])
def test_short_axes_stay_inside(shape):
    given, _ = blinded(numbered(*shape), 0.5, (1, 1), torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(given).all())
