"""Geometry: one affine and elastic map, applied in one resampling, that cannot fold the anatomy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from monai_medaug.functional.deformation import sample_lattice
from monai_medaug.functional.grid import (
    ElasticLattice,
    VoxelGrid,
    elastic_displacement,
    pull_back,
    similarity,
    velocity_amplitude,
)
from monai_medaug.functional.warp import MODES, PADDING_MODES, sampled_determinants, warp
from monai_medaug.transforms.base import KeyView, Params, RandomOperation, span
from monai_medaug.transforms.twin import dictionary_twin

_TIME_BITS = 512  # flow times are multiples of 1 / 512, so that a recorded one repeats the same compositions
_BACK_OFF = 0.96


@dataclass
class DeformationPlan:
    """The integrated deformations of a call; samples whose lattices have one shape share a tensor."""

    lattices: list[ElasticLattice]
    moved: list[np.ndarray]
    inverse: bool
    groups: list[tuple[list[int], torch.Tensor]] = field(default_factory=list)
    figures: list[Params] = field(default_factory=list)


class RandAffineElastic(RandomOperation):
    """Rotation, scaling, shift and elastic deformation in one resampling, without a fold.

    A voxel at world position w takes the value at ``A(phi(w))``. ``A`` undoes a similarity: scaling and rotation about
    the centre of the reference grid, then a shift. ``phi = exp(s v)`` is the flow of a smooth random velocity field
    ``v = alpha * gaussian_filter(uniform(-1, 1), sigma)``, integrated by scaling and squaring (Arsigny et al. 2006). It
    is limited so that the Jacobian determinant of the whole map, taken at every voxel of the reference grid, stays at
    or above ``min_jacobian``: spots that would fold are eased, the rest keeps its amplitude, and the record says how
    much was kept. The inverse flows back along -v. All geometry acts in mm through the affine; the output keeps the
    input's grid and affine, the anatomy moves in it.

    Args:
        prob: probability of applying it.
        rotate_degrees: angle about a random axis; in 2D about the plane's normal. 5 means (-5, 5).
        translate_fraction: shift along each grid axis as a share of the field of view. 0.05 means (-0.05, 0.05).
        scale_fraction: isotropic scaling by 1 + this; 0.1 means (-0.1, 0.1), positive enlarges the anatomy.
        elastic_alpha: amplitude of the velocity field, a number or a range; 0 switches the elastic part off. At sigma 8
            an alpha of 1000 asks for 29 px RMS in 2D, which no map without folds can have: 6 px are kept; in 3D it asks
            for 6.6 and keeps 5.5. RMS grows with sigma.
        elastic_sigma: correlation length of the field.
        elastic_unit: unit of alpha and sigma: ``"voxel"``, the finest spacing of the reference grid, or ``"mm"``.
        min_jacobian: least determinant allowed, in (0, 1); the elastic part alone also stays below its reciprocal.
        mode: ``"bilinear"`` (trilinear in 3D) for images, ``"nearest"`` marks a mask, whose labels are only copied.
        padding_mode: ``"border"``, ``"zeros"``, ``"reflection"`` or a number, such as -1000 for HU.

    Raises:
        ValueError: an argument is out of its range, or the image is not finite.

    Source: A. Arsigny et al., A Log-Euclidean Framework for Statistics on Diffeomorphisms, MICCAI 2006; P. Simard et
    al., Best Practices for Convolutional Neural Networks, ICDAR 2003 (the elastic field).

    Example:
        >>> import torch
        >>> deform = RandAffineElastic(prob=1.0)
        >>> out = deform.set_random_state(0)(torch.rand(1, 64, 64, 40))
        >>> out.shape
        torch.Size([1, 64, 64, 40])
    """

    geometric = True
    identity = {"rotate_degrees": 0.0, "translate_fraction": [0.0] * 3, "scale": 1.0, "elastic_strength": 0.0}

    def __init__(
        self,
        prob: float = 0.8,
        rotate_degrees: float | Sequence[float] = 5,
        translate_fraction: float | Sequence[float] = 0.05,
        scale_fraction: float | Sequence[float] = 0.1,
        elastic_alpha: float | Sequence[float] = 1000,
        elastic_sigma: float = 8,
        min_jacobian: float = 0.2,
        mode: str = "bilinear",
        padding_mode: str | float = "border",
        elastic_unit: str = "voxel",
    ) -> None:
        super().__init__(prob)
        self.rotate_degrees = span("rotate_degrees", rotate_degrees, -180, 180, signed=True)
        self.translate_fraction = span("translate_fraction", translate_fraction, -1, 1, signed=True)
        self.scale_fraction = span("scale_fraction", scale_fraction, -0.9, 9, signed=True)
        self.elastic_alpha = span("elastic_alpha", elastic_alpha, 0)
        self.elastic_sigma = span("elastic_sigma", elastic_sigma, 1e-3)[0]
        self.min_jacobian = span("min_jacobian", min_jacobian, 1e-3, 0.95)[0]
        if (1 + self.scale_fraction[1]) ** -3 < self.min_jacobian:
            raise ValueError(
                f"scale_fraction must leave the volume factor (1 + scale)^-3 above min_jacobian {min_jacobian}, "
                f"got {scale_fraction!r}"
            )
        if elastic_unit not in ("voxel", "mm"):
            raise ValueError(f"elastic_unit must be 'voxel' or 'mm', got {elastic_unit!r}")
        if mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
        if isinstance(padding_mode, str) and padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {PADDING_MODES} or a number, got {padding_mode!r}")
        self.elastic_unit, self.mode, self.padding_mode = elastic_unit, mode, padding_mode

    def draw(self) -> Params:
        axis = self.R.normal(size=3)
        return {
            "rotate_degrees": self.R.uniform(*self.rotate_degrees),
            "rotate_axis": (axis / np.linalg.norm(axis)).tolist(),
            "translate_fraction": self.R.uniform(*self.translate_fraction, size=3).tolist(),
            "scale": 1 + self.R.uniform(*self.scale_fraction),
            "elastic_alpha": self.R.uniform(*self.elastic_alpha),
            "elastic_sigma": self.elastic_sigma,
            "elastic_unit": self.elastic_unit,
            "elastic_strength": 1.0,
            "min_jacobian": self.min_jacobian,
            "seed": int(self.R.randint(2**31 - 1)),
        }

    @classmethod
    def plan(
        cls, params: Sequence[Params], reference: Sequence[VoxelGrid], device: torch.device, inverse: bool = False
    ) -> DeformationPlan:
        lattices = [
            ElasticLattice(g, p["elastic_sigma"] * (g.finest_spacing if p["elastic_unit"] == "voxel" else 1.0))
            for p, g in zip(params, reference, strict=True)
        ]
        plan = DeformationPlan(lattices, [_motion(p, g) for p, g in zip(params, reference, strict=True)], inverse)
        plan.figures = [{} for _ in params]
        together: dict[Any, list[int]] = {}
        for i, lattice in enumerate(lattices):
            together.setdefault((lattice.nodes, tuple(round(s, 6) for s in lattice.sigmas)), []).append(i)
        for members in together.values():
            plan.groups.append((members, _deform(plan, members, [params[i] for i in members], device)))
        return plan

    @classmethod
    def figures(cls, plan: DeformationPlan) -> list[Params]:
        return plan.figures

    @classmethod
    def apply(cls, image: torch.Tensor, params: Sequence[Params], plan: DeformationPlan, view: KeyView) -> torch.Tensor:
        if len(plan.groups) == 1:
            return warp(image, _maps(plan, plan.groups[0], view.grids), view.mode, view.padding)
        out = torch.empty_like(image)
        for group in plan.groups:
            grids = [view.grids[i] for i in group[0]]
            out[group[0]] = warp(image[group[0]], _maps(plan, group, grids), view.mode, view.padding)
        return out

    @classmethod
    def move_points(cls, params: Params, grid: VoxelGrid, world: np.ndarray, inverse: bool) -> np.ndarray:
        """World positions (N, 3) moved with the anatomy, or back: the exact inverse of the sampled map.

        Forward, an anatomical point p of the input appears where A(x + u(x)) = p; Newton's method solves for x.
        """
        plan = cls.plan([params], [grid], torch.device("cpu"))
        lattice, motion, u = plan.lattices[0], plan.moved[0], plan.groups[0][1].double()
        to_lattice = lattice.from_index @ np.linalg.inv(grid.matrix)
        from_lattice = np.linalg.pinv(to_lattice) if min(lattice.nodes) == 1 else np.linalg.inv(to_lattice)

        def transformed(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
            return points @ matrix[:3, :3].T + matrix[:3, 3]

        def displaced(nodes: np.ndarray) -> np.ndarray:
            at = torch.from_numpy(np.ascontiguousarray(nodes.T)).reshape(1, 3, 1, 1, -1)
            return sample_lattice(u, at).reshape(3, -1).T.numpy()

        if inverse:
            shift = displaced(transformed(to_lattice, world)) @ from_lattice[:3, :3].T
            return transformed(np.linalg.inv(motion), world + shift)
        world = transformed(motion, world)
        target = transformed(to_lattice, world)
        back = cls.plan([params], [grid], torch.device("cpu"), inverse=True).groups[0][1].double()
        at = torch.from_numpy(np.ascontiguousarray(target.T)).reshape(1, 3, 1, 1, -1)
        nodes = target + sample_lattice(back, at).reshape(3, -1).T.numpy()
        for _ in range(20):
            miss = nodes + displaced(nodes) - target
            if np.abs(miss).max() < 1e-9:
                break
            jacobian = np.empty((len(nodes), 3, 3))
            for axis in range(3):
                probe = np.zeros(3)
                probe[axis] = 1e-4
                jacobian[:, :, axis] = (displaced(nodes + probe) - displaced(nodes - probe)) / 2e-4 + np.eye(3)[axis]
            step = np.linalg.solve(jacobian, miss[:, :, None])[:, :, 0]
            nodes = nodes - np.clip(step, -0.5, 0.5)
        return world + (nodes - target) @ from_lattice[:3, :3].T


RandAffineElasticd = dictionary_twin(RandAffineElastic)
RandAffineElasticD = RandAffineElasticDict = RandAffineElasticd


def _motion(params: Params, grid: VoxelGrid) -> np.ndarray:
    return similarity(
        grid, params["rotate_degrees"], params["rotate_axis"], params["scale"], params["translate_fraction"]
    )


def _maps(plan: DeformationPlan, group: tuple[list[int], torch.Tensor], grids: Sequence[VoxelGrid]):  # type: ignore[no-untyped-def]
    members, displacement = group
    lattices = [plan.lattices[i] for i in members]
    return pull_back(lattices, [plan.moved[i] for i in members], displacement, grids, plan.inverse)


def _deform(plan: DeformationPlan, members: list[int], params: Sequence[Params], device: torch.device) -> torch.Tensor:
    """Integrate one group, check it at full resolution and fill in its figures."""
    lattices = [plan.lattices[i] for i in members]
    axes = [sum(g > 1 for g in lat.nodes) for lat in lattices]
    units = [
        lat.grid.finest_spacing if p["elastic_unit"] == "voxel" else 1.0
        for lat, p in zip(lattices, params, strict=True)
    ]
    volume = [p["scale"] ** a for p, a in zip(params, axes, strict=True)]
    # the determinant of the pull-back is that of the elastic part over the volume factor
    bounds = [min(0.95, p["min_jacobian"] * max(1.0, v)) for p, v in zip(params, volume, strict=True)]
    amplitudes = [
        velocity_amplitude(p["elastic_alpha"] * u, p["elastic_sigma"], a)
        for p, u, a in zip(params, units, axes, strict=True)
    ]
    fixed = (lattices, [p["seed"] for p in params], amplitudes, bounds)
    if all(p["elastic_alpha"] * p["elastic_strength"] == 0 for p in params):
        displacement = torch.zeros(len(members), 3, *lattices[0].nodes, device=device)
        times, kept = [0.0] * len(members), [0.0] * len(members)
    elif "flow_time" in params[0]:
        known = [p["flow_time"] * (-1 if plan.inverse else 1) for p in params]
        return elastic_displacement(*fixed, known, device)[0]
    else:
        displacement, times, kept = elastic_displacement(*fixed, None, device)
        if any(p["elastic_strength"] < 1 for p in params):
            times = [_rounded(t * p["elastic_strength"]) for t, p in zip(times, params, strict=True)]
            displacement, times, kept = elastic_displacement(*fixed, times, device)
    while True:
        group = (members, displacement)
        low, high = sampled_determinants(_maps(plan, group, [lat.grid for lat in lattices]), lattices[0].grid.size)
        folded = [lo < p["min_jacobian"] and t > 0 for lo, p, t in zip(low.tolist(), params, times, strict=True)]
        if not any(folded):
            break
        times = [_rounded(t * _BACK_OFF) if f else t for t, f in zip(times, folded, strict=True)]
        displacement, times, kept = elastic_displacement(*fixed, times, device)
    for n, (i, lattice) in enumerate(zip(members, lattices, strict=True)):
        plan.figures[i] = {
            "flow_time": times[n],
            "elastic_kept": kept[n],
            "volume_scale": volume[n],
            "min_det_j": low[n].item(),
            "max_det_j": high[n].item(),
            **_lengths(lattice, plan.moved[i], displacement[n]),
        }
    return displacement


def _rounded(time: float) -> float:
    return int(time * _TIME_BITS) / _TIME_BITS


def _lengths(lattice: ElasticLattice, motion: np.ndarray, displacement: torch.Tensor) -> Params:
    """RMS and greatest length in mm of the elastic part and of the whole map, over the nodes."""
    u = displacement.double().cpu().numpy().reshape(3, -1)
    step = lattice.grid.matrix[:3, :3] / np.asarray(lattice.grid.embedded_spacing) @ np.diag(lattice.steps)
    elastic = step @ u
    size, nodes = lattice.grid.size, lattice.nodes
    index = np.stack(
        np.meshgrid(*[np.linspace(0, n - 1, g) for n, g in zip(size, nodes, strict=True)], indexing="ij")
    ).reshape(3, -1)
    world = lattice.grid.matrix[:3, :3] @ index + lattice.grid.matrix[:3, 3:]
    back = np.linalg.inv(motion)
    whole = back[:3, :3] @ (world + elastic) + back[:3, 3:] - world
    lengths = {"elastic": np.linalg.norm(elastic, axis=0), "displacement": np.linalg.norm(whole, axis=0)}
    figures: Params = {}
    for name, value in lengths.items():
        figures |= {f"{name}_rms_mm": float(np.sqrt((value**2).mean())), f"{name}_max_mm": float(value.max())}
    return figures
