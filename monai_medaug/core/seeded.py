"""Containers that draw one integer per call, seed all children with it and record it, for exact repetition."""

from __future__ import annotations

import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Randomizable, RandomizableTransform
from monai.utils.misc import MAX_SEED, get_seed

from monai_medaug.core.operation import Operation, RandomOperation
from monai_medaug.core.random_state import WatchedRandomState, seeded_state
from monai_medaug.core.tensors import meta_is_tracked
from monai_medaug.core.trace import Record, last_record, new_record, push_record, with_new_trace, without_record

_turns: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_turns.clear)  # another thread may have held them


def turn_of(transform: Any) -> Any:
    """The lock of a transform: threads that share it take turns.

    Children are seeded first and run later; another thread could reseed them in between. Transforms that are not shared
    don't wait for one another.
    """
    return _turns.setdefault(transform, threading.RLock())


class PassesMissingKeys:
    """Mixin of containers: ``allow_missing_keys`` is that of all map transforms inside.

    Setting it to False takes back what setting it to True did: transforms that differ then differ again, as after
    MONAI's `allow_missing_keys_mode`.
    """

    keys: tuple
    _strict: tuple[bool, ...] = ()
    """The states before it was set to True."""

    def parts(self) -> Iterable[Any]:
        """The transforms inside."""
        raise NotImplementedError

    @property
    def allow_missing_keys(self) -> bool:
        found = map_transforms(self.parts())
        return bool(found) and all(part.allow_missing_keys for part in found)

    @allow_missing_keys.setter
    def allow_missing_keys(self, value: bool) -> None:
        found = map_transforms(self.parts())
        states = self._strict if len(self._strict) == len(found) else (False,) * len(found)
        if value and not self.allow_missing_keys:
            self._strict = tuple(part.allow_missing_keys for part in found)
        elif not value:
            self._strict = ()
        for part, state in zip(found, states, strict=True):
            part.allow_missing_keys = value or state

    @contextmanager
    def lenient(self, data: Any) -> Iterator[None]:
        """Allow missing keys for the time of an inverse where the data lack some: they leave nothing to undo."""
        before = self.allow_missing_keys
        if before or not isinstance(data, Mapping) or all(key in data for key in self.keys):
            yield
            return
        self.allow_missing_keys = True
        try:
            yield
        finally:
            self.allow_missing_keys = before


class SeededContainer(PassesMissingKeys, WatchedRandomState, InvertibleTransform):
    """Base of the presets and of `PreservingCompose`: everything inside depends on one integer per call.

    Attributes:
        transforms: the children.
        keys: the keys that get a container record.
    """

    transforms: Sequence[Any]
    keys: tuple
    label = "container"

    def __init__(self) -> None:
        self.uid = uuid.uuid4().hex
        self.set_random_state(get_seed())

    def parts(self) -> Iterable[Any]:
        return self.transforms

    def run_seeded(self, data: Mapping, seed: int) -> dict:
        """Apply to a dictionary with a given integer, drawn by `__call__` or recorded."""
        raise NotImplementedError

    def __call__(self, data: Any) -> Any:
        """Apply to a dictionary."""
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dictionary, got {type(data).__name__}")
        with turn_of(self):
            return self.run_seeded(data, self.call_seed(data))

    def call_seed(self, data: Any, sample: int | None = None) -> int:
        """The integer for the next call, on a sample or on one of a collated batch."""
        self.watch_state()
        return int(self.R.randint(2**31 - 1))

    @property
    def runs_on_batches(self) -> bool:
        """Whether `Batched` may use `run_batch`; else it goes sample by sample."""
        return False

    def batch_draw(self, data: Any, sample: int, drawn: Callable[[Any], Any]) -> Any:
        """The draws of one sample of a collated batch, as `run_batch` takes them.

        Args:
            data: the batch.
            sample: index of the sample.
            drawn: function that returns the sample's draw from a child.
        """
        return self.call_seed(data, sample)

    def run_batch(self, data: Any, draws: Sequence[Any], run: Callable[[Any, list[Any], Any], Any]) -> Any:
        """Apply to a collated batch.

        Args:
            data: the batch.
            draws: the result of `batch_draw` for each sample, or ABSENT.
            run: function that runs a child with its draws on a batch.
        """
        raise NotImplementedError

    def with_records(self, data: dict, applied: bool, infos: Mapping[Any, dict[str, Any]]) -> dict:
        """A copy of the data with a record of this container on the MetaTensors under ``keys``.

        Args:
            data: the result of the children.
            applied: False if the input is returned instead.
            infos: ``extra_info`` for each key, besides the uid.
        """
        out = dict(data)
        untraced = untraced_steps(self.transforms) if applied else []
        for key in self.keys:
            item = out.get(key)
            if isinstance(item, MetaTensor) and meta_is_tracked() and self.tracing:
                out[key] = with_new_trace(item)
                info = {**infos[key], **({"untraced": untraced} if untraced else {})}
                push_record(out[key], self.record(applied, item.shape[1:], info))
        return out

    def record(self, applied: bool, shape: Sequence[int], info: Mapping[str, Any]) -> Record:
        """A record of a call that holds ``info``."""
        return new_record(self.label, applied, shape, {"uid": self.uid, "container": True, **info})

    def inverse(self, data: Any) -> Any:
        """Undo the last call: the children's inverses in reverse, unless the call returned its input."""
        out = dict(data)
        record: Record | None = None
        for key in self.keys:
            item = out.get(key)
            if isinstance(item, MetaTensor):
                record = last_record(item, self.uid) or record
                out[key] = without_record(item, self.uid)
        if record is not None and not record["do_transforms"]:
            return out
        with self.lenient(out):
            for child in reversed(list(self.transforms)):
                if isinstance(child, InvertibleTransform):
                    out = child.inverse(out)
        return out


def seed_children(transforms: Iterable[Any], seed: int) -> None:
    """Give each random child its own seed, derived from one integer."""
    random = [child for child in transforms if isinstance(child, Randomizable)]
    seeds = seeded_state(seed).randint(MAX_SEED, size=len(random), dtype="uint32").tolist()
    for child, own in zip(random, seeds, strict=True):
        child.set_random_state(own)


def in_kinds_of(data: Mapping, out: dict, keys: Iterable[Any]) -> dict:
    """The results, where MONAI's steps or a container made MetaTensors of bare arrays, in the kind of the input.

    All are bare where MONAI does not track meta data.
    """
    tracked = meta_is_tracked()
    for key in keys:
        bare = key in data and not (tracked and isinstance(data[key], MetaTensor))
        if bare and isinstance(out.get(key), MetaTensor):
            tensor = out[key].as_tensor()
            out[key] = tensor.numpy() if isinstance(data[key], np.ndarray) else tensor
    return out


def untraced_steps(transforms: Iterable[Any]) -> list[str]:
    """Names of MONAI's random steps that the last call applied and that leave no record.

    Steps inside another container of ours are listed in its own record.
    """
    found: list[str] = []
    for transform in transforms:
        if isinstance(transform, SeededContainer):
            continue
        if hasattr(transform, "transforms"):
            found += untraced_steps(transform.transforms)
        elif isinstance(transform, RandomizableTransform) and not isinstance(transform, InvertibleTransform):
            found += [type(transform).__name__] if transform._do_transform else []
    return found


def random_operations(transforms: Iterable[Any]) -> Iterator[RandomOperation]:
    """All random operations of this package among these transforms, at any depth."""
    for transform in transforms:
        if isinstance(transform, RandomOperation):
            yield transform
        elif hasattr(transform, "operation"):
            yield from random_operations([transform.operation])
        elif hasattr(transform, "transforms"):
            yield from random_operations(transform.transforms)
        elif hasattr(transform, "transform"):
            yield from random_operations([transform.transform])


def are_ours(transforms: Iterable[Any]) -> bool:
    """Whether all these transforms, at any depth, are operations of this package."""
    for transform in transforms:
        if isinstance(transform, Operation) or hasattr(transform, "operation"):
            continue
        inner = getattr(transform, "transforms", [transform.transform] if hasattr(transform, "transform") else None)
        if inner is None or not are_ours(inner):
            return False
    return True


def keys_of(transforms: Iterable[Any]) -> tuple:
    """The keys of all map transforms among these, at any depth, each once."""
    found: dict[Any, None] = {}
    for transform in transforms:
        own = getattr(transform, "keys", None)
        if own is not None and not callable(own):
            found |= dict.fromkeys(own)
        elif hasattr(transform, "transforms"):
            found |= dict.fromkeys(keys_of(transform.transforms))
    return tuple(found)


def map_transforms(transforms: Iterable[Any]) -> list[MapTransform]:
    """The map transforms among these and inside their Composes."""
    found = []
    for transform in transforms:
        inside = () if isinstance(transform, MapTransform) else getattr(transform, "transforms", ())
        found += [transform] if isinstance(transform, MapTransform) else map_transforms(inside)
    return found
