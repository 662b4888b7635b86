"""The two paths of the collaborative filter: compiled loops on the CPU, gathered stacks in torch elsewhere."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np
import torch

from monai_medaug.functional.acceleration import over_rows
from monai_medaug.functional.denoise.collaborative_stage import EXACT, PatchStage

_BLOCK_ROWS = 16  # rows of reference patches per block
_BLOCK_ELEMENTS = 2**23  # in the torch path's largest temporary tensors


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
    noisy: torch.Tensor,
    pilot: torch.Tensor | None,
    matching: torch.Tensor,
    plan: PatchStage,
    threshold: float,
    total: torch.Tensor,
    weight: torch.Tensor,
) -> None:
    """The same by gathering stacks of equal size at once, in parts of bounded size."""
    device, (_, ny, nx), (pz, py, px) = noisy.device, noisy.shape, plan.patch
    inside = [torch.arange(n, device=device) for n in plan.patch]
    steps = ((inside[0][:, None, None] * ny + inside[1][:, None]) * nx + inside[2]).reshape(-1)
    forward = [torch.as_tensor(m).to(noisy) for m in plan.forward]
    backward = [torch.as_tensor(m).to(noisy) for m in plan.backward]
    window = torch.as_tensor(plan.window).to(noisy)
    spread = torch.as_tensor(plan.spread).to(noisy)
    sums = torch.stack([total, weight], -1).reshape(-1, 2)
    for first, found, count in _matches(matching, plan):
        for members in sorted({1 << (n.bit_length() - 1) for n in count.unique().tolist()}):
            which = torch.nonzero((count >= members) & (count < 2 * members))[:, 0]
            for part in which.split(max(_BLOCK_ELEMENTS // (members * math.prod(plan.patch)), 1)):
                places = (first[part, None] + found[part, :members])[..., None] + steps
                haar = torch.as_tensor(_haar_matrix(members)).to(noisy)

                def spectrum(of: torch.Tensor, places: torch.Tensor = places, haar: torch.Tensor = haar):  # type: ignore[no-untyped-def]
                    group = of.reshape(-1)[places].reshape(-1, members, pz, py, px)  # noqa: B023
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
    total.copy_(sums[:, 0].reshape(total.shape))
    weight.copy_(sums[:, 1].reshape(weight.shape))


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


def _matches(matching: torch.Tensor, plan: PatchStage) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """First voxels (r,) of reference patches, displacements (r, members) to similar ones, best first, and their count.

    Squared differences are summed over the patch axis by axis, at the reference positions only, in slabs of the volume
    and blocks of displacements; the best so far are kept. The key joins distance and index of the displacement, so that
    of equal ones the nearer wins.
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
                distance = distance.clamp_(min=plan.alike)
                near = torch.where(distance < plan.limit, distance, float(EXACT)).to(torch.int64)
                key = near.flatten(1) * most + torch.arange(k, k + len(tried), device=device)[:, None]
                best = torch.cat([best, key])
                best = best.topk(min(plan.members, len(best)), 0, largest=False, sorted=True).values
            best = best.T.contiguous()
            count = (best < EXACT * most).sum(1)
            first = (z * height + y[:, None]) * width + starts[2]
            yield first.reshape(-1), jump[best % most], count
