"""The maps of a batch: similarity and elastic flow of each sample, searched, checked and described.

The parameters of a sample are a mapping of plain numbers, as `transforms.spatial.RandAffineElastic` draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from math import radians, tan
from typing import Any

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops
from monai_medaug.functional.geometry.deformation import exact_inverse
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.geometry.lattice import (
    ElasticLattice,
    elastic_displacement,
    pull_back,
    similarity,
    velocity_amplitude,
)
from monai_medaug.functional.geometry.pull_back import PullBack, sampled_determinants
from monai_medaug.functional.geometry.warp import Padding, warp
from monai_medaug.functional.precision import put_samples, samples_at
from monai_medaug.functional.voxels import values_at

_BACK_OFF, _LEAST_TIME = 0.96, 1 / 512
_INVERSE_DENSITY = 2  # the inverse of a piecewise linear map has finer detail


@dataclass
class AnatomyMaps:
    """Integrated deformations; samples whose lattices have one shape share a tensor.

    Attributes:
        lattices: nodes of each sample.
        motions: world matrices (4, 4) that move the anatomy.
        groups: member samples and their displacement (members, 3, Gz, Gy, Gx).
        figures: plain figures of each sample.
        inverse: whether these are the inverse maps.
        known: the last pull-back.
    """

    lattices: list[ElasticLattice]
    motions: list[np.ndarray]
    groups: list[tuple[list[int], torch.Tensor]]
    figures: list[dict[str, Any]]
    inverse: bool
    known: list[tuple[torch.Tensor, list[VoxelGrid], PullBack]] = field(default_factory=list)

    def of_group(self, group: tuple[list[int], torch.Tensor], grids: Sequence[VoxelGrid]) -> PullBack:
        """The pull-back of a group's members, each for its own grid; keys on the same grids share it."""
        members, displacement = group
        for known, for_grids, found in self.known:
            if known is displacement and for_grids == list(grids):
                return found
        lattices, motions = [self.lattices[i] for i in members], [self.motions[i] for i in members]
        found = pull_back(lattices, motions, displacement, grids, self.inverse)
        self.known = [(displacement, list(grids), found)]
        return found

    def warp(self, image: torch.Tensor, grids: Sequence[VoxelGrid], mode: str, padding: Padding) -> torch.Tensor:
        """Pull back a batch (B, C, *spatial) whose samples lie on these grids, with one padding or a list of theirs."""
        if len(self.groups) == 1:
            return warp(image, self.of_group(self.groups[0], grids), mode, padding)
        out = torch.empty_like(image)
        for group in self.groups:
            members = group[0]
            part = samples_at(image, members)
            own = [padding[i] for i in members] if isinstance(padding, list) else padding
            part = warp(part, self.of_group(group, [grids[i] for i in members]), mode, own)
            put_samples(out, members, part)
        return out


def anatomy_maps(
    params: Sequence[Mapping[str, Any]],
    grids: Sequence[VoxelGrid],
    device: torch.device,
    known: Sequence[Mapping[str, Any]] | None = None,
    inverse: bool = False,
) -> AnatomyMaps:
    """Build the maps of a batch.

    Args:
        params: of each sample.
        grids: its reference grid.
        device: where the lattices are computed.
        known: figures of an earlier build; their flow times replace the search.
        inverse: build the inverse maps; needs ``known``.
    """
    lattices = [ElasticLattice(g, p["elastic_sigma"] * _unit_mm(p, g)) for p, g in zip(params, grids, strict=True)]
    motions = [
        similarity(
            *(g, p["rotate_degrees"], p["rotate_axis"], p["scale"], p["translate_fraction"]),
            tan(radians(p.get("shear_degrees", 0.0))),
            p.get("shear_axes", (0, 1)),
        )
        for p, g in zip(params, grids, strict=True)
    ]
    figures = [{} for _ in params] if known is None else [dict(k) for k in known]
    maps = AnatomyMaps(lattices, motions, [], figures, inverse)
    together: dict[Any, list[int]] = {}
    for i, lattice in enumerate(lattices):
        together.setdefault((lattice.nodes, tuple(round(s, 6) for s in lattice.sigmas)), []).append(i)
    for members in together.values():
        flow = _Flow([params[i] for i in members], [lattices[i] for i in members], device)
        if known is None:
            maps.groups.append(_searched(maps, members, flow))
            continue
        times = [known[i]["flow_time"] for i in members]
        displacement = flow.at(times)[0]
        if inverse and any(times):
            opposite = flow.at([-t for t in times])[0]
            displacement = exact_inverse(displacement, opposite, _INVERSE_DENSITY)
            for i in members:
                maps.lattices[i] = replace(lattices[i], density=_INVERSE_DENSITY)
        maps.groups.append((members, displacement))
    return maps


_Built = tuple[ElasticLattice, np.ndarray, torch.Tensor]
_kept: ContextVar[dict[str, _Built] | None] = ContextVar("maps of the calls within", default=None)


@contextmanager
def maps_kept() -> Iterator[None]:
    """Within this block `point_map` takes the maps that were built in it, instead of integrating them again."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def _named(params: Mapping[str, Any], grid: VoxelGrid) -> str:
    """What a map depends on."""
    return str((sorted(params.items()), grid.shape, grid.matrix.tolist()))


def _unit_mm(params: Mapping[str, Any], grid: VoxelGrid) -> float:
    return grid.finest_spacing if params["elastic_unit"] == "voxel" else 1.0


class _Flow:
    """The velocity fields of a group, integrated to any time."""

    def __init__(
        self, params: Sequence[Mapping[str, Any]], lattices: Sequence[ElasticLattice], device: torch.device
    ) -> None:
        axes = [sum(g > 1 for g in lattice.nodes) for lattice in lattices]
        self.params, self.lattices, self.device = params, lattices, device
        self.volume = [p["scale"] ** a for p, a in zip(params, axes, strict=True)]
        # the determinant of the pull-back is that of the elastic part over the volume factor
        self.bounds = [min(0.95, p["min_jacobian"] * max(1.0, v)) for p, v in zip(params, self.volume, strict=True)]
        self.amplitudes = [
            p["elastic_mm"] / max(a, 1) ** 0.5
            if "elastic_mm" in p
            else velocity_amplitude(p["elastic_alpha"] * _unit_mm(p, lat.grid), p["elastic_sigma"], a)
            for p, lat, a in zip(params, lattices, axes, strict=True)
        ]

    @property
    def strengths(self) -> list[float]:
        return [p["elastic_strength"] if a > 0 else 0.0 for p, a in zip(self.params, self.amplitudes, strict=True)]

    def at(self, times: Sequence[float] | None) -> tuple[torch.Tensor, list[float], list[float]]:
        """Displacement, times and kept shares at these times; None searches the greatest allowed."""
        if times is not None and not any(times):
            return torch.zeros(len(times), 3, *self.lattices[0].nodes, device=self.device), [*times], [*times]
        seeds = [p["seed"] for p in self.params]
        return elastic_displacement(self.lattices, seeds, self.amplitudes, self.bounds, times, self.device)


def _searched(maps: AnatomyMaps, members: list[int], flow: _Flow) -> tuple[list[int], torch.Tensor]:
    """The group at the greatest times that the lattice and then the sampled map allow; sets its figures."""
    strengths = flow.strengths
    displacement, times, kept = flow.at(None if any(strengths) else strengths)
    if any(s < 1 for s in strengths):
        displacement, times, kept = flow.at([t * s for t, s in zip(times, strengths, strict=True)])
    grids = [lattice.grid for lattice in flow.lattices]
    while True:
        group = (members, displacement)
        low, high = torch.stack(sampled_determinants(maps.of_group(group, grids), grids[0].size)).tolist()
        folded = [t > 0 and lo < p["min_jacobian"] for t, lo, p in zip(times, low, flow.params, strict=True)]
        if not any(folded):
            break
        times = [(t * _BACK_OFF if t > _LEAST_TIME else 0.0) if f else t for t, f in zip(times, folded, strict=True)]
        displacement, times, kept = flow.at(times)
    there = displacement.cpu()
    for n, (i, lattice) in enumerate(zip(members, flow.lattices, strict=True)):
        if (kept_maps := _kept.get()) is not None:
            kept_maps[_named(flow.params[n], lattice.grid)] = lattice, maps.motions[i], there[n]
        maps.figures[i] = {
            "flow_time": times[n],
            "elastic_kept": kept[n],
            "volume_scale": flow.volume[n],
            "min_det_j": low[n],
            "max_det_j": high[n],
            **_lengths(lattice, maps.motions[i], there[n]),
        }
    return group


def _lengths(lattice: ElasticLattice, motion: np.ndarray, displacement: torch.Tensor) -> dict[str, float]:
    """RMS and greatest length in mm of the elastic part and of the whole map, over the nodes."""
    grid, nodes = lattice.grid, lattice.nodes
    step = grid.matrix[:3, :3] / np.asarray(grid.embedded_spacing) @ np.diag(lattice.steps)
    u = displacement.numpy().reshape(3, -1)
    elastic = step.astype(np.float32) @ u
    back = np.linalg.inv(motion)
    # A(w + u) - w = (A - 1) w + A u, and w is linear along each axis of the lattice
    slopes = (back[:3, :3] - np.eye(3)) @ grid.matrix[:3, :3]
    offset = (back[:3, :3] - np.eye(3)) @ grid.matrix[:3, 3] + back[:3, 3]
    whole = (back[:3, :3].astype(np.float32) @ elastic).reshape(3, *nodes)
    for axis, (n, g) in enumerate(zip(grid.size, nodes, strict=True)):
        shape = [3] + [g if a == axis else 1 for a in range(3)]
        line = slopes[:, axis, None] * np.linspace(0, n - 1, g) + (offset[:, None] if axis == 0 else 0)
        whole += line.reshape(shape).astype(np.float32)
    figures = {}
    for name, vectors in (("elastic", elastic), ("displacement", whole)):
        square = (vectors**2).sum(0)
        figures[f"{name}_rms_mm"] = float(np.sqrt(square.mean()))
        figures[f"{name}_max_mm"] = float(np.sqrt(square.max()))
    return figures


PointMap = Callable[[np.ndarray], np.ndarray]
"""Moves world positions (N, 3) in mm."""


@dataclass(frozen=True)
class MapBack:
    """A `PointMap` from where the anatomy is to where it was: p to A p + M u(L p).

    Attributes:
        nodes: L, (4, 4), from positions to the nodes of the lattice.
        affine: A, (4, 4).
        mix: M, (3, 3), from lattice steps to positions.
        field: u, (3, Gz, Gy, Gx), in lattice steps; repeats its border.
    """

    nodes: np.ndarray
    affine: np.ndarray
    mix: np.ndarray
    field: torch.Tensor

    def between(self, first: np.ndarray, last: np.ndarray) -> MapBack:
        """The map with affine maps (4, 4) before and after it, such as a grid's and the inverse of another's."""
        return MapBack(self.nodes @ first, last @ self.affine @ first, last[:3, :3] @ self.mix, self.field)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        if (compiled := loops("_numba_voxels", self.field)) is not None:
            out = np.empty(points.shape)
            compiled.displaced(points, self.nodes, self.affine, self.mix, self.field.numpy(), out)
            return out
        return (
            moved_affinely(self.affine, points)
            + displacement_at(self.field, moved_affinely(self.nodes, points)) @ self.mix.T
        )


def moved_affinely(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) moved by a matrix (4, 4)."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def displacement_at(field: torch.Tensor, nodes: np.ndarray) -> np.ndarray:
    """The displacement (N, 3) of a lattice (3, Gz, Gy, Gx) at positions (N, 3) in lattice steps."""
    return np.stack([values_at(component, nodes)[0] for component in field], -1)


def point_map(params: Mapping[str, Any], known: Mapping[str, Any], grid: VoxelGrid, inverse: bool = False) -> PointMap:
    """A function that moves positions with the anatomy, or back: through the exact inverse of the sampled map.

    Back, a point p of the output lies at A(p + u(p)). Forward, an anatomical point p of the input appears where
    A(x + u(x)) = p; Newton's method solves for x, from the opposite flow's answer.
    """
    cpu = torch.device("cpu")
    if (built := (_kept.get() or {}).get(_named(params, grid))) is None:
        maps = anatomy_maps([params], [grid], cpu, [known])
        built = maps.lattices[0], maps.motions[0], maps.groups[0][1][0]
    lattice, motion, u = built
    to_lattice = lattice.from_index @ np.linalg.inv(grid.matrix)
    from_lattice = np.linalg.pinv(to_lattice)
    back = np.linalg.inv(motion)
    if inverse:
        return MapBack(to_lattice, back, back[:3, :3] @ from_lattice[:3, :3], u)

    reverse = anatomy_maps([params], [grid], cpu, [known], inverse=True)
    density, opposite = reverse.lattices[0].density, reverse.groups[0][1][0]
    probes = 1e-4 * np.eye(3)

    def moved(world: np.ndarray) -> np.ndarray:
        world = moved_affinely(motion, world)
        target = moved_affinely(to_lattice, world)
        nodes = target + displacement_at(opposite, density * target) / density
        for _ in range(20):
            miss = nodes + displacement_at(u, nodes) - target
            if np.abs(miss).max(initial=0) < 1e-9:
                break
            slopes = [(displacement_at(u, nodes + p) - displacement_at(u, nodes - p)) / 2e-4 for p in probes]
            step = np.linalg.solve(np.stack(slopes, axis=-1) + np.eye(3), miss[:, :, None])[:, :, 0]
            nodes = nodes - np.clip(step, -0.5, 0.5)
        return world + (nodes - target) @ from_lattice[:3, :3].T

    return moved
