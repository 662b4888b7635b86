"""The ascent against closed forms, and the network that comes back as it was."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_medaug.functional.adversarial.gradient import (
    LossGradient,
    class_loss,
    class_target,
    evaluating,
)

SPACES = [(9, 8), (6, 5, 7)]


def mean_output(prediction: torch.Tensor, target: Any) -> torch.Tensor:
    return prediction.mean()


def problem(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (3, 2, *shape) within 0..1 and a weight of the same shape, partly zero."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 2, *shape, generator=generator, dtype=dtype)
    weight = torch.randn(3, 2, *shape, generator=generator, dtype=dtype)
    return image, torch.where(weight.abs() < 0.1, 0, weight)


def test_gradient_has_the_direction_of_autograd():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 42, 3)).double()
    image, _ = problem(SPACES[0], torch.float64)
    labels = torch.tensor([0, 2, 1])
    x = image.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(F.cross_entropy(net(x), labels), x)
    found = LossGradient(net, labels)(image)
    unit = [g.flatten(1) / g.flatten(1).norm(dim=1, keepdim=True) for g in (found, wanted)]
    torch.testing.assert_close(unit[0], unit[1])
    assert all(p.grad is None for p in net.parameters())


def test_predictions_that_are_no_tensor():
    def net(x):
        return [x, (2 * x,)]

    image, _ = problem(SPACES[0])
    found = LossGradient(net, None, lambda p, t: p[0].sum() + p[1][0].sum())(image)
    assert torch.equal(found, torch.full_like(image, 3))
    with pytest.raises(ValueError, match="loss must be given"):
        LossGradient(net, torch.zeros(3))(image)


def test_a_saturated_sample_and_a_large_mean_do_not_underflow():
    """Half precision would lose a slope of 1e-7 or a probability of 1e-20; another sample's infinity stays there."""
    image = torch.tensor([[3.0, -40.0], [0.1, 0.2], [1.0, 2.0]])

    def net(x):
        return (x * torch.tensor([[1.0], [1.0], [torch.inf]])).half()

    found = LossGradient(net, torch.tensor([0, 0, 0]), lambda p, t: 1e-6 * class_loss(p, t))(image)
    assert torch.equal(found.sign(), torch.tensor([[0.0, 1.0], [-1.0, 1.0], [0.0, 0.0]]))  # 1 - p of the first is 0


@pytest.mark.parametrize(
    ("network", "loss", "what"),
    [
        (lambda x: x.detach(), mean_output, "network and loss"),
        (lambda x: torch.ones(3, requires_grad=True) * 2, mean_output, "network must"),
        (lambda x: x, lambda p, t: torch.tensor(1.0), "loss must be differentiable"),
        (lambda x: x, lambda p, t: 1.0, "loss must return a tensor"),
    ],
)
def test_no_gradient_is_said(network, loss, what):
    with pytest.raises(ValueError, match=what):
        LossGradient(network, None, loss)(torch.ones(3, 1, 4, 4))


@pytest.mark.parametrize(
    ("prediction", "target", "wanted"),
    [
        ((2, 3), (2,), (2,)),
        ((2, 3), (2, 1), (2,)),
        ((2, 3), (2, 3), (2, 3)),
        ((2, 1), (2,), (2, 1)),
        ((2,), (2, 1), (2,)),
        ((2, 3, 4, 5), (2, 1, 4, 5), (2, 4, 5)),
        ((2, 3, 4, 5, 6), (2, 4, 5, 6), (2, 4, 5, 6)),
        ((2, 1, 4, 5), (2, 4, 5), (2, 1, 4, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)),
    ],
)
def test_targets_of_the_default_loss(prediction, target, wanted):
    for dtype in (torch.uint8, torch.int64, torch.float32, torch.bool):
        found = class_target(torch.zeros(prediction), torch.ones(target, dtype=dtype))
        assert found.shape == wanted
        assert found.dtype == (torch.float32 if wanted == prediction else torch.int64)
        assert torch.isfinite(class_loss(torch.zeros(prediction), found))


@pytest.mark.parametrize(
    ("prediction", "target", "what"),
    [
        ((2, 3), torch.zeros(3), "shape"),
        ((2, 3), torch.tensor([0, 3]), "below 3"),
        ((2, 3), torch.tensor([-1, 0]), "below 3"),
        ((2, 1), torch.tensor([0, 2]), r"\[0, 1\]"),
        ((2, 3, 4, 4), torch.zeros(2, 2, 4, 4), "shape"),
    ],
)
def test_wrong_targets_are_said(prediction, target, what):
    with pytest.raises(ValueError, match=what):
        class_target(torch.zeros(prediction), target)


def test_ignored_voxels_pass():
    assert class_target(torch.zeros(2, 3), torch.tensor([-100, 1])).tolist() == [-100, 1]


class Counter(nn.Module):
    """Counts calls in one buffer that it writes to, in one that it replaces; its own train() must not be called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("written", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()), persistent=False)

    def train(self, mode: bool = True) -> nn.Module:
        raise AssertionError("train() was called")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.written += 1
        self.replaced = self.replaced + 1
        return x


def busy_network() -> nn.Module:
    """Everything that an attack might change, in mixed modes."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 4, 3)),
        nn.utils.spectral_norm(nn.Conv2d(4, 4, 1)),
        nn.BatchNorm2d(4),
        nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(0.5)).eval(),
        nn.InstanceNorm2d(4, track_running_stats=True),
        nn.Flatten(),
        nn.Linear(4 * 42, 3),
    )
    net[2].weight.requires_grad_(False)
    net[3][1].training = True
    net.append(Counter())
    return net


def state(net: nn.Module) -> dict[str, Any]:
    return {
        "values": copy.deepcopy(net.state_dict()),
        "buffers": {n: (id(b), b.clone()) for n, b in net.named_buffers()},
        "modes": [m.training for m in net.modules()],
        "grads": [None if p.grad is None else (id(p.grad), p.grad.clone()) for p in net.parameters()],
        "frozen": [p.requires_grad for p in net.parameters()],
        "cache": torch.is_autocast_cache_enabled(),
    }


def assert_same_state(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same_state(value, other[key])
    elif isinstance(one, (list, tuple)):
        for a, b in zip(one, other, strict=True):
            assert_same_state(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def with_grads() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    net, (image, _) = busy_network(), problem(SPACES[0])
    labels = torch.tensor([0, 2, 1])
    F.cross_entropy(net(image), labels).backward()
    return net, image, labels


def test_the_network_comes_back_as_it_was():
    net, image, labels = with_grads()
    before = state(net)
    seen = []
    net[4].register_forward_hook(lambda *_: seen.append([m.training for m in net.modules()]))
    with evaluating(net):
        found = LossGradient(net, labels)(image)
    assert float(found.abs().sum()) > 0
    assert seen == [[False] * len(before["modes"])]
    assert_same_state(state(net), before)


def test_the_network_comes_back_when_the_loss_raises():
    net, image, labels = with_grads()
    before = state(net)

    def loss(prediction, target):
        raise RuntimeError("of the loss")

    with pytest.raises(RuntimeError, match="of the loss"), evaluating(net, loss):
        LossGradient(net, labels, loss)(image)
    assert_same_state(state(net), before)


def test_modules_within_callables_are_found():
    net, image, _ = with_grads()
    before = state(net)
    for wrapped in (net.forward, functools.partial(lambda n, x: n(x), net), functools.partial(net, input=image)):
        with evaluating(wrapped):
            assert not any(m.training for m in net.modules())
            net(image)
        assert_same_state(state(net), before)
    with evaluating(lambda x: x, None):
        pass


def test_training_goes_on_as_without_the_attack():
    """Also within one autocast context, whose cache of weights an attack without gradients would fill."""
    results = []
    for attacked in (False, True):
        net, image, labels = with_grads()
        with torch.autocast("cpu", torch.bfloat16):
            if attacked:
                with evaluating(net), torch.no_grad():
                    LossGradient(net, labels)(image)
                    net(image)
            torch.manual_seed(1)
            loss = F.cross_entropy(net(image), labels)
        loss.backward()
        results.append(state(net))
    for name in ("values", "modes"):
        assert_same_state(results[0][name], results[1][name])
    for one, other in zip(results[0]["grads"], results[1]["grads"], strict=True):
        assert (one is None and other is None) or torch.equal(one[1], other[1])


def test_a_network_that_writes_to_its_input():
    image, _ = problem(SPACES[0])
    before = image.clone()
    found = LossGradient(nn.ReLU(inplace=True), None, mean_output)(image)
    assert float(found.min()) == float(found.max()) == 1
    assert torch.equal(image, before)
