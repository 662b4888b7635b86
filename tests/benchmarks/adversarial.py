"""Adversarial augmentation against what it can't do without: a forward and a backward pass to the input a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from monai.networks.nets import UNet
from torch import nn
from torch.nn import functional as F

from monai_medaug.transforms import AdversarialBiasField, FGSMAttack, PGDAttack
from tests.benchmarks.harness import Call, Row

STEPS = 5


def segmentation(*shape: int, batch: int = 2) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small UNet, images and class ids (B, 1, *shape)."""
    torch.manual_seed(0)
    net = UNet(len(shape), 1, 3, channels=(16, 32, 64), strides=(2, 2), num_res_units=1, norm="batch")
    image = torch.rand(batch, 1, *shape)
    return net, image, (3 * image).long()


def classification(side: int = 28, batch: int = 64) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small CNN, images and class ids (B, 1)."""
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * (side // 4) ** 2, 2)),
    )
    return net, torch.rand(batch, 1, side, side), torch.randint(2, (batch, 1))


def passes(problem: tuple[nn.Module, torch.Tensor, torch.Tensor], steps: int) -> Call:
    """The least that a gradient attack costs: nothing but the gradients."""
    net, image, target = problem
    net.eval()
    ids = target[:, 0]

    def call() -> Any:
        for _ in range(steps):
            x = image.detach().requires_grad_()
            gradient = torch.autograd.grad(F.cross_entropy(net(x), ids), x)
        return gradient

    return call


def attacked(problem: tuple[nn.Module, torch.Tensor, torch.Tensor], kind: Any, **arguments: Any) -> Call:
    net, image, target = problem
    attack = kind(net.train(), **arguments)
    return lambda: attack(image, target)


def rows() -> Iterator[Row]:
    """PGD, FGSM and the coil field, on a small UNet in 2D and 3D and a small CNN."""
    problems = {
        "UNet 2 × 128²": lambda: segmentation(128, 128),
        "UNet 1 × 64³": lambda: segmentation(64, 64, 64, batch=1),
        "CNN 64 × 28²": classification,
    }
    for name, problem in problems.items():
        many, single = f"{STEPS} × (forward + backward)", "forward + backward"
        yield Row(
            f"PGD, {STEPS} steps, {name}",
            many,
            lambda p=problem: passes(p(), STEPS),
            lambda p=problem: attacked(p(), PGDAttack, num_steps=STEPS, value_range=(0, 1)),
            1.1,
        )
        yield Row(
            f"PGD, {STEPS} steps, Euclidean, {name}",
            many,
            lambda p=problem: passes(p(), STEPS),
            lambda p=problem: attacked(p(), PGDAttack, num_steps=STEPS, norm="l2", value_range=(0, 1)),
            1.1,
        )
        yield Row(
            f"FGSM, {name}",
            single,
            lambda p=problem: passes(p(), 1),
            lambda p=problem: attacked(p(), FGSMAttack, value_range=(0, 1)),
        )
        yield Row(
            f"coil field, {STEPS} steps, {name}",
            many,
            lambda p=problem: passes(p(), STEPS),
            lambda p=problem: attacked(p(), AdversarialBiasField, num_steps=STEPS),
        )
