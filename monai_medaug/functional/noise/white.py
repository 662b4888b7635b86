"""White noise, the same for array, dictionary and batch faces: one generator per sample and key."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def white_noise(
    shape: Sequence[int], seeds: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Standard normal noise (B, *shape), sample b from a generator on ``device`` seeded with ``seeds[b]``.

    Example:
        >>> both = white_noise((2, 3), [1, 2], torch.device("cpu"))
        >>> torch.equal(both[1], white_noise((2, 3), [2], torch.device("cpu"))[0])
        True
    """
    out = torch.empty(len(seeds), *shape, device=device, dtype=dtype)
    generator = torch.Generator(device)
    for sample, seed in zip(out, seeds, strict=True):
        sample.normal_(generator=generator.manual_seed(seed))
    return out


def uniform_integers(shape: Sequence[int], seeds: Sequence[int], device: torch.device) -> torch.Tensor:
    """Uniform 8 bit integers (B, *shape), sample b from a generator on ``device`` seeded with ``seeds[b]``.

    Noise that sums over many of them, as a transform does, is normally distributed: they are drawn in an eighth of the
    time of normal numbers.

    Example:
        >>> both = uniform_integers((2, 3), [1, 2], torch.device("cpu"))
        >>> both.dtype, torch.equal(both[1], uniform_integers((2, 3), [2], torch.device("cpu"))[0])
        (torch.int8, True)
    """
    count = math.prod(shape)
    words = torch.empty(len(seeds), -(-count // 8), device=device, dtype=torch.int64)
    generator = torch.Generator(device)
    for sample, seed in zip(words, seeds, strict=True):
        sample.random_(-(1 << 63), None, generator=generator.manual_seed(seed))
    return words.view(torch.int8)[:, :count].unflatten(1, tuple(shape))
