"""Padding of CT volumes, which is no measurement: no value between it and tissue is real."""

from __future__ import annotations

import torch

from monai_medaug.functional.hounsfield import PADDING_HU

_MANY = 1e-4
_COHERENT = 0.5
"""The least value of a channel is padding if it is this share of it, and if the next voxel has it with this
probability; noise and clipped streaks are scattered."""


def padding_levels(image: torch.Tensor) -> torch.Tensor:
    """Up to which value the voxels of each channel are padding, (B, C, 1, ...); -inf in one without.

    A channel has padding if its least value is at most -1400 (HU), frequent and coherent.

    Example:
        >>> scan = torch.zeros(1, 1, 8, 8)
        >>> scan[..., :2] = -3024.0
        >>> padding_levels(torch.cat([scan, scan / 3], dim=1)).flatten().tolist()
        [-1400.0, -inf]
    """
    image = image.detach()
    lowest = image.flatten(2).amin(2)
    levels = torch.full_like(lowest, -torch.inf)
    if image.device.type != "cpu":  # all at once, without a look at which have any
        same = image == lowest.reshape(*lowest.shape, *[1] * (image.ndim - 2))
        count, each = (x.flatten(2).sum(2) for x in (same, same[..., :-1]))
        pairs = (same[..., 1:] & same[..., :-1]).flatten(2).sum(2)
        voxels = same[0, 0].numel()
        padded = (lowest <= PADDING_HU) & (count >= _MANY * voxels) & (pairs >= _COHERENT * each)
        return torch.where(padded, PADDING_HU, levels).reshape(*levels.shape, *[1] * (image.ndim - 2))
    low = [(b, c) for b, values in enumerate(lowest.tolist()) for c, value in enumerate(values) if value <= PADDING_HU]
    for sample, channel in low:
        same = image[sample, channel] == lowest[sample, channel]
        pairs = (same[..., 1:] & same[..., :-1]).sum()
        if same.sum() >= _MANY * same.numel() and pairs >= _COHERENT * same[..., :-1].sum():
            levels[sample, channel] = PADDING_HU
    return levels.reshape(*levels.shape, *[1] * (image.ndim - 2))
