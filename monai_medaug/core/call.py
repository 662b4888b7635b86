"""The one path that every face of an operation takes, from the input to results and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.contract import REGISTRY, Call, OperationContract, Params
from monai_medaug.core.entry import (
    Entry,
    further_inputs,
    grid_of,
    has_equal_channels,
    key_call,
    plain_grid,
    require_inputs,
    require_one_batch,
    require_one_device,
    require_one_shape,
    say_if_labels,
    settle_padding,
    share_affines,
)
from monai_medaug.core.surroundings import undisturbed
from monai_medaug.core.tensors import (
    image_dtype,
    meta_is_tracked,
    restored,
    say_once,
)
from monai_medaug.core.trace import new_record, push_batch_records, push_record
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.precision import computing_dtype, put_samples

_HALF = torch.finfo(torch.float16).max
_UNLIKE = 0.6
"""Mean distance of a changed image from itself, in units of its mean deviation; predictions differ more."""
_LOOKS = 64
_LARGE = 64 << 20  # bytes of a batch from which memory counts more than calls
ABSENT: Any = object()
"""The draw of a sample that takes no part: it stays unchanged and, unlike a skipped one, gets no record."""


class Outcome(NamedTuple):
    """The results of a call, each in the kind of its input, and the plan."""

    results: list[Any]
    plan: Any


@undisturbed
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
        entries: the keys that are present; the first gives the reference grid.
        draws: one per sample (a single one unless the entries are batched); None for a skipped sample, ABSENT for one
            that takes no part.
        settings: the constants; in a replay, the parameters of the record.
        uid: of the instance, for the record; None leaves no record.
        known: in a replay, the figures of the original call, one per sample.
        resources: see `OperationContract.resources`.
    """
    if entries and entries[0].batched:
        require_one_batch(entries)
    for entry in entries:
        taking_part = [s for s, draw in enumerate(draws) if draw is not ABSENT]
        if taking_part:
            cls.check_batch_units(entry.samples(taking_part), entry.name, settings)
    if len(entries) > 1:
        require_one_device((e.name, e.tensor) for e in entries)
    samples = [s for s, p in enumerate(draws) if p is not None and p is not ABSENT]
    if not samples or not entries:
        return Outcome([_finished(cls, name, e, e.tensor, draws, {}, uid) for e in entries], None)
    if cls.joins_keys:
        require_one_shape(entries)
    require_inputs(cls, entries[0])
    for entry in entries:
        cls.check(entry.tensor, entry.name)
        if not (cls.geometric or cls.takes_batches):
            say_if_labels(cls.__name__, entry)
    share_affines(entries, cls.geometric)
    if cls.geometric:
        settle_padding(entries, samples)
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
        call.keys = [key_call(e, samples, call) for e in entries]
        call.inputs = further_inputs(cls, first, samples, sum(key.image.shape[1] for key in call.keys))
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
    """The kernel's result for the samples of a key, and its notes; a large batch goes in pieces to bound memory.

    Equal channels, as of a radiograph stored in colour, are one image: it is processed once, with one noise.
    """
    count = len(samples)
    at_once = count if entry.tensor.nbytes <= _LARGE else max(1, count // cls.memory)
    single = [not (cls.geometric or cls.takes_batches or entry.given) and has_equal_channels(entry, s) for s in samples]
    if len(set(single)) > 1:
        at_once = 1
    whole: Any = None
    notes: list[Params] = []
    for start in range(0, count, at_once):
        some = samples[start : start + at_once]
        own = key_call(entry, some, call)
        if single[start]:
            own.image = own.image[:, :1].contiguous()
        own.draws, own.plan, own.notes = call.draws[start : start + at_once], plan, notes
        own.inputs = call.inputs if cls.plans_by_image else further_inputs(cls, entry, some)
        image = own.image if cls.differentiable else own.image.detach()
        result = cls.apply(image, own)
        _require_shape(cls, result, own)
        if single[start]:
            result = result.repeat_interleave(entry.channels, 1)
        if result.dtype == image.dtype != entry.out_dtype:
            if entry.out_dtype == torch.float16:
                result = result.clamp(-_HALF, _HALF)  # not to infinity
            result = result.to(entry.out_dtype)
        if at_once == count:
            return result, notes
        if whole is None:
            whole = result.new_empty((count, *result.shape[1:]))
        whole[start : start + at_once] = result
    return whole, notes


def _require_shape(cls: type[OperationContract], result: torch.Tensor, call: Call) -> None:
    """Raise unless the results have the shape of the operation's `out_grid`."""
    shapes = {call.grids[0].shape}
    if cls.changes_grid:
        pairs = zip(call.grids, call.draws, strict=True)
        shapes = {cls.out_grid(grid, {**draw, **call.settings}).shape for grid, draw in pairs}
    if shapes != {tuple(result.shape[2:])}:
        raise ValueError(
            f"{cls.__name__}.apply must give the spatial shape {' and '.join(map(str, sorted(shapes)))} of its "
            f"out_grid, got {tuple(result.shape[2:])}"
        )


def _with_others(entry: Entry, out: torch.Tensor, samples: Sequence[int], count: int) -> torch.Tensor:
    """The whole batch with the results of some samples; the others keep their values."""
    if not entry.batched:
        return out[0]
    if len(samples) == count:
        return out
    if out.shape[1:] != entry.tensor.shape[1:]:
        raise ValueError(
            f"{entry.name} must be changed in all samples of the batch or in none, since the operation changes the "
            f"grid, got {len(samples)} of {count}"
        )
    if out.dtype != entry.out_dtype:
        raise ValueError(
            f"{entry.name} must be changed in all samples of the batch or in none, since the operation changes its "
            f"type from {entry.out_dtype} to {out.dtype}, got {len(samples)} of {count}"
        )
    whole = entry.tensor.to(entry.out_dtype, copy=True)
    put_samples(whole, samples, out)
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
    """The result in the kind of the input, with a record of each sample that takes part: applied if in ``records``."""
    if not records and out.dtype != entry.out_dtype and out is entry.tensor:
        out = out.to(entry.out_dtype)
    result = restored(out, entry.data)
    if not isinstance(result, MetaTensor):
        return result
    if records and cls.changes_grid:
        grids = [entry.grid(s) for s in range(len(draws))]
        grids = [cls.out_grid(g, records[s]["params"]) if s in records else g for s, g in enumerate(grids)]
        if all(g.affine is not None for g in grids):
            affines = torch.tensor(np.array([g.affine for g in grids]), dtype=torch.float64)
            result.affine = affines if entry.batched else affines[0]
    if uid is None or not meta_is_tracked():
        return result
    if entry.batched and not result.is_batch:
        say_once("a MetaTensor batch that was not made by list_data_collate can't hold a trace for each sample")
        return result
    found: list[Any] = []
    values = cls.geometric and entry.mode != "nearest" and any(_is_value(entry.padding_of(s)) for s in records)
    looks = _looks(out if entry.batched else out[None]) if values else []
    for s, draw in enumerate(draws):
        if draw is ABSENT:
            found.append(ABSENT)
            continue
        info = {"uid": uid, **records.get(s, {}), "key": entry.index}
        info |= {n: g.key for n, g in entry.given.items() if cls.inputs[n].kind != "any"}
        if cls.geometric:
            padding = entry.padding_of(s) if s in records else entry.padding
            info |= {"mode": entry.mode, "padding": padding}
            if values and s in records and _is_value(padding):
                info["looks"] = looks[s]
        if cls.changes_grid and s in records:
            info["own_grid"] = plain_grid(entry.grid(s))
        found.append(new_record(name, s in records, entry.shape, info))
    push_batch_records(result, found) if entry.batched else push_record(result, found[0])
    return result


def _looks(images: torch.Tensor) -> list[list[float]]:
    """Some values of each image (N, ...), evenly spaced, by which it is known again."""
    values = images.detach().reshape(len(images), -1)
    return values[:, :: max(1, values.shape[1] // _LOOKS)].double().tolist()


def _is_value(padding: Any) -> bool:
    """Whether a padding is a value of the image it was meant for: numbers, or its darkest or brightest."""
    return padding not in ("border", "reflection", "zeros")


def _padding_of(extra: Params, mode: str, tensor: torch.Tensor, inverse: bool) -> Any:
    """What a record's operation fills in. An inverse fills with a number only the image that was filled with it.

    `Invertd` hands over the record of an image with a prediction in its place: of labels, then the mode is nearest, or
    of other values than the image has.
    """
    padding = extra.get("padding", "border")
    if not inverse or not _is_value(padding):
        return padding
    none = {**padding, "background": [0.0]} if isinstance(padding, dict) else 0.0
    if mode == "nearest":
        return none
    known, found = np.array(extra.get("looks", [])), np.array(_looks(tensor[None])[0])
    if len(known) == 0:
        return padding
    spread = np.abs(known - np.median(known)).mean()
    return padding if len(known) == len(found) and np.abs(found - known).mean() <= _UNLIKE * spread else none


@undisturbed
def apply_record(
    record: dict[str, Any],
    tensor: torch.Tensor,
    grid: VoxelGrid,
    inverse: bool = False,
    resources: Mapping[str, Any] | None = None,
    **changes: Any,
) -> torch.Tensor:
    """Run a record on a plain image (C, ...); its class and numbers suffice.

    Args:
        record: one of ours, with ``do_transforms``.
        tensor: the image; a mask keeps its type, an image gets that of `image_dtype`.
        grid: the image's grid; to undo an operation that changes the grid, the original one.
        inverse: undo instead; only for geometric operations.
        resources: see `OperationContract.resources`; None where the operation is no longer at hand.
        changes: ``mode`` or ``padding`` instead of the recorded ones.

    Raises:
        ValueError: the record does not name an operation of this package.
    """
    extra = record["extra_info"]
    cls = REGISTRY.get(record["class"])
    if cls is None:
        raise ValueError(f"record must name an operation of monai_medaug, got {record['class']!r}")
    known = [extra["figures"]] if "figures" in extra else None
    mode = changes.get("mode", extra.get("mode", "bilinear"))
    mask = cls.geometric and mode == "nearest"
    x = (tensor if mask else tensor.to(computing_dtype(tensor.dtype)))[None]
    dtype = tensor.dtype if mask else image_dtype(tensor.dtype)
    params = extra["params"]
    call = Call(x, [params], params, [grid_of(extra["grid"])], inverse=inverse, known=known, out_dtype=dtype)
    call.resources, call.keys = resources or {}, [call]
    call.plan = cls.plan(call)
    call.grids, call.index, call.mode = [grid], extra.get("key", 0), mode
    call.padding = [changes["padding"] if "padding" in changes else _padding_of(extra, mode, tensor, inverse)]
    return cls.apply(x, call)[0].to(dtype)
