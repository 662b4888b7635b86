"""Circular low-pass filter."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def low_passed(image: torch.Tensor, kept: float, spacing: Sequence[float]) -> torch.Tensor:
    """The frequencies within a disc, or a ball in 3D, and no others; the image counts as periodic.

    Args:
        image: (B, C, *spatial), float32 or float64.
        kept: radius, as a share of the greatest frequency of the axis of the finest spacing.
        spacing: of the voxels along each axis; the disc is round in cycles per mm.

    Example:
        >>> stripes = torch.tensor([1.0, 3.0]).repeat(4).expand(1, 1, 8, 8)  # of the greatest frequency
        >>> low_passed(stripes, 0.9, (1.0, 1.0)).unique()
        tensor([2.])
    """
    axes = tuple(range(2, image.ndim))
    square = torch.zeros(image.shape[2:], dtype=torch.float64)
    for a, step in enumerate(spacing):
        frequency = 2 * torch.fft.fftfreq(image.shape[a + 2], dtype=torch.float64) * min(spacing) / step
        square = square + frequency.square().reshape([-1 if i == a else 1 for i in range(square.ndim)])
    inside = (square <= kept**2 * (1 + 1e-9)).to(image.device)
    return torch.fft.ifftn(torch.fft.fftn(image, dim=axes) * inside, dim=axes).real
