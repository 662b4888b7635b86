"""Haar wavelet-based perceptual similarity index (HaarPSI)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

PAPER = (30.0, 4.2)
"""C and α of the paper, for photographs."""

MEDICAL = (5.0, 4.9)
"""C and α that follow radiologists' ratings best (arXiv 2410.24098)."""

_FULL_SCALE = 255.0  # the constants belong to values from 0 to 255


def haarpsi(
    image: torch.Tensor,
    reference: torch.Tensor,
    data_range: float,
    constants: tuple[float, float] = PAPER,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """HaarPSI of images, 1 for equal ones: the likeness of fine Haar coefficients, weighted by coarse ones.

    Images are scaled to 0 … 255 and halved by means of 2 × 2 pixels. With the horizontal and vertical Haar coefficients
    a and b of image and reference at scale j, the likeness is the mean over j = 1, 2 of
    (2 |a b| + C) / (a² + b² + C), and the weight max(|a|, |b|) at j = 3. The result is
    l⁻¹(Σ l(likeness) weight / Σ weight)² with the logistic l(x) = 1 / (1 + exp(-α x)). Outside the image is 0.

    Args:
        image: (N, slices, rows, columns), floating point, from 0 to ``data_range``; slices are pooled.
        reference: of the same shape.
        data_range: greatest possible value.
        constants: C and α.
        mask: of the same shape, True where pixels count.

    Returns:
        (N,), 1 too where neither image holds an edge.

    Source: Reisenhofer et al., A Haar wavelet-based perceptual similarity index, Signal Processing: Image Communication
    2018.

    Example:
        >>> x = torch.rand(1, 1, 32, 32)
        >>> haarpsi(x, x, 1.0).round(decimals=4), bool(haarpsi(x, torch.rand_like(x), 1.0) < 0.6)
        (tensor([1.]), True)
    """
    c, alpha = constants
    first, second = (
        _halved(x.flatten(0, 1)[:, None].double() * (_FULL_SCALE / data_range)) for x in (image, reference)
    )
    counted = None if mask is None else mask.flatten(0, 1)[:, None, ::2, ::2]
    numerator = denominator = first.new_zeros(len(image))
    for axis in (2, 3):
        likeness = torch.zeros_like(first)
        for scale in (1, 2):
            a, b = (_haar_coefficients(x, scale, axis).abs() for x in (first, second))
            likeness += (2 * a * b + c) / (a.square() + b.square() + c) / 2
        weight = torch.maximum(*(_haar_coefficients(x, 3, axis).abs() for x in (first, second)))
        if counted is not None:
            weight = weight * counted
        parts = (torch.sigmoid(alpha * likeness) * weight, weight)
        numerator, denominator = (
            s + p.reshape(len(image), -1).sum(1) for s, p in zip((numerator, denominator), parts, strict=True)
        )
    pooled = torch.logit(numerator / denominator) / alpha
    return torch.where(denominator > 0, pooled.square(), 1.0).to(image.dtype)


def _halved(image: torch.Tensor) -> torch.Tensor:
    """Means of 2 × 2 pixels, with 0 beyond the end of an odd axis."""
    return F.avg_pool2d(F.pad(image, (0, 1, 0, 1)), 2)


def _haar_coefficients(image: torch.Tensor, scale: int, axis: int) -> torch.Tensor:
    """Haar coefficients (N, 1, rows, columns) across an axis: a square of 2^scale pixels, one half minus the other."""
    side = 2**scale
    sums = image.new_ones(side)
    halves = torch.cat([-sums[: side // 2], sums[: side // 2]])
    taps = (halves, sums) if axis == 2 else (sums, halves)
    padded = F.pad(image, (side // 2 - 1, side // 2) * 2)
    rows = F.conv2d(padded, taps[0].view(1, 1, -1, 1))
    return F.conv2d(rows, taps[1].view(1, 1, 1, -1)) / side
