from __future__ import annotations

from typing import Any

import pytest
import torch

from monai_medaug.functional.adversarial.ball import (
    ball_samples,
    projected_ascent,
    rounded_toward,
    start_radius,
)
from monai_medaug.functional.adversarial.gradient import (
    LossGradient,
)

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
