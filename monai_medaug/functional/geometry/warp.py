"""Resampling through an affine map and a lattice of displacements, in one pass.

Every output voxel takes the value at the place that a `PullBack` gives. On the CPU a compiled loop does it in one pass,
elsewhere torch in two. 2D images are volumes of one plane.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.nn.functional import grid_sample

from monai_medaug.functional.acceleration import loops, over_rows, sent
from monai_medaug.functional.geometry.outside import Background
from monai_medaug.functional.geometry.padded import padding_levels
from monai_medaug.functional.geometry.pull_back import PullBack
from monai_medaug.functional.hounsfield import PADDING_HU
from monai_medaug.functional.precision import computing_dtype

MODES = ("bilinear", "nearest")
PADDING_MODES = ("border", "zeros", "reflection", "darkest", "brightest")
Padding = str | float | Background | list[Any]
_PADDING_CODES = {"border": 0, "zeros": 1, "reflection": 2}  # as in _numba_warp; a number is code 1
_ROUNDED = 1e-5  # weights of eight neighbours sum to 1 up to this
_BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


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
