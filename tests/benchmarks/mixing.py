"""MixUp and CutMix of a batch of volumes, against the bare expression and MONAI's."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.transforms import CutMix, MixUp

from monai_medaug.transforms.mixing.mix import BatchCutMix, BatchMix, BatchMixUp
from tests.benchmarks.harness import Call, Row

SIZE, SIDE, PLANE = 8, 96, 512


def batch(*shape: int) -> torch.Tensor:
    """A float32 batch (8, 1, *shape)."""
    return torch.randn(SIZE, 1, *shape, generator=torch.Generator().manual_seed(0))


def bare(*shape: int) -> Call:
    """The expression of the paper, with a λ for each sample, drawn beforehand."""
    x, generator = batch(*shape), torch.Generator().manual_seed(0)
    lam = torch.rand(SIZE, *[1] * (x.ndim - 1), generator=generator)
    permutation = torch.randperm(SIZE, generator=generator)
    return lambda: lam * x + (1 - lam) * x[permutation]


def monai(cls: type[MixUp] | type[CutMix], *shape: int) -> Call:
    x = batch(*shape)
    transform = cls(batch_size=SIZE, alpha=1.0)
    transform.set_random_state(0)
    return lambda: transform(x)


def ours(cls: type[BatchMixUp] | type[BatchCutMix] | type[BatchMix], *shape: int) -> Call:
    x, transform = batch(*shape), cls().set_random_state(0)
    return lambda: transform(x)


def rows() -> Iterator[Row]:
    """8 volumes of 96³ and 8 images of 512², float32; draws, checks and records of λ included in ours."""
    for name, shape in ((f"8 × {SIDE}³", (SIDE,) * 3), (f"8 × {PLANE}²", (PLANE,) * 2)):

        def expression(shape: tuple[int, ...] = shape) -> Call:
            return bare(*shape)

        def mixup(shape: tuple[int, ...] = shape) -> Call:
            return ours(BatchMixUp, *shape)

        def cutmix(shape: tuple[int, ...] = shape) -> Call:
            return ours(BatchCutMix, *shape)

        def either(shape: tuple[int, ...] = shape) -> Call:
            return ours(BatchMix, *shape)

        yield Row(f"MixUp, {name}", "λx + (1 - λ)x[perm]", expression, mixup, 1.5)
        yield Row(f"MixUp, {name}", "MONAI MixUp", lambda shape=shape: monai(MixUp, *shape), mixup)
        yield Row(f"CutMix, {name}", "λx + (1 - λ)x[perm]", expression, cutmix, 1.0)
        yield Row(f"CutMix, {name}", "MONAI CutMix", lambda shape=shape: monai(CutMix, *shape), cutmix)
        yield Row(f"either, {name}", "λx + (1 - λ)x[perm]", expression, either, 1.5)
