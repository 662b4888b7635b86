"""Resampling through an affine map and a lattice of displacements, in one pass.

Every output voxel ``i`` of an image takes the value at

    source(i) = S i + P u(L i)

where ``u`` is the trilinear interpolation of a coarse displacement lattice (see `deformation.py`) and L, S and P are
affine maps: output index to lattice index, output index to source index, lattice displacement to source index. Thus
one lattice serves an image and a mask on different grids. On the CPU a compiled loop does it in one pass, elsewhere
torch in two. 2D images are volumes of one plane.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.nn.functional import grid_sample, interpolate

from monai_medaug.functional.acceleration import elements_at_once, loops, over_rows, sent
from monai_medaug.functional.geometry.deformation import determinant, node_positions, sample_lattice
from monai_medaug.functional.geometry.outside import Background
from monai_medaug.functional.geometry.padded import padding_levels
from monai_medaug.functional.hounsfield import PADDING_HU
from monai_medaug.functional.precision import computing_dtype

MODES = ("bilinear", "nearest")
PADDING_MODES = ("border", "zeros", "reflection", "darkest", "brightest")
Padding = str | float | Background | list[Any]
_PADDING_CODES = {"border": 0, "zeros": 1, "reflection": 2}  # as in _numba_warp; a number is code 1
_ROUNDED = 1e-5  # weights of eight neighbours sum to 1 up to this
_PER_VOXEL = 8  # elements of the torch path's temporary tensors
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


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


def warp(
    image: torch.Tensor,
    pull_back: PullBack,
    mode: str = "bilinear",
    padding_mode: Padding = "border",
    padded: bool = True,
) -> torch.Tensor:
    """Pull an image back: out(i) = image(source(i)).

    Args:
        image: (B, C, H, W) or (B, C, D, H, W). Float32 or float64 for ``"bilinear"``, any type for ``"nearest"``.
        pull_back: the map, for the same batch size.
        mode: ``"bilinear"`` (trilinear in 3D) or ``"nearest"`` (values are copied, never computed).
        padding_mode: what lies outside: ``"border"``, ``"zeros"``, ``"reflection"`` about the outer voxel edges, a
            number, -1000 for air in HU, or ``"darkest"`` or ``"brightest"``, the least or greatest value of the sample.
            A list has one for each sample. A `Background` ends at the faces of the outer voxels, as masks do, without
            interpolation between it and the image, which goes on along the axis ``through``.
        padded: False where the image can't hold the padding of a CT, so that nobody looks for it.

    Between the padding of a CT (see `padding_levels`) and other values nothing is interpolated: the nearest is taken.

    Returns:
        The warped image, of the shape and type of the input.

    Example:
        >>> import torch
        >>> eye = torch.eye(3, 4, dtype=torch.float64)[None]
        >>> shift = eye.clone()
        >>> shift[0, 2, 3] = 1.0
        >>> step = PullBack(eye, shift, torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, 1, 2, 2))
        >>> warp(torch.arange(6.0).reshape(1, 1, 2, 3), step, padding_mode=-1000.0)[0, 0]
        tensor([[    1.,     2., -1000.],
                [    4.,     5., -1000.]])
    """
    fills = _of_each(image, padding_mode)
    if all(isinstance(f, dict) for f in fills) and len({(f["through"], len(f["background"])) for f in fills}) == 1:
        return _warp_on_background(image, pull_back, mode, fills, padded)
    if any(f != fills[0] for f in fills):
        each = (warp(image[i : i + 1], pull_back.of_sample(i), mode, [fill], padded) for i, fill in enumerate(fills))
        return torch.cat([*each])
    fill = fills[0]
    volume = image.unsqueeze(2) if image.ndim == 4 else image
    if (compiled := loops("geometry._numba_warp", image, pull_back.displacement)) is not None:
        out = _warp_compiled(compiled, volume.contiguous(), pull_back, mode, fill)
    else:
        out = _warp_torch(volume, pull_back, mode, fill, padded)
    return out.reshape(image.shape)


def _of_each(image: torch.Tensor, padding: Padding) -> list[Any]:
    """The padding of each sample, its darkest or brightest value as a number."""
    paddings = padding if isinstance(padding, list) else [padding] * len(image)
    extremes = {"darkest": torch.amin, "brightest": torch.amax}
    if not any(isinstance(p, str) and p in extremes for p in paddings):
        return paddings
    values = image if image.is_floating_point() else image.double()
    wanted = {p for p in paddings if isinstance(p, str) and p in extremes}
    found = {p: extremes[p](values.flatten(1), 1).tolist() for p in wanted}  # a GPU is awaited once for all samples
    return [found[p][i] if isinstance(p, str) and p in found else p for i, p in enumerate(paddings)]


def _warp_on_background(
    image: torch.Tensor, pull_back: PullBack, mode: str, fills: list[Background], padded: bool
) -> torch.Tensor:
    """`warp` with a `Background` for each sample, all with as many channels and the same axis ``through``."""
    through = fills[0]["through"]
    across = pull_back if through < 0 else pull_back.without_axis(through, image.shape[2:])
    inside = warp(torch.ones_like(image[:, :1], dtype=torch.uint8), across, "nearest", "zeros") > 0
    values = sent([f["background"] for f in fills], image.device, image.dtype)
    values = values.reshape(*values.shape, *[1] * (image.ndim - 2))
    return torch.where(inside, warp(image, pull_back, mode, "border", padded), values)


def _warp_compiled(
    compiled: ModuleType, volume: torch.Tensor, pull_back: PullBack, mode: str, padding_mode: str | float
) -> torch.Tensor:
    out = torch.empty_like(volume)
    fill = torch.full((), 0 if isinstance(padding_mode, str) else padding_mode, dtype=volume.dtype)
    code = _PADDING_CODES[padding_mode] if isinstance(padding_mode, str) else 1
    if mode == "nearest":
        bits = _BITS[volume.element_size()]
        kernel, source, target = compiled.warp_nearest, _as_bits(volume, bits), _as_bits(out, bits)
        value = _as_bits(fill.reshape(1), bits)[0]
    else:
        kernel, source, target, value = compiled.warp_linear, volume.numpy(), out.numpy(), fill.item()
        levels = _levels(volume, padding_mode).flatten(2)[..., 0].clamp_min(float(compiled.NO_PADDING)).numpy()
    rows = out.shape[2] * out.shape[3]
    for s in range(len(volume)):
        maps = (m[s].cpu().numpy() for m in (pull_back.lattice, pull_back.source, pull_back.mix))
        fixed = (source[s], target[s], *maps, pull_back.displacement[s].numpy(), code, value)
        fixed = fixed if mode == "nearest" else (*fixed, levels[s])
        over_rows(lambda first, last, fixed=fixed: kernel(*fixed, first, last), rows)  # type: ignore[misc]
    return out


def _as_bits(tensor: torch.Tensor, bits: type) -> np.ndarray:
    """The same memory as unsigned integers, so that one compiled loop copies labels of any type."""
    return tensor.view(torch.uint8).numpy().view(bits) if bits is not np.uint8 else tensor.view(torch.uint8).numpy()


def _warp_torch(
    volume: torch.Tensor, pull_back: PullBack, mode: str, padding_mode: str | float, padded: bool
) -> torch.Tensor:
    size = (volume.shape[2], volume.shape[3], volume.shape[4])
    share: torch.Tensor | None = None
    if mode != "nearest" and padded:
        levels = _levels(volume, padding_mode)
        if not bool(torch.isinf(levels).all()):
            share = (volume <= levels).to(volume.dtype)
    outside = padding_mode if isinstance(padding_mode, str) else float(padding_mode <= PADDING_HU)
    parts = []
    for where in pull_back.in_slabs(size, computing_dtype(volume.dtype)):
        if mode == "nearest":
            parts.append(_gather_nearest(volume, where, padding_mode))
            continue
        extent = sent(size, where.device, where.dtype).reshape(1, 3, 1, 1, 1)
        normalised = torch.movedim((2 * where + 1) / extent - 1, 1, -1).flip(-1)
        part = _sampled(volume, normalised, padding_mode)
        if share is not None:
            near = _gather_nearest(volume, where, padding_mode)
            part = torch.where(_sampled(share, normalised, outside) > _ROUNDED, near, part)
        parts.append(part)
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _sampled(volume: torch.Tensor, normalised: torch.Tensor, padding_mode: str | float) -> torch.Tensor:
    """Trilinear values at normalised coordinates."""
    if isinstance(padding_mode, str):
        return grid_sample(volume, normalised, padding_mode=padding_mode, align_corners=False)
    return grid_sample(volume - padding_mode, normalised, padding_mode="zeros", align_corners=False) + padding_mode


def _levels(volume: torch.Tensor, padding_mode: str | float) -> torch.Tensor:
    """`padding_levels`; an image without padding has it outside where that is filled with it."""
    levels = padding_levels(volume)
    filled = not isinstance(padding_mode, str) and padding_mode <= PADDING_HU
    return levels.clamp_min(PADDING_HU) if filled else levels


def _gather_nearest(volume: torch.Tensor, where: torch.Tensor, padding_mode: str | float) -> torch.Tensor:
    """Nearest neighbour by index, exact for every type."""
    size = volume.shape[2:]
    flat = torch.zeros(where[:, 0].shape, dtype=torch.int64, device=volume.device)
    outside = torch.zeros_like(flat, dtype=torch.bool)
    for axis, n in enumerate(size):
        c = where[:, axis]
        if padding_mode == "reflection":
            c = torch.remainder(c + 0.5, 2 * n)
            c = torch.minimum(c, 2 * n - c) - 0.5
        i = torch.round(c).to(torch.int64)
        outside |= (i < 0) | (i >= n)
        flat = flat * n + i.clamp(0, n - 1)
    index = flat.flatten(1)[:, None].expand(-1, volume.shape[1], -1)
    out = torch.gather(_signed(volume).flatten(2), 2, index).unflatten(2, where.shape[2:])
    if padding_mode in ("border", "reflection"):
        return out.view(volume.dtype)
    value = torch.full((1,), 0.0 if isinstance(padding_mode, str) else padding_mode, dtype=volume.dtype)
    return torch.where(outside[:, None], sent(_signed(value), out.device), out).view(volume.dtype)


def _signed(volume: torch.Tensor) -> torch.Tensor:
    """A signed view of unsigned integers wider than 8 bit, for which torch lacks kernels."""
    twins = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
    return volume.view(twins.get(volume.dtype, volume.dtype))


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
