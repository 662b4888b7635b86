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
from monai_medaug.functional.voxels import values_at
from monai_medaug.transforms.safety.passage import Passage


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
        self._before, self._after = plain_tensor(before, repr(key)), plain_tensor(after, repr(key))
        same = [_close(a, b) for a, b in zip(self.passage.grids, mask.grids, strict=True)]
        self.in_place = (same[1] or not same[0]) and self.passage.moved_like(mask)
        self._to_own = None if same[1] else np.linalg.inv(self.passage.grids[1].matrix) @ mask.grids[1].matrix

    def channels(self) -> Iterator[tuple[str, int]]:
        """Name and number of each channel that both have."""
        for channel in range(min(len(self._before), len(self._after))):
            yield (f"{self.key}" if len(self._before) == 1 else f"{self.key}, channel {channel}"), channel

    def places(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (..., 3) in voxels of the resulting mask as those in the image before and after."""
        own = index
        if self._to_own is not None:
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
        known = known if without is None else known & ~without
        return transfer_curve(first[known], last[known])


def shown_images(before: Mapping, after: Mapping, keys: Sequence[Any], mask: Passage) -> list[ShownImage]:
    """The images of a call that are at hand before and after; further masks among the keys are none."""
    both = [k for k in keys if isinstance(before.get(k), MetaTensor) and isinstance(after.get(k), MetaTensor)]
    shown = [ShownImage(k, before[k], after[k], mask) for k in both if before[k].dtype != torch.bool]
    return [image for image in shown if not image.passage.of_a_mask]


def _close(a: VoxelGrid, b: VoxelGrid) -> bool:
    return a.shape == b.shape and bool(np.abs(a.displaced_from(b)).max() < 0.5)
