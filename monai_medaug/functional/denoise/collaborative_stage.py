"""The layout of a stage of the collaborative filter: patches, displacements, transforms, limits of similarity."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pywt

from monai_medaug.functional.noise.correlation import Grain, correlation_matrix

T = TypeVar("T")
Sizes = tuple[int, int, int]
Tables = tuple[np.ndarray, np.ndarray, np.ndarray]

WHITE: Grain = ((1.0,), (1.0,), (1.0,))
EXACT = 2**24
"""Integers up to this are exact in float32."""
_APART = 2  # least displacement, along some axis, of the patches of a stack in correlated noise


@dataclass(frozen=True)
class PatchStage:
    """The parameters of one of the two stages, for a volume of a given shape."""

    starts: Tables
    """First voxels of the reference patches along each axis."""
    offsets: np.ndarray
    """Displacements (n, 3) to try, the nearest first."""
    patch: Sizes
    margin: Sizes
    members: int
    levels: float
    """Steps per sigma for the comparison."""
    limit: float
    """Sums of squared differences, in these steps, must be below."""
    alike: float
    """Sums up to this are equally similar."""
    forward: Tables
    backward: Tables
    window: np.ndarray
    """Kaiser window of the patch, flat."""
    spread: np.ndarray
    """Deviation of the noise in each coefficient of a patch, flat; 1 where it is white."""

    @property
    def cap(self) -> float:
        """Upper bound of one voxel's squared difference, for exact sums."""
        return float(EXACT // math.prod(self.patch))


def patch_stage(
    shape: Sizes,
    patch: Sizes,
    step: int,
    search: Sizes,
    members: int,
    similar: float,
    wiener: bool,
    grain: Grain = WHITE,
    alike: float = 0.0,
) -> PatchStage:
    """Lay out one stage on a volume; patches are cut to shorter axes.

    In correlated noise (``grain``) each coefficient k of a patch has its own deviation, the square root of the product
    over the axes of ``(F R F^T)_kk`` with the transform F and the correlation matrix R (K. Dabov et al., Image
    restoration by sparse 3D transform-domain collaborative filtering, SPIE 2008), and a stack omits the nearest
    patches, whose noise is almost that of the reference.

    Example:
        >>> stage = patch_stage((1, 30, 5), (1, 8, 8), 3, (0, 2, 2), 20, 4.0, wiener=False)
        >>> stage.patch, stage.members, stage.starts[1].tolist(), len(stage.offsets)
        ((1, 8, 5), 16, [0, 3, 6, 9, 12, 15, 18, 21, 22], 5)
    """
    edges = three(min(n, p) for n, p in zip(shape, patch, strict=True))
    reach = three(min(r, n - p) for r, n, p in zip(search, shape, edges, strict=True))
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
    grid = grid[np.argsort((grid**2).sum(1), kind="stable")]
    if grain != WHITE:
        grid = grid[(grid == 0).all(1) | (np.abs(grid).max(1) >= _APART)]
    voxels = math.prod(edges)
    # so fine that one voxel at the cap exceeds the limit
    levels = math.floor(math.sqrt(EXACT / similar) / voxels)
    matrices = [patch_transform(n, "dct" if wiener else "bior1.5") for n in edges]
    windows = [np.kaiser(n, 2.0) for n in edges]
    variances = [
        np.einsum("ki,ij,kj->k", m, correlation_matrix(g, n), m)
        for (m, _), g, n in zip(matrices, grain, edges, strict=True)
    ]
    return PatchStage(
        starts=three(_first_voxels(n, p, step) for n, p in zip(shape, edges, strict=True)),
        offsets=grid.astype(np.int64),
        patch=edges,
        margin=reach,
        members=1 << (members.bit_length() - 1),
        levels=levels,
        limit=math.floor(similar * levels**2 * voxels),
        alike=math.floor(alike * levels**2 * voxels),
        forward=three(m[0] for m in matrices),
        backward=three(m[1] for m in matrices),
        window=functools.reduce(np.multiply.outer, windows).ravel(),
        spread=np.sqrt(functools.reduce(np.multiply.outer, variances)).ravel(),
    )


def _first_voxels(length: int, edge: int, step: int) -> np.ndarray:
    """First voxels of the reference patches along an axis, which overlap by at least a quarter."""
    return np.append(np.arange(0, length - edge, max(1, min(step, 3 * edge // 4))), length - edge)


@functools.cache
def patch_transform(n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (n, n) of a transform with rows of norm 1, and its inverse.

    Args:
        n: voxels.
        kind: ``"dct"``, or a wavelet of PyWavelets, periodic, over all levels, for n a power of 2; the cosine transform
            for any other n.

    Example:
        >>> forward, backward = patch_transform(4, "bior1.5")
        >>> np.allclose(backward @ forward, np.eye(4)), np.allclose((forward**2).sum(1), 1)
        (True, True)
    """
    if kind == "dct" or n & (n - 1):
        k, x = np.arange(n)[:, None], np.arange(n)[None]
        forward = np.cos(np.pi * k * (2 * x + 1) / (2 * n))
    else:
        forward, low = np.empty((0, n)), np.eye(n)
        while len(low) > 1:
            low, high = pywt.dwt(low, kind, mode="periodization", axis=0)
            forward = np.concatenate([high, forward])
        forward = np.concatenate([low, forward])
    forward = forward / np.linalg.norm(forward, axis=1, keepdims=True)
    return forward, np.linalg.inv(forward)


def as_volume(spatial: Sequence[int]) -> tuple[Sizes, tuple[int, ...]]:
    """Shape (1 or n, n, n), axes of one voxel first, and the image's axis of each (-1 for a new one)."""
    places = list(range(len(spatial)))
    if len(spatial) == 2:
        places.insert(0, -1)
    places.sort(key=lambda a: a >= 0 and spatial[a] > 1)  # stable; the order of voxels in memory stays
    return three(1 if a < 0 else int(spatial[a]) for a in places), tuple(places)


def three(items: Iterable[T]) -> tuple[T, T, T]:
    """One item for each axis of a volume.

    Example:
        >>> three(2 * n for n in (1, 2, 3))
        (2, 4, 6)
    """
    a, b, c = items
    return a, b, c
