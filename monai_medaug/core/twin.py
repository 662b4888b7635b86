"""Dictionary twins: ``Foodd = dictionary_twin(Food)``, and nothing else to write."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.lazy.functional import apply_pending_transforms
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils import ensure_tuple, ensure_tuple_rep

from monai_medaug.core.arguments import choice
from monai_medaug.core.call import REGISTRY, Entry, run_operation
from monai_medaug.core.operation import Operation, RandomOperation, invert_entry
from monai_medaug.core.points import move_companions
from monai_medaug.core.tensors import plain_tensor, with_meta
from monai_medaug.core.trace import is_ours

_KEYS_DOC = """
    Args:
        keys: keys of the items to transform; they share one draw. The first one present gives the reference grid."""
_GEOMETRY_DOC = """
        mode, padding_mode: one for all keys or one a key. A single number for padding means 0 for masks.
        point_keys: keys of landmarks (N, spatial axes) that follow the anatomy.
        box_keys: keys of boxes (N, 2 × spatial axes), lower corner then upper, re-bounded after the move.
        point_space: whether these are in ``"world"`` (mm) or ``"voxel"`` coordinates of the reference grid."""
_GUIDE_DOC = """
        guide_key: key of a second image of the same shape, or of one channel, that guides the operation."""
_END_DOC = """
        allow_missing_keys: pass over keys that the data lack instead of raising a KeyError.
"""


class DictionaryOperation(MapTransform, InvertibleTransform):
    """Base of the generated twins: draws once with the array instance and applies it to all keys."""

    operation_class: ClassVar[type[Operation]]

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **arguments: Any) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        count = len(self.keys)
        self.point_keys: tuple = ensure_tuple(arguments.pop("point_keys", ()))
        self.box_keys: tuple = ensure_tuple(arguments.pop("box_keys", ()))
        self.point_space = choice("point_space", arguments.pop("point_space", "world"), ("world", "voxel"))
        self.guide_key = arguments.pop("guide_key", None)
        self.modes: tuple = (None,) * count
        self.paddings: tuple = ("border",) * count
        if self.operation_class.geometric:
            self.modes = ensure_tuple_rep(arguments.pop("mode", "bilinear"), count)
            padding = arguments.pop("padding_mode", "border")
            self.paddings = ensure_tuple_rep(padding, count)
            if isinstance(padding, (int, float)):
                self.paddings = tuple(0.0 if m == "nearest" else padding for m in self.modes)
            for mode, pad in list(zip(self.modes, self.paddings, strict=True))[1:]:
                self.operation_class(mode=mode, padding_mode=pad)  # type: ignore[call-arg]  # raises if invalid
            arguments |= {"mode": self.modes[0], "padding_mode": self.paddings[0]}
        self.operation = self.operation_class(**arguments)

    @property
    def tracing(self) -> bool:
        """Whether calls leave a record: that of the array instance."""
        return self.operation.tracing

    @tracing.setter
    def tracing(self, value: bool) -> None:
        self.operation.tracing = value

    def entries(self, data: Mapping, batched: bool = False) -> list[Entry]:
        """The keys that are present, in order."""
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dictionary, got {type(data).__name__}")
        index = {key: i for i, key in reversed(list(enumerate(self.keys)))}
        guide = None
        if self.guide_key is not None and (self.guide_key in data or not self.allow_missing_keys):
            if self.guide_key not in data:
                raise KeyError(f"key {self.guide_key!r} of the guide is missing in the data")
            guide = (self.guide_key, data[self.guide_key])
        return [
            Entry(
                *(data[key], repr(key), index[key], self.modes[index[key]], self.paddings[index[key]], batched),
                guide=guide,
            )
            for key in self.key_iterator(data)
        ]

    def __call__(self, data: Mapping) -> dict:
        """Apply to the keys of a dictionary; returns a new one, the rest passes through."""
        drawn = self.operation.next_params()
        if isinstance(data, Mapping):
            data = self._flushed(data)
        entries = self.entries(data)
        results = run_operation(self.operation_class, type(self).__name__, entries, [drawn], self.operation.trace_uid)
        out = dict(data)
        for entry, result in zip(entries, results, strict=True):
            out[self.keys[entry.index]] = result
        if drawn is not None and entries and (self.point_keys or self.box_keys):
            self._move_companions(out, results[0], entries[0])
        return out

    def inverse(self, data: Mapping) -> dict:
        """Undo the last call on the keys that are present; see `Operation.inverse`."""
        out = dict(data)
        present = [key for key in self.keys if key in data]
        if present and (self.point_keys or self.box_keys):
            self._move_companions(out, data[present[0]], None, inverse=True)
        for key in present:
            out[key] = invert_entry(self.operation, data[key], repr(key))
        return out

    def _flushed(self, data: Mapping) -> Mapping:
        """Pending lazy operations of our keys, applied on copies: MONAI would clear the caller's list."""
        waiting = [k for k in self.keys if isinstance(data.get(k), MetaTensor) and data[k].has_pending_operations]
        if not waiting:
            return data
        copies = {k: with_meta(plain_tensor(data[k], repr(k)), data[k]) for k in waiting}
        return {**data, **apply_pending_transforms(copies, None)}

    def _move_companions(self, out: dict, reference: Any, entry: Entry | None, inverse: bool = False) -> None:
        """Move points and boxes as the reference key's last record of this operation says."""
        if isinstance(reference, MetaTensor):
            trace = [r for r in reference.applied_operations if is_ours(r)]
            records = [r for r in trace if r["extra_info"]["uid"] == self.operation.uid]
        else:
            records = []
        if not records:
            raise ValueError(
                f"{self.keys[0]!r} must be a MetaTensor with tracing on for point_keys and box_keys to follow it"
            )
        if not records[-1]["do_transforms"]:
            return
        for keys, boxes in ((self.point_keys, False), (self.box_keys, True)):
            for key in keys:
                if key in out:
                    out[key] = move_companions(records[-1], out[key], repr(key), boxes, self.point_space, inverse)
                elif not self.allow_missing_keys and not inverse:
                    raise KeyError(f"key {key!r} is missing in the data")


class RandomDictionaryOperation(DictionaryOperation, RandomizableTransform):
    """Twin of a random operation. It has no random state of its own: the array instance's decides and draws.

    (MONAI's twins seed an outer and an inner transform alike, so that what is drawn depends on the decision.)
    """

    operation: RandomOperation

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandomDictionaryOperation:
        self.operation.set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        self.operation.randomize(data)

    @property
    def R(self) -> np.random.RandomState:
        return self.operation.R

    @property
    def prob(self) -> float:
        return self.operation.prob

    @prob.setter
    def prob(self, value: float) -> None:
        if "operation" in self.__dict__:  # MapTransform's constructor sets a default before there is one
            self.operation.prob = value


def dictionary_twin(cls: type[Operation]) -> Any:
    """The dictionary twin of an array class: its name with a ``d``, its arguments after ``keys``.

    Signature and docstring are those of the array class, extended; the stubs in ``__init__.pyi`` tell static checkers.
    """
    base = RandomDictionaryOperation if issubclass(cls, RandomOperation) else DictionaryOperation
    name = f"{cls.__name__}d"
    own = list(inspect.signature(cls).parameters.values())
    empty: tuple = ()
    geometry = {"point_keys": empty, "box_keys": empty, "point_space": "world"} if cls.geometric else {}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("self", kind), inspect.Parameter("keys", kind, annotation="KeysCollection")]
    parameters += own
    parameters += [inspect.Parameter(k, kind, default=v) for k, v in geometry.items()]
    if cls.guided:
        parameters += [inspect.Parameter("guide_key", kind, default=None, annotation="Any")]
    parameters += [inspect.Parameter("allow_missing_keys", kind, default=False, annotation="bool")]
    signature = inspect.Signature(parameters, return_annotation=None)

    def __init__(self: DictionaryOperation, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        base.__init__(**bound.arguments)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    __init__.__qualname__ = f"{name}.__init__"
    body = {
        "__init__": __init__,
        "__doc__": _twin_doc(cls),
        "__module__": cls.__module__,
        "__qualname__": name,
        "operation_class": cls,
    }
    REGISTRY[name] = cls
    return type(name, (base,), body)


def _twin_doc(cls: type[Operation]) -> str:
    doc = (cls.__doc__ or "").split("    Example:")[0].rstrip()
    keys = _KEYS_DOC + (_GEOMETRY_DOC if cls.geometric else "") + (_GUIDE_DOC if cls.guided else "")
    head, _, rest = doc.partition("\n    Args:")
    return f"Dictionary version of `{cls.__name__}`. {head.rstrip()}\n{keys}{rest}{_END_DOC}"
