"""The two paths of the collaborative filter: compiled loops on the CPU, gathered stacks in torch elsewhere."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import elements_at_once, over_rows, sent
from monai_medaug.functional.denoise.collaborative_stage import EXACT, PatchStage
from monai_medaug.functional.denoise.windows import Windows

_BLOCK_ROWS = 16  # rows of reference patches per block
_LEAST_ELEMENTS = 2**22  # in the torch path's temporary tensors: smaller ones would be sorted too often


def filter_compiled(
    compiled: ModuleType,
    noisy: torch.Tensor,
    pilot: torch.Tensor | None,
    matching: torch.Tensor,
    plan: PatchStage,
    threshold: float,
    total: torch.Tensor,
    weight: torch.Tensor,
) -> None:
    """Block by block of rows, each with its own sums, which are added in the same order for any number of threads."""
    image, near = noisy.numpy(), matching.numpy()
    other = np.empty((0, 0, 0), image.dtype) if pilot is None else pilot.numpy()
    tables = [np.ascontiguousarray(m, dtype=image.dtype) for m in (*plan.forward, *plan.backward)]
    window, spread = plan.window.astype(image.dtype), plan.spread.astype(image.dtype)
    sums = (total.numpy(), weight.numpy())

    def box(z: int, rows: np.ndarray) -> tuple[slice, slice]:
        """The region that patches matched to these rows can reach."""
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
                compiled.filter_references(
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
                    np.float32(plan.alike),
                    np.float32(plan.limit),
                    tuple(tables[:3]),
                    tuple(tables[3:]),
                    window,
                    spread,
                    image.dtype.type(threshold),
                    (where[0].start, where[1].start),
                    block_total,
                    block_weight,
                )

        over_rows(work, len(part), least=1)
        for (_, _, where), block in zip(part, own, strict=True):
            for whole, piece in zip(sums, block, strict=True):
                whole[where] += piece


def filter_torch(
    noisy: torch.Tensor, pilot: torch.Tensor | None, matching: torch.Tensor, plan: PatchStage, threshold: float
) -> torch.Tensor:
    """The same for volumes (N, Z, Y, X) by gathering stacks of equal size at once, in parts of bounded size."""
    device, (pz, py, px) = noisy.device, plan.patch
    forward, backward = ([sent(m, device, noisy.dtype) for m in ms] for ms in (plan.forward, plan.backward))
    window, spread = (sent(m, device, noisy.dtype) for m in (plan.window, plan.spread))
    steps = _voxel_index(noisy)[0, :pz, :py, :px].reshape(-1)
    sums = noisy.new_zeros(noisy.numel(), 2)
    for first, found, members in _stacks(matching, plan, noisy):
        haar = sent(_haar_matrix(members), device, noisy.dtype)
        for part in _bounded_ranges(len(first), members * math.prod(plan.patch), device):
            places = (first[part, None] + found[part, :members])[..., None] + steps

            def spectrum(of: torch.Tensor, places: torch.Tensor = places, haar: torch.Tensor = haar):  # type: ignore[no-untyped-def]
                group = of.reshape(-1)[places].reshape(*places.shape[:2], pz, py, px)
                return torch.einsum("mn,rnzyx->rmzyx", haar, _on_patch_axes(group, forward)).flatten(2)

            group = spectrum(noisy)
            if pilot is None:
                gain = (group.abs() >= threshold * spread).to(group)
            else:
                gain = spectrum(pilot).square_()
                gain = gain.div_(gain + spread.square())
            gain[:, 0, 0] = 1
            share = (gain * spread).square_().sum((1, 2)).reciprocal_()[:, None, None]
            group = (group * gain).reshape(-1, members, pz, py, px)
            group = _on_patch_axes(torch.einsum("nm,rnzyx->rmzyx", haar, group), backward)
            weights = (share * window).expand(-1, members, -1)
            values = torch.stack([group.flatten(2) * weights, weights], -1)
            # unlike index_add_ this is deterministic on a GPU
            sums.index_put_((places.reshape(-1),), values.reshape(-1, 2), accumulate=True)
    return (sums[:, 0] / sums[:, 1]).reshape(noisy.shape)


def _voxel_index(volumes: torch.Tensor) -> torch.Tensor:
    return torch.arange(volumes.numel(), device=volumes.device).reshape(volumes.shape)


def _bounded_ranges(count: int, elements: int, device: torch.device) -> list[slice]:
    """Ranges of ``count`` things of so many elements each, within the bound for temporary tensors."""
    step = max(1, _elements(device) // elements)
    return [slice(i, i + step) for i in range(0, count, step)]


def _elements(device: torch.device) -> int:
    return max(_LEAST_ELEMENTS, elements_at_once(device))


def _on_patch_axes(group: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    mz, my, mx = matrices
    group = torch.matmul(my, torch.matmul(group, mx.T))
    return group if len(mz) == 1 else torch.einsum("ij,rmjyx->rmiyx", mz, group)


@functools.cache
def _haar_matrix(members: int) -> np.ndarray:
    """Orthonormal Haar transform (members, members), the mean first."""
    matrix = np.eye(1)
    while len(matrix) < members:
        n = len(matrix)
        matrix = np.concatenate([np.kron(matrix, [1, 1]), np.kron(np.eye(n), [1, -1])]) / math.sqrt(2)
    return matrix


def _stacks(
    matching: torch.Tensor, plan: PatchStage, volumes: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """First voxels (r,) of reference patches whose stacks are of one size, displacements (r, most) and the size."""
    sizes = torch.arange(plan.members.bit_length(), device=matching.device)
    for first, found, count in _matches(matching, plan, volumes):
        size = (count[:, None] >> sizes).sign().sum(1) - 1  # the greatest power of 2
        order = size.argsort(stable=True)
        start = 0
        for power, many in enumerate((size[:, None] == sizes).sum(0).tolist()):
            if many:
                some = order[start : start + many]
                yield first[some], found[some], 1 << power
            start += many


def _matches(
    matching: torch.Tensor, plan: PatchStage, volumes: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """First voxels (r,) of reference patches, displacements (r, members) to similar ones, best first, and their count.

    Squared differences are summed over the patch axis by axis, in slabs of the volumes and blocks of displacements; the
    best so far are kept. The key joins distance and index of the displacement, so that of equal ones the nearer wins.
    """
    device, most = matching.device, len(plan.offsets)
    index = _voxel_index(volumes)
    jump = sent(plan.offsets @ np.array([volumes[0, 0].numel(), volumes.shape[3], 1]), device)
    places = sent(plan.offsets + np.array(plan.margin), device)
    for samples, *ranges in _reference_slabs(len(volumes), plan, device):
        starts = [table[some] for table, some in zip(plan.starts, ranges, strict=True)]
        low, high = [int(s[0]) for s in starts], [int(s[-1]) + p for s, p in zip(starts, plan.patch, strict=True)]
        inside = [slice(a, b) for a, b in zip(low, high, strict=True)]
        around = [slice(a, b + 2 * m) for a, b, m in zip(low, high, plan.margin, strict=True)]
        extent = [b - a for a, b in zip(low, high, strict=True)]
        windows = Windows.of(matching[(samples, *around)], extent)
        here = windows.at(sent([plan.margin], device))
        chosen = [sent(s - a, device) for s, a in zip(starts, low, strict=True)]
        best: torch.Tensor | None = None
        for some in _bounded_ranges(most, here.numel(), device):
            distance = windows.at(places[some]).sub_(here).square_().clamp_(max=plan.cap)
            for axis, (at, edge) in enumerate(zip(chosen, plan.patch, strict=True), 2):
                sums, n = distance, distance.shape[axis] - edge + 1
                if edge > 1:
                    sums = functools.reduce(torch.add, (distance.narrow(axis, j, n) for j in range(edge)))
                distance = sums.index_select(axis, at)
            distance = distance.clamp_(min=plan.alike)
            near = torch.where(distance < plan.limit, distance, float(EXACT)).to(torch.int64)
            tried = torch.arange(most, device=device)[some]
            key = (near * most + tried[:, None, None, None]).movedim(1, -1).flatten(0, 3)
            key = key if best is None else torch.cat([best, key], 1)
            best = key.topk(min(plan.members, key.shape[1]), 1, largest=False, sorted=True).values
        assert best is not None
        first = index[(samples, *inside)]
        for axis, at in enumerate(chosen, 1):
            first = first.index_select(axis, at)
        yield first.flatten(), jump[best % most], (best < EXACT * most).sum(1)


def _reference_slabs(samples: int, plan: PatchStage, device: torch.device) -> Iterator[tuple[slice, ...]]:
    """Ranges of samples and of reference patches along each axis, whose keys stay within the bound."""
    counts = [samples, *(len(s) for s in plan.starts)]
    room = max(1, _elements(device) // (4 * plan.members))
    steps: list[int] = []
    for count in reversed(counts):  # whole rows first, then whole planes
        steps.insert(0, max(1, min(count, room)))
        room //= count
    ranges = [[slice(i, i + step) for i in range(0, n, step)] for n, step in zip(counts, steps, strict=True)]
    yield from itertools.product(*ranges)
