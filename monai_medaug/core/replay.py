"""Exact repetition of a report's steps: `replay`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.call import run_operation
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.entry import Entry, Given
from monai_medaug.core.report import _ITEM
from monai_medaug.core.seeded import SeededContainer

_CONTAINERS = ("OneOf", "SomeOf", "RandomOrder", "Compose")


def replay(data: Any, report: Any, transform: Any = None) -> Any:
    """Apply the steps of a report again.

    The result is equal bit for bit on the same kind of device. The report is data: class names are looked up in a fixed
    list, and only numbers, strings and lists reach a kernel.

    Args:
        data: the dictionary or image before our first step.
        report: a `Report`, a dictionary or JSON text.
        transform: a preset or `PreservingCompose` built like the original: it is run with the recorded seed, which also
            repeats MONAI's random steps inside it.

    Raises:
        ValueError: the report is not one of ours, names an unknown operation or an applied step of MONAI (whose trace
            does not suffice: give ``transform``), or does not fit the data.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandCTDose, augmentation_report
        >>> image = MetaTensor(torch.randn(1, 16, 16) * 100)
        >>> noisy = RandCTDose(prob=1.0)(image)
        >>> torch.equal(replay(image, augmentation_report(noisy).to_json()), noisy)
        True
    """
    content = _content(report)
    if transform is not None:
        if not isinstance(transform, SeededContainer):
            raise ValueError(f"transform must be a preset or PreservingCompose, got {type(transform).__name__}")
        if not isinstance(content.get("seed"), int):
            raise ValueError("report must hold the seed of a preset or PreservingCompose to replay with a transform")
        return transform.run_seeded(data, content["seed"])
    if content.get("untraced"):
        raise ValueError(
            f"step {content['untraced'][0]} leaves no trace and can't be replayed without the argument transform"
        )
    single = not isinstance(data, Mapping)
    out = {_ITEM: data} if single else dict(data)
    if not any(REGISTRY[s["name"]].changes_grid for s in _ours_applied(content)):
        _require_shapes(data, content)
    for step in content["steps"]:
        if step.get("applied"):
            _repeat(out, step)
    _require_shapes(out, content)
    return out[_ITEM] if single else out


def _ours_applied(report: Mapping) -> list[Mapping]:
    """Our steps that were applied."""
    return [s for s in report["steps"] if s.get("applied") and s.get("name") in REGISTRY]


def _require_shapes(data: Any, report: Mapping) -> None:
    """Raise unless images that a step of ours works on have the shapes of the report."""
    items = {str(k): v for k, v in data.items()} if isinstance(data, Mapping) else {_ITEM: data}
    touched = {k for s in _ours_applied(report) if isinstance(s.get("keys"), Mapping) for k in s["keys"]}
    for key, image in report.get("images", {}).items():
        if key in touched and "shape" in image and hasattr(items.get(key), "shape"):
            shape = list(items[key].shape[1:])
            if shape != image["shape"]:
                raise ValueError(f"{key!r} must have the spatial shape {image['shape']} of the report, got {shape}")


def _content(report: Any) -> dict[str, Any]:
    if isinstance(report, str):
        try:
            report = json.loads(report)
        except json.JSONDecodeError as error:
            raise ValueError(f"report must be JSON text, a Report or a dictionary: {error}") from None
    if not isinstance(report, Mapping) or not isinstance(report.get("steps"), list):
        raise ValueError("report must be a report of monai_medaug, with a list of steps")
    for step in report["steps"]:
        if not isinstance(step, Mapping) or not isinstance(step.get("name", ""), str):
            raise ValueError(f"report has a malformed step: {step!r}")
    images = report.get("images", {})
    if not isinstance(images, Mapping) or not all(isinstance(image, Mapping) for image in images.values()):
        raise ValueError(f"images of the report must name each image's shape, got {images!r}")
    return dict(report)


def _repeat(out: dict[Any, Any], step: Any) -> None:
    """Run one applied step on its entries in ``out``, which it replaces."""
    if not isinstance(step, Mapping) or not isinstance(step.get("keys"), Mapping) or "name" not in step:
        raise ValueError(f"report has a malformed step: {step!r}")
    name = step["name"]
    if name not in REGISTRY:
        if name in _CONTAINERS:
            return
        raise ValueError(f"step {name} is not of monai_medaug and can't be replayed without the argument transform")
    cls = REGISTRY[name]
    if cls.replayable:
        keys = ", ".join(map(repr, step["keys"]))
        raise ValueError(f"step {name} on {keys} can't be replayed: {cls.replayable}")
    names = {str(k): k for k in out}
    entries = {}
    for key, role in sorted(step["keys"].items(), key=lambda item: item[1].get("key", 0)):
        needed = [key, *(role[n] for n in cls.inputs if n in role)]
        if "" in needed:
            raise ValueError(f"step {name} on {key!r} can't be replayed: its {'/'.join(cls.inputs)} had no key")
        absent = [k for k in needed if k not in names]
        if absent:
            raise ValueError(f"data must have the key {absent[0]!r} that the report names, got {sorted(names)}")
        entry = Entry(
            *(out[names[key]], repr(key), role.get("key", 0), role.get("mode") if cls.geometric else None),
            role.get("padding", "border"),
            given={n: Given(n, out[names[role[n]]], role[n]) for n in cls.inputs if n in role},
            accepts_complex=cls.accepts_complex,
        )
        entries[names[key]] = entry
    params, known = _plain(step.get("params"), name), [step["figures"]] if step.get("figures") else None
    traced = any(isinstance(e.data, MetaTensor) for e in entries.values())
    try:
        uid = "replay" if traced else None
        results = run_operation(cls, name, list(entries.values()), [params], params, uid, known).results
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"step {name} of the report is incomplete: {error!r}") from error
    out |= zip(entries, results, strict=True)


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, (int, float, str))


def _plain(params: Any, name: str) -> dict[str, Any]:
    """The parameters of a step, which must be numbers, strings and lists of numbers."""
    if not isinstance(params, Mapping):
        raise ValueError(f"step {name} of the report has no parameters")
    for key, value in params.items():
        if not _is_plain(value):
            raise ValueError(f"step {name}: {key} must be a number, a string or a list of numbers, got {value!r}")
    return dict(params)
