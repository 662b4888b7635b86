"""Voxels hidden from a network, so that noisy images can teach it to denoise (Krull et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_WINDOW = 5
"""Distance from which hidden voxels take other values, as in the paper; farther where a structure is hidden."""


def blinded(
    image: torch.Tensor, share: float, reach: Sequence[int], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and target of blind-spot training, both of the image's shape (N, C, *spatial).

    A share of the voxels becomes the target, NaN elsewhere. In the input each of them, and every voxel within ``reach``
    along each axis, takes the value of a random voxel further away than ``reach``, in all channels alike. White noise
    needs a reach of 0; noise that correlates over k voxels one of k, since its neighbours would betray a hidden voxel
    (C. Broaddus et al., Removing structured noise with self-supervised blind-spot networks, ISBI 2020).

    Args:
        image: noisy images.
        share: of the voxels that are hidden, 0 to 1.
        reach: along each spatial axis, in voxels.
        generator: on the CPU.

    Example:
        >>> image = torch.rand(1, 1, 32, 32)
        >>> given, target = blinded(image, 0.02, (0, 0), torch.Generator().manual_seed(0))
        >>> hidden = ~target.isnan()
        >>> bool((given[~hidden] == image[~hidden]).all()), 10 < int(hidden.sum()) < 35
        (True, True)
    """
    size, dims = image.shape[2:], image.ndim - 2
    chosen = torch.rand((len(image), 1, *size), generator=generator) < share
    hidden = chosen.float()
    if any(reach):
        pool = torch.nn.functional.max_pool2d if dims == 2 else torch.nn.functional.max_pool3d
        hidden = pool(hidden, [2 * r + 1 for r in reach], 1, list(reach))
    sample, _, *places = (hidden > 0).nonzero(as_tuple=True)
    sources = []
    beyond = torch.randint(dims, places[0].shape, generator=generator)  # the axis along which the source is outside
    for axis, (place, n, r) in enumerate(zip(places, size, reach, strict=True)):
        step = torch.randint(-_WINDOW - r, _WINDOW + r + 1, place.shape, generator=generator)
        far = torch.randint(2 * r + 1, 2 * r + 1 + _WINDOW, place.shape, generator=generator)
        far = far * (2 * torch.randint(2, place.shape, generator=generator) - 1)
        source = place + torch.where(beyond == axis, far, step)
        sources.append(_reflected(source, n))
    out = torch.movedim(image, 1, -1).clone()  # channels last, so that places index all of them
    there = [x.to(image.device) for x in (sample, *places)]
    out[tuple(there)] = torch.movedim(image, 1, -1)[(there[0], *(x.to(image.device) for x in sources))]
    target = torch.where(chosen.to(image.device), image, torch.nan)
    return torch.movedim(out, -1, 1), target


def _reflected(place: torch.Tensor, n: int) -> torch.Tensor:
    """Places beyond an axis of n voxels mirrored back into it."""
    if n == 1:
        return torch.zeros_like(place)
    period = 2 * (n - 1)
    place = place.remainder(period)
    return torch.where(place >= n, period - place, place)
