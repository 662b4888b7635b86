"""The map from output voxels to source voxels: an affine map and a lattice of displacements.

Every output voxel ``i`` of an image takes the value at

    source(i) = S i + P u(L i)

where ``u`` is the trilinear interpolation of a coarse displacement lattice (see `deformation.py`) and L, S and P are
affine maps: output index to lattice index, output index to source index, lattice displacement to source index. Thus
one lattice serves an image and a mask on different grids. 2D images are volumes of one plane.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from monai_medaug.functional.acceleration import elements_at_once, loops, over_rows, sent
from monai_medaug.functional.geometry.deformation import determinant, node_positions, sample_lattice

_PER_VOXEL = 8  # elements of the torch path's temporary tensors


@dataclass(frozen=True)
class PullBack:
    """The map from output index to source index, for a batch.

    Attributes:
        lattice: L, float64 (B, 3, 4).
        source: S, float64 (B, 3, 4).
        mix: P, float64 (B, 3, 3); zero for an affine map alone.
        displacement: u, (B, 3, Gz, Gy, Gx), in lattice steps.
    """

    lattice: torch.Tensor
    source: torch.Tensor
    mix: torch.Tensor
    displacement: torch.Tensor
    _last: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def coordinates(self, size: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Source coordinates (B, 3, Z, Y, X) in voxels; the last result is kept, for an image and its mask."""
        if self._last.get("for") != (size, dtype):
            self._last.update({"for": (size, dtype), "coordinates": self._computed(size, dtype)})
        return self._last["coordinates"]

    def in_slabs(
        self, size: tuple[int, int, int], dtype: torch.dtype = torch.float32, overlap: int = 0
    ) -> Iterator[torch.Tensor]:
        """Coordinates (B, 3, planes, Y, X) of some planes at a time, so that memory does not grow with the image.

        Args:
            size: of the output.
            dtype: of the coordinates.
            overlap: planes that a slab shares with the next.
        """
        plane = _PER_VOXEL * len(self.displacement) * math.prod(size[1:])
        step = max(1, elements_at_once(self.displacement.device) // plane)
        if step + overlap >= size[0]:
            yield self.coordinates(size, dtype)
            return
        for first in range(0, size[0] - overlap, step):
            yield self._computed(size, dtype, slice(first, min(first + step + overlap, size[0])))

    def of_sample(self, index: int) -> PullBack:
        """The map of one sample."""
        own = slice(index, index + 1)
        return PullBack(self.lattice[own], self.source[own], self.mix[own], self.displacement[own])

    def without_axis(self, axis: int, size: Sequence[int]) -> PullBack:
        """The map that stays in the middle of an axis of the source, a volume of this size."""
        source, mix = self.source.clone(), self.mix.clone()
        source[:, axis], mix[:, axis] = 0, 0
        source[:, axis, 3] = (size[axis] - 1) // 2
        return PullBack(self.lattice, source, mix, self.displacement)

    def _computed(self, size: tuple[int, int, int], dtype: torch.dtype, planes: slice | None = None) -> torch.Tensor:
        u = self.displacement.to(dtype)
        device, batch = u.device, len(u)
        shape = (size[0] if planes is None else planes.stop - planes.start, *size[1:])
        index = node_positions(u.new_empty(1, 1, *shape))
        if planes is not None:
            index[:, 0] += planes.start
        flat = index.reshape(3, -1)

        def affine(matrix: torch.Tensor) -> torch.Tensor:
            m = sent(matrix, device, dtype)
            return (m[:, :, :3] @ flat + m[:, :, 3:]).reshape(batch, 3, *shape)

        if not bool(self.mix.any()):
            return affine(self.source)
        dense = _refined(u, size, planes) if self._spans(size) else sample_lattice(u, affine(self.lattice))
        return affine(self.source) + (sent(self.mix, device, dtype) @ dense.flatten(2)).reshape(batch, 3, *shape)

    def _spans(self, size: tuple[int, int, int]) -> bool:
        """Whether along each axis the first and last node lie on the first and last output voxel."""
        nodes = self.displacement.shape[2:]
        expected = torch.zeros(3, 4, dtype=torch.float64)
        for axis, (g, n) in enumerate(zip(nodes, size, strict=True)):
            expected[axis, axis] = (g - 1) / (n - 1) if n > 1 else 0.0
        axes = torch.tensor([n > 1 for n in size])
        return bool(torch.allclose(self.lattice.cpu()[:, axes], expected[axes], atol=1e-9))


def _refined(u: torch.Tensor, size: tuple[int, int, int], planes: slice | None) -> torch.Tensor:
    """The lattice (B, 3, Gz, Gy, Gx) at all voxels that it spans, or at those of some planes."""
    if planes is None:
        return interpolate(u, size=size, mode="trilinear", align_corners=True)
    nodes = u.shape[2]
    step = (nodes - 1) / max(size[0] - 1, 1)
    place = torch.arange(planes.start, planes.stop, device=u.device, dtype=torch.float64) * step
    below = place.long().clamp_(max=max(nodes - 2, 0))
    near, far = (u.index_select(2, index) for index in (below, (below + 1).clamp_(max=nodes - 1)))
    mixed = torch.lerp(near, far, (place - below).to(u.dtype)[:, None, None])
    return interpolate(mixed.flatten(1, 2), size=size[1:], mode="bilinear", align_corners=True).unflatten(1, (3, -1))


def sampled_determinants(pull_back: PullBack, size: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest Jacobian determinant of the map as sampled at the output voxels, (B,) each.

    Central differences at the inner voxels of the unclamped map. An axis of up to two voxels counts as rigid.
    """
    if (compiled := loops("geometry._numba_warp", pull_back.displacement)) is not None and size[2] > 2:
        figures = []
        for s in range(len(pull_back.displacement)):
            maps = tuple(m[s].cpu().numpy() for m in (pull_back.lattice, pull_back.source, pull_back.mix))
            found: list[np.ndarray] = []

            def planes(first: int, last: int, s: int = s, maps: tuple = maps, found: list = found) -> None:
                extrema = np.empty(2)
                compiled.sampled_determinants(*maps, pull_back.displacement[s].numpy(), size, first, last, extrema)
                found.append(extrema)

            over_rows(planes, size[0], least=16)
            figures.append([min(f[0] for f in found), max(f[1] for f in found)])
        low, high = torch.tensor(figures, dtype=torch.float64).unbind(1)
        return low, high
    lows, highs = [], []
    for where in pull_back.in_slabs(size, overlap=2 if size[0] > 2 else 0):
        det = _differences_determinant(where)
        lows.append(det.amin(1))
        highs.append(det.amax(1))
    return torch.stack(lows).amin(0).double(), torch.stack(highs).amax(0).double()


def _differences_determinant(where: torch.Tensor) -> torch.Tensor:
    """Determinants (B, voxels) of the central differences of coordinates (B, 3, Z, Y, X)."""
    size, columns = where.shape[2:], []
    for axis, n in enumerate(size):
        if n > 2:
            column = (where.narrow(2 + axis, 2, n - 2) - where.narrow(2 + axis, 0, n - 2)) / 2
        else:
            column = torch.zeros_like(where)
            column[:, axis] = 1
        for other, m in enumerate(size):
            if other != axis and m > 2:
                column = column.narrow(2 + other, 1, m - 2)
        columns.append(column.unbind(1))
    return determinant(columns).flatten(1)
