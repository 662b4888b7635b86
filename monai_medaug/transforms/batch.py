"""The batch face: ``Batched(transform)`` on a batch after collation, one kernel call for all samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import decollate_batch, list_data_collate
from monai.transforms.compose import Compose
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Randomizable

from monai_medaug.transforms.base import Operation
from monai_medaug.transforms.call import Entry, run_operation
from monai_medaug.transforms.tensors import plain_tensor, say_once
from monai_medaug.transforms.twin import DictionaryOperation


class Batched(Randomizable, InvertibleTransform, MapTransform):
    """Apply a transform to a batch: each sample has its own decision and draw, each operation runs once.

    Sample i of the result equals the array face on sample i for the same draw. A plain Compose draws as if the
    samples came one after another. What is not an operation of this package is applied sample by sample, with a notice.
    Each sample's trace receives its own record, so that ``decollate_batch`` then ``Invertd`` work.

    Args:
        transform: one of our array transforms (for a tensor (B, C, *spatial)), a dictionary twin or a Compose of
            twins (for a dictionary of such).

    Example:
        >>> import torch
        >>> from monai_medaug.transforms import RandCTDose
        >>> noisy = Batched(RandCTDose(prob=0.6)).set_random_state(0)(torch.zeros(4, 1, 32, 32))
        >>> [bool(n) for n in noisy.flatten(1).std(dim=1) > 0]
        [True, False, False, False]
    """

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        keys = getattr(transform, "keys", None)
        self.keys: tuple = tuple(keys) if keys is not None else ()

    @property
    def allow_missing_keys(self) -> bool:
        return bool(getattr(self.transform, "allow_missing_keys", False))

    @allow_missing_keys.setter
    def allow_missing_keys(self, value: bool) -> None:
        for part in _parts(self.transform):
            if isinstance(part, MapTransform):
                part.allow_missing_keys = value

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Batched:
        """Pass the seed to the transform, unchanged."""
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Any) -> Any:
        """Apply to a tensor (B, C, *spatial) or a dictionary of them."""
        return _run_batch(self.transform, data)

    def inverse(self, data: Any) -> Any:
        """Undo on one sample after ``decollate_batch``: the records on it are those of the transform itself."""
        return self.transform.inverse(data)


def _parts(transform: Any) -> list[Any]:
    if isinstance(transform, Compose):
        return [p for t in transform.transforms for p in _parts(t)]
    return [transform]


def _require_one_batch(entries: Sequence[Entry]) -> None:
    """Raise unless all keys hold as many samples, and MetaTensors are collated: a meta data entry a sample."""
    for entry in entries:
        if isinstance(entry.data, MetaTensor) and not entry.data.is_batch:
            raise ValueError(f"{entry.name} must be collated by list_data_collate, got a MetaTensor of a single sample")
        if len(entry.tensor) != len(entries[0].tensor):
            raise ValueError(
                f"{entry.name} must have the batch size of {entries[0].name}, {len(entries[0].tensor)}, "
                f"got {len(entry.tensor)}"
            )


def _run_batch(transform: Any, data: Any) -> Any:
    if type(transform) is Compose:
        for part in transform.transforms:
            data = _run_batch(part, data)
        return data
    if isinstance(transform, DictionaryOperation) and not (transform.point_keys or transform.box_keys):
        entries = transform.entries(data, batched=True)
        if not entries:
            return dict(data)
        _require_one_batch(entries)
        draws = [transform.operation.next_params() for _ in range(len(entries[0].tensor))]
        operation = transform.operation
        results = run_operation(type(operation), type(transform).__name__, entries, draws, operation.trace_uid)
        return {**data, **{transform.keys[e.index]: r for e, r in zip(entries, results, strict=True)}}
    if isinstance(transform, Operation) and not isinstance(data, Mapping):
        entry = transform.entry(data, "batch", batched=True)
        _require_one_batch([entry])
        draws = [transform.next_params() for _ in range(len(entry.tensor))]
        return run_operation(type(transform), type(transform).__name__, [entry], draws, transform.trace_uid)[0]
    say_once(f"Batched applies {type(transform).__name__} sample by sample: it has no batch face")
    if isinstance(data, Mapping):
        return list_data_collate([transform(sample) for sample in decollate_batch(dict(data))])
    plain_tensor(data, "batch", batch=True)
    return list_data_collate([transform(sample) for sample in data])
