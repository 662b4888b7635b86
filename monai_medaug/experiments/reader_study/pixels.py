"""Images as the page carries them: whole numbers of 16 bit on one scale for all versions of a case, compressed."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from monai_medaug.core.tensors import affine_of, plain_tensor, require_finite
from monai_medaug.figures.comparison import display_range
from monai_medaug.figures.planes import DisplayPlane
from monai_medaug.functional.geometry.grid import VoxelGrid

_GREYS_IN_WINDOW = 1024  # at least: as many as the best medical displays show
_CODES = 65536
_LONGEST_SIDE = 8192
_SAME_ASPECT = 0.02


@dataclass(frozen=True)
class ReaderPicture:
    """A slice to show.

    Attributes:
        values: (rows, columns), float64.
        aspect: height of a pixel over its width.
    """

    values: np.ndarray
    aspect: float

    @property
    def shape_in_space(self) -> float:
        """Height over width."""
        return self.values.shape[0] * self.aspect / self.values.shape[1]


@dataclass(frozen=True)
class PixelScale:
    """What the whole numbers of a case mean, ``value = low + step code``, and the window in which it opens.

    The step is a power of two, so that whole HU stay exact, and the largest with 1024 greys in the window, or more
    where the values need more than 65536 steps.
    """

    low: float
    step: float
    center: float
    width: float

    @classmethod
    def of(cls, pictures: Sequence[np.ndarray], window: Sequence[float] | None) -> PixelScale:
        """The scale of the versions of a case, with a window or, where it is None, from their percentiles.

        Example:
            >>> PixelScale.of([np.array([[-1000.0, 40.0]])], (40, 400)).step
            0.25
        """
        together = np.concatenate([p.ravel() for p in pictures])
        least, most = float(together.min()), float(together.max())
        if window is None:
            first, last = display_range(together, None)
            if first == last:  # mostly background
                half = 0.0 if least < most else max(0.5, abs(least) / 1000)
                first, last = least - half, most + half
            window = (first + last) / 2, last - first
        center, width = window
        step = 2.0 ** math.floor(math.log2(width / _GREYS_IN_WINDOW))
        while (most - math.floor(least / step) * step) / step > _CODES - 1:
            step *= 2
        return cls(math.floor(least / step) * step, step, float(center), float(width))

    def packed(self, values: np.ndarray) -> bytes:
        """The image as the page carries it: differences of neighbours, low bytes before high bytes, in gzip.

        A difference d, from pixel to pixel along the rows and from 0 at the first, counts modulo 65536 and is stored as
        2 d, or -2 d - 1 where it is negative, so that small ones have a high byte of 0: a quarter to a third less than
        the numbers themselves for a radiograph.

        Example:
            >>> list(gzip.decompress(PixelScale(-1000, 1, 40, 400).packed(np.array([[-1000.0, -743, -744]]))))
            [0, 2, 1, 0, 2, 0]
        """
        codes = np.rint((values - self.low) / self.step).astype("<u2").ravel()
        steps = np.diff(codes, prepend=codes.dtype.type(0)).view("<i2")
        folded = ((steps << 1) ^ (steps >> 15)).astype("<i2")
        return gzip.compress(folded.view(np.uint8).reshape(-1, 2).T.tobytes(), 6, mtime=0)

    def plain(self) -> dict[str, Any]:
        """The scale as a dict of plain values."""
        return asdict(self)


def case_pictures(images: Sequence[Any], name: str) -> list[ReaderPicture]:
    """The slices of the versions of a case: a 2D image as it is, of a volume the middle axial slice.

    Args:
        images: of one channel, (1, H, W) or (1, D, H, W), of the same field of view.
        name: of the case for messages.

    Raises:
        TypeError: not an array of real numbers.
        ValueError: not finite, of several channels, too large, or of different form.
    """
    pictures, across = [], set()
    for image in images:
        tensor = plain_tensor(image, name)
        if len(tensor) != 1:
            raise ValueError(f"{name} must have one channel, got {len(tensor)}")
        require_finite(tensor, name)
        plane = DisplayPlane.through(VoxelGrid(tuple(tensor.shape[1:]), affine_of(image)))
        across.add(None if plane.axis is None else tensor.shape[1 + plane.axis])
        values = np.ascontiguousarray(plane.cut(tensor[0].detach().cpu().double().numpy()))
        if max(values.shape) > _LONGEST_SIDE:
            raise ValueError(f"{name} must have sides of at most {_LONGEST_SIDE} pixels, got {values.shape}")
        pictures.append(ReaderPicture(values, plane.aspect))
    if len(across) > 1:
        raise ValueError(f"the versions of {name} must have as many slices, got {sorted(map(str, across))}")
    first, *others = (p.shape_in_space for p in pictures)
    for other in others:
        if abs(other / first - 1) > _SAME_ASPECT:
            raise ValueError(
                f"the versions of {name} must show the same field of view, got {[p.values.shape for p in pictures]}"
            )
    return pictures
