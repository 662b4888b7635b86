"""White noise, the same for array, dictionary and batch faces: one generator per sample and key."""

from __future__ import annotations

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
