"""A lesion in new surroundings: their level and noise, its own contrast, and no seam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import avg_pool2d, avg_pool3d

_SIGMAS = 2.0
"""Up to how many standard deviations a difference from the local mean counts as noise."""


class SoftSeam(NamedTuple):
    """How a pasted region joins its surroundings, all in its box.

    Attributes:
        weight: share of the source, in [0, 1].
        lesion: lesion voxels of the source.
        ring: healthy surroundings in the source.
        clear: those of them that are healthy in the target too.
        kernel: voxels over which noise is averaged, along each axis.
    """

    weight: torch.Tensor
    lesion: torch.Tensor
    ring: torch.Tensor
    clear: torch.Tensor
    kernel: tuple[int, ...]


def joined(own: torch.Tensor, given: torch.Tensor, seam: SoftSeam, floor: torch.Tensor) -> torch.Tensor:
    """The target (C, *box) with the source's lesion: ``own + w (given' + m_own - m_given - own)``.

    m are the medians of the rings: the lesion keeps its contrast. ``given'`` has the target's noise: a noisier one
    lends its own deviations from the local mean, in a smoother one those of the source shrink. Each channel is matched
    on its own.

    Args:
        own: the target in the box.
        given: the source in its box, of the same shape.
        seam: how they join.
        floor: least value of each channel (C,), such as 0 of a magnitude.

    Example:
        >>> ring = torch.ones(1, 5, dtype=torch.bool)
        >>> ring[0, 2] = False
        >>> seam = SoftSeam((~ring).float(), ~ring, ring, ring, (1, 1))
        >>> joined(torch.full((1, 1, 5), 40.0), torch.tensor([[[10.0, 10, 70, 10, 10]]]), seam, torch.zeros(1))
        tensor([[[ 40.,  40., 100.,  40.,  40.]]])
    """
    weight, lesion, ring, clear = (t.to(own.device) for t in seam[:4])
    inside = _local_mean(given, lesion.to(given.dtype), seam.kernel)
    outside = _local_mean(given, (~lesion).to(given.dtype), seam.kernel)
    rough = given - torch.where(lesion, inside, outside)
    rough_own = own - _local_mean(own, torch.ones_like(weight, dtype=own.dtype), seam.kernel)
    moved = torch.empty_like(given)
    for c in range(len(own)):
        own_noise, noise = (_deviation(r[c][m]) for r, m in ((rough_own, clear), (rough, ring)))
        if own_noise > noise:
            share = (1 - (noise / own_noise) ** 2) ** 0.5
            extra = share * rough_own[c].clamp(-_SIGMAS * own_noise, _SIGMAS * own_noise)
        else:
            share = 1 - own_noise / noise if noise > 0 else 0.0
            extra = -share * rough[c].clamp(-_SIGMAS * noise, _SIGMAS * noise)
        moved[c] = given[c] + extra + (own[c][clear].median() - given[c][ring].median())
        moved[c].clamp_(min=floor[c])
    return own + weight.to(own.dtype) * (moved - own)


def _local_mean(image: torch.Tensor, among: torch.Tensor, kernel: Sequence[int]) -> torch.Tensor:
    """The mean of an image (C, *spatial) over a kernel, among voxels (*spatial) with weight 1."""
    pool = avg_pool3d if among.ndim == 3 else avg_pool2d
    half = tuple(k // 2 for k in kernel)
    share = pool(among[None], tuple(kernel), 1, half)
    return pool(image * among, tuple(kernel), 1, half) / share.clamp_min(1e-6)


def _deviation(values: torch.Tensor) -> float:
    return 1.4826 * float((values - values.median()).abs().median()) if len(values) else 0.0
