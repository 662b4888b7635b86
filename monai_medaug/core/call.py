"""The one path that every face of an operation takes: from what came in to results and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.contract import REGISTRY, Call, Input, OperationContract, Params
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

_HALF = torch.finfo(torch.float16).max
_LARGE = 64 << 20  # bytes of a batch from which memory counts more than calls
ABSENT: Any = object()
"""The draw of a sample that takes no part: it stays as it is and gets no record, unlike one that is skipped."""


class Given(NamedTuple):
    """A further input of a call as it came."""

    name: str
    data: Any
    key: str = ""
    """The dictionary's key, for the record; empty in an array call."""


@dataclass
class Entry:
    """One key's data in a call.

    Attributes:
        data: what came in.
        name: for error messages.
        index: position among the transform's keys.
        mode: interpolation of a geometric operation; ``"nearest"`` marks a mask; None where there is none.
        padding: what lies outside.
        batched: whether there is a batch axis.
        given: further inputs as they came, by the names that the operation declares.
        settings: constants of this key alone, beside those of the operation.
        accepts_complex: whether complex numbers are allowed.
        loose: whether a MetaTensor with a batch axis may be one that was not collated; it then gets no record.
    """

    data: Any
    name: str
    index: int = 0
    mode: str | None = None
    padding: str | float = "border"
    batched: bool = False
    given: Mapping[str, Given] = field(default_factory=dict)
    settings: Params = field(default_factory=dict)
    accepts_complex: bool = False
    loose: bool = False
    tensor: torch.Tensor = field(init=False)
    affine: list | None = None

    def __post_init__(self) -> None:
        self.tensor = plain_tensor(self.data, self.name, self.batched, self.accepts_complex)
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
        x = self.tensor if self.batched else self.tensor[None]
        if len(samples) < len(x):
            x = x[list(samples)]
        return x if self.mode == "nearest" else x.to(computing_dtype(x.dtype)).contiguous()

    def grid(self, sample: int) -> VoxelGrid:
        affine = self.affine
        if affine is not None and self.batched and isinstance(affine[0][0], list):  # one a sample
            affine = affine[sample]
        return VoxelGrid(self.shape, affine)


class Outcome(NamedTuple):
    """The results of a call, each of the kind that came in, and the plan that they were made by."""

    results: list[Any]
    plan: Any


def run_operation(
    cls: type[OperationContract],
    name: str,
    entries: Sequence[Entry],
    draws: Sequence[Params | None],
    settings: Params,
    uid: str | None,
    known: Sequence[Params] | None = None,
    resources: Mapping[str, Any] | None = None,
) -> Outcome:
    """Apply an operation to the keys of a call and leave a record on each.

    Args:
        cls: the array class.
        name: the face's class name, for the record.
        entries: the keys that are present, the first gives the reference grid.
        draws: what was drawn, one a sample (one in all unless the entries are batched), None where it is skipped,
            ABSENT where it takes no part.
        settings: the constants; where a record is replayed, its numbers.
        uid: of the instance, for the record; None leaves no record.
        known: figures of the call that is replayed, one a sample.
        resources: see `OperationContract.resources`.
    """
    samples = [s for s, p in enumerate(draws) if p is not None and p is not ABSENT]
    if not samples or not entries:
        return Outcome([_finished(cls, name, e, e.tensor, draws, {}, uid) for e in entries], None)
    if entries[0].batched:
        require_one_batch(entries)
    if cls.joins_keys:
        _require_one_shape(entries)
    for entry in entries:
        cls.check(entry.tensor, entry.name)
    share_affines(entries)
    first = entries[0]
    call = Call(
        first.tensor,
        [draws[s] for s in samples],  # type: ignore[misc]
        settings,
        [first.grid(s) for s in samples],
        first.name,
        known=known,
        resources=resources or {},
    )
    if cls.plans_by_image:
        call.keys = [_key_call(e, samples, call) for e in entries]
        call.inputs = _inputs(cls, first, samples, sum(key.image.shape[1] for key in call.keys))
    plan = cls.plan(call)
    params, figures = cls.recorded(call, plan), cls.figures(plan) if uid is not None else []
    records: dict[int, Params] = {}
    for position, s in enumerate(samples):
        if params[position] is not None:
            records[s] = {"params": params[position], "grid": plain_grid(call.grids[position])}
            if figures:
                records[s]["figures"] = figures[position]
    results = []
    for entry in entries:
        out, notes = _applied(cls, entry, samples, call, plan)
        own = dict(records)
        for s, note in zip(samples, notes, strict=False):
            own[s] = {**own[s], "figures": {**own[s].get("figures", {}), **note}}
        results.append(_finished(cls, name, entry, _with_others(entry, out, samples, len(draws)), draws, own, uid))
    return Outcome(results, plan)


def _applied(
    cls: type[OperationContract], entry: Entry, samples: Sequence[int], call: Call, plan: Any
) -> tuple[torch.Tensor, list[Params]]:
    """The kernel call for the samples of a key, and its notes; of a large batch in pieces, which bounds the memory."""
    count = len(samples)
    at_once = count if entry.tensor.nbytes <= _LARGE else max(1, count // cls.memory)
    whole: Any = None
    notes: list[Params] = []
    for start in range(0, count, at_once):
        some = samples[start : start + at_once]
        own = _key_call(entry, some, call)
        own.draws, own.plan, own.notes = call.draws[start : start + at_once], plan, notes
        own.inputs = call.inputs if cls.plans_by_image else _inputs(cls, entry, some)
        image = own.image if cls.differentiable else own.image.detach()
        result = cls.apply(image, own)
        expected = cls.out_grid(own.grids[0], {**own.draws[0], **own.settings}).shape
        if tuple(result.shape[2:]) != tuple(expected):
            raise ValueError(
                f"{cls.__name__}.apply must give the spatial shape {tuple(expected)} of its out_grid, got "
                f"{tuple(result.shape[2:])}"
            )
        if result.dtype == image.dtype != entry.out_dtype:
            if entry.out_dtype == torch.float16:
                result = result.clamp(-_HALF, _HALF)  # the greatest value instead of infinity
            result = result.to(entry.out_dtype)
        if at_once == count:
            return result, notes
        if whole is None:
            whole = result.new_empty((count, *result.shape[1:]))
        whole[start : start + at_once] = result
    return whole, notes


def _key_call(entry: Entry, samples: Sequence[int], call: Call) -> Call:
    """The call of one key for some samples."""
    return Call(
        entry.batch(samples),
        call.draws,
        {**call.settings, **entry.settings} if entry.settings else call.settings,
        [entry.grid(s) for s in samples],
        entry.name,
        entry.index,
        entry.mode or "bilinear",
        entry.padding,
        resources=call.resources,
        out_dtype=entry.out_dtype,
    )


def _with_others(entry: Entry, out: torch.Tensor, samples: Sequence[int], count: int) -> torch.Tensor:
    """The results of some samples among all of the batch; the others keep their values."""
    if not entry.batched:
        return out[0]
    if len(samples) == count:
        return out
    if out.shape[1:] != entry.tensor.shape[1:]:
        raise ValueError(
            f"{entry.name} must be changed in all samples of the batch or in none, since the grid of the result is "
            f"another, got {len(samples)} of {count}"
        )
    whole = entry.tensor.to(entry.out_dtype, copy=True)
    whole[samples] = out
    return whole


def _finished(
    cls: type[OperationContract],
    name: str,
    entry: Entry,
    out: torch.Tensor,
    draws: Sequence[Params | None],
    records: Mapping[int, Params],
    uid: str | None,
) -> Any:
    """The kind that came in, in its place, with a record for each sample that takes part; applied where it has one."""
    if not records and out.dtype != entry.out_dtype and out is entry.tensor:
        out = out.to(entry.out_dtype)
    result = restored(out, entry.data)
    if not isinstance(result, MetaTensor):
        return result
    if records and cls.changes_grid():
        grids = [cls.out_grid(entry.grid(s), r["params"]) for s, r in records.items()]
        if all(g.affine is not None for g in grids):
            affines = torch.tensor(np.array([g.affine for g in grids]), dtype=torch.float64)
            result.affine = affines if entry.batched else affines[0]
    if uid is None or not get_track_meta():
        return result
    if entry.batched and not result.is_batch:
        say_once("a MetaTensor batch that list_data_collate did not make cannot hold a trace for each sample")
        return result
    found: list[Any] = []
    for s, draw in enumerate(draws):
        if draw is ABSENT:
            found.append(ABSENT)
            continue
        info = {"uid": uid, **records.get(s, {}), "key": entry.index}
        info |= {n: g.key for n, g in entry.given.items() if g.key and cls.inputs[n].kind != "any"}
        if cls.geometric:
            info |= {"mode": entry.mode, "padding": entry.padding}
        if cls.changes_grid() and s in records:
            info["own_grid"] = plain_grid(entry.grid(s))
        found.append(new_record(name, s in records, entry.shape, info))
    push_batch_records(result, found) if entry.batched else push_record(result, found[0])
    return result


def _inputs(
    cls: type[OperationContract], entry: Entry, samples: Sequence[int], channels: int | None = None
) -> dict[str, Any]:
    """The further inputs of a key in the form that their declaration says, for the chosen samples."""
    found = {}
    for name, given in entry.given.items():
        declared = cls.inputs[name]
        if given.data is not None:
            found[name] = given.data if declared.kind == "any" else _fitting(declared, given, entry, samples, channels)
    return found


def _fitting(declared: Input, given: Given, entry: Entry, samples: Sequence[int], channels: int | None) -> torch.Tensor:
    """An image or mask (B, C or 1, *spatial) that belongs to a key."""
    what = repr(given.key) if given.key else given.name
    data = given.data
    if declared.kind == "mask" and getattr(data, "ndim", 0) == entry.tensor.ndim - 1:
        data = data[:, None] if entry.batched else data[None]
    tensor = plain_tensor(data, what, entry.batched)
    whole = tensor if entry.batched else tensor[None]
    count = channels or entry.tensor.shape[1 if entry.batched else 0]
    wanted = [len(entry.tensor) if entry.batched else 1, count, *entry.shape]
    if list(whole.shape) not in (wanted, [wanted[0], 1, *wanted[2:]]):
        shown = wanted if entry.batched else wanted[1:]
        raise ValueError(
            f"{what} must have the shape {shown} of {entry.name}, or one channel, to serve as its {given.name}, got "
            f"{list(tensor.shape)}"
        )
    if len(samples) < len(whole):
        whole = whole[list(samples)]
    whole = whole.to(entry.tensor.device)
    if declared.kind == "mask":
        return whole != 0
    require_finite(whole, what)
    return whole.to(computing_dtype(whole.dtype)).contiguous()


def require_one_batch(entries: Sequence[Entry]) -> None:
    """Raise unless all keys hold as many samples, and MetaTensors are collated: a meta data entry a sample."""
    for entry in entries:
        if isinstance(entry.data, MetaTensor) and not entry.data.is_batch and not entry.loose:
            raise ValueError(f"{entry.name} must be collated by list_data_collate, got a MetaTensor of a single sample")
        if len(entry.tensor) != len(entries[0].tensor):
            raise ValueError(
                f"{entry.name} must have the batch size of {entries[0].name}, {len(entries[0].tensor)}, "
                f"got {len(entry.tensor)}"
            )


def _require_one_shape(entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.shape != entries[0].shape:
            raise ValueError(
                f"{entry.name} must have the spatial shape of {entries[0].name}, {entries[0].shape}, to be joined with "
                f"it along the channels, got {entry.shape}"
            )


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


def grid_of(plain: Mapping[str, Any]) -> VoxelGrid:
    """A grid from its plain values.

    Example:
        >>> grid_of({"shape": [4, 5]}).shape
        (4, 5)
    """
    return VoxelGrid(tuple(plain["shape"]), plain.get("affine"))


def apply_record(
    record: dict[str, Any], tensor: torch.Tensor, grid: VoxelGrid, inverse: bool = False, **changes: Any
) -> torch.Tensor:
    """Run a record on a plain image (C, ...): its class and numbers are all there is to know.

    Args:
        record: one of ours, with ``do_transforms``.
        tensor: the image; its type is kept for masks, else it is computed and returned as `OperationContract` says.
        grid: the image's grid; where the operation changes the grid and is undone, that of the result.
        inverse: undo instead; possible for geometric operations.
        changes: ``mode`` or ``padding`` instead of the recorded ones.

    Raises:
        ValueError: the record names no operation of this package.
    """
    extra = record["extra_info"]
    cls = REGISTRY.get(record["class"])
    if cls is None:
        raise ValueError(f"record names {record['class']!r}, which monai_medaug does not have")
    known = [extra["figures"]] if "figures" in extra else None
    mode = changes.get("mode", extra.get("mode", "bilinear"))
    mask = cls.geometric and mode == "nearest"
    x = (tensor if mask else tensor.to(computing_dtype(tensor.dtype)))[None]
    dtype = tensor.dtype if mask else image_dtype(tensor.dtype)
    params = extra["params"]
    call = Call(x, [params], params, [grid_of(extra["grid"])], inverse=inverse, known=known, out_dtype=dtype)
    call.plan = cls.plan(call)
    call.grids, call.index, call.mode = [grid], extra.get("key", 0), mode
    call.padding = changes.get("padding", extra.get("padding", "border"))
    return cls.apply(x, call)[0].to(dtype)
