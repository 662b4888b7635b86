"""Volumes as stacks of CT slices, for operations that work slice by slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from monai_medaug.functional.acceleration import elements_at_once, loops, sent
from monai_medaug.functional.ct.projection import ParallelBeam
from monai_medaug.functional.ct.truncation import continued, margins, reach, touches_border
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.noise.white import white_noise

_VIEWS = 360
_ELEMENT_MM = 0.6  # at the isocentre; smaller ones would make noise finer than any scanner does
_GANTRY_MM = 500.0
_FEW = 200  # elements across a slice, up to which half as many views show a smooth change
_NEXT_SEED = 0xD1B54A32D192ED03  # odd, so that the seeds of the slices differ
SLICES_AT_ONCE = 32
"""Slices whose sinograms are held at one time."""


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


def isocentre_offset(grid: VoxelGrid, isocentre_mm: Sequence[float]) -> tuple[float, float]:
    """Where the rotation axis meets the middle slice, in mm from its middle along rows and columns.

    Args:
        grid: of the image.
        isocentre_mm: x and y of the rotation axis in the grid's world; it is parallel to the third axis.

    Raises:
        ValueError: the axis does not cross the slices, or passes more than 500 mm away.

    Example:
        >>> isocentre_offset(VoxelGrid((11, 21)), (5.0, 40.0))
        (0.0, 30.0)
    """
    axis = slice_axis(grid)
    normal = 0 if axis is None else axis
    plane = [a for a in range(3) if a != normal]
    middle = (np.asarray(grid.size) - 1) / 2
    centre = grid.matrix[:3, :3] @ middle + grid.matrix[:3, 3]
    step = grid.matrix[:2, plane]  # world x and y along rows and columns: the axis meets the slice at any z
    if abs(np.linalg.det(step)) < 0.1 * np.prod([grid.embedded_spacing[a] for a in plane]):
        raise ValueError("isocentre_mm must be left out where the slices are not axial: the axis does not cross them")
    index = np.linalg.solve(step, np.asarray(isocentre_mm) - centre[:2])
    rows, columns = (float(i * grid.embedded_spacing[a]) for i, a in zip(index, plane, strict=True))
    if max(abs(rows), abs(columns)) > _GANTRY_MM:
        raise ValueError(
            f"isocentre_mm must be within {_GANTRY_MM:g} mm of the slice's middle in the image's world coordinates, "
            f"got {math.hypot(rows, columns):.0f} mm"
        )
    return rows, columns


@dataclass(frozen=True)
class SliceStack:
    """Samples of a batch as slices (N, 1, rows, columns), and the way back.

    Attributes:
        members: which samples.
        axis: across the slices, None in 2D.
        spacing: in mm along rows and columns.
        across_mm: from slice to slice in mm; 0 for single slices, in 2D.
        volumes: (members, C, S, rows, columns), where possible a view of the image.
        body_mm: diameter of the body that goes on where the slices end; 0 if they hold it.
    """

    members: list[int]
    axis: int | None
    spacing: tuple[float, float]
    across_mm: float
    volumes: torch.Tensor
    body_mm: float = 0.0

    @cached_property
    def slices(self) -> torch.Tensor:
        """(N, 1, rows, columns); sample by sample, channel by channel."""
        return self.volumes.reshape(-1, 1, *self.volumes.shape[-2:])

    def slices_of(self, samples: torch.Tensor) -> torch.Tensor:
        """The slices (N, 1, rows, columns) of other images of the batch (B, C, *spatial), in the stack's order."""
        own = samples.index_select(0, sent(self.members, samples.device))
        volumes = own[:, :, None] if self.axis is None else torch.movedim(own, 2 + self.axis, 2)
        return volumes.reshape(-1, 1, *volumes.shape[-2:])

    @property
    def whole(self) -> tuple[int, ...]:
        """Shape (members, C, S, rows, columns) of the stack."""
        return tuple(self.volumes.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.volumes.shape[3], self.volumes.shape[4]

    @property
    def beam(self) -> ParallelBeam:
        """The scanner that sees the slices as `body` gives them and reconstructs them as they are."""
        return self.beam_of(self._element)

    def beam_of(self, element: float) -> ParallelBeam:
        """The same with detector elements of another width in mm."""
        if not self.body_mm:
            return ParallelBeam(self.shape, self.spacing, _VIEWS, None, element)
        rows, columns = (
            n + 2 * m for n, m in zip(self.shape, margins(self.shape, self.spacing, self.body_mm), strict=True)
        )
        detectors = math.ceil(reach(self.shape, self.spacing, self.body_mm) / element) + 1
        return ParallelBeam((rows, columns), self.spacing, _VIEWS, detectors, element, field=self.shape)

    def beam_about(self, centre: tuple[float, float]) -> ParallelBeam:
        """The scanner whose rotation axis lies at ``centre``, in mm from the middle along rows and columns.

        It has 360 views in half a turn and detector elements of a pixel's width, at least 0.6 mm.
        """
        return ParallelBeam(self.shape, self.spacing, _VIEWS, None, self._element, centre)

    def smoothly_seen(self, beam: ParallelBeam) -> ParallelBeam:
        """A beam with as many views as a change needs that is smooth from view to view: half of them in small slices.

        On crops of real scans a breath differs by 4 % RMS from three times the views, beam hardening by 0.4 HU at most.
        """
        across = math.hypot(*(n * s for n, s in zip(self.shape, self.spacing, strict=True))) / beam.pitch
        return replace(beam, views=beam.views // 2) if across <= _FEW else beam

    @property
    def rays(self) -> int:
        """About how many rays there are in the sinogram of a slice."""
        extent = math.hypot(*(n * s for n, s in zip(self.shape, self.spacing, strict=True)))
        return _VIEWS * math.ceil(max(extent, self.body_mm) / self._element)

    @property
    def _element(self) -> float:
        return max(min(self.spacing), _ELEMENT_MM)

    def body(self, some: slice) -> torch.Tensor:
        """The slices of a range, continued beyond their border if tissue touches it."""
        return self.body_of(self.slices[some])

    def body_of(self, slices: torch.Tensor) -> torch.Tensor:
        """Slices like those of the stack, continued beyond their border if tissue touches it."""
        return continued(slices, self.spacing, self.body_mm) if self.body_mm else slices

    def body_grid(self, grid: VoxelGrid) -> VoxelGrid:
        """The grid of a sample's slices as `body` gives them, from the sample's own."""
        if not self.body_mm:
            return grid
        extra = margins(self.shape, self.spacing, self.body_mm)
        across = 0 if self.axis is None else self.axis
        plane = [a for a in range(3) if a != across]
        matrix, shape = grid.matrix.copy(), list(grid.size)
        for axis, n in zip(plane, extra, strict=True):
            matrix[:3, 3] -= n * matrix[:3, axis]
            shape[axis] += 2 * n
        if self.axis is None:  # the affine of an image has the slice's normal behind its rows and columns
            matrix, shape = matrix[:, [1, 2, 0, 3]], shape[1:]
        return VoxelGrid(tuple(shape), matrix.tolist())

    def spread(self, values: Sequence[float]) -> torch.Tensor:
        """One value per sample of the batch as (N, 1, 1, 1)."""
        mine = sent([values[i] for i in self.members], self.volumes.device, self.volumes.dtype)
        return mine.repeat_interleave(self.whole[1] * self.whole[2]).reshape(-1, 1, 1, 1)

    def noise(self, shape: Sequence[int], seeds: Sequence[int], slices: int | None = None) -> torch.Tensor:
        """White noise (N, 1, *shape): each sample has its own seed, each of its slices its own noise."""
        each = (self.whole[1] * (self.whole[2] if slices is None else slices), *shape)
        return white_noise(each, [seeds[i] for i in self.members], self.volumes.device).reshape(-1, 1, *shape)

    def mixed_noise(
        self, shape: Sequence[int], seeds: Sequence[int], some: slice, taps: Sequence[float]
    ) -> torch.Tensor:
        """White noise (N, 1, *shape) of a range of the slices, neighbours mixed by the taps.

        Each slice has a generator of its own, so that ranges need no memory of one another.
        """
        _, channels, slices, _, _ = self.whole
        count = slices + len(taps) - 1
        volumes = [divmod(n, slices) for n in range(*some.indices(math.prod(self.whole[:3])))]
        first = [volume * count + place for volume, place in volumes]
        rows = {k: i for i, k in enumerate(sorted({k + j for k in first for j in range(len(taps))}))}

        def seed(k: int) -> int:
            member, place = divmod(k, channels * count)
            return (seeds[self.members[member]] + _NEXT_SEED * (place + 1)) % (1 << 63)

        device = self.volumes.device
        drawn, mixed = white_noise(shape, [seed(k) for k in rows], device), None
        for j, tap in enumerate(taps):
            part = drawn.index_select(0, sent([rows[k + j] for k in first], device)).mul_(tap)
            mixed = part if mixed is None else mixed.add_(part)
        assert mixed is not None
        return mixed[:, None]

    def restored(self, slices: torch.Tensor) -> torch.Tensor:
        """Slices back as samples (members, C, *spatial)."""
        return self.image_of(slices.view(self.whole))

    def image_of(self, volumes: torch.Tensor) -> torch.Tensor:
        """Volumes (members, C, S, rows, columns) as samples (members, C, *spatial)."""
        return volumes[:, :, 0] if self.axis is None else torch.movedim(volumes, 2, 2 + self.axis)


def slice_stacks(
    image: torch.Tensor, grids: Sequence[VoxelGrid], body_mm: Sequence[float] | None = None
) -> Iterator[SliceStack]:
    """The batch (B, C, *spatial) as stacks, one for all samples of the same slice axis, spacings and ``body_mm``."""
    together: dict[tuple, list[int]] = {}
    for i, grid in enumerate(grids):
        axis = slice_axis(grid)
        spacing = tuple(round(s, 6) for a, s in enumerate(grid.spacing) if a != axis)
        across = 0.0 if axis is None else round(grid.spacing[axis], 6)
        together.setdefault((axis, spacing, across, body_mm[i] if body_mm else 0.0), []).append(i)
    for (axis, spacing, across, body), members in together.items():
        part = image if len(members) == len(image) else image.index_select(0, sent(members, image.device))
        volume = part[:, :, None] if axis is None else torch.movedim(part, 2 + axis, 2)
        yield SliceStack(members, axis, (spacing[0], spacing[1]), across, volume, body)


def change_slices(
    image: torch.Tensor,
    grids: Sequence[VoxelGrid],
    change: Callable[[SliceStack], Callable[[slice], torch.Tensor]],
    at_once: int = SLICES_AT_ONCE,
    body_mm: float = 0.0,
) -> torch.Tensor:
    """Add to each slice the change that a function computes.

    Args:
        image: (B, C, *spatial).
        grids: one per sample.
        change: for a stack, returns a function that gives the change for a range of its slices.
        at_once: greatest number of slices in a range for the compiled loops; fewer than 32 for larger sinograms. Else
            32 of them may hold `elements_at_once`.
        body_mm: diameter of the body, for the samples whose tissue touches the border; 0 takes each for whole.
    """
    out = torch.empty_like(image)
    touching = _touching_border(image, grids) if body_mm else []
    for stack in slice_stacks(image, grids, [body_mm if t else 0.0 for t in touching] or None):
        part = change(stack)
        compiled = loops("ct._numba_projection", image, dtypes=[torch.float32])
        step = at_once
        if compiled is None:
            step = max(1, elements_at_once(image.device) * at_once // (SLICES_AT_ONCE * stack.rays))
        if len(stack.slices) <= step:
            changed = stack.slices + part(slice(0, len(stack.slices))).to(stack.slices.dtype)
        else:
            changed = torch.empty_like(stack.slices)
            for first in range(0, len(changed), step):
                some = slice(first, first + step)
                changed[some] = stack.slices[some] + part(some).to(changed.dtype)
        if len(stack.members) == len(image):
            return stack.restored(changed)
        out.index_copy_(0, sent(stack.members, image.device), stack.restored(changed))
    return out


def _touching_border(image: torch.Tensor, grids: Sequence[VoxelGrid]) -> list[bool]:
    """For each sample of a batch (B, C, *spatial), whether tissue touches the border of a slice."""
    axes = [slice_axis(grid) for grid in grids]
    found = {a: touches_border(image if a is None else torch.movedim(image, 2 + a, 2)) for a in set(axes)}
    return [found[a][i] for i, a in enumerate(axes)]
