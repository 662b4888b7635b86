"""Many images as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch


def image_grid(images: torch.Tensor, value_range: Sequence[float], columns: int | None = None, gap: int = 1) -> Any:
    """A picture of the first channels of images, side by side, as an 8-bit PIL image.

    Args:
        images: (B, C, H, W), or volumes (B, C, H, W, D), whose middle slice is shown.
        value_range: values that are black and white.
        columns: images in a row; None makes it about square.
        gap: dark pixels between them.

    Example:
        >>> image_grid(torch.zeros(6, 1, 8, 8), (0, 1), columns=3).size
        (28, 19)
    """
    from PIL import Image

    low, high = value_range
    flat = images[:, 0].detach().float().cpu()
    flat = flat[..., flat.shape[-1] // 2] if flat.ndim == 4 else flat
    count, height, width = flat.shape
    across = columns or math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    canvas = torch.zeros(down * (height + gap) + gap, across * (width + gap) + gap)
    for place, image in enumerate((flat - low) / (high - low)):
        row, column = divmod(place, across)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return Image.fromarray((canvas.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
