"""Where each place of an image lies before and after a call, from the records and affines that the call left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache, partial

import numpy as np
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.entry import grid_of
from monai_medaug.core.tensors import affine_of
from monai_medaug.core.trace import Record, is_ours
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.maps import MapBack, PointMap, moved_affinely

_CHORDS, _NEWTON_STEPS = 5, 6
_NEAR = 0.05  # voxels
_EVERYWHERE = 4000  # voxels


class Passage:
    """A call on one key: positions followed through the geometric steps.

    Our steps leave their parameters in the trace and move the anatomy in the world, MONAI's leave it there and change
    the affine. A step that does neither can't be followed: then what is found at a position does not fit what was.

    Args:
        before: the image or mask before.
        after: the same in the result.
        other: of another key, whose maps serve where the steps are the same.

    Attributes:
        steps: the records of our geometric steps that were applied.
        grids: before and after.
    """

    def __init__(self, before: MetaTensor, after: MetaTensor, other: Passage | None = None) -> None:
        records = after.applied_operations[len(before.applied_operations) :]
        self.steps = [r for r in records if r.get("do_transforms") and _moves(r)]
        self.grids = tuple(VoxelGrid(tuple(m.shape[1:]), affine_of(m)) for m in (before, after))
        self._settled = [_settled(r) for r in self.steps]
        self._maps: dict[str, PointMap] = {} if other is None else other._maps
        for name, record in zip(self._settled, self.steps, strict=True):
            if name not in self._maps:
                self._maps[name] = _map_back(record)
        alike = other is not None and _equal(self.grids, other.grids) and self.moved_like(other)
        self._alike = other if alike else None
        self._places: list[tuple[np.ndarray, np.ndarray]] = []

    @cached_property
    def volume_scale(self) -> float:
        """Volume after over before, in voxels, that the drawn scaling and the grids' spacing give."""
        drawn = [r["extra_info"].get("figures", {}).get("volume_scale", 1.0) for r in self.steps]
        sizes = [abs(np.linalg.det(g.matrix[:3, :3])) for g in self.grids]
        return float(np.prod(drawn) * sizes[0] / sizes[1])

    @property
    def of_a_mask(self) -> bool:
        """Whether a step of ours took the nearest values, which marks a mask."""
        return any(r["extra_info"].get("mode") == "nearest" for r in self.steps)

    def moved_like(self, other: Passage) -> bool:
        """Whether steps of ours moved both, and alike."""
        return self._settled == other._settled

    @cached_property
    def everywhere(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (N, 3) all over the grid, in voxels before the call and of the result."""
        if self._alike is not None:
            return self._alike.everywhere
        grid = self.grids[1]
        count = int(np.prod(grid.size))
        own = np.stack(np.unravel_index(np.arange(0, count, max(1, count // _EVERYWHERE | 1)), grid.size), -1)
        return self.back(own.astype(float)), own.astype(float)

    def back(self, index: np.ndarray) -> np.ndarray:
        """Positions (..., 3) in voxels of the result as positions in voxels before the call."""
        if self._stays:
            return index.astype(float)
        places = np.ascontiguousarray(index.reshape(-1, 3), float)
        for move in self._chain:
            places = move(places)
        return places.reshape(index.shape)

    def places(self, index: np.ndarray) -> np.ndarray:
        """The same of positions that are asked for again: followed once for all keys that move alike."""
        if self._alike is not None:
            return self._alike.places(index)
        found = next((place for given, place in self._places if given is index), None)
        if found is None:
            found = self.back(index)
            self._places.append((index, found))
        return found

    @cached_property
    def _stays(self) -> bool:
        """Whether nothing moves."""
        return not self.steps and np.array_equal(self.grids[0].matrix, self.grids[1].matrix)

    @cached_property
    def _chain(self) -> list[PointMap]:
        """The maps from voxels of the result to voxels before, those of the grids joined to their neighbours."""
        first, last = self.grids[1].matrix, np.linalg.inv(self.grids[0].matrix)
        maps = [self._maps[name] for name in reversed(self._settled)]
        joined = [m for m in maps if isinstance(m, MapBack)]
        if not maps or len(joined) < len(maps):
            return [partial(moved_affinely, first), *maps, partial(moved_affinely, last)]
        joined[0] = joined[0].between(first, np.eye(4))
        joined[-1] = joined[-1].between(np.eye(4), last)
        return [*joined]

    def ahead(self, index: np.ndarray) -> np.ndarray:
        """Positions (N, 3) in voxels before the call as positions in voxels of the result, within a twentieth voxel.

        Solves ``back(result) = index``: by the map's affine part, corrected by its misses, then by Newton's method.
        """
        if self._stays:
            return index.astype(float)
        corners, fit = _corners(self.grids[1].size)
        affine = fit @ self.back(corners)
        slope, offset = affine[:3], affine[3]
        flat = [n == 1 for n in self.grids[1].size]
        slope[flat] = np.eye(3)[flat]  # one plane says nothing about its normal
        inverse = np.linalg.inv(slope)
        found = (index - offset) @ inverse
        for _ in range(_CHORDS):
            miss = index - self.back(found)
            if np.abs(miss).max(initial=0) < _NEAR or not self.steps:
                return found
            found = found + miss @ inverse
        for _ in range(_NEWTON_STEPS):
            open_ = np.flatnonzero(np.abs(index - self.back(found)).max(1) >= _NEAR)
            if not len(open_):
                break
            at = found[open_]
            here = self.back(at)
            slopes = np.stack([self.back(at + step) - here for step in 0.25 * np.eye(3)], 1) / 0.25
            step = np.linalg.solve(np.swapaxes(slopes, 1, 2), (index[open_] - here)[:, :, None])[:, :, 0]
            found[open_] = at + np.clip(step, -4, 4)
        return found

    def density(self, index: np.ndarray) -> float:
        """Mean determinant of the map back at positions (N, 3): voxels before for each one of the result."""
        flat = [n == 1 for n in self.grids[1].size]
        slopes = np.stack([self.back(index + e / 2) - self.back(index - e / 2) for e in np.eye(3)], -1)
        slopes[:, :, flat] = np.eye(3)[:, flat]
        return float(np.abs(np.linalg.det(slopes)).mean())


@lru_cache(maxsize=16)
def _corners(size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Positions (125, 3) all over a grid, and the matrix (4, 125) that fits an affine map to values there."""
    axes = np.meshgrid(*[np.linspace(0, n - 1, 5) for n in size], indexing="ij")
    corners = np.stack(axes, -1).reshape(-1, 3)
    return corners, np.linalg.pinv(np.c_[corners, np.ones(125)])


def _equal(grids: Sequence[VoxelGrid], others: Sequence[VoxelGrid]) -> bool:
    return all(
        a == b or (a.shape == b.shape and np.array_equal(a.matrix, b.matrix))
        for a, b in zip(grids, others, strict=True)
    )


def _settled(record: Record) -> str:
    """What a record's map depends on: keys that move together share it."""
    extra = record["extra_info"]
    return str((record["class"], extra["params"], extra["grid"]))


def _map_back(record: Record) -> PointMap:
    extra = record["extra_info"]
    known = extra.get("figures", {})
    return REGISTRY[record["class"]].point_map(extra["params"], known, grid_of(extra["grid"]), inverse=True)


def _moves(record: Record) -> bool:
    return is_ours(record) and record["class"] in REGISTRY and REGISTRY[record["class"]].geometric


def fill_of(record: Record) -> str | float:
    """What a step filled in from outside: a number, ``"border"`` or ``"reflection"``."""
    padding = record["extra_info"].get("padding", "border")
    return 0.0 if isinstance(padding, dict) or padding in ("zeros", "darkest", "brightest") else padding


def fills(passages: Sequence[Passage]) -> list[tuple[str | float, ...]]:
    """What each step filled in, in each of several keys that the same steps moved."""
    return [tuple(fill_of(r) for r in records) for records in zip(*(p.steps for p in passages), strict=True)]
