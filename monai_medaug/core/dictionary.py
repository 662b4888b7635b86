"""Operations on dictionaries: what the generated twins do with keys."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, Randomizable, RandomizableTransform
from monai.utils import ensure_tuple, ensure_tuple_rep, issequenceiterable

from monai_medaug.core.arguments import choice
from monai_medaug.core.entry import Entry, Given
from monai_medaug.core.operation import Operation, invert_entry, without_pending
from monai_medaug.core.points import move_companions
from monai_medaug.core.tensors import steady_state
from monai_medaug.core.trace import is_ours

KEYS = "KeysCollection"
"""The annotation of keys."""


class KeyArgument(NamedTuple):
    """An argument of a twin in addition to those of its array class.

    Attributes:
        name: of the argument.
        default: of the argument, or ``inspect.Parameter.empty``.
        doc: for the docstring.
        early: whether it follows the arguments without a default instead of standing at the end.
        annotation: for the signature.
    """

    name: str
    default: Any
    doc: str
    early: bool = False
    annotation: str = "Any"


_COMPANIONS = (
    KeyArgument("point_keys", (), "keys of landmarks (N, spatial axes) that move with the anatomy.", False, KEYS),
    KeyArgument(
        "box_keys",
        (),
        "keys of boxes (N, 2 × spatial axes), lower corner then upper; the result bounds the deformed box.",
        False,
        KEYS,
    ),
    KeyArgument(
        "point_space",
        "world",
        'coordinates of points and boxes: ``"world"`` in mm, or ``"voxel"`` for indices of the reference grid.',
        False,
        "str",
    ),
)


class DictionaryOperation(MapTransform, InvertibleTransform):
    """Base of the generated twins: one draw of the array instance, applied to all keys."""

    operation_class: ClassVar[type[Operation]]
    per_key: ClassVar[Mapping[str, str]] = {}
    """Annotations of the array class's arguments that may be given one a key."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False, **arguments: Any) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.input_keys = {}
        for name, declared in self.operation_class.inputs.items():
            key = self.input_keys[name] = arguments.pop(f"{name}_key", None)
            if not isinstance(key, Hashable) or (key is None and declared.required):
                raise ValueError(f"{name}_key must be a key, got {key!r}")
        self.point_keys: tuple = ensure_tuple(arguments.pop("point_keys", ()))
        self.box_keys: tuple = ensure_tuple(arguments.pop("box_keys", ()))
        self.point_space = choice("point_space", arguments.pop("point_space", "world"), ("world", "voxel"))
        self.modes: tuple = (None,) * len(self.keys)
        self.paddings: tuple = ("border",) * len(self.keys)
        if self.operation_class.geometric:
            modes = ensure_tuple_rep(arguments.pop("mode", "bilinear"), len(self.keys))
            pad = arguments.pop("padding_mode", "border")
            pads = ensure_tuple_rep(pad, len(self.keys))
            each = [
                self.operation_class(**arguments, **_taken(self.operation_class, *own))
                for own in zip(modes, pads, strict=True)
            ]
            self.operation = each[0]
            self.modes = tuple(getattr(own, "mode", mode) for own, mode in zip(each, modes, strict=True))
            self.paddings = tuple(getattr(own, "padding_mode", "border") for own in each)
            if not isinstance(pad, str) and not issequenceiterable(pad):
                masks = [mode == "nearest" for mode in self.modes]
                self.paddings = tuple(0.0 if mask else p for mask, p in zip(masks, self.paddings, strict=True))
        else:
            self.operation = self.operation_class(**arguments)
        self.operation.face = (type(self).__name__, *map(repr, self.keys))

    def __getstate__(self) -> Any:
        return steady_state(super().__getstate__())

    @classmethod
    def key_arguments(cls, operation_class: type[Operation]) -> list[KeyArgument]:
        """The arguments in addition to those of the array class, in order."""
        found = list(_COMPANIONS) if operation_class.geometric else []
        for name, declared in operation_class.inputs.items():
            default = inspect.Parameter.empty if declared.required and declared.early else None
            found.append(KeyArgument(f"{name}_key", default, f"key of {declared.doc}", declared.early))
        return found

    @property
    def tracing(self) -> bool:
        """Whether calls leave a record, as set on the array instance."""
        return self.operation.tracing

    @tracing.setter
    def tracing(self, value: bool) -> None:
        self.operation.tracing = value

    def entries(self, data: Mapping, batched: bool = False) -> list[Entry]:
        """The keys that are present, in order; none if all keys form one input and one of them is missing."""
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dictionary, got {type(data).__name__}")
        given = {}
        for name, key in self.input_keys.items():
            if key is not None and key in data:
                given[name] = Given(name, data[key], str(key))
            elif key is not None and not self.allow_missing_keys:
                raise KeyError(f"key {key!r} of the {name} is missing in the data: {type(self).__name__} needs it")
        found = present_keys(self, data, self.keys)
        absent = {name for name, key in self.input_keys.items() if key is not None} - given.keys()
        if self.operation_class.joins_keys and (absent or len(found) < len(self.keys)):
            return []
        if any(self.operation_class.inputs[name].required for name in absent):
            return []
        index = {key: i for i, key in reversed(list(enumerate(self.keys)))}
        return [
            Entry(
                *(data[key], repr(key), index[key], self.modes[index[key]], self.paddings[index[key]], batched),
                given=given,
                accepts_complex=self.operation.accepts_complex,
            )
            for key in found
        ]

    def __call__(self, data: Mapping, lazy: bool | None = None) -> dict:
        """Apply to the keys of a dictionary; returns a new one with all other items unchanged.

        Args:
            data: the dictionary.
            lazy: for MONAI's calls; operations are always carried out at once, pending ones of others before.
        """
        if self.operation.takes_batches:
            entries = self.entries(data, batched=True)
            drawn = self.operation.batch_params(len(entries[0].tensor)) if entries else []
        else:
            drawn = [self.operation.next_params()]
            entries = self.entries(self._flushed(data) if isinstance(data, Mapping) else data)
        results = self.operation.run(type(self).__name__, entries, drawn).results
        out = dict(data)
        for entry, result in zip(entries, results, strict=True):
            out[self.keys[entry.index]] = result
        if entries and drawn[0] is not None and (self.point_keys or self.box_keys):
            self._move_companions(out, results[0], entries[0])
        return out

    @property
    def traced_keys(self) -> tuple:
        """The keys with a record."""
        return self.keys

    def inverse(self, data: Mapping) -> dict:
        """Undo the last call on the keys that are present; see `Operation.inverse`."""
        out = dict(data)
        present = [key for key in self.traced_keys if key in data]
        if present and (self.point_keys or self.box_keys):
            self._move_companions(out, data[present[0]], None, inverse=True)
        for key in present:
            out[key] = invert_entry(self.operation, data[key], repr(key))
        return out

    def _flushed(self, data: Mapping) -> Mapping:
        """The data with pending lazy operations of our keys applied, on copies: MONAI would clear the caller's list."""
        inputs = (k for n, k in self.input_keys.items() if self.operation_class.inputs[n].kind != "any")
        return {**data, **{k: without_pending(data[k], repr(k)) for k in (*self.keys, *inputs) if k in data}}

    def _move_companions(self, out: dict, reference: Any, entry: Entry | None, inverse: bool = False) -> None:
        """Move points and boxes by the reference key's last record of this operation."""
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


class DrawsByOperation:
    """Mixin of the twins of operations that draw: only the array instance has a random state, and decides.

    (MONAI's twins seed an outer and an inner transform alike, so that the draw depends on the decision.)
    """

    operation: Any

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Any:
        """Seed the array instance."""
        self.operation.set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        """Let the array instance draw."""
        self.operation.randomize(data)

    @property
    def R(self) -> np.random.RandomState:
        """The random state of the array instance."""
        return self.operation.R

    @R.setter
    def R(self, value: np.random.RandomState) -> None:
        self.operation.R = value


class DrawingDictionaryOperation(DrawsByOperation, DictionaryOperation, Randomizable):
    """Twin of an operation that is always applied and draws."""


class RandomDictionaryOperation(DrawsByOperation, DictionaryOperation, RandomizableTransform):
    """Twin of an operation that is applied at random."""

    @property
    def prob(self) -> float:
        return float(self.operation.prob)

    @prob.setter
    def prob(self, value: float) -> None:
        if "operation" in self.__dict__:  # MapTransform's constructor sets a default first
            self.operation.prob = value


def present_keys(transform: MapTransform, data: Mapping, keys: Iterable[Any]) -> list[Any]:
    """Those of a transform's keys that are in the data, in order.

    Raises:
        KeyError: one is missing, and the transform does not allow that.
    """
    missing = [key for key in keys if key not in data]
    if missing and not transform.allow_missing_keys:
        name = type(transform).__name__
        raise KeyError(f"key {missing[0]!r} is missing in the data: {name} needs it unless allow_missing_keys=True")
    return [key for key in keys if key in data]


def _taken(cls: type[Operation], mode: Any, padding: Any) -> dict[str, Any]:
    """Mode and padding, as far as the array class takes them."""
    return {k: v for k, v in (("mode", mode), ("padding_mode", padding)) if k in inspect.signature(cls).parameters}
