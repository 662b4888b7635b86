"""Images that look like label maps."""

from __future__ import annotations

import math

import torch

_ENOUGH, _MOST_LABELS, _EQUAL_NEIGHBOURS = 4096, 64, 0.7


def label_count(image: torch.Tensor) -> int:
    """How many labels an image seems to hold: 0 unless it has few different whole numbers and mostly equal neighbours.

    Looked at are some thousand values and some hundred rows; images of fewer than 4096 values are none.

    Example:
        >>> mask = torch.zeros(64, 64)
        >>> mask[16:48, 16:48] = 3
        >>> label_count(mask), label_count(mask + torch.rand(64, 64))
        (2, 0)
    """
    values, size = image.detach().reshape(-1), image.numel()
    if size < _ENOUGH or values.is_complex():
        return 0
    for count in (_ENOUGH // 16, 4 * _ENOUGH):
        step = max(1, size // count)
        while math.gcd(step, image.shape[-1]) > 1:  # or the samples would share a few columns
            step += 1
        some = values[::step].cpu().to(torch.float64)
        if not all(map(float.is_integer, some[: _ENOUGH // 8].tolist())):  # which mostly ends at once
            return 0
        if not bool((some == some.round()).all()):
            return 0
        labels = len(some.unique())
        if labels > _MOST_LABELS:
            return 0
    rows = image.detach().reshape(-1, image.shape[-1])
    rows = rows[:: max(1, len(rows) // 256)].cpu()
    alike = float((rows[:, 1:] == rows[:, :-1]).double().mean())
    return labels if labels > 1 and alike > _EQUAL_NEIGHBOURS else 0
