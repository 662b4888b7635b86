"""Volumes as stacks of CT slices, for operations that work slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.noise.white import white_noise

_VIEWS = 360
_ELEMENT_MM = 0.6  # at the isocentre; smaller ones would make noise finer than any scanner does
_SLICES_AT_ONCE = 32  # whose sinograms are held at one time


def slice_axis(grid: VoxelGrid) -> int | None:
    """The array axis across the slices: the nearest to the scanner's axis, the world's third.

    The last axis without an affine, None in 2D, where the image is the slice.
    """
    if len(grid.shape) == 2:
        return None
    if grid.affine is None:
        return 2
    directions = grid.matrix[:3, :3] / np.asarray(grid.embedded_spacing)
    return int(np.argmax(np.abs(directions[2])))


@dataclass(frozen=True)
class SliceStack:
    """Samples of a batch as slices (N, 1, rows, columns), and the way back.

    Attributes:
        members: which samples.
        axis: across the slices, None in 2D.
        spacing: in mm along rows and columns.
        slices: (N, 1, rows, columns); sample by sample, channel by channel.
        whole: shape (members, C, S, rows, columns) of the stack.
    """

    members: list[int]
    axis: int | None
    spacing: tuple[float, float]
    slices: torch.Tensor
    whole: tuple[int, ...]

    @property
    def beam(self) -> ParallelBeam:
        """The scanner of these slices: 360 views, detector elements of a pixel's width, at least 0.6 mm."""
        shape = (self.slices.shape[2], self.slices.shape[3])
        return ParallelBeam(shape, self.spacing, _VIEWS, detector_spacing=max(min(self.spacing), _ELEMENT_MM))

    def spread(self, values: Sequence[float]) -> torch.Tensor:
        """One value per sample of the batch as (N, 1, 1, 1)."""
        mine = self.slices.new_tensor([values[i] for i in self.members])
        return mine.repeat_interleave(self.whole[1] * self.whole[2]).reshape(-1, 1, 1, 1)

    def noise(self, shape: Sequence[int], seeds: Sequence[int], slices: int | None = None) -> torch.Tensor:
        """White noise (N, 1, *shape): each sample has its own seed, each of its slices its own noise."""
        each = (self.whole[1] * (self.whole[2] if slices is None else slices), *shape)
        return white_noise(each, [seeds[i] for i in self.members], self.slices.device).reshape(-1, 1, *shape)

    def restored(self, slices: torch.Tensor) -> torch.Tensor:
        """Slices back as samples (members, C, *spatial)."""
        volume = slices.view(self.whole)
        return volume[:, :, 0] if self.axis is None else torch.movedim(volume, 2, 2 + self.axis)


def slice_stacks(image: torch.Tensor, grids: Sequence[VoxelGrid]) -> Iterator[SliceStack]:
    """The batch (B, C, *spatial) as stacks, one for all samples of the same slice axis and spacing."""
    together: dict[tuple, list[int]] = {}
    for i, grid in enumerate(grids):
        axis = slice_axis(grid)
        spacing = tuple(round(s, 6) for a, s in enumerate(grid.spacing) if a != axis)
        together.setdefault((axis, spacing), []).append(i)
    for (axis, spacing), members in together.items():
        part = image if len(members) == len(image) else image[members]
        volume = part[:, :, None] if axis is None else torch.movedim(part, 2 + axis, 2)
        slices = volume.reshape(-1, 1, *volume.shape[-2:])
        yield SliceStack(members, axis, (spacing[0], spacing[1]), slices, tuple(volume.shape))


def change_slices(
    image: torch.Tensor,
    grids: Sequence[VoxelGrid],
    change: Callable[[SliceStack], Callable[[slice], torch.Tensor]],
    at_once: int = _SLICES_AT_ONCE,
) -> torch.Tensor:
    """Add to each slice the change that a function computes.

    Args:
        image: (B, C, *spatial).
        grids: one per sample.
        change: for a stack, returns a function that gives the change for a range of its slices.
        at_once: greatest number of slices in a range.
    """
    out = torch.empty_like(image)
    for stack in slice_stacks(image, grids):
        part = change(stack)
        changed = torch.empty_like(stack.slices)
        for first in range(0, len(changed), at_once):
            some = slice(first, first + at_once)
            changed[some] = stack.slices[some] + part(some).to(changed.dtype)
        out[stack.members] = stack.restored(changed)
    return out
