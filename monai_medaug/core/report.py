"""A report on the applied steps, for people and machines: `augmentation_report`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.phrases import named_quantity
from monai_medaug.core.trace import Record, is_ours, samples_of
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.version import __version__

_ITEM = "image"  # the name of a bare MetaTensor
_MEANS = {"anatomy": "labels preserved", "pathology": "lesion kept and visible"}


class Report(dict):
    """A report of plain values; ``str()`` formats it for people, `to_json` for machines and `replay`."""

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        lines = [f"{self['pipeline']} report, {self['package']}"]
        for key, image in self["images"].items():
            size, spacing = _times(image["shape"]), _times(f"{s:.4g}" for s in image["spacing_mm"])
            lines.append(f"  image size       {size} voxels of {spacing} mm ({key})")
        for number, step in enumerate(self["steps"], 1):
            lines.append(f"  {number:2d} {step['name']}" + ("" if step["applied"] else ": not applied"))
            if step["applied"]:
                values = {**step.get("params", {}), **step.get("figures", {})}
                said = (named_quantity(name, value) for name, value in values.items())
                lines += [f"       {name:24s} {value}" for name, value in said]
        lines += [f"     {name}: applied, not recorded" for name in self.get("untraced", [])]
        for key, check in self["range_check"].items():
            (low, high), below, above = check["range_hu"], check["share_below"], check["share_above"]
            lines.append(
                f"  range check      {1 - below - above:.2%} within [{low:g}, {high:g}] HU, "
                f"{below:.2%} below, {above:.2%} above ({key})"
            )
        for what, yes in _MEANS.items():
            answer = self[f"{what}_preserved"]
            lines.append(f"  {f'{what} preserved':20s} {answer}")
            found = self["checked"].get(what, []) if answer != "no" else []
            lines += [f"       {f'{yes}: ' if answer == 'yes' else ''}{c}" for c in found]
        lines += [f"       {v}" for v in self["violations"]]
        if self["strength"] < 1 or self["rejected"]:
            outcome = ", rejected: the input was returned" if self["rejected"] else ""
            eased = " and ".join(self["eased"])
            lines.append(f"  scaled back to       {self['strength']:.0%} of what was drawn in {eased}{outcome}")
        for name, reason in self.get("choice", {}).items():
            lines.append(f"  {name:16s} {reason}")
        if "seed" in self:
            lines.append(f"  seed             {self['seed']}")
        return "\n".join(lines)


def augmentation_report(data: Any) -> Any:
    """Report all applied steps that the trace records.

    Args:
        data: a dictionary with MetaTensors, or a MetaTensor, after our transforms; or a collated batch of either.

    Returns:
        A `Report`, or a list of them for a batch. Its entries: ``package``, ``pipeline``, ``images`` (shape and spacing
        of each key), ``steps`` (name, keys, whether applied, every drawn value and figure with the unit in its name),
        ``range_check`` of the CT preset, ``untraced`` (MONAI's random steps that were applied without a record),
        ``anatomy_preserved`` (labels preserved) and ``pathology_preserved`` (lesion kept and visible): "yes", "no" or
        "not checked"; ``violations``, ``checked``, ``checks``, ``strength`` and ``eased`` (by kind of step) of
        `PreservingCompose`; ``choice``, the reasons of `AdaptiveAugment`, by operation; and the ``seed`` that repeats
        the call of a preset. A report never names a patient, a file or a date.

    Raises:
        ValueError: the data hold no MetaTensor, or no record of ours; bare arrays carry no trace.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandHUContrast
        >>> image = RandHUContrast(factor=1.15, prob=1.0)(MetaTensor(torch.randn(1, 8, 8) * 100))
        >>> augmentation_report(image)["steps"][0]["params"]
        {'factor': 1.15, 'pivot_hu': 0.0, 'dense_only': True}
    """
    items = data if isinstance(data, Mapping) else {_ITEM: data}
    images = {str(k): v for k, v in items.items() if isinstance(v, MetaTensor)}
    if not images:
        raise ValueError(
            "data must hold MetaTensors with a trace, got none: bare arrays carry no trace, which only calls on "
            "MetaTensors leave"
        )
    batch = [len(v) for v in images.values() if v.is_batch]
    traces = {k: samples_of(v) for k, v in images.items()}
    reports = [
        _report_of({k: t[s] for k, t in traces.items() if s < len(t)}, images, s) for s in range(max([1, *batch]))
    ]
    return reports if batch else reports[0]


def _report_of(traces: Mapping[str, list[Record]], images: Mapping[str, MetaTensor], sample: int) -> Report:
    steps, containers = merged_steps(traces)
    if not steps and not containers:
        raise ValueError("data must carry a record of monai_medaug, got none: nothing was applied, or tracing was off")
    keys = {key for entry in (*steps, *containers) for key in entry["keys"]}
    outer = containers[-1] if containers else {}
    judged = [c for c in containers if "verdict" in c["extra"]]
    verdicts = [c["extra"]["verdict"] for c in judged]
    later = [s for s in steps if s["applied"] and s["moves"] and all(s["at"] > c["at"] for c in judged)]
    report = Report(
        package=f"monai_medaug {__version__}",
        pipeline=outer.get("name", "augmentation"),
        images={k: _image_of(v, sample) for k, v in images.items() if k in keys},
        steps=[{k: v for k, v in step.items() if k not in ("extra", "at", "moves")} for step in steps],
        range_check={k: e["range_check"] for k, e in outer.get("by_key", {}).items() if "range_check" in e},
        anatomy_preserved=_worst([v["anatomy"] for v in verdicts], bool(later)),
        pathology_preserved=_worst([v["pathology"] for v in verdicts], bool(later)),
        violations=[violation for v in verdicts for violation in v["violations"]],
        checked={what: [c for v in verdicts for c in v.get("checked", {}).get(what, [])] for what in _MEANS},
        checks={name: figure for v in verdicts for name, figure in v["checks"].items()},
        strength=min([c["extra"]["strength"] for c in judged], default=1.0),
        eased={kind: share for c in judged for kind, share in c["extra"].get("eased", {}).items()},
        rejected=any(c["extra"]["rejected"] for c in judged),
    )
    untraced = dict.fromkeys(name for c in containers for name in c["extra"].get("untraced", []))
    if untraced:
        report["untraced"] = list(untraced)
    choices = {k: v for c in containers for e in c["by_key"].values() for k, v in e.get("choice", {}).items()}
    if choices:
        report["choice"] = choices
    if outer:
        report["settings"] = outer["extra"].get("settings", {})
        report["seed"] = outer["extra"]["seed"]
    return report


def _worst(verdicts: list[str], moved_later: bool) -> str:
    """The verdict on a chain: "no" if any verdict is; "yes" does not cover later geometry."""
    if "no" in verdicts:
        return "no"
    return "yes" if "yes" in verdicts and not moved_later else "not checked"


def merged_steps(traces: Mapping[str, list[Record]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The steps from our first one on, and our containers, each once for all keys with its record.

    The n-th record of an instance in one key's trace matches the n-th in another's.
    """
    steps: dict[tuple, dict[str, Any]] = {}
    containers: dict[tuple, dict[str, Any]] = {}
    for key, trace in traces.items():
        seen: dict[str, int] = {}
        first = next((i for i, r in enumerate(trace) if is_ours(r)), len(trace))
        for position, record in enumerate(trace[first:]):
            extra = record.get("extra_info") or {}
            name = str(record.get("class"))
            owner = extra["uid"] if is_ours(record) else f"{name} {record.get('id')}"
            seen[owner] = seen.get(owner, -1) + 1
            where = containers if extra.get("container") else steps
            entry = where.setdefault((owner, seen[owner]), {"name": name, "keys": {}, "extra": extra, "at": position})
            entry["at"] = max(entry["at"], position)
            models = REGISTRY.get(name)
            roles = ("key", "mode", "padding", *(models.inputs if models else ()))
            entry["keys"][key] = {k: extra[k] for k in roles if k in extra} if is_ours(record) else {}
            entry.setdefault("by_key", {})[key] = extra
            entry["applied"] = bool(record.get("do_transforms", True))
            entry["ours"] = is_ours(record)
            entry["moves"] = models is None or models.geometric or models.mixes_samples
            if is_ours(record) and entry["applied"] and not extra.get("container"):
                entry["models"] = (REGISTRY[name].__doc__ or "").split("\n")[0]
                entry |= {"params": extra["params"]} if "params" in extra else {}
                for figure_name, figure in extra.get("figures", {}).items():  # one that differs gets the key's name
                    known = entry.setdefault("figures", {})
                    known[figure_name if known.get(figure_name, figure) == figure else f"{figure_name}_of_{key}"] = (
                        figure
                    )
    ordered = sorted(steps.values(), key=lambda s: s["at"])
    for step in ordered:
        del step["by_key"]
    return ordered, list(containers.values())


def _image_of(image: MetaTensor, sample: int) -> dict[str, Any]:
    shape = image.shape[2:] if image.is_batch else image.shape[1:]
    affine = image.affine[sample] if image.is_batch and image.affine.ndim == 3 else image.affine
    grid = VoxelGrid(tuple(int(n) for n in shape), affine.tolist())
    return {"shape": list(grid.shape), "spacing_mm": list(grid.spacing)}


def _times(values: Any) -> str:
    return " × ".join(str(v) for v in values)
