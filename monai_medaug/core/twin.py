"""Dictionary twins: ``Food = dictionary_twin(Foo)``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from monai.transforms.transform import Randomizable

from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.dictionary import (
    KEYS,
    DictionaryOperation,
    DrawingDictionaryOperation,
    KeyArgument,
    RandomDictionaryOperation,
)
from monai_medaug.core.operation import Operation, RandomOperation

_KEYS_DOC = """
    Args:
        keys: keys of the items to transform; they share one draw. The first present one gives the reference grid."""
_JOINED_DOC = """
    Args:
        keys: the input: one key, or several that are joined along the channels in this order."""
_END_DOC = """
        allow_missing_keys: skip missing keys instead of raising a KeyError.
"""


def dictionary_twin(cls: type[Operation], base: type[DictionaryOperation] | None = None) -> Any:
    """The dictionary twin of an array class: its name with a ``d``, its arguments after ``keys``.

    Signature and docstring extend those of the array class; static checkers read the stubs in ``__init__.pyi``.

    Args:
        cls: the array class.
        base: class of the twin; None for the usual one.
    """
    if base is None:
        base = DrawingDictionaryOperation if issubclass(cls, Randomizable) else DictionaryOperation
        base = RandomDictionaryOperation if issubclass(cls, RandomOperation) else base
    name = f"{cls.__name__}d"
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = [
        p.replace(annotation=base.per_key.get(p.name, p.annotation)) for p in inspect.signature(cls).parameters.values()
    ]
    needed = [p for p in own if p.default is p.empty]
    extra = base.key_arguments(cls)
    early, late = (
        [inspect.Parameter(a.name, kind, default=a.default, annotation=a.annotation) for a in extra if a.early is when]
        for when in (True, False)
    )
    parameters = [
        inspect.Parameter("self", kind),
        inspect.Parameter("keys", kind, annotation=KEYS),
        *(*needed, *early, *own[len(needed) :], *late),
        inspect.Parameter("allow_missing_keys", kind, default=False, annotation="bool"),
    ]
    signature = inspect.Signature(parameters, return_annotation=None)

    def __init__(self: DictionaryOperation, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}.__init__() {error}") from None
        base.__init__(**bound.arguments)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    __init__.__qualname__ = f"{name}.__init__"
    body = {
        "__init__": __init__,
        "__doc__": _twin_doc(cls, extra),
        "__module__": cls.__module__,
        "__qualname__": name,
        "operation_class": cls,
    }
    REGISTRY[name] = cls
    return type(name, (base,), body)


def _twin_doc(cls: type[Operation], extra: Sequence[KeyArgument]) -> str:
    doc = (cls.__doc__ or "").split("    Example:")[0].rstrip()
    head, _, rest = doc.partition("\n    Args:")
    keys = _JOINED_DOC if cls.joins_keys else _KEYS_DOC
    per_key = (
        "\n        mode, padding_mode: one for all keys or one per key. A single number as padding means 0 for masks."
    )
    own = "".join(f"\n        {a.name}: {a.doc}" for a in extra)
    names = inspect.signature(cls).parameters
    keys += (per_key if cls.geometric and "padding_mode" in names else "") + own
    return f"Dictionary version of `{cls.__name__}`. {head.rstrip()}\n{keys}{rest}{_END_DOC}"
