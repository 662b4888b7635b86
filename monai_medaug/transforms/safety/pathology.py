"""Whether a lesion is kept: how much of its mask is in the image, where, in how many pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_medaug.core.tensors import plain_tensor
from monai_medaug.functional.borders import border_lines, borders_in_place
from monai_medaug.functional.labels import label_array
from monai_medaug.functional.preservation import (
    components,
    counting_slack,
    lesion_topology,
    of_each,
    spread,
    stands_for,
    strangers,
    topology_changes,
)
from monai_medaug.functional.voxels import holds_at, values_at
from monai_medaug.transforms.safety.finding import GEOMETRY, Finding, Limits
from monai_medaug.transforms.safety.passage import Passage, fills
from monai_medaug.transforms.safety.shown import shown_images
from monai_medaug.transforms.safety.visibility import LesionMask, judge_visibility

_OF_COMPONENT = 8  # voxels looked at: smaller components depend on the sampling
_BORDERS_IN_PLACE = 0.7  # least share of lines across its border; small masks are jagged


def judge_lesion(
    before: Mapping, after: Mapping, key: Any, image_keys: Sequence[Any], limits: Limits, ours: bool
) -> Finding | None:
    """Judge a lesion mask, the union of its channels; None if there is no lesion. Arguments as of `judge_labels`."""
    source, result = (label_array(plain_tensor(d[key], repr(key))) for d in (before, after))
    first = _union(source != 0)
    if not first.any():
        return None
    finding = Finding()
    passage = Passage(before[key], after[key])
    last = _without_padding(source, result, passage)
    lesion = LesionMask(
        key, first, last, *components(last), border_lines(last.view(np.uint8), passage.grids[1]), passage.grids[1]
    )
    _judge_mask(lesion, passage, limits, finding)
    images = shown_images(before, after, image_keys, passage)
    if len(lesion.voxels):
        judge_visibility(lesion, images, limits, ours, finding)
    if not finding.violations and not images:
        finding.unchecked = "there is no image to see the lesion in"
    return finding


def _union(channels: np.ndarray) -> np.ndarray:
    return channels[0] if len(channels) == 1 else np.any(channels, axis=0)


def _without_padding(source: np.ndarray, result: np.ndarray, passage: Passage) -> np.ndarray:
    """The lesion in the result, without the number that a step filled in to be ignored."""
    last = _union(result != 0)
    for number in {f for (f,) in fills([passage]) if not isinstance(f, str) and f != 0}:
        filled = np.all(result == number, axis=0)
        if (source == number).any():  # the number is also a label
            where = np.argwhere(filled)
            covered = values_at(source[0], passage.back(_embedded(where)), linear=False)[1]
            filled[tuple(where[covered].T)] = False
        last = last & ~filled
    return last


def _judge_mask(lesion: LesionMask, passage: Passage, limits: Limits, finding: Finding) -> None:
    key, first, last = lesion.key, lesion.first, lesion.last
    source, result = components(first), (lesion.voxels, lesion.component)
    some = of_each(source[1])
    to = passage.ahead(_embedded(source[0][some]))
    inside, there = values_at(last, to, linear=False)[1], holds_at(last, to)
    weight = stands_for(source[1], some)
    stays, kept = (float(np.average(found, weights=weight)) for found in (inside, inside & there))
    lost: int = strangers(source[1][some][inside], there[inside], _OF_COMPONENT)
    finding.checks["lesion share kept"] = kept
    if kept < limits.min_lesion_kept or not len(lesion.voxels):
        finding.violated(
            f"{key}: {kept:.0%} of the lesion is in the image, {limits.min_lesion_kept:.0%} required", GEOMETRY
        )
        if not len(lesion.voxels):
            return
    some = of_each(lesion.component)
    found = _embedded(lesion.voxels[some])
    came = passage.back(found)
    covered = values_at(first, came, linear=False)[1]
    weight = stands_for(lesion.component, some)
    made_up = float(1 - np.average(covered, weights=weight))
    finding.checks["lesion share made up by padding"] = made_up
    if made_up > 1 - limits.min_lesion_kept:
        finding.violated(f"{key}: {made_up:.0%} of the lesion is padding: it repeats the image's border", GEOMETRY)
    was = holds_at(first, came)
    added = float(1 - np.average(was[covered], weights=weight[covered])) if covered.any() else 0.0
    made = strangers(lesion.component[some][covered], was[covered], _OF_COMPONENT)
    for number, what in ((lost, "lost"), (made, "were no lesion before")):
        if number:
            finding.violated(f"{key}: components of the lesion {what}: {number}")
    size = len(source[0]) * stays / passage.density(found[spread(len(found), 200)])
    change = len(lesion.voxels) * (1 - made_up) / max(size, 1.0) - 1
    finding.checks["lesion volume change"] = change
    if added > 1 - limits.min_lesion_kept or change > 2 * limits.max_volume_change + 2 * counting_slack(
        size, first.ndim
    ):
        finding.violated(
            f"{key}: the mask grew beyond the lesion: {added:.0%} of it were none, volume {change:+.0%} against the map"
        )
    pieces = [lesion_topology(*m) for m in (source, result)]
    finding.checks["lesion topology before"], finding.checks["lesion topology after"] = pieces
    for name, (number, is_now) in topology_changes(source, result).items():
        finding.violated(f"{key}: the lesion's {name} went from {number} to {is_now}", GEOMETRY)
    if lesion.lines is not None:
        in_place, _ = borders_in_place(lesion.lines, last, first, passage.places(lesion.lines.index))
        finding.checks["lesion borders in place"] = in_place
        if in_place < _BORDERS_IN_PLACE:
            finding.violated(f"{key}: the lesion's border is elsewhere than the steps moved it")
    finding.checked.append(f"{kept:.0%} of the lesion in the image, components {pieces[1]['components']}")


def _embedded(voxels: np.ndarray) -> np.ndarray:
    """Voxels (N, axes) as positions (N, 3) of the embedded volume."""
    return np.pad(voxels, ((0, 0), (3 - voxels.shape[1], 0))).astype(float)
