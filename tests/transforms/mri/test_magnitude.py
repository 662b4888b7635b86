"""Masked backgrounds and negative values, in every operation on magnitudes."""

import numpy as np
import pytest
import torch
from monai.transforms import NormalizeIntensity

from monai_medaug.core import tensors
from monai_medaug.core.contract import REGISTRY
from monai_medaug.transforms.mri.magnitude import MagnitudeOperation

OPERATIONS = sorted(
    {c for c in REGISTRY.values() if issubclass(c, MagnitudeOperation)}, key=lambda operation: operation.__name__
)
FILLING = [c for c in OPERATIONS if not c.multiplies]
RANDOM = np.random.default_rng(0)


def brains(*shape: int) -> torch.Tensor:
    """Two channels of a skull-stripped brain, of different tissue."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = sum(a**2 for a in axes) < 0.7
    tissue = RANDOM.uniform(80, 150, (2, *shape)) + 20 * np.sin(6 * axes[0])
    return torch.from_numpy(np.where(inside, tissue, 0).astype(np.float32))


@pytest.mark.parametrize("shape", [(60, 70), (36, 40, 30)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_background_of_a_skull_stripped_brain_stays(operation, shape):
    image = brains(*shape)
    out = operation(prob=1.0).set_random_state(0)(image)
    assert torch.equal(out == 0, image == 0)
    assert not torch.equal(out, image)
    normalise = NormalizeIntensity(nonzero=True, channel_wise=True)
    for before, after, mask in zip(normalise(image.clone()), normalise(out.clone()), image > 0, strict=True):
        assert float(after[mask].mean() - before[mask].mean()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("to", ["z-scored", "[-1, 1]"])
def test_so_does_that_of_a_normalised_one(operation, to):
    image = brains(60, 70)
    mask = image > 0
    scaled = torch.where(mask, (image - 100) / 30, image) if to == "z-scored" else image / 100 - 1
    out = operation(prob=1.0).set_random_state(0)(scaled)
    assert torch.equal(out[~mask], scaled[~mask])


@pytest.mark.parametrize("operation", FILLING)
def test_on_demand_zeros_change_or_stay(operation):
    image = brains(60, 70)
    changed = operation(prob=1.0, keep_zeros=False).set_random_state(0)(image)
    assert float((changed[image == 0] != 0).float().mean()) > 0.5
    scattered = torch.from_numpy(RANDOM.uniform(1, 100, (1, 40, 40)).astype(np.float32))
    scattered[0, ::5, ::5] = 0
    draws = [operation(prob=1.0, keep_zeros=k).set_random_state(0)(scattered) for k in (None, True, False)]
    assert torch.equal(draws[0], draws[2])
    assert torch.equal(draws[1] == 0, scattered == 0)


@pytest.mark.parametrize("operation", FILLING)
def test_it_is_said_once(operation, monkeypatch):
    monkeypatch.setattr(tensors, "_said", set())
    with pytest.warns(UserWarning, match="masked background"):
        operation(prob=1.0)(brains(60, 70))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_cold_voxel_changes_little_else(operation):
    """Noise was seven times stronger, since the minimum counted as zero signal."""
    image = torch.from_numpy(RANDOM.normal(size=(1, 90, 80)).astype(np.float32))
    cold = image.clone()
    cold[0, 40, 40] = -15
    runs = [operation(prob=1.0).set_random_state(0)(x) for x in (image, cold)]
    change = (runs[1] - runs[0]).abs()
    change[0, 40, 40] = 0
    assert float(change.mean()) < 0.03
    assert float(runs[1][0, 40, 40]) < -10


def test_a_record_without_the_argument_repeats_as_it_was():
    from monai.data import MetaTensor

    from monai_medaug.transforms import RandMRINoise, augmentation_report, replay

    image = MetaTensor(brains(60, 70))
    out = RandMRINoise(prob=1.0, keep_zeros=False).set_random_state(0)(image)
    report = augmentation_report(out)
    del report["steps"][0]["params"]["keep_zeros"]
    torch.testing.assert_close(replay(image, report).as_tensor(), out.as_tensor())
