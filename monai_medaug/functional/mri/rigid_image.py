"""The image that agrees best with k-space whose segments were acquired in known rigid poses."""

from __future__ import annotations

from collections.abc import Callable

import torch

from monai_medaug.functional.mri.focus import body_region
from monai_medaug.functional.mri.rigid_kspace import SegmentedKSpace

_REGION = 0.05  # of the greatest magnitude, see `body_region`
_WITHIN, _WHOLE = 8, 2  # rounds of conjugate gradients


def image_at_rest(kspace: SegmentedKSpace, poses: torch.Tensor, turns: bool) -> torch.Tensor:
    """The image (C, *shape) with its segments moved back by their poses (segments, `pose_size`).

    A translation is undone exactly. Segments that turned overlap in some parts of k-space and leave others empty: the
    least squares solution within the body fills these (a part of an image that is 0 elsewhere is known from fewer
    lines), and the solution nearest to it without that limit keeps what the background measured. By conjugate gradients
    that end early, before noise grows.
    """
    channels = [kspace.channel(c) for c in range(len(kspace.lines[0]))]  # one by one, for less memory
    plain = torch.cat([channel.image(poses, turns) for channel in channels])
    if not turns:
        return plain
    region = body_region(plain, _REGION)
    for c, channel in enumerate(channels):
        plain[c : c + 1] = _least_squares(channel, poses, region, plain[c : c + 1])
    return plain


def _least_squares(
    kspace: SegmentedKSpace, poses: torch.Tensor, region: torch.Tensor, plain: torch.Tensor
) -> torch.Tensor:
    def normal(image: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(image)
        for j, pose in enumerate(poses):
            line = kspace.acquired(image, j, pose, True)
            total += kspace.moved_back(j, pose, True, line)
        return torch.fft.ifft(total, dim=1)

    within = conjugate_gradients(lambda x: region * normal(region * x), region * plain, region * plain, _WITHIN)
    return conjugate_gradients(normal, plain, region * within, _WHOLE)


def conjugate_gradients(
    normal: Callable[[torch.Tensor], torch.Tensor], right: torch.Tensor, start: torch.Tensor, rounds: int
) -> torch.Tensor:
    """Rounds toward the solution of ``normal(x) = right``, for a Hermitian operator without negative eigenvalues.

    Example:
        >>> conjugate_gradients(lambda x: 2 * x, torch.ones(3), torch.zeros(3), 1)
        tensor([0.5000, 0.5000, 0.5000])
    """
    x, rest = start, right - normal(start)
    way, power = rest, _power(rest)
    tiny = torch.finfo(power.dtype).tiny
    for _ in range(rounds):
        ahead = normal(way)
        length = power / (way.conj() * ahead).real.sum().clamp_min(tiny)
        x, rest = x + length * way, rest - length * ahead
        before, power = power, _power(rest)
        way = rest + power / before.clamp_min(tiny) * way
    return x


def _power(x: torch.Tensor) -> torch.Tensor:
    return (x.conj() * x).real.sum()
