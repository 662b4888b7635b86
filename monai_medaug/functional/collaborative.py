"""Collaborative filtering: similar patches stacked, shrunk together in a transform domain, and put back.

Written from the papers: K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D transform-domain
collaborative filtering", IEEE TIP 16:2080 (2007), and M. Maggioni, V. Katkovnik, K. Egiazarian, A. Foi, "Nonlocal
transform-domain filter for volumetric data denoising and reconstruction", IEEE TIP 22:119 (2013).

An image is a volume of one plane with patches one plane thick, so that one code serves both. Patches are compared on
values rounded to whole fractions of sigma: sums of their squared differences are then exact in float32 in any order,
and every path finds the same patches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

import numpy as np
import pywt
import torch
import torch.nn.functional as F

from monai_medaug.functional.acceleration import compiled, over_rows

T = TypeVar("T")
Sizes = tuple[int, int, int]
Tables = tuple[np.ndarray, np.ndarray, np.ndarray]

PATCH = {2: 8, 3: 4}
"""Patch edge in voxels by the number of axes."""
SEARCH = {2: 19, 3: 5}
"""Greatest displacement of similar patches in voxels."""
SIMILAR = (3.0, 0.64)
"""Greatest mean squared difference of similar patches in sigma², for either stage. In the first one 2 are noise."""

_EXACT = 2**24  # whole numbers up to here are exact in float32
_FAR = 1e9  # value outside the image when patches are compared: nothing is similar to it
_BLOCK_ROWS = 16  # rows of reference patches that are worked on together
_BLOCK_ELEMENTS = 2**23  # of the torch path's largest temporary tensors


@dataclass(frozen=True)
class PatchStage:
    """What one of the two stages needs, for a volume of a given shape."""

    starts: Tables
    """First voxels of the reference patches along each axis."""
    offsets: np.ndarray
    """Displacements (n, 3) tried, the nearest first."""
    patch: Sizes
    margin: Sizes
    members: int
    levels: float
    """Steps per sigma for the comparison."""
    limit: float
    """Sums of squared differences, in these steps, from here on are not similar."""
    forward: Tables
    backward: Tables
    window: np.ndarray
    """Kaiser window of the patch, flat."""

    @property
    def cap(self) -> float:
        """Upper bound of one voxel's squared difference, which keeps the sums exact."""
        return float(_EXACT // math.prod(self.patch))


def collaborative_filter(
    image: torch.Tensor,
    sigma: torch.Tensor,
    *,
    patch: int | Sequence[int] | None = None,
    step: int = 3,
    search: int | Sequence[int] | None = None,
    members: tuple[int, int] = (32, 64),
    similar: tuple[float, float] = SIMILAR,
    threshold: float = 2.7,
    stages: int = 2,
) -> torch.Tensor:
    r"""Remove white Gaussian noise of known standard deviation by block matching and 3D or 4D filtering.

    For each reference patch the most similar ones nearby are stacked, :math:`Z`. The first stage cuts the spectrum of
    the stack at :math:`2.7\,\sigma`; the second one repeats the matching on the first one's result, whose spectrum
    :math:`P` gives an empirical Wiener filter:

    .. math:: \hat Z_1 = T^{-1}\left[T Z\,(|T Z| \ge 2.7\,\sigma)\right], \qquad
              \hat Z_2 = U^{-1}\left[\frac{P^2}{P^2 + \sigma^2}\, U Z\right].

    T is the biorthogonal 1.5 wavelet in the patch, U the cosine transform, both with Haar's along the stack. Patches
    overlap; each counts with 1 / (coefficients kept) or 1 / (energy of the Wiener filter) times a Kaiser window. The
    mean of a stack is always kept, so that an offset such as HU's comes back as it was. Patches lie inside the image,
    so that nothing beyond its border is made up. An axis shorter than the patch makes the patch shorter; a volume
    with an axis of one voxel is filtered as an image. Channels are filtered each on its own. Computed in float32 on
    the image less its least value, whatever the dtype: 1e-7 of the range.

    The compiled path needs about 10 times the image in float32 beside it, the torch path 300 MB more.

    Args:
        image: (B, C, *spatial), two or three spatial axes.
        sigma: (B,) standard deviation of the noise in image units; 0 returns the sample as it is.
        patch: edge of the patches in voxels, one or one for each axis; 8 in images, 4 in volumes.
        step: distance of the reference patches in voxels.
        search: greatest displacement of similar patches in voxels, one or one for each axis; 19 in images, 5 in
            volumes.
        members: most patches in a stack in the two stages, rounded down to a power of 2.
        similar: see `SIMILAR`.
        threshold: of the first stage, in sigma.
        stages: 1 leaves out the Wiener stage.

    Returns:
        The filtered image in its own dtype.

    Example:
        >>> noisy = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(0)) + 100
        >>> filtered = collaborative_filter(noisy, torch.ones(1))
        >>> bool(filtered.std() < 0.3), bool((filtered.mean() - noisy.mean()).abs() < 0.1)
        (True, True)
    """
    axes = image.ndim - 2
    if axes not in PATCH:
        raise ValueError(f"image: expected two or three spatial axes, got shape {tuple(image.shape)}")
    work = image if image.dtype == torch.float64 else image.to(torch.float32)
    shape, order = _as_volume(image.shape[2:])
    planes = sum(n > 1 for n in shape)
    edges = _per_axis(patch if patch is not None else PATCH[3 if planes == 3 else 2], axes, order)
    reach = _per_axis(search if search is not None else SEARCH[3 if planes == 3 else 2], axes, order)
    plans = [
        patch_stage(shape, edges, step, reach, m, s, wiener)
        for m, s, wiener in zip(members, similar, (False, True), strict=True)
    ][:stages]
    out = torch.empty_like(work)
    for b, s in enumerate(sigma.tolist()):
        for c in range(image.shape[1]):
            out[b, c] = _two_stages(work[b, c].reshape(shape), s, plans, threshold).reshape(image.shape[2:])
    return out.to(image.dtype)


def patch_stage(
    shape: Sizes, patch: Sizes, step: int, search: Sizes, members: int, similar: float, wiener: bool
) -> PatchStage:
    """Lay out one stage on a volume; a patch longer than an axis is cut to it.

    Example:
        >>> stage = patch_stage((1, 30, 5), (1, 8, 8), 3, (0, 2, 2), 20, 4.0, wiener=False)
        >>> stage.patch, stage.members, stage.starts[1].tolist(), len(stage.offsets)
        ((1, 8, 5), 16, [0, 3, 6, 9, 12, 15, 18, 21, 22], 5)
    """
    edges = _three(min(n, p) for n, p in zip(shape, patch, strict=True))
    reach = _three(min(r, n - p) for r, n, p in zip(search, shape, edges, strict=True))
    grid = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), -1).reshape(-1, 3)
    grid = grid[np.argsort((grid**2).sum(1), kind="stable")]
    voxels = math.prod(edges)
    # so fine that one voxel at the cap is enough to be unlike
    levels = math.floor(math.sqrt(_EXACT / similar) / voxels)
    matrices = [patch_transform(n, "dct" if wiener else "bior1.5") for n in edges]
    windows = [np.kaiser(n, 2.0) for n in edges]
    return PatchStage(
        starts=_three(np.append(np.arange(0, n - p, step), n - p) for n, p in zip(shape, edges, strict=True)),
        offsets=grid.astype(np.int64),
        patch=edges,
        margin=reach,
        members=1 << (members.bit_length() - 1),
        levels=levels,
        limit=math.floor(similar * levels**2 * voxels),
        forward=_three(m[0] for m in matrices),
        backward=_three(m[1] for m in matrices),
        window=functools.reduce(np.multiply.outer, windows).ravel(),
    )


@functools.cache
def patch_transform(n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (n, n) of a transform whose coefficients all have the noise of a voxel, and its inverse.

    Args:
        n: voxels.
        kind: ``"dct"``, or a wavelet of PyWavelets, periodic, over all levels; the cosine transform takes its place
            where n is no power of 2.

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


def _as_volume(spatial: Sequence[int]) -> tuple[Sizes, tuple[int, ...]]:
    """Shape (1 or n, n, n) with an axis of one voxel first, and which axis of the image each is (-1 for a new one)."""
    places = list(range(len(spatial)))
    if len(spatial) == 2:
        places.insert(0, -1)
    places.sort(key=lambda a: a >= 0 and spatial[a] > 1)  # stable; moving axes of one voxel moves no voxel
    return _three(1 if a < 0 else int(spatial[a]) for a in places), tuple(places)


def _three(items: Iterable[T]) -> tuple[T, T, T]:
    a, b, c = items
    return a, b, c


def _per_axis(value: int | Sequence[int], axes: int, order: Sequence[int]) -> Sizes:
    values = [value] * axes if isinstance(value, int) else [int(v) for v in value]
    if len(values) != axes:
        raise ValueError(f"expected one number or {axes}, one for each spatial axis, got {value}")
    return _three(1 if a < 0 else values[a] for a in order)


def _two_stages(volume: torch.Tensor, sigma: float, plans: Sequence[PatchStage], threshold: float) -> torch.Tensor:
    """One volume (Z, Y, X). Its least value is taken off meanwhile, which keeps constants and small contrasts exact."""
    if not sigma > 0 or volume.numel() == 0:
        return volume
    zero = volume.min()
    noisy = ((volume - zero) / sigma).to(torch.float32).contiguous()
    pilot: torch.Tensor | None = None
    for plan in plans:
        pilot = _filter_stage(noisy, pilot, plan, threshold)
    return volume if pilot is None else pilot.to(volume.dtype) * sigma + zero


def _filter_stage(noisy: torch.Tensor, pilot: torch.Tensor | None, plan: PatchStage, threshold: float) -> torch.Tensor:
    """One stage on an image in units of sigma."""
    source = noisy if pilot is None else pilot
    matching = (source * plan.levels).round_()
    matching = F.pad(matching, [m for margin in plan.margin[::-1] for m in (margin, margin)], value=_FAR)
    loops = compiled("_numba_collaborative", noisy.device)
    total, weight = torch.zeros_like(noisy), torch.zeros_like(noisy)
    if loops is None:
        _filter_torch(noisy, pilot, matching, plan, threshold, total, weight)
    else:
        _filter_compiled(loops, noisy, pilot, matching, plan, threshold, total, weight)
    return total.div_(weight)


def _filter_compiled(
    loops: ModuleType,
    noisy: torch.Tensor,
    pilot: torch.Tensor | None,
    matching: torch.Tensor,
    plan: PatchStage,
    threshold: float,
    total: torch.Tensor,
    weight: torch.Tensor,
) -> None:
    """Blocks of rows in turn, each into sums of its own; these are added in order, whatever the threads."""
    image, near = noisy.numpy(), matching.numpy()
    other = np.empty((0, 0, 0), image.dtype) if pilot is None else pilot.numpy()
    tables = [np.ascontiguousarray(m, dtype=image.dtype) for m in (*plan.forward, *plan.backward)]
    window, level = plan.window.astype(image.dtype), image.dtype.type(threshold if pilot is None else 1.0)
    sums = (total.numpy(), weight.numpy())

    def box(z: int, rows: np.ndarray) -> tuple[slice, slice]:
        """What the patches found for these rows can reach."""
        low = [max(z - plan.margin[0], 0), max(int(rows[0]) - plan.margin[1], 0)]
        high = [z + plan.patch[0] + plan.margin[0], int(rows[-1]) + plan.patch[1] + plan.margin[1]]
        return slice(low[0], min(high[0], image.shape[0])), slice(low[1], min(high[1], image.shape[1]))

    rows = [plan.starts[1][i : i + _BLOCK_ROWS] for i in range(0, len(plan.starts[1]), _BLOCK_ROWS)]
    blocks = [(int(z), r, box(int(z), r)) for z in plan.starts[0] for r in rows]
    wave = 4 * torch.get_num_threads()
    for start in range(0, len(blocks), wave):
        part = blocks[start : start + wave]
        own = [np.zeros((2, *image[where].shape), image.dtype) for _, _, where in part]

        def work(first: int, last: int, part: list = part, own: list = own) -> None:
            for (z, r, where), (block_total, block_weight) in zip(part[first:last], own[first:last], strict=True):
                loops.filter_references(
                    image,
                    other,
                    near,
                    plan.margin,
                    z,
                    r,
                    plan.starts[2],
                    plan.offsets,
                    plan.patch,
                    plan.members,
                    np.float32(plan.cap),
                    np.float32(plan.limit),
                    tuple(tables[:3]),
                    tuple(tables[3:]),
                    window,
                    level,
                    (where[0].start, where[1].start),
                    block_total,
                    block_weight,
                )

        over_rows(work, len(part), least=1)
        for (_, _, where), block in zip(part, own, strict=True):
            for whole, piece in zip(sums, block, strict=True):
                whole[where] += piece


def _filter_torch(
    noisy: torch.Tensor,
    pilot: torch.Tensor | None,
    matching: torch.Tensor,
    plan: PatchStage,
    threshold: float,
    total: torch.Tensor,
    weight: torch.Tensor,
) -> None:
    """The same by gathering all stacks of equal size at once, in parts of bounded size."""
    device, (_, ny, nx), (pz, py, px) = noisy.device, noisy.shape, plan.patch
    inside = [torch.arange(n, device=device) for n in plan.patch]
    steps = ((inside[0][:, None, None] * ny + inside[1][:, None]) * nx + inside[2]).reshape(-1)
    forward = [torch.as_tensor(m).to(noisy) for m in plan.forward]
    backward = [torch.as_tensor(m).to(noisy) for m in plan.backward]
    window = torch.as_tensor(plan.window).to(noisy)
    sums = torch.stack([total, weight], -1).reshape(-1, 2)
    for first, found, count in _matches(matching, plan):
        for members in sorted({1 << (n.bit_length() - 1) for n in count.unique().tolist()}):
            which = torch.nonzero((count >= members) & (count < 2 * members))[:, 0]
            for part in which.split(max(_BLOCK_ELEMENTS // (members * math.prod(plan.patch)), 1)):
                places = (first[part, None] + found[part, :members])[..., None] + steps
                haar = torch.as_tensor(_haar_matrix(members)).to(noisy)

                def spectrum(of: torch.Tensor, places: torch.Tensor = places, haar: torch.Tensor = haar):  # type: ignore[no-untyped-def]
                    group = of.reshape(-1)[places].reshape(-1, members, pz, py, px)  # noqa: B023
                    return torch.einsum("mn,rnzyx->rmzyx", haar, _on_patch_axes(group, forward)).flatten(1)

                group = spectrum(noisy)
                if pilot is None:
                    gain = (group.abs() >= threshold).to(group)
                else:
                    gain = spectrum(pilot).square_()
                    gain = gain.div_(gain + 1)
                gain[:, 0] = 1
                share = gain.square().sum(1).reciprocal_()[:, None, None]
                group = (group * gain).reshape(-1, members, pz, py, px)
                group = _on_patch_axes(torch.einsum("nm,rnzyx->rmzyx", haar, group), backward)
                weights = (share * window).expand(-1, members, -1)
                values = torch.stack([group.flatten(2) * weights, weights], -1)
                # unlike index_add_ this adds in the same order every time on a GPU
                sums.index_put_((places.reshape(-1),), values.reshape(-1, 2), accumulate=True)
    total.copy_(sums[:, 0].reshape(total.shape))
    weight.copy_(sums[:, 1].reshape(weight.shape))


def _on_patch_axes(group: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    mz, my, mx = matrices
    group = torch.matmul(my, torch.matmul(group, mx.T))
    return group if len(mz) == 1 else torch.einsum("ij,rmjyx->rmiyx", mz, group)


@functools.cache
def _haar_matrix(members: int) -> np.ndarray:
    """Orthonormal Haar transform (members, members) of neighbours, then of their means, and so on; the mean first."""
    matrix = np.eye(1)
    while len(matrix) < members:
        n = len(matrix)
        matrix = np.concatenate([np.kron(matrix, [1, 1]), np.kron(np.eye(n), [1, -1])]) / math.sqrt(2)
    return matrix


def _matches(matching: torch.Tensor, plan: PatchStage) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """First voxels (r,) of reference patches, displacements (r, members) to similar ones, the best first, their count.

    For slabs of the volume and blocks of displacements: squared differences, summed over the patch axis by axis at the
    reference positions only, and the best ones so far kept. Distance and number of the displacement make one key, so
    that of equal ones the nearer is taken.
    """
    device = matching.device
    mz, my, mx = plan.margin
    height, width = matching.shape[1] - 2 * my, matching.shape[2] - 2 * mx
    strides = torch.tensor([height * width, width, 1], device=device)
    offsets = torch.as_tensor(plan.offsets, device=device)
    jump = (offsets * strides).sum(1)
    starts = [torch.as_tensor(s, device=device) for s in plan.starts]
    rows = max(_BLOCK_ELEMENTS // (16 * plan.patch[0] * plan.patch[1] * width), 1)
    most = len(plan.offsets)
    for z in starts[0].tolist():
        for y in starts[1].split(min(rows, len(starts[1]))):
            low, high = int(y[0]), int(y[-1]) + plan.patch[1]
            here = matching[mz + z : mz + z + plan.patch[0], my + low : my + high, mx : mx + width]
            references = len(y) * len(starts[2])
            best = torch.empty(0, references, dtype=torch.int64, device=device)
            block = max(_BLOCK_ELEMENTS // max(here.numel(), references * 4), 1)
            for k in range(0, most, block):
                tried = plan.offsets[k : k + block]
                moved = torch.stack(
                    [
                        matching[
                            mz + z + a : mz + z + a + plan.patch[0],
                            my + low + b : my + high + b,
                            mx + c : mx + c + width,
                        ]
                        for a, b, c in tried.tolist()
                    ]
                )
                distance = moved.sub_(here).square_().clamp_(max=plan.cap).sum(1)
                distance = functools.reduce(torch.add, (distance[:, y - low + j] for j in range(plan.patch[1])))
                distance = functools.reduce(torch.add, (distance[..., starts[2] + j] for j in range(plan.patch[2])))
                near = torch.where(distance < plan.limit, distance, float(_EXACT)).to(torch.int64)
                key = near.flatten(1) * most + torch.arange(k, k + len(tried), device=device)[:, None]
                best = torch.cat([best, key])
                best = best.topk(min(plan.members, len(best)), 0, largest=False, sorted=True).values
            best = best.T.contiguous()
            count = (best < _EXACT * most).sum(1)
            first = (z * height + y[:, None]) * width + starts[2]
            yield first.reshape(-1), jump[best % most], count
