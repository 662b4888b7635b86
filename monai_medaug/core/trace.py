"""Records of applied operations, in the ``applied_operations`` of MetaTensors.

A record is a dict of plain values in MONAI's form. Ours hold the ``uid`` of the instance in place of MONAI's ``id``,
whose matching by object identity fails after pickling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import TraceKeys

from monai_medaug.core.tensors import with_meta

Record = dict[str, Any]


def new_record(name: str, applied: bool, shape: Sequence[int], extra: dict[str, Any]) -> Record:
    """A record in MONAI's form: class, whether it was applied, spatial shape of the input, and ``extra_info``."""
    return {
        "class": name,
        "tracing": True,
        "do_transforms": applied,
        "orig_size": [int(n) for n in shape],
        "lazy": False,
        "extra_info": extra,
    }


def is_ours(record: Any) -> bool:
    """Whether this package wrote the record."""
    return isinstance(record, dict) and "uid" in (record.get("extra_info") or {})


def with_new_trace(data: MetaTensor) -> MetaTensor:
    """A new MetaTensor with the same values and copies of the meta data and lists, to push records to."""
    with torch._C.DisableTorchFunctionSubclass():
        return with_meta(data.as_subclass(torch.Tensor), data)


def push_record(data: Any, record: Record) -> None:
    """Append to the trace of one of our MetaTensors, whose lists are copies already; other kinds have no trace."""
    if isinstance(data, MetaTensor):
        data.applied_operations = [*data.applied_operations, record]


def push_batch_records(data: Any, records: Sequence[Any]) -> None:
    """Append its record to the trace of each sample of a collated MetaTensor, unless the record is not a dict.

    The lists are new, since the tensors of a batch share MONAI's. An empty trace collates to the enum ``none``.
    """
    if isinstance(data, MetaTensor):
        lists = data.applied_operations or [[] for _ in records]
        data.applied_operations = [
            [*(known if isinstance(known, list) else []), *([record] if isinstance(record, dict) else [])]
            for known, record in zip(lists, records, strict=True)
        ]


def last_record(data: MetaTensor, uid: str) -> Record | None:
    """The last record with this uid on the MetaTensor of a sample, or None."""
    own = (r for r in reversed(data.applied_operations) if is_ours(r) and r["extra_info"]["uid"] == uid)
    return next(own, None)


def without_record(data: MetaTensor, uid: str) -> MetaTensor:
    """A copy of the MetaTensor of a sample or batch without each sample's last record of this uid."""

    def shortened(trace: list[Record]) -> list[Record]:
        last = max((i for i, r in enumerate(trace) if is_ours(r) and r["extra_info"]["uid"] == uid), default=None)
        return [r for i, r in enumerate(trace) if i != last]

    out, traces = with_new_trace(data), [shortened(t) for t in samples_of(data)]
    out.applied_operations = traces if data.is_batch else traces[0]
    return out


def samples_of(data: MetaTensor) -> list[list[Record]]:
    """The traces of a MetaTensor, one list per sample; a single sample counts as a batch of one."""
    if not data.is_batch:
        return [list(data.applied_operations)]
    traces = data.applied_operations
    if not traces or traces == TraceKeys.NONE:
        return [[] for _ in range(len(data))]
    return [list(t) if isinstance(t, (list, tuple)) else [] for t in traces]
