"""Records of what was applied, on the ``applied_operations`` of MetaTensors.

A record is a dict of plain values in MONAI's form. Ours carry no ``id``: MONAI's matching by object identity fails
after pickling, ours compares the ``uid`` that each instance keeps.
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
    """A record in MONAI's form: class, whether it was applied, spatial shape before, and ``extra_info``."""
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
    """The same values and meta data as a new object with lists of its own, to push records to."""
    with torch._C.DisableTorchFunctionSubclass():
        return with_meta(data.as_subclass(torch.Tensor), data)


def push_record(data: Any, record: Record) -> None:
    """Append to the trace of a MetaTensor of ours (its lists are copies already); other kinds carry no trace."""
    if isinstance(data, MetaTensor):
        data.applied_operations = [*data.applied_operations, record]


def push_batch_records(data: Any, records: Sequence[Any]) -> None:
    """Append a record to the list of each sample of a collated MetaTensor that has one, as new lists.

    What is no dict among the records is none. MONAI shares the lists between the tensors of a batch, and an empty trace
    collates to the enum ``none``.
    """
    if isinstance(data, MetaTensor):
        lists = data.applied_operations or [[] for _ in records]
        data.applied_operations = [
            [*(known if isinstance(known, list) else []), *([record] if isinstance(record, dict) else [])]
            for known, record in zip(lists, records, strict=True)
        ]


def last_record(data: MetaTensor, uid: str) -> Record | None:
    """The last record with this uid on the MetaTensor of a sample; None if there is none."""
    own = (r for r in reversed(data.applied_operations) if is_ours(r) and r["extra_info"]["uid"] == uid)
    return next(own, None)


def without_record(data: MetaTensor, uid: str) -> MetaTensor:
    """The MetaTensor of a sample or batch as a new object without the last record that has this uid, of each sample."""

    def shortened(trace: list[Record]) -> list[Record]:
        last = max((i for i, r in enumerate(trace) if is_ours(r) and r["extra_info"]["uid"] == uid), default=None)
        return [r for i, r in enumerate(trace) if i != last]

    out, traces = with_new_trace(data), [shortened(t) for t in samples_of(data)]
    out.applied_operations = traces if data.is_batch else traces[0]
    return out


def samples_of(data: MetaTensor) -> list[list[Record]]:
    """The traces of a MetaTensor, one a sample; a single sample's is the one of a list of one."""
    if not data.is_batch:
        return [list(data.applied_operations)]
    traces = data.applied_operations
    if not traces or traces == TraceKeys.NONE:
        return [[] for _ in range(len(data))]
    return [list(t) if isinstance(t, (list, tuple)) else [] for t in traces]
