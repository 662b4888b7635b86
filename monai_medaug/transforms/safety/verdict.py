"""The verdict on a call: labels and lesion before and after, compared through the records of the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.call import apply_record
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.tensors import affine_of, plain_tensor
from monai_medaug.core.trace import Record, is_ours
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.functional.labels import near_whole, whole_labels
from monai_medaug.functional.preservation import (
    contrast_to_noise,
    counting_slack,
    label_counts,
    lesion_topology,
    ring_around,
)

_UNLIKE = 0.01  # greatest share of the labels that are padded unlike the image
_VISIBLE_CONTRAST = 0.1  # the contrast to noise of a lesion below this is not checked


@dataclass(frozen=True)
class Limits:
    """Limits of a preserved sample, see `PreservingCompose`."""

    max_volume_change: float = 0.1
    min_lesion_kept: float = 0.9
    min_contrast_kept: float = 0.5


def judge(
    before: Mapping,
    after: Mapping,
    label_keys: Sequence[Any],
    lesion_key: Any,
    image_keys: Sequence[Any],
    limits: Limits,
) -> dict[str, Any]:
    """Compare and decide.

    Returns:
        ``anatomy`` and ``pathology``: "yes", "no" or "not checked"; ``violations``: sentences; ``checks``: figures.
    """
    checks: dict[str, Any] = {}
    anatomy = [_judge_label(before, after, key, image_keys, limits, checks) for key in label_keys if key in before]
    lesions = [lesion_key] if lesion_key is not None and lesion_key in before else []
    pathology = [_judge_lesion(before, after, key, image_keys, limits, checks) for key in lesions]
    return {
        "anatomy": _answer(anatomy),
        "pathology": _answer(pathology),
        "violations": [v for found in (*anatomy, *pathology) for v in found or []],
        "checks": checks,
    }


def _answer(found: Sequence[list[str] | None]) -> str:
    """The verdict for the violations of each mask; None for a mask without anything to check."""
    checked = [violations for violations in found if violations is not None]
    if not checked:
        return "not checked"
    return "no" if any(checked) else "yes"


@dataclass
class _Passage:
    """A label map before and after a call, and the steps between."""

    source: torch.Tensor
    result: torch.Tensor
    kept: torch.Tensor
    covered: torch.Tensor
    volume_scale: float
    voxel_volumes: tuple[float, float]
    determinants: list[float]
    steps: list[Record]
    grid: VoxelGrid
    only_ours: bool

    @property
    def known(self) -> torch.Tensor:
        """Where the result is not filled with a number, such as a value to ignore."""
        numbers = [p for p in (_padding(r) for r in self.steps) if not isinstance(p, str) and p != 0]
        if not numbers:
            return torch.ones_like(self.covered)
        filled = torch.stack([(self.result == n).all(0) for n in numbers]).any(0)
        return self.covered | ~filled


def _passage(before: MetaTensor, after: MetaTensor) -> _Passage | None:
    """Follow a label map through the records of the call; None without a trace."""
    if not isinstance(after, MetaTensor):
        return None
    records = [r for r in after.applied_operations[len(before.applied_operations) :] if r.get("do_transforms")]
    steps = [r for r in records if is_ours(r) and r["class"] in REGISTRY and REGISTRY[r["class"]].geometric]
    source, result = (near_whole(plain_tensor(m, "label")) for m in (before, after))
    grids = [VoxelGrid(tuple(t.shape[1:]), affine_of(m)) for t, m in ((source, before), (result, after))]
    kept = torch.ones(source.shape[1:], dtype=torch.bool, device=source.device)
    covered = torch.ones(result.shape[1:], dtype=torch.bool, device=source.device)
    # MONAI's steps and changes of the grid can't be followed: then only volumes in mm³ are compared
    only_ours = all(is_ours(r) for r in records) and grids[0] == grids[1]
    if only_ours:
        for record in steps:
            covered = _through(record, covered, grids[0], inverse=False)
        for record in reversed(steps):
            kept = _through(record, kept, grids[0], inverse=True)
    return _Passage(
        source,
        result,
        kept,
        covered,
        float(np.prod([r["extra_info"].get("figures", {}).get("volume_scale", 1.0) for r in steps])),
        tuple(float(abs(np.linalg.det(g.matrix[:3, :3]))) for g in grids),  # type: ignore[arg-type]
        [f["min_det_j"] for f in (r["extra_info"].get("figures", {}) for r in steps) if "min_det_j" in f],
        steps,
        grids[0],
        only_ours,
    )


def _padding(record: Record) -> str | float:
    """What a step filled in from outside: a number, ``"border"`` or ``"reflection"``."""
    padding = record["extra_info"].get("padding", "border")
    return 0.0 if isinstance(padding, dict) or padding in ("zeros", "darkest", "brightest") else padding


def _unlike_padding(passage: _Passage, image: Any) -> float | None:
    """The share of the labels that differ from those an image shows outside the field of view before the call.

    An image that repeats its border shows the labels there repeated, one filled with a number shows none. None if the
    steps fill both alike, or can't be followed, or if the label map gets a number of its own there, to ignore.
    """
    if not passage.only_ours or not isinstance(image, MetaTensor) or not passage.steps:
        return None
    own = {r["extra_info"]["uid"]: r for r in image.applied_operations if is_ours(r)}
    seen = [own.get(r["extra_info"]["uid"]) for r in passage.steps]
    pairs = [(_padding(r), _padding(s)) for r, s in zip(passage.steps, seen, strict=True) if s is not None]
    if len(pairs) < len(seen) or not any(_differ(*pair) for pair in pairs):
        return None
    shown = passage.source
    for record, (_, padding) in zip(passage.steps, pairs, strict=True):
        fill = padding if isinstance(padding, str) else 0.0
        shown = apply_record(record, shown, passage.grid, mode="nearest", padding=fill)
    outside = ~passage.covered & ((shown != 0) | (passage.result != 0)).any(0)
    wrong = outside & (shown != passage.result).any(0)
    return float(wrong.sum() / (passage.result != 0).any(0).sum().clamp_min(1))


def _differ(label: str | float, image: str | float) -> bool:
    """Whether a label map and an image are filled differently; a number other than 0 in a label map says nothing."""
    if isinstance(label, str):
        return label != image
    return label == 0 and isinstance(image, str)


def _through(record: Record, inside: torch.Tensor, grid: VoxelGrid, inverse: bool) -> torch.Tensor:
    return apply_record(record, inside[None].to(torch.uint8), grid, inverse, mode="nearest", padding=0.0)[0] > 0


def _judge_label(
    before: Mapping, after: Mapping, key: Any, image_keys: Sequence[Any], limits: Limits, checks: dict[str, Any]
) -> list[str] | None:
    passage = _passage(before[key], after[key])
    if passage is None or not bool(passage.source.any()):
        return None
    violations = []
    whole_labels(passage.source, repr(key), " to be a label map")
    first = label_counts(passage.source, passage.kept)
    last = label_counts(passage.result, passage.covered)
    changes = {}
    axes = passage.source.ndim - 1
    for name, count in first.items():
        expected = count * passage.volume_scale * passage.voxel_volumes[0] / passage.voxel_volumes[1]
        change = last.get(name, 0) / expected - 1
        changes[name] = change
        if abs(change) > limits.max_volume_change + counting_slack(expected, axes):
            violations.append(
                f"{key}: volume of label {name} changed by {change:+.1%}, allowed ±{limits.max_volume_change:.1%}"
            )
    checks[f"{key}: volume change"] = changes
    for image in image_keys:
        if image in after and (share := _unlike_padding(passage, after[image])) is not None:
            checks[f"{key}: labels padded unlike {image}"] = share
            if share > _UNLIKE:
                violations.append(
                    f"{key}: {share:.1%} of its labels beside the border differ from what {image} shows there: both "
                    "need the same padding_mode"
                )
    invented = sorted(set(label_counts(passage.result, passage.known)) - set(label_counts(passage.source)))
    if invented:
        violations.append(f"{key}: new labels {', '.join(invented[:5])}: masks need mode 'nearest'")
    if passage.determinants:
        least = min(passage.determinants)
        checks[f"{key}: least Jacobian determinant"] = least
        if least <= 0:
            violations.append(f"{key}: the deformation folds, least Jacobian determinant {least:.3f}")
    return violations


def _judge_lesion(
    before: Mapping, after: Mapping, key: Any, image_keys: Sequence[Any], limits: Limits, checks: dict[str, Any]
) -> list[str] | None:
    passage = _passage(before[key], after[key])
    if passage is None or not bool(passage.source.any()):
        return None
    violations = []
    first = (passage.source != 0).any(0)  # the union of several channels
    last = (passage.result != 0).any(0) & passage.known
    inside = float((first & passage.kept).sum() / first.sum())
    # of the part inside, unrecorded steps and MONAI's may have removed some
    if passage.only_ours:
        expected = first
        for record in passage.steps:
            expected = _through(record, expected, passage.grid, inverse=False)
        ratio = float((last & expected).sum() / expected.sum().clamp_min(1))
    else:
        wanted = float(first.sum()) * passage.volume_scale * passage.voxel_volumes[0]
        found = float(last.sum()) * passage.voxel_volumes[1]
        ratio = found / wanted + counting_slack(wanted / passage.voxel_volumes[1], first.ndim)
    kept = inside * min(1.0, ratio)
    checks["lesion share kept"] = kept
    if kept < limits.min_lesion_kept or not bool(last.any()):
        violations.append(f"{key}: {kept:.0%} of the lesion is in the image, {limits.min_lesion_kept:.0%} required")
    made_up = float((last & ~passage.covered).sum() / last.sum().clamp_min(1))
    checks["lesion share made up by padding"] = made_up
    if made_up > 1 - limits.min_lesion_kept:
        violations.append(f"{key}: {made_up:.0%} of the lesion is padding: it repeats the image's border")
    topology = [lesion_topology(m) for m in (first, last)]
    checks["lesion topology before"], checks["lesion topology after"] = topology
    for name in ("components", "cavities"):
        if topology[0][name] != topology[1][name]:
            violations.append(f"{key}: the lesion's {name} went from {topology[0][name]} to {topology[1][name]}")
    rings = [ring_around(first), ring_around(last)]
    if passage.only_ours:  # the same surroundings, moved along, so that geometry alone keeps the contrast
        rings[1] = rings[0]
        for record in passage.steps:
            rings[1] = _through(record, rings[1], passage.grid, inverse=False)
    for image in image_keys:
        if image not in before or before[image].shape[1:] != first.shape or after[image].shape[1:] != last.shape:
            continue
        noise = [
            contrast_to_noise(plain_tensor(d[image], repr(image))[0], mask, ring)
            for d, mask, ring in ((before, first, rings[0]), (after, last, rings[1]))
        ]
        checks[f"{image}: lesion contrast to noise"] = noise
        if abs(noise[0]) > _VISIBLE_CONTRAST and noise[1] / noise[0] < limits.min_contrast_kept:
            violations.append(f"{image}: the lesion's contrast to noise fell from {noise[0]:.2f} to {noise[1]:.2f}")
    return violations
