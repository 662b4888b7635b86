"""What an image shows at places of a mask, before and after a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.tensors import plain_tensor
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.transfer import TransferCurve, transfer_curve
from monai_medaug.functional.voxels import FACES, values_at
from monai_medaug.transforms.safety.passage import Passage

_STRANGE = 0.5  # of the range that the values should have: a structure of this height was not in the image
_RANGE = (0.005, 0.995)  # quantiles
_SHUTTER, _OF_SIDE = 0.1, 1000  # share of one side of the image, and voxels of it that are looked at


class ShownImage:
    """One image of a call, beside a mask.

    Attributes:
        key: of the image.
        passage: its own.
        in_place: whether image and mask still lie on one grid, if they did, and were moved by the same steps.
    """

    def __init__(self, key: Any, before: MetaTensor, after: MetaTensor, mask: Passage) -> None:
        self.key = key
        self.passage = Passage(before, after, mask)
        self._everywhere: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self._curves: dict[int, TransferCurve] = {}
        self._before, self._after = (plain_tensor(image, repr(key)).contiguous() for image in (before, after))
        same = [_close(a, b) for a, b in zip(self.passage.grids, mask.grids, strict=True)]
        self.in_place = (same[1] or not same[0]) and self.passage.moved_like(mask)
        self._to_own = None if same[1] else np.linalg.inv(self.passage.grids[1].matrix) @ mask.grids[1].matrix

    def channels(self) -> Iterator[tuple[str, int]]:
        """Name and number of each channel that both have."""
        for channel in range(min(len(self._before), len(self._after))):
            yield (f"{self.key}" if len(self._before) == 1 else f"{self.key}, channel {channel}"), channel

    def places(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (..., 3) in voxels of the resulting mask as those in the image before and after."""
        if self._to_own is None:
            return self.passage.places(index), index
        own = index @ self._to_own[:3, :3].T + self._to_own[:3, 3]
        return self.passage.back(own), own

    def values(self, channel: int, places: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values before and after at `places`, and whether each lies within the image both times."""
        first, was = values_at(self._before[channel], places[0])
        last, there = values_at(self._after[channel], places[1])
        return first, last, was & there

    def curve(self, channel: int, without: np.ndarray | None = None) -> TransferCurve:
        """How the values after follow from those before, all over the image.

        Args:
            channel: of the image.
            without: of the passage's `everywhere`, positions to leave out.
        """
        if channel not in self._everywhere:
            self._everywhere[channel] = self.values(channel, self.passage.everywhere)
        first, last, known = self._everywhere[channel]
        if without is not None:
            known = known & ~without
            return transfer_curve(first[known], last[known])
        if channel not in self._curves:
            self._curves[channel] = transfer_curve(first[known], last[known])
        return self._curves[channel]

    def strange(self, channel: int) -> tuple[np.ndarray, int]:
        """How many of places all over the image rose and fell, with their neighbours, by half its range; of how many.

        Noise, a bias field, ghosts and motion change less, metal changes more. A black or white shutter that begins at
        a side of the image is left out.
        """
        curve = self.curve(channel)
        first, last, known = self._everywhere[channel]
        if not known.any():
            return np.zeros(2, int), 0
        expected = curve(first)
        ordered = np.sort(expected[known])
        low, high = np.interp(np.multiply(_RANGE, len(ordered) - 1), np.arange(len(ordered)), ordered)
        least = _STRANGE * max(high - low, 1e-6 * float(np.abs(expected[known]).max()))
        found = np.flatnonzero(known & (np.abs(last - expected) > least))
        if len(found):
            shape = self._before[channel].shape
            place = self.passage.everywhere[0][found][:, -len(shape) :]
            whole = np.all((place > -1e-3) & (place < np.array(shape) - 1 + 1e-3), axis=1)  # no padding blended in
            found = found[whole & ~np.isin(last[found], self._shutters(channel))]
        if not len(found):
            return np.zeros(2, int), int(known.sum())
        around = self.passage.everywhere[1][found][:, None] + FACES
        was, is_now, there = self.values(channel, (self.passage.back(around), around))
        change = np.where(there, is_now - curve(was), 0).sum(1) / np.maximum(there.sum(1), 1)
        return np.array([(change > least).sum(), (change < -least).sum()]), int(known.sum())

    def _shutters(self, channel: int) -> list[float]:
        """Values after that a part of a side of the image has, exactly."""
        image = self._after[channel]
        sides = [image.select(axis, at).flatten() for axis, n in enumerate(image.shape) if n > 1 for at in (0, -1)]
        found = []
        for side in sides:
            values, counts = torch.unique(side[:: max(1, len(side) // _OF_SIDE)], return_counts=True)
            found += values[counts > _SHUTTER * counts.sum()].tolist()
        return found


def shown_images(before: Mapping, after: Mapping, keys: Sequence[Any], mask: Passage) -> list[ShownImage]:
    """The images of a call that are at hand before and after; further masks among the keys are none."""
    both = [k for k in keys if isinstance(before.get(k), MetaTensor) and isinstance(after.get(k), MetaTensor)]
    shown = [ShownImage(k, before[k], after[k], mask) for k in both if before[k].dtype != torch.bool]
    return [image for image in shown if not image.passage.of_a_mask]


def _close(a: VoxelGrid, b: VoxelGrid) -> bool:
    return a == b or (a.shape == b.shape and bool(np.abs(a.displaced_from(b)).max() < 0.5))
