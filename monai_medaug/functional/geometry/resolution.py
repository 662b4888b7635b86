"""Slice thickness: the profile of a thick slice, and matrices that sample slices and interpolate back to the grid."""

from __future__ import annotations

import functools
import math
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import loops, over_rows, sent

PROFILES = ("gaussian", "trapezoid")
FLANK = 0.4
"""Width of each flank of the trapezoid as a share of its full width at half maximum."""

_REACH = {"gaussian": 1.7, "trapezoid": 0.5 + FLANK / 2}  # where a profile ends, in widths; the Gaussian at 4 sigma


def profile_weights(offsets: np.ndarray, width: float, profile: str) -> np.ndarray:
    """Slice profile at offsets from the slice's centre, (slices, voxels): each row sums to 1 and has its mean at 0.

    A profile sampled asymmetrically has a shifted centre of mass, by 0.02 voxels at a width of 1.2; the first moment is
    therefore set to 0, so that a ramp stays the same.

    Args:
        offsets: voxel index minus the slice's centre, in voxels.
        width: full width at half maximum in voxels, above 1.
        profile: ``"gaussian"``, or ``"trapezoid"`` with flanks of 0.4 widths, integrated over each voxel.

    Example:
        >>> weights = profile_weights(np.arange(-4, 5)[None] + 0.3, 3.0, "trapezoid")
        >>> bool(np.isclose(weights.sum(), 1)), bool(abs((weights @ (np.arange(-4, 5) + 0.3))[0]) < 1e-12)
        (True, True)
    """
    if profile == "gaussian":
        weights = np.exp(-4 * math.log(2) * (offsets / width) ** 2)
        weights[np.abs(offsets) > _REACH[profile] * width] = 0
    else:
        weights = _trapezoid_integral(offsets + 0.5, width) - _trapezoid_integral(offsets - 0.5, width)
    weights /= weights.sum(1, keepdims=True)
    mean = (weights * offsets).sum(1, keepdims=True)
    spread = (weights * offsets**2).sum(1, keepdims=True)
    weights *= 1 - (offsets - mean) * mean / (spread - mean**2)
    return weights


def _trapezoid_integral(x: np.ndarray, width: float) -> np.ndarray:
    """Integral of the trapezoid of unit height and the given width at half maximum, from its centre to x."""
    top, flank = width * (0.5 - FLANK / 2), width * FLANK
    inside, beyond = np.clip(np.abs(x), 0, top), np.clip(np.abs(x) - top, 0, flank)
    return np.sign(x) * (inside + beyond - beyond**2 / (2 * flank))


def thick_slice_matrices(voxels: int, width: float, phase: float, profile: str) -> tuple[np.ndarray, np.ndarray]:
    """Thick slices along their axis: sampling (slices, voxels) and interpolation back to the grid (voxels, slices).

    Slice j is centred at ``(voxels - 1) / 2 + (phase + j) width``, as many as cover the grid, without gaps.
    Each takes the profile's mean, the border value repeated outside. The way back interpolates linearly between the
    true centres, without a shift of half a voxel.

    Args:
        voxels: along the axis.
        width: slice thickness in voxels; up to 1 both matrices are the identity.
        phase: position of the slices, in slices.
        profile: see `profile_weights`.
    """
    if width <= 1 or voxels == 1:
        return np.eye(voxels), np.eye(voxels)
    middle = (voxels - 1) / 2 + phase * width
    first, last = math.floor(-middle / width), math.ceil((voxels - 1 - middle) / width)
    centres = middle + np.arange(first, last + 1) * width
    reach = _REACH[profile] * width
    index = np.floor(centres - reach).astype(int)[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weights = profile_weights(index - centres[:, None], width, profile)
    sampling = np.zeros((len(centres), voxels))
    np.add.at(sampling, (np.arange(len(centres))[:, None], index.clip(0, voxels - 1)), weights)
    distance = np.abs(np.arange(voxels)[:, None] - centres[None]) / width
    return sampling, np.clip(1 - distance, 0, None)


def thick_slices(
    image: torch.Tensor, axis: int, widths: list[float], phases: list[float], profile: str
) -> torch.Tensor:
    """Slices sampled along an axis and interpolated back to the grid, see `thick_slice_matrices`.

    Args:
        image: (B, C, *spatial).
        axis: spatial axis, from 0.
        widths: of each sample's slices in voxels; up to 1 it stays as it is.
        phases: position of the slices, in slices.
        profile: see `profile_weights`.

    Example:
        >>> line = torch.zeros(1, 1, 1, 13).index_fill(3, torch.tensor(6), 1.0)
        >>> round(float(thick_slices(line, 1, [4.0], [0.0], "gaussian").max()), 2)
        0.23
    """
    if (compiled := loops("geometry._numba_resolution", image, dtypes=[torch.float32])) is not None:
        return _compiled_slices(compiled, image.contiguous(), axis, widths, phases, profile)
    pairs = [thick_slice_matrices(image.shape[axis + 2], w, p, profile) for w, p in zip(widths, phases, strict=True)]
    sampling, interpolation = joined_matrices(pairs)
    return along_axis(along_axis(image, sampling, axis), interpolation, axis)


def _compiled_slices(
    compiled: ModuleType, image: torch.Tensor, axis: int, widths: list[float], phases: list[float], profile: str
) -> torch.Tensor:
    """`thick_slices` of contiguous float32."""
    out, voxels = torch.empty_like(image), image.shape[axis + 2]
    lines = (math.prod(image.shape[1 : axis + 2]), voxels, math.prod(image.shape[axis + 3 :]))
    count = compiled.units(lines)
    for source, target, width, phase in zip(image, out, widths, phases, strict=True):
        if width <= 1 or voxels == 1:
            target.copy_(source)
            continue
        bands = compiled.slice_bands(voxels, width, phase, profile == "trapezoid", _REACH[profile], FLANK)
        fixed = (source.view(lines).numpy(), *bands, width, target.view(lines).numpy())
        over_rows(functools.partial(compiled.thick_slices, *fixed), count, max(1, (1 << 17) * count // source.numel()))
    return out


def joined_matrices(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    """`thick_slice_matrices` of several samples as (B, slices, voxels) and (B, voxels, slices), filled up with 0."""
    slices, voxels = max(len(sampling) for sampling, _ in pairs), pairs[0][0].shape[1]
    down, up = np.zeros((len(pairs), slices, voxels)), np.zeros((len(pairs), voxels, slices))
    for i, (sampling, interpolation) in enumerate(pairs):
        down[i, : len(sampling)], up[i, :, : len(sampling)] = sampling, interpolation
    return torch.from_numpy(down), torch.from_numpy(up)


def along_axis(image: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    """Each sample's matrix applied along a spatial axis.

    Args:
        image: (B, C, *spatial) with n voxels along the axis.
        matrix: (B, m, n), or (1, m, n) for all samples.
        axis: spatial axis, from 0.

    Example:
        >>> along_axis(torch.arange(6.0).reshape(1, 1, 3, 2), torch.ones(1, 1, 3) / 3, 0)
        tensor([[[[2., 3.]]]])
    """
    image = image.contiguous()  # the same order of summation for any memory layout
    shape, place = list(image.shape), axis + 2
    behind = math.prod(shape[place + 1 :])
    matrix = sent(matrix, image.device, image.dtype) if matrix.device.type == "cpu" else matrix.to(image)
    if behind == 1:
        out = torch.matmul(image.reshape(shape[0], -1, shape[place]), matrix.transpose(1, 2))
    else:
        out = torch.matmul(matrix[:, None], image.reshape(shape[0], -1, shape[place], behind))
    return out.reshape(*shape[:place], matrix.shape[1], *shape[place + 1 :])
