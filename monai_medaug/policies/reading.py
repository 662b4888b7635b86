"""Reading of policies from files that nobody vouches for: plain values in a fixed form, or a clear error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from monai_medaug.policies.operations import PolicyStep, SubPolicy

_MOST_BYTES, _MOST_SUB_POLICIES, _MOST_STEPS, _MOST_TEXT = 1_000_000, 1000, 20, 200
_STEP = ("operation", "probability", "magnitude")
_PROVENANCE: dict[str, type] = {
    **dict.fromkeys(("study", "objective", "measure", "sampler"), str),
    **dict.fromkeys(("seed", "trial", "trials"), int),
    "score": float,
    "versions": dict,
}


def policy_json(text: str | Path) -> dict[str, Any]:
    """The object in a JSON text or file, with no more than the keys of a policy.

    Raises:
        ValueError: it cannot be read, or is something else.

    Example:
        >>> policy_json('{"modality": "ct", "modality": "mri"}')
        Traceback (most recent call last):
        ValueError: a policy must hold each key once, got 'modality' twice
    """
    if isinstance(text, Path):
        try:
            with text.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
            text = data.decode("utf-8")
        except OSError as error:
            raise ValueError(f"a policy must be a file that can be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError("a policy must be JSON text in UTF-8, got other bytes") from None
    if not isinstance(text, str):
        raise ValueError(f"a policy must be JSON text or a Path, got {type(text).__name__}")
    if len(text) > _MOST_BYTES:
        raise ValueError(f"a policy must be at most {_MOST_BYTES} characters, got more")
    try:
        content = json.loads(text, object_pairs_hook=_once_each, parse_constant=_refused, parse_int=_short_int)
    except json.JSONDecodeError as error:
        hint = "" if "{" in text else "; a file is given as a pathlib.Path"
        said = f"{error.msg}, line {error.lineno}{hint}"
        raise ValueError(f"a policy must be JSON, got what can't be read: {said}") from None
    except RecursionError:
        raise ValueError("a policy must be JSON of few levels, got too many") from None
    if not isinstance(content, dict):
        raise ValueError(f"a policy must be a JSON object, got {type(content).__name__}")
    _require_keys(
        "a policy", content, ("schema", "modality", "sub_policies", "provenance"), ("modality", "sub_policies")
    )
    return content


def policy_entries(given: Any) -> list[SubPolicy]:
    """Sub-policies in any of their forms, with operations and numbers still unchecked.

    Raises:
        TypeError: something is of another type.
        ValueError: there are none or too many, or keys are unknown or missing.

    Example:
        >>> policy_entries([[["rotate", 0.5, 1]]])
        [SubPolicy(steps=(PolicyStep(operation='rotate', probability=0.5, magnitude=1),), weight=1.0)]
    """
    return [_sub_policy(entry) for entry in _listed("sub_policies", given, _MOST_SUB_POLICIES)]


def plain_provenance(given: Any) -> dict[str, Any]:
    """Where a policy comes from, checked: known names, short text and finite numbers.

    Raises:
        TypeError: something is of another type.
        ValueError: a name is unknown or a text is long, or looks like an expression.

    Example:
        >>> plain_provenance({"seed": 3, "score": 0.91})
        {'seed': 3, 'score': 0.91}
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"provenance must be a mapping, got {type(given).__name__}")
    _require_keys("provenance", given, tuple(_PROVENANCE), ())
    return {name: _plain_value(f"provenance {name}", value, _PROVENANCE[name]) for name, value in given.items()}


def _plain_value(name: str, value: Any, kind: type) -> Any:
    if kind is dict:
        if not isinstance(value, Mapping) or len(value) > 50:
            raise TypeError(f"{name} must be text by package, got {type(value).__name__}")
        return {_plain_value(name, key, str): _plain_value(name, held, str) for key, held in value.items()}
    if kind is str:
        if not isinstance(value, str) or len(value) > _MOST_TEXT:
            raise TypeError(f"{name} must be text of up to {_MOST_TEXT} characters, got {repr(value)[:40]}")
        if value.lstrip()[:1] in ("$", "@", "%") or not value.isprintable():
            raise ValueError(f"{name} must be plain text, got what looks like an expression")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise TypeError(f"{name} must be a {'number' if kind is float else 'whole number'}, got {repr(value)[:40]}")
    if not abs(value) < 2**63 or not math.isfinite(value):
        raise ValueError(f"{name} must be finite and below 2^63, got {repr(value)[:40]}")
    return value


def _sub_policy(entry: Any) -> SubPolicy:
    if isinstance(entry, SubPolicy):
        return SubPolicy(tuple(_policy_step(s) for s in _listed("steps", entry.steps, _MOST_STEPS)), entry.weight)
    weight = 1.0
    if isinstance(entry, Mapping):
        _require_keys("a sub-policy", entry, ("steps", "weight"), ("steps",))
        weight, entry = entry.get("weight", 1.0), entry["steps"]
    return SubPolicy(tuple(_policy_step(s) for s in _listed("steps", entry, _MOST_STEPS)), weight)


def _policy_step(entry: Any) -> PolicyStep:
    if isinstance(entry, PolicyStep):
        return entry
    if isinstance(entry, Mapping):
        _require_keys("a step", entry, _STEP, _STEP)
        return PolicyStep(*(entry[name] for name in _STEP))
    if not isinstance(entry, Sequence) or isinstance(entry, str) or len(entry) != len(_STEP):
        raise TypeError(f"a step must be {', '.join(_STEP)}, got {repr(entry)[:60]}")
    return PolicyStep(*entry)


def _listed(name: str, given: Any, most: int) -> Sequence[Any]:
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise TypeError(f"{name} must be a list, got {type(given).__name__}")
    if not 1 <= len(given) <= most:
        raise ValueError(f"{name} must be 1 to {most}, got {len(given)}")
    return given


def _require_keys(what: str, given: Mapping, known: Sequence[str], needed: Sequence[str]) -> None:
    if unknown := [key for key in given if key not in known]:
        raise ValueError(f"{what} must hold no more than {', '.join(known)}, got {repr(unknown[0])[:60]}")
    if missing := [key for key in needed if key not in given]:
        raise ValueError(f"{what} must hold {missing[0]!r}, got none")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"a policy must hold each key once, got {key[:40]!r} twice")
        found[key] = value
    return found


def _short_int(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"a policy must hold numbers below 2^63, got one of {len(digits)} digits")
    return int(digits)


def _refused(name: str) -> NoReturn:
    raise ValueError(f"a policy must hold finite numbers, got {name}")
