"""What a user has set for a network's sake changes no operation: autocast, TF32, determinism, the default device."""

import contextlib

import pytest
import torch
from torch import nn

from monai_medaug.functional.acceleration import torch_only
from monai_medaug.functional.adversarial.gradient import class_loss
from monai_medaug.transforms import AdversarialBiasField, Batched, PGDAttack
from tests.contract.cases import CASES, distance
from tests.device.pretend import PretendCuda
from tests.device.test_operations import batch


@contextlib.contextmanager
def tensor_cores():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


class DefaultPlace(nn.Module):
    """A net that makes a tensor where the user's default is."""

    def forward(self, x):
        return (x.flatten(1).mean(1, keepdim=True) + torch.zeros(1)) * torch.arange(1, 4)


def test_the_network_keeps_the_default_device():
    image = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = PGDAttack(DefaultPlace()).set_random_state(0)(image, torch.tensor([0, 2]))
    with PretendCuda(default=True):
        found = PGDAttack(DefaultPlace()).set_random_state(0)(image.cuda(), torch.tensor([0, 2])).cpu()
    assert distance(expected, found) < 1e-6


def segmenter():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))


def test_the_loss_of_images_is_the_same_where_determinism_is_asked_for():
    logits = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 3, (2, 5, 4), generator=torch.Generator().manual_seed(1))
    target[0, 0] = -100
    usual = class_loss(logits, target)
    with deterministic():
        assert float(class_loss(logits, target)) == pytest.approx(float(usual), rel=1e-6)


@pytest.mark.parametrize("attack", [PGDAttack, AdversarialBiasField])
def test_attacks_on_segmenters_where_determinism_is_asked_for(attack):
    image = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) + 0.1
    target = (image[:, 0] > 0.6).long()
    target[:, :3] = -100  # ignored
    with deterministic(), torch_only():
        expected = attack(segmenter()).set_random_state(0)(image, target)
    with deterministic(), PretendCuda():
        found = attack(segmenter().cuda()).set_random_state(0)(image.cuda(), target.cuda()).cpu()
    assert distance(expected, found) < 1e-4  # the network's convolutions take TF32, as they do by default


SETTINGS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "tf32": tensor_cores,
    "deterministic": deterministic,
    "default device": contextlib.nullcontext,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_settings_change_nothing(case, setting):
    given = batch(case.image(case.dims[0]), 2)
    with torch_only():
        expected = Batched(case.array(0))(given)
    with SETTINGS[setting](), PretendCuda(default=setting == "default device"):
        found = Batched(case.array(0))(given.cuda()).cpu()
    assert distance(expected, found) < 1e-6
