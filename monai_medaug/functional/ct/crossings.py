"""Where rays cross the lines of an image, and where pixels cast their shadows, of many views at once: for torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_medaug.functional.acceleration import elements_at_once, sent

_POSITION = 6
"""Times as much as a value takes a position in double precision, which all slices share."""


@dataclass(frozen=True)
class RayLines:
    """Where the rays of some views cross the lines of the image: position = start + line * shift + detector * step.

    Attributes:
        views: their numbers; the other tables are of all views.
        start: in pixels.
        shift: from line to line.
        step: from detector to detector.
        weight: length of a ray between two lines, in mm.
    """

    views: np.ndarray
    start: np.ndarray
    shift: np.ndarray
    step: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Crossings:
    """Positions in lines that lie one behind the other in memory.

    Attributes:
        views: numbers of the views, (V,).
        weight: of each view, (V,).
        index: (V, rows, columns).
        fraction: of the way to the next index.
    """

    views: torch.Tensor
    weight: torch.Tensor
    index: torch.Tensor
    fraction: torch.Tensor

    def taken(self, flat: torch.Tensor, step: int) -> torch.Tensor:
        """Values (N, V, rows, columns) of lines (N, positions), ``step`` behind the index."""
        return flat.index_select(1, (self.index + step).flatten()).unflatten(1, self.index.shape)


def crossings_of(lines: RayLines, shape: Sequence[int], width: int, like: torch.Tensor) -> Iterator[Crossings]:
    """Crossings (V, lines, detectors) with padded lines, a few views at a time.

    Args:
        lines: the rays.
        shape: images, lines, positions on a line with one of padding in front and two behind; rays beside the image
            hit the padding.
        width: number of detectors.
        like: a tensor of the type and on the device of the result.
    """
    images, count, wide = shape
    table = sent(np.stack([lines.start, lines.shift, lines.step, lines.weight])[:, lines.views], like.device)
    views = sent(lines.views, like.device)
    line = torch.arange(count, device=like.device, dtype=torch.float64)[:, None]
    detector = torch.arange(width, device=like.device, dtype=torch.float64)
    for some in _at_once(len(lines.views), (images + _POSITION) * count * width, like.device):
        start, shift, step = table[:3, some, None, None]
        x = start + line * shift + detector * step + 1
        x = torch.where((x > 0) & (x < wide - 2), x, wide - 2.0)
        index = x.floor()
        fraction = (x - index).to(like.dtype)
        yield Crossings(views[some], table[3, some].to(like.dtype), (index + line * wide).long(), fraction)


def shadows_of(
    table: np.ndarray, pixels: tuple[int, int], shape: Sequence[int], like: torch.Tensor
) -> Iterator[Crossings]:
    """Where pixels lie on the padded rows of a sinogram, (V, rows, columns), a few views at a time.

    Args:
        table: position of the first pixel, steps along rows and along columns, (3, views).
        pixels: rows and columns of the image.
        shape: images, views, positions on a row of the sinogram with one of padding in front and one behind.
        like: a tensor of the type and on the device of the result.
    """
    images, views, wide = shape
    rows, columns = pixels
    steps, view = sent(table, like.device), torch.arange(views, device=like.device)
    row = torch.arange(rows, device=like.device, dtype=torch.float64)[:, None]
    column = torch.arange(columns, device=like.device, dtype=torch.float64)
    for some in _at_once(views, (images + _POSITION) * rows * columns, like.device):
        start, down, right = steps[:, some, None, None]
        x = (start + row * down + column * right).clamp_(0, wide - 1.001)
        index = x.floor()
        fraction = (x - index).to(like.dtype)
        yield Crossings(view[some], torch.ones_like(start), index.long() + view[some, None, None] * wide, fraction)


def _at_once(views: int, elements: int, device: torch.device) -> list[slice]:
    """Views in ranges of at most `elements_at_once`, each view having so many."""
    step = max(1, elements_at_once(device) // elements)
    return [slice(first, min(first + step, views)) for first in range(0, views, step)]
