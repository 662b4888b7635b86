"""Whether labels are preserved: volumes, places, and edges of the image at their borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_medaug.core.tensors import plain_tensor
from monai_medaug.functional.borders import (
    MARGIN,
    BorderLines,
    LabelBlocks,
    border_lines,
    borders_in_place,
    inner_lines,
    label_blocks,
)
from monai_medaug.functional.edges import EdgesKept, disturbed_places, edges_kept
from monai_medaug.functional.labels import label_array, one_map, whole_labels
from monai_medaug.functional.preservation import counting_slack, label_counts, label_points
from monai_medaug.functional.voxels import FACES, equal_at, values_at
from monai_medaug.transforms.safety.finding import GEOMETRY, INTENSITY, Finding, Limits
from monai_medaug.transforms.safety.passage import Passage, fills
from monai_medaug.transforms.safety.shown import ShownImage, shown_images

_POINTS, _FEWEST_POINTS, _MORE_POINTS = 3000, 60, 1500
_SLACK = 1.5  # three standard deviations: a map may have dozens of labels
_IN_PLACE = 0.8  # least share of a label's voxels found where the records say
_UNLIKE = 0.01  # greatest share of the labels that are padded unlike the image
_BORDERS_IN_PLACE, _BORDER_IN_PLACE = 0.8, 0.7  # the same of lines across their borders, all and those of one label
_FOLLOWS = 0.9  # least share of edges in place that shows an image where the labels are not
_DISTURBED, _TORN = 0.15, 0.02  # greatest shares of places where structure appeared or vanished
_OF_LABEL = 3  # visible places of one label that can't all be lost by chance
_FEWEST_PLACES = 4  # visible places, below which the image says nothing
_APPEARED, _VANISHED, _FEWEST_STRANGE = 0.001, 0.003, 3  # greatest shares of the whole image with other structures


def judge_labels(
    before: Mapping, after: Mapping, key: Any, image_keys: Sequence[Any], limits: Limits, ours: bool
) -> Finding | None:
    """Judge a label map; None if there is no label in it.

    Args:
        before: the sample.
        after: the result.
        key: of the label map.
        image_keys: of the images.
        limits: what is allowed.
        ours: whether all steps are of this package, so that the trace holds all.
    """
    given = [plain_tensor(d[key], repr(key)) for d in (before, after)]
    source, result = (label_array(g) for g in given)
    first, last = ([label_counts(channel) for channel in labels] for labels in (source, result))
    if not any(first):
        return None
    whole_labels(given[0], repr(key), " to be a label map")
    finding = Finding()
    passage = Passage(before[key], after[key])
    labels = _Labels(key, source, result, first, last, passage)
    misplaced = _judge_volumes(labels, limits, finding)
    for record in passage.steps:
        least = record["extra_info"].get("figures", {}).get("min_det_j", 1.0)
        if least <= 0:
            finding.violated(f"{key}: the deformation folds, least Jacobian determinant {least:.3f}", GEOMETRY)
    images = shown_images(before, after, image_keys, passage)
    _judge_images(labels, images, misplaced, limits, ours, finding)
    if not finding.violations and not images and any(k in before for k in image_keys):
        finding.unchecked = "the images are gone"
    return finding


class _Labels:
    """A label map before and after, with its voxels."""

    def __init__(
        self,
        key: Any,
        source: np.ndarray,
        result: np.ndarray,
        first: list[dict[float, int]],
        last: list[dict[float, int]],
        passage: Passage,
    ) -> None:
        self.key, self.source, self.result, self.first, self.last = key, source, result, first, last
        self.passage = passage
        self.maps = one_map(source), one_map(result)
        names = sum(len(c) for c in first)
        self.per_label = int(np.clip(_POINTS // names, _FEWEST_POINTS, _POINTS // 8))

    def name(self, channel: int, value: float) -> str:
        shown = f"{value:g}"
        return shown if len(self.source) == 1 else f"{channel}:{shown}"


def _judge_volumes(labels: _Labels, limits: Limits, finding: Finding) -> float:
    """Compare volumes and places of each label; the share of the labels' voxels that are not where they should be."""
    key, passage = labels.key, labels.passage
    changes: dict[str, float] = {}
    agreement: dict[str, float] = {}
    sizes: dict[str, int] = {}
    axes = labels.source.ndim - 1
    filled = {f for (f,) in fills([passage]) if not isinstance(f, str) and f != 0}
    invented = []
    for channel, (first, last) in enumerate(zip(labels.first, labels.last, strict=False)):
        kept, found = _followed(labels, channel, first, ahead=True)
        covered, came = _followed(labels, channel, last, ahead=False)
        for value, count in first.items():
            name = labels.name(channel, value)
            expected = count * kept[value] * passage.volume_scale
            there = last.get(value, 0) * covered.get(value, 0.0)
            if expected < 1:
                continue
            changes[name] = there / expected - 1
            slack = _SLACK * counting_slack(expected, axes)
            if abs(changes[name]) > limits.max_volume_change + slack:
                finding.violated(
                    f"{key}: volume of label {name} changed by {changes[name]:+.1%}, allowed "
                    f"±{limits.max_volume_change:.1%}",
                    GEOMETRY,
                )
            agreement[name] = min(found[value], came.get(value, 0.0)) + slack
            sizes[name] = count
        invented += [
            labels.name(channel, v) for v in last if v not in first and not (v in filled and covered[v] < 0.01)
        ]
    finding.checks[f"{key}: volume change"] = changes
    if invented:
        finding.violated(f"{key}: new labels {', '.join(invented[:5])}: masks need mode 'nearest'")
    if not agreement:
        return 0.0
    finding.checks[f"{key}: voxels in place"] = agreement = {k: min(1.0, v) for k, v in agreement.items()}
    named = "the label" if len(changes) == 1 else f"{len(changes)} labels"
    finding.checked.append(f"volume of {named} within {max(map(abs, changes.values())):.1%}")
    total = sum(sizes.values())
    return sum(sizes[n] for n, a in agreement.items() if a < _IN_PLACE) / total


def _followed(
    labels: _Labels, channel: int, counts: Mapping[float, int], ahead: bool
) -> tuple[dict[float, float], dict[float, float]]:
    """The share of each label's voxels that stays in the image, and of these the share that has the label there."""
    if not counts:
        return {}, {}
    source, target = (labels.source, labels.result) if ahead else (labels.result, labels.source)
    move = labels.passage.ahead if ahead else labels.passage.back
    points, names = label_points(source[channel], counts, labels.per_label)
    inside, agree = _found(target[channel], move(points.astype(float)), names)
    values = np.array(list(counts))
    own = np.searchsorted(values, names)
    sizes, stay, same = (np.bincount(own, w, len(values)) for w in (None, inside, inside & agree))
    stays = dict(zip(counts, (stay / sizes).tolist(), strict=True))
    agrees = dict(zip(counts, np.where(stay > 0, same / np.maximum(stay, 1), 1.0).tolist(), strict=True))
    cut = {v: n for v, n in counts.items() if 0 < stays[v] < 1 and n > labels.per_label}
    if cut:  # their share needs more voxels
        points, names = label_points(source[channel], cut, _MORE_POINTS)
        inside, _ = _found(target[channel], move(points.astype(float)), names)
        stays |= {v: float(inside[names == v].mean()) for v in cut}
    return stays, agrees


def _found(target: np.ndarray, index: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether positions lie in a map, and whether they or a neighbouring voxel have these labels there."""
    found = equal_at(target, index, FACES, names)
    return found[:, 0] < 2, np.asarray((found & 1).any(1))


def _judge_images(
    labels: _Labels, images: Sequence[ShownImage], misplaced: float, limits: Limits, ours: bool, finding: Finding
) -> None:
    key = labels.key
    lines, blocks = _lines(labels, before=False)
    if lines is not None:
        before = labels.passage.places(lines.index)
        in_place, worst = borders_in_place(lines, labels.maps[1], labels.maps[0], before)
        finding.checks[f"{key}: borders in place"], finding.checks[f"{key}: of one label"] = in_place, worst
        if in_place < _BORDERS_IN_PLACE or worst < _BORDER_IN_PLACE:
            misplaced = max(misplaced, 1 - in_place)
    lost = misplaced > 0
    if lost:
        lines, blocks = _lines(labels, before=True)
    inner = None if lost else inner_lines(labels.maps[1], blocks)
    seen = follows = 0
    for image in images:
        if not image.in_place:
            finding.violated(f"{key}: moved otherwise than {image.key}")
            finding.misfit = True
            continue
        if not lost and (share := _padded_unlike(labels, image)) is not None:
            finding.checks[f"{key}: labels padded unlike {image.key}"] = share
            if share > _UNLIKE:
                finding.violated(
                    f"{key}: {share:.1%} of its labels beside the border differ from what {image.key} shows there: "
                    "both need the same padding_mode",
                )
        _judge_elsewhere(labels, image, ours, finding)
        if lines is None:
            continue
        places = image.places(lines.index)
        within = places if inner is None else image.places(inner.index)
        for name, channel in image.channels():
            first, last, known = image.values(channel, places)
            edges = edges_kept(lines.place, first, last, np.all(known[:, MARGIN:-MARGIN], axis=1), image.curve(channel))
            if edges.visible < max(_FEWEST_PLACES, 0.1 * edges.places):
                continue
            seen += 1
            follows += edges.kept >= _FOLLOWS
            finding.checks[f"{key}: edges kept in {name}"] = edges.kept
            if lost:
                continue
            disturbed = {"borders": edges.disturbed}
            if inner is not None:
                first, last, known = image.values(channel, within)
                there = np.all(known, axis=1)
                if there.any():
                    place, curve = inner.place[there], image.curve(channel)
                    inside = disturbed_places(place, first[there], last[there], curve, edges.least_texture)
                    disturbed["inside"] = inside
            for where, shares in disturbed.items():
                finding.checks[f"{key}: disturbed {where} in {name}"] = list(shares)
            wrong = _misfits(edges, lines, disturbed, limits)
            for sentence in wrong:
                finding.violated(f"{key}: {sentence.format(name)}", *([INTENSITY] if ours else []))
            if wrong:
                finding.misfit = True
            else:
                finding.checked.append(f"{edges.kept:.0%} of {edges.visible} visible edges of {name} at their borders")
    if lost and (follows or ours or not images):
        finding.misfit = True
        finding.violated(f"{key}: {misplaced:.0%} of the labels are not where the steps moved them")
    elif lost:
        finding.misfit = True
        finding.unchecked = "a step moved image and labels without a record, so that nothing can be compared"
    elif images and not seen and not ours and not finding.violations:
        finding.unchecked = "the images show no edges at the labels' borders"


def _judge_elsewhere(labels: _Labels, image: ShownImage, ours: bool, finding: Finding) -> None:
    """Structures such as metal that an image shows anywhere, also off the labels."""
    for name, channel in image.channels():
        counts, places = image.strange(channel)
        shares = counts / max(places, 1)
        finding.checks[f"{labels.key}: strange structures anywhere in {name}"] = shares.tolist()
        if np.any((counts >= _FEWEST_STRANGE) & (shares > (_APPEARED, _VANISHED))):
            finding.violated(
                f"{labels.key}: {name} shows strong structures that it had not, at {shares.sum():.1%} of all places",
                *([INTENSITY] if ours else []),
            )


def _misfits(
    edges: EdgesKept, lines: BorderLines, disturbed: Mapping[str, tuple[float, float]], limits: Limits
) -> list[str]:
    """Why an image, "{}" in the sentences, doesn't fit the labels any longer."""
    wrong = []
    if edges.kept < limits.min_edges_kept:
        wrong.append(
            f"only {edges.kept:.0%} of the {edges.visible} edges of {{}} at its borders are where they were, "
            f"{limits.min_edges_kept:.0%} required"
        )
    own = lines.label[edges.seen]
    lost = [v for v in np.unique(own) if (own == v).sum() >= _OF_LABEL and not edges.fits[own == v].any()]
    if lost and not wrong:
        wrong.append(f"{{}} shows no edge any longer at the borders of so many labels: {len(lost)}")
    for where, (some, much) in disturbed.items():
        if some > _DISTURBED or much > _TORN:
            wrong.append(
                f"{{}} shows other structures at {some:.0%} of its places {where}, much stronger ones at {much:.0%}"
            )
    return wrong


def _lines(labels: _Labels, before: bool) -> tuple[BorderLines | None, LabelBlocks]:
    """Lines across the borders, in voxels of the result, and the blocks of the map."""
    passage = labels.passage
    labelled = labels.maps[0 if before else 1]
    blocks = label_blocks(labelled)
    lines = border_lines(labelled, passage.grids[0 if before else 1], blocks)
    if lines is not None and before:
        moved = passage.ahead(lines.index.reshape(-1, 3)).reshape(lines.index.shape)
        lines = BorderLines(lines.place, lines.label, moved)
    return lines, blocks


def _padded_unlike(labels: _Labels, image: ShownImage) -> float | None:
    """The share of the labels that differ from those an image shows outside the field of view before the call.

    An image that repeats its border shows the labels there repeated, one filled with a number shows none. None if the
    steps fill both alike, or if the label map gets a number of its own there, to ignore.
    """
    pairs = fills([labels.passage, image.passage])
    unlike = [(a, b) for a, b in pairs if (a != b if isinstance(a, str) else a == 0 and isinstance(b, str))]
    if not unlike:
        return None
    before, own = labels.passage.everywhere
    outside = ~values_at(labels.source[0], before, linear=False)[1]
    repeats = isinstance(unlike[0][1], str)
    wrong = np.zeros(len(outside), bool)
    labelled = np.zeros(len(outside), bool)
    for first, last in zip(labels.source, labels.result, strict=False):
        shown = values_at(first, before, linear=False)[0] if repeats else np.zeros(len(before))
        found = values_at(last, own, linear=False)[0]
        wrong |= outside & (shown != found)
        labelled |= found != 0
    return float(wrong.sum() / max(labelled.sum(), 1))
