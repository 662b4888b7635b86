"""What the mechanism (draw, checks, trace) costs beyond a bare kernel call, for each key of a tiny image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.data import MetaTensor

from monai_medaug.functional.ct.hu import hu_contrast
from monai_medaug.transforms import RandHUContrast, RandHUContrastd
from tests.benchmarks.harness import Call, Row

CALLS = 200
KEYS = ("a", "b")


def image() -> torch.Tensor:
    return torch.linspace(-1000, 1000, 16 * 16).reshape(1, 16, 16)


def bare(keys: int) -> Call:
    """The kernel alone, once a key, on a batch of one."""
    x = image()
    factor, pivot = torch.full((1, 1, 1, 1), 1.1), torch.zeros(1, 1, 1, 1)

    def call() -> None:
        for _ in range(keys):
            hu_contrast(x[None], factor, pivot)[0]

    return call


def nothing() -> Call:
    return lambda: None


def array(prob: float, meta: bool) -> Call:
    x = MetaTensor(image()) if meta else image()
    transform = RandHUContrast(prob=prob).set_random_state(0)
    return lambda: transform(x)


def dictionary(prob: float) -> Call:
    data = {key: MetaTensor(image()) for key in KEYS}
    transform = RandHUContrastd(KEYS, prob=prob).set_random_state(0)
    return lambda: transform(data)


def rows() -> Iterator[Row]:
    """Differences in ms a key: "theirs" is the bare kernel, or nothing for a skipped call."""
    for prob, what, target in ((1.0, "applied", 0.15), (0.0, "skipped", 0.03)):

        def base(keys: int, prob: float = prob) -> Call:
            return bare(keys) if prob else nothing()

        peer = "bare kernel call" if prob else "no call"
        for meta in (False, True):
            kind = "MetaTensor" if meta else "Tensor"
            yield Row(
                f"array face, {kind}, {what}",
                peer,
                lambda base=base: base(1),
                lambda prob=prob, meta=meta: array(prob, meta),
                target,
                difference=True,
                calls=CALLS,
            )
        yield Row(
            f"dictionary twin of two keys, {what}",
            peer,
            lambda base=base: base(2),
            lambda prob=prob: dictionary(prob),
            target,
            difference=True,
            calls=CALLS,
            keys=len(KEYS),
        )
