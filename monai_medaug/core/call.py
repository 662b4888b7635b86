"""A call: the one path that every face of an operation takes, from what came in to results and records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.tensors import (
    affine_of,
    image_dtype,
    plain_tensor,
    require_finite,
    restored,
    say_once,
)
from monai_medaug.core.trace import new_record, push_batch_records, push_record
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.precision import computing_dtype

if TYPE_CHECKING:
    from monai_medaug.core.operation import Operation

Params = dict[str, Any]
REGISTRY: dict[str, type[Operation]] = {}
_HALF = torch.finfo(torch.float16).max
_LARGE = 64 << 20  # bytes of a batch from which memory counts more than calls
ABSENT: Any = object()
"""The draw of a sample that takes no part: it stays as it is and gets no record, unlike one that is skipped."""


@dataclass(frozen=True)
class KeyView:
    """How one key takes part in a call: what `Operation.apply` may know besides the numbers.

    Attributes:
        index: position among the transform's keys; noise seeds derive from it, so that no two keys share a field.
        grids: the key's voxel grid, one a sample.
        mode: interpolation; ``"nearest"`` marks a mask.
        padding: what lies outside, see `functional.warp.warp`.
        guide: a second image of the same samples and grid, for the operations that take one.
        notes: figures that `Operation.apply` found in this key's image, for the record, one dict a sample.
    """

    index: int
    grids: Sequence[VoxelGrid]
    mode: str = "bilinear"
    padding: str | float = "border"
    guide: torch.Tensor | None = None
    notes: list[Params] = field(default_factory=list)

    def seeds(self, params: Sequence[Params]) -> list[int]:
        """One noise seed a sample for this key, from the drawn ``seed`` and the key's position."""
        return [(p["seed"] + 0x9E3779B97F4A7C15 * self.index) % (1 << 63) for p in params]


@dataclass
class Entry:
    """One key's data in a call."""

    data: Any
    name: str
    index: int = 0
    mode: str | None = None
    padding: str | float = "border"
    batched: bool = False
    tensor: torch.Tensor = field(init=False)
    affine: list | None = None
    guide: tuple[str, Any] | None = None
    """The key and data of an image that guides this one."""
    notes: list[Params] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tensor = plain_tensor(self.data, self.name, self.batched)
        if self.guide is not None:
            name, data = self.guide
            guide = plain_tensor(data, repr(name), self.batched)
            axis = 1 if self.batched else 0
            wanted = [list(self.tensor.shape), list(self.tensor.shape)]
            wanted[1][axis] = 1
            if list(guide.shape) not in wanted:
                raise ValueError(
                    f"{name!r} must have the shape {wanted[0]} of {self.name}, or one channel, to guide it, got "
                    f"{list(guide.shape)}"
                )
            require_finite(guide, repr(name))
            self.guide = (name, guide)
        if self.mode == "nearest" and not isinstance(self.padding, str):
            fits = torch.tensor(self.padding, dtype=torch.float64).to(self.tensor.dtype).double().item()
            if fits != self.padding:
                raise ValueError(
                    f"{self.name} is a mask of {self.tensor.dtype}: padding_mode {self.padding} does not fit"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[2 if self.batched else 1 :])

    @property
    def out_dtype(self) -> torch.dtype:
        return self.tensor.dtype if self.mode == "nearest" else image_dtype(self.tensor.dtype)

    def batch(self, samples: Sequence[int]) -> torch.Tensor:
        """The chosen samples (B, C, ...), in the type to compute in; masks as they are."""
        return self._chosen(self.tensor, samples)

    def _chosen(self, tensor: torch.Tensor, samples: Sequence[int]) -> torch.Tensor:
        x = tensor if self.batched else tensor[None]
        if len(samples) < len(x):
            x = x[list(samples)]
        return x if self.mode == "nearest" else x.to(computing_dtype(x.dtype)).contiguous()

    def grid(self, sample: int) -> VoxelGrid:
        affine = self.affine[sample] if self.affine is not None and self.batched else self.affine
        return VoxelGrid(self.shape, affine)

    def view(self, samples: Sequence[int]) -> KeyView:
        guide = None if self.guide is None else self._chosen(self.guide[1], samples)
        return KeyView(self.index, [self.grid(s) for s in samples], self.mode or "bilinear", self.padding, guide)


def run_operation(
    cls: type[Operation],
    name: str,
    entries: Sequence[Entry],
    draws: Sequence[Params | None],
    uid: str | None,
    known: Sequence[Params] | None = None,
) -> list[Any]:
    """Apply an operation to the keys of a call and leave a record on each.

    Args:
        cls: the array class.
        name: the face's class name, for the record.
        entries: the keys that are present, the first gives the reference grid.
        draws: parameters, one a sample (one in all unless the entries are batched), None where it is skipped, ABSENT
            where it takes no part.
        uid: of the instance, for the record; None leaves no record.
        known: figures of the call that is replayed, one a sample.

    Returns:
        The results in the order of the entries, each of the kind that came in.
    """
    samples = [s for s, p in enumerate(draws) if p is not None and p is not ABSENT]
    params: list[Params] = [p for p in draws if p is not None and p is not ABSENT]
    extra: list[dict[str, Any]] = [{"uid": uid} for _ in draws]
    plan = None
    if samples and entries:
        for entry in entries:
            cls.check(entry.tensor, entry.name)
        share_affines(entries)
        reference = [entries[0].grid(s) for s in samples]
        plan = cls.plan(params, reference, entries[0].tensor.device, known)
        figures = cls.figures(plan)
        for position, s in enumerate(samples):
            extra[s]["params"] = params[position]
            extra[s]["grid"] = plain_grid(reference[position])
            if figures:
                extra[s]["figures"] = figures[position]
    results = []
    for entry in entries:
        out = entry.tensor
        if samples:
            out = _applied(cls, entry, samples, params, plan)
            if not entry.batched:
                out = out[0]
            elif len(samples) < len(draws):
                whole = entry.tensor.to(entry.out_dtype, copy=True)
                whole[samples] = out
                out = whole
        elif out.dtype != entry.out_dtype:
            out = out.to(entry.out_dtype)
        result = restored(out, entry.data)
        if uid is not None and isinstance(result, MetaTensor) and get_track_meta():
            records: list[Any] = []
            for s, p in enumerate(draws):
                if p is ABSENT:
                    records.append(ABSENT)
                    continue
                info = {**extra[s], "key": entry.index}
                if p is not None and entry.notes:
                    info["figures"] = {**info.get("figures", {}), **entry.notes[samples.index(s)]}
                if entry.guide is not None:
                    info["guide"] = str(entry.guide[0])
                if cls.geometric:
                    info |= {"mode": entry.mode, "padding": entry.padding}
                records.append(new_record(name, p is not None, entry.shape, info))
            push_batch_records(result, records) if entry.batched else push_record(result, records[0])
        results.append(result)
    return results


def _applied(
    cls: type[Operation], entry: Entry, samples: Sequence[int], params: Sequence[Params], plan: Any
) -> torch.Tensor:
    """The kernel call for the samples of a key; of a large batch in pieces that bound the working memory."""
    count = len(samples)
    at_once = count if entry.tensor.nbytes <= _LARGE else max(1, count // cls.memory)
    whole: Any = None
    for start in range(0, count, at_once):
        some = samples[start : start + at_once]
        given = entry.batch(some) if cls.differentiable else entry.batch(some).detach()
        view = entry.view(some)
        result = cls.apply(given, params[start : start + at_once], plan, view)
        if entry.out_dtype == torch.float16:
            result = result.clamp(-_HALF, _HALF)  # the greatest value instead of infinity
        result = result.to(entry.out_dtype)
        entry.notes += view.notes
        if at_once == count:
            return result
        if whole is None:
            whole = result.new_empty((count, *result.shape[1:]))
        whole[start : start + at_once] = result
    return whole


def share_affines(entries: Sequence[Entry]) -> None:
    """A key without an affine takes that of the first key of equal shape; geometry counts a missing one as 1 mm."""
    for entry in entries:
        entry.affine = affine_of(entry.data)
    for entry in entries:
        if entry.affine is None:
            entry.affine = next((e.affine for e in entries if e.affine is not None and e.shape == entry.shape), None)
        if entry.affine is None and entry.mode is not None:
            say_once("an image without an affine counts as one of 1 mm voxels")


def plain_grid(grid: VoxelGrid) -> dict[str, Any]:
    """A grid as plain values for the trace; without an affine it has none."""
    plain: dict[str, Any] = {"shape": list(grid.shape)}
    if grid.affine is not None:
        plain["affine"] = [list(row) for row in grid.affine]
    return plain


def apply_record(
    record: dict[str, Any], tensor: torch.Tensor, grid: VoxelGrid, inverse: bool = False, **changes: Any
) -> torch.Tensor:
    """Run a record on a plain image (C, ...): its class and numbers are all there is to know.

    Args:
        record: one of ours, with ``do_transforms``.
        tensor: the image; its type is kept for masks, else it is computed and returned as `Operation` says.
        grid: the image's grid.
        inverse: undo instead; possible for geometric operations.
        changes: ``mode``, ``padding`` or ``index`` instead of the recorded ones.

    Raises:
        ValueError: the record names no operation of this package.
    """
    extra = record["extra_info"]
    cls = REGISTRY.get(record["class"])
    if cls is None:
        raise ValueError(f"record names {record['class']!r}, which is no operation of monai_medaug")
    params, known = [extra["params"]], [extra["figures"]] if "figures" in extra else None
    reference = [VoxelGrid(tuple(extra["grid"]["shape"]), extra["grid"].get("affine"))]
    view = KeyView(
        changes.get("index", extra.get("key", 0)),
        [grid],
        changes.get("mode", extra.get("mode", "bilinear")),
        changes.get("padding", extra.get("padding", "border")),
    )
    mask = cls.geometric and view.mode == "nearest"
    x = tensor if mask else tensor.to(computing_dtype(tensor.dtype))
    plan = cls.plan(params, reference, tensor.device, known, inverse)
    out = cls.apply(x[None], params, plan, view)[0]
    return out.to(tensor.dtype if mask else image_dtype(tensor.dtype))
