"""The ascent against closed forms, and the network that comes back as it was."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from monai_medaug.functional.adversarial.ball import (
    ball_samples,
    projected_ascent,
    rounded_toward,
    start_radius,
)
from monai_medaug.functional.adversarial.field import (
    bias_field_ascent,
    peak_scale,
    times_bias_field,
)
from monai_medaug.functional.adversarial.gradient import (
    LossGradient,
    class_loss,
    class_target,
    evaluating,
)
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.mri.coil import EXPONENTS, bias, foreground, index_polynomial, polynomial_field, zero_point

SPACES = [(9, 8), (6, 5, 7)]


def mean_output(prediction: torch.Tensor, target: Any) -> torch.Tensor:
    return prediction.mean()


def linear(weight: torch.Tensor) -> Any:
    """A network with a score (B,) a sample: its loss's gradient is the weight."""
    return lambda x: (x * weight).flatten(1).sum(1)


def problem(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (3, 2, *shape) within 0..1 and a weight of the same shape, partly zero."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 2, *shape, generator=generator, dtype=dtype)
    weight = torch.randn(3, 2, *shape, generator=generator, dtype=dtype)
    return image, torch.where(weight.abs() < 0.1, 0, weight)


def attack(image: torch.Tensor, weight: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    infinite = torch.tensor(torch.inf, dtype=image.dtype)
    ends = named.pop("low", -infinite), named.pop("high", infinite)
    return projected_ascent(LossGradient(linear(weight), None, mean_output), image, *ends, *arguments, **named)


# ---- closed forms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SPACES)
@pytest.mark.parametrize("steps", [1, 7])
def test_maximum_norm_optimum_of_a_linear_model(shape, steps):
    image, weight = problem(shape)
    before = image.clone()
    out = attack(image, weight, 0.01, 0.01 if steps == 1 else 0.003, steps)
    assert torch.equal(out, image + 0.01 * weight.sign())
    assert torch.equal(image, before)
    assert not image.requires_grad


@pytest.mark.parametrize("shape", SPACES)
@pytest.mark.parametrize("steps", [1, 7])
def test_euclidean_norm_optimum_of_a_linear_model(shape, steps):
    image, weight = problem(shape, torch.float64)
    out = attack(image, weight, 0.5, 0.5 if steps == 1 else 0.1, steps, "l2")
    unit = weight / weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (image.ndim - 1))
    torch.testing.assert_close(out, image + 0.5 * unit, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_few_steps_go_as_far_as_they_can(norm):
    image, weight = problem(SPACES[0], torch.float64)
    change = attack(image, weight, 1.0, 0.03, 5, norm) - image
    size = change.abs().amax() if norm == "linf" else change.flatten(1).norm(dim=1).amax()
    assert float(size) == pytest.approx(0.15)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("start", [False, True])
def test_bounds_and_mask(norm, start):
    """Within the ball, the range and the mask after any number of steps."""
    image, weight = problem(SPACES[0])
    mask = torch.zeros(3, 1, *SPACES[0], dtype=torch.bool)
    mask[:, :, 2:5, 1:6] = True
    epsilon = 0.3 if norm == "linf" else 2.0
    first = ball_samples(image.shape[1:], [1, 2, 3], epsilon, norm, image) if start else None
    ends = {"low": torch.tensor(0.0), "high": torch.tensor(1.0)}
    out = attack(image, weight, epsilon, epsilon / 3, 6, norm, first, mask, **ends)
    change = out - image
    assert torch.equal(out * ~mask, image * ~mask)
    assert float(change.abs().sum()) > 0
    size = change.abs().amax() if norm == "linf" else change.flatten(1).norm(dim=1).amax()
    assert float(size) <= epsilon * (1 + 1e-6)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    if norm == "linf":
        wanted = torch.where(weight == 0, out, (image + epsilon * weight.sign()).clamp(0, 1))
        torch.testing.assert_close(out * mask, wanted * mask, rtol=0, atol=2e-7)


def test_a_voxel_outside_the_range_goes_no_further():
    image = torch.tensor([[[1.2, -0.1, 0.5]]])
    weight = torch.tensor([[[1.0, -1.0, 1.0]]])
    ends = {"low": torch.tensor(0.0), "high": torch.tensor(1.0)}
    assert torch.equal(attack(image, weight, 0.25, 0.25, **ends), torch.tensor([[[1.2, -0.1, 0.75]]]))
    torch.testing.assert_close(attack(image, -weight, 0.25, 0.25, **ends), torch.tensor([[[0.95, 0.15, 0.25]]]))


@pytest.mark.parametrize("epsilon", [0.001, 0.005, 0.01, 0.014, 0.02, 0.1])
def test_the_steps_reach_every_point_from_every_start(epsilon):
    image, weight = problem(SPACES[1])
    radius = start_radius(epsilon, 0.003, 5)
    assert 0 <= radius <= epsilon
    farthest = -radius * weight.sign()
    reached = attack(image, weight, epsilon, 0.003, 5, start=farthest) - image
    torch.testing.assert_close(reached, min(epsilon, 0.015) * weight.sign(), rtol=0, atol=2e-7)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_fill_the_ball_and_depend_on_their_seed_alone(norm):
    like = torch.zeros(1, dtype=torch.float64)
    points = ball_samples((2,), range(4000), 0.5, norm, like)
    assert torch.equal(points[7:8], ball_samples((2,), [7], 0.5, norm, like))
    size = points.abs().amax(1) if norm == "linf" else points.norm(dim=1)
    assert float(size.max()) <= 0.5
    share = (size < 0.25).double().mean()
    assert float(share) == pytest.approx(0.25, abs=0.03)
    assert float(points.mean().abs()) < 0.02


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_casts_never_enlarge_a_change(dtype):
    generator = torch.Generator().manual_seed(0)
    image = (torch.randn(10000, generator=generator) * torch.logspace(-4, 3, 10000)).to(dtype)
    changed = image.float() + 0.01 * torch.randn(10000, generator=generator).sign()
    out = rounded_toward(changed, image, dtype)
    assert out.dtype == dtype
    change = (out.float() - image.float()).abs()
    assert torch.all(change <= (changed - image.float()).abs())
    assert bool(((changed.to(dtype).float() - image.float()).abs() > 0.0101).any()), "a plain cast enlarges some"
    small = image.float().abs() < 0.5
    assert float(change[small].mean()) > 0.009


# ---- gradients ---------------------------------------------------------------------------------------------------


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


# ---- the network stays as it was ---------------------------------------------------------------------------------


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


# ---- coil field --------------------------------------------------------------------------------------------------


def phantom(*shape: int) -> torch.Tensor:
    """Two textured ellipsoids (2, 1, *shape) with zeros round them."""
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    body = torch.where(torch.stack(axes).square().sum(0) < 0.7, 2 + torch.sin(5 * axes[0]), torch.tensor(0.0))
    return torch.stack([body, body.flip(0)])[:, None]


AFFINES = [None, [[0, 0.9, 0.1, 5], [1.2, 0, 0, 3], [0.2, 0, 3, 0], [0, 0, 0, 1]]]


@pytest.mark.parametrize("shape", [(40, 36), (20, 24, 12)])
@pytest.mark.parametrize("affine", AFFINES)
def test_field_is_that_of_the_mri_kernel(shape, affine):
    """Without steps: the coefficients, scaled, mean what they mean to the random field."""
    image, grids = phantom(*shape).double(), [VoxelGrid(shape, affine), VoxelGrid(shape)]
    start = torch.randn(2, len(EXPONENTS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    peaks = torch.tensor([0.3, 0.1], dtype=torch.float64)
    terms, reached = bias_field_ascent(torch.zeros_like, image, grids, start, peaks, 0.4, 0.1, 0)
    out = times_bias_field(image, terms.tolist(), grids)
    index = torch.from_numpy(np.stack([index_polynomial(s.tolist(), g) for s, g in zip(start, grids, strict=True)]))
    torch.testing.assert_close(out, bias(image, index, peaks), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(reached, peaks, rtol=1e-9, atol=0)


@pytest.mark.parametrize("shape", [(40, 36), (20, 24, 12)])
@pytest.mark.parametrize("affine", AFFINES)
@pytest.mark.parametrize("peak", [0.05, 0.4, 2.0])
def test_field_keeps_its_bounds_and_finds_a_linear_optimum(shape, affine, peak):
    """Signal on one side, less on the other: the field rises along that axis, to the bound, of geometric mean 1."""
    image, grids = phantom(*shape), [VoxelGrid(shape, affine)] * 2
    slope = torch.linspace(-1, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    start = torch.randn(2, len(EXPONENTS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    peaks = torch.full((2,), peak / 2)
    terms, reached = bias_field_ascent(
        lambda y: slope.expand_as(y).clone(), image, grids, start, peaks, peak, 2 * peak / 5, 5
    )
    out = times_bias_field(image, terms.tolist(), grids)
    inside = foreground(image, zero_point(image))
    for sample in range(2):
        log = (out[sample] / image[sample])[inside[sample]].log().double()
        gain = log.exp()
        assert float(gain.max() - gain.min()) == pytest.approx(float(reached[sample]), rel=1e-4)
        assert float(gain.max() - gain.min()) <= peak * (1 + 1e-4)
        assert float(gain.max() - gain.min()) > 0.99 * peak
        assert abs(float(log.mean())) < 1e-5
        along = slope.expand_as(inside[sample])[inside[sample]].double()
        assert float(torch.corrcoef(torch.stack([log, along]))[0, 1]) > 0.9
    assert torch.equal(out[image == 0], image[image == 0])


def test_field_gradient_is_that_of_autograd():
    """One small step from a start: the loss rises by what the derivative along the step says."""
    shape, image = (20, 24, 12), phantom(20, 24, 12).double()
    grids = [VoxelGrid(shape, AFFINES[1])] * 2
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    start = torch.randn(2, len(EXPONENTS), generator=generator, dtype=torch.float64)
    peaks, tiny = torch.full((2,), 0.2, dtype=torch.float64), 1e-5
    begin, _ = bias_field_ascent(torch.zeros_like, image, grids, start, peaks, 0.4, tiny, 0)
    end, _ = bias_field_ascent(lambda y: weight.clone(), image, grids, start, peaks, 0.4, tiny, 1)
    leaf = begin[:, 1:].clone().requires_grad_()
    inside = foreground(image, zero_point(image))

    def loss(terms):
        index = torch.stack([torch.from_numpy(index_polynomial(e, grids[0])) for e in np.eye(19).tolist()])
        basis = polynomial_field(index, shape)[:, 0]
        field = torch.einsum("bk,kzyx->bzyx", terms, basis)[:, None]
        mean = torch.stack([f[m].mean() for f, m in zip(field, inside, strict=True)]).reshape(-1, 1, 1, 1, 1)
        return (weight * image * torch.exp(field - mean)).flatten(1).sum(1)

    (wanted,) = torch.autograd.grad(loss(leaf).sum(), leaf)
    moved = end[:, 1:] - begin[:, 1:]
    for a, b in zip(moved, wanted, strict=True):
        assert float(F.cosine_similarity(a, b, dim=0)) > 1 - 1e-6
    torch.testing.assert_close(
        (loss(end[:, 1:]) - loss(begin[:, 1:])).detach(), (moved * wanted).sum(1), rtol=1e-3, atol=0
    )


def test_field_of_an_empty_image_and_a_zero_bound():
    image, grids = torch.zeros(2, 1, 12, 12), [VoxelGrid((12, 12))] * 2
    start, none = torch.ones(2, len(EXPONENTS)), torch.zeros(2)
    terms, _ = bias_field_ascent(torch.ones_like, image, grids, start, none, 0.4, 0.1, 2)
    assert torch.equal(times_bias_field(image, terms.tolist(), grids), image)
    body = phantom(12, 12)
    terms, reached = bias_field_ascent(torch.ones_like, body, grids, start, none, 0.0, 0.0, 2)
    assert reached.tolist() == [0, 0]
    assert torch.equal(times_bias_field(body, terms.tolist(), grids), body)


def test_peak_scale():
    ends = torch.tensor([[-1.0, 2.0], [-5.0, 0.1], [0.0, 0.0], [-0.01, 0.01]], dtype=torch.float64)
    wanted = torch.tensor([2.0, 0.4, 0.4, 0.4], dtype=torch.float64)
    scale, peak = peak_scale(ends, wanted)
    assert peak.tolist() == pytest.approx([2, 0.4, 0, 0.4])
    assert scale[2] == 0
    scale, peak = peak_scale(ends, wanted, shrink_only=True)
    assert scale[3] == 1
    assert float(peak[3]) == pytest.approx(0.02, rel=1e-3)
