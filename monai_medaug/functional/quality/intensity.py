"""Figures of the values alone, wherever they lie: entropy, contrast, contrast to noise.

Noise raises the entropy and the standard deviation of an image, so neither alone shows an improvement.
"""

from __future__ import annotations

import math

import torch


def histogram_entropy(values: torch.Tensor, low: float, high: float, bins: int = 256) -> torch.Tensor:
    """Entropy in bits of the shares p of values in bins of equal width: -Σ p log2 p.

    Args:
        values: any shape, finite.
        low: lower end of the first bin; values below are counted there.
        high: upper end of the last bin; values above are counted there. Where it is ``low`` the entropy is 0.
        bins: how many.

    Returns:
        A tensor without axes, from 0 (constant) to log2(bins).

    Example:
        >>> histogram_entropy(torch.tensor([0.0, 0.3, 0.6, 0.9]), 0.0, 1.0, 4)
        tensor(2.)
    """
    if not high > low:
        return values.new_zeros(())
    place = ((values.flatten() - low) * (bins / (high - low))).floor().clamp(0, bins - 1)
    shares = torch.bincount(place.long(), minlength=bins).double() / place.numel()
    return (-torch.xlogy(shares, shares).sum() / math.log(2) + 0.0).to(values.dtype)


def contrast_to_noise(inside: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """|mean inside - mean of the background| over the background's standard deviation.

    Raises:
        ValueError: the background is constant, so that it shows no noise.

    Example:
        >>> contrast_to_noise(torch.tensor([5.0]), torch.tensor([0.0, 2.0]))
        tensor(4.)
    """
    noise = background.std(correction=0)
    if not bool(noise > 0):
        raise ValueError(f"background must show noise, got {background.numel()} voxels of one value")
    return (inside.mean() - background.mean()).abs() / noise
