"""Whether a lesion is kept and visible: its mask, its parts' contrast, its border and its detectability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_medaug.core.tensors import plain_tensor
from monai_medaug.functional.borders import border_lines, borders_in_place, edges_kept
from monai_medaug.functional.labels import label_array
from monai_medaug.functional.lesion import LesionContrast, LesionParts, lesion_contrast, lesion_parts
from monai_medaug.functional.preservation import components, counting_slack, lesion_topology, spread, topology_changes
from monai_medaug.functional.voxels import values_at
from monai_medaug.transforms.safety.finding import GEOMETRY, INTENSITY, Finding, Limits
from monai_medaug.transforms.safety.passage import Passage, fills
from monai_medaug.transforms.safety.shown import ShownImage, shown_images

_POINTS = 1500
_RING = 4  # voxels
_FACES = np.concatenate([np.zeros((1, 3), int), np.eye(3, dtype=int), -np.eye(3, dtype=int)])
_FEWEST_PLACES = 3
_EDGES_KEPT = 0.6  # least share of the edges at the lesion's border
_BORDERS_IN_PLACE = 0.7  # least share; small masks are jagged


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
    voxels, component = components(last)
    _judge_mask(key, first, last, (voxels, component), passage, limits, finding)
    images = shown_images(before, after, image_keys, passage)
    if len(voxels):
        some = spread(len(voxels), _POINTS)
        parts = _parts(last, voxels[some], component[some])
        _judge_contrast(key, first, last, parts, passage, images, limits, ours, finding)
    if not finding.violations and not images:
        finding.unchecked = "there is no image to see the lesion in"
    return finding


def _union(channels: np.ndarray) -> np.ndarray:
    return channels[0] if len(channels) == 1 else channels.any(0)


def _embedded(voxels: np.ndarray) -> np.ndarray:
    """Voxels (N, axes) as those of the embedded volume, (N, 3)."""
    return np.pad(voxels, ((0, 0), (3 - voxels.shape[1], 0)))


def _without_padding(source: np.ndarray, result: np.ndarray, passage: Passage) -> np.ndarray:
    """The lesion in the result, without the number that a step filled in to be ignored."""
    last = _union(result != 0)
    for number in {f for (f,) in fills([passage]) if not isinstance(f, str) and f != 0}:
        filled = (result == number).all(0)
        if (source == number).any():
            where = np.argwhere(filled)
            covered = values_at(source[0], passage.back(_embedded(where).astype(float)), linear=False)[1]
            filled[tuple(where[covered].T)] = False
        last = last & ~filled
    return last


def _judge_mask(
    key: Any,
    first: np.ndarray,
    last: np.ndarray,
    result: tuple[np.ndarray, np.ndarray],
    passage: Passage,
    limits: Limits,
    finding: Finding,
) -> None:
    source = components(first)
    points = _embedded(source[0][spread(len(source[0]), _POINTS)])
    to = passage.ahead(points.astype(float))
    inside = values_at(last, to, linear=False)[1]
    there = values_at(last, to[:, None] + _FACES, linear=False)[0].any(1)
    stays = float(inside.mean())
    kept = stays * (float(there[inside].mean()) if inside.any() else 0.0)
    finding.checks["lesion share kept"] = kept
    if kept < limits.min_lesion_kept or not len(result[0]):
        finding.violated(
            f"{key}: {kept:.0%} of the lesion is in the image, {limits.min_lesion_kept:.0%} required", GEOMETRY
        )
        if not len(result[0]):
            return
    found = _embedded(result[0][spread(len(result[0]), _POINTS)])
    came = passage.back(found.astype(float))
    covered = values_at(first, came, linear=False)[1]
    made_up = float(1 - covered.mean())
    finding.checks["lesion share made up by padding"] = made_up
    if made_up > 1 - limits.min_lesion_kept:
        finding.violated(f"{key}: {made_up:.0%} of the lesion is padding: it repeats the image's border", GEOMETRY)
    was = values_at(first, came[:, None] + _FACES, linear=False)[0].any(1)
    added = float(1 - was[covered].mean()) if covered.any() else 0.0
    size = len(source[0]) * stays / _density(passage, found)
    change = len(result[0]) * (1 - made_up) / max(size, 1.0) - 1
    finding.checks["lesion volume change"] = change
    slack = 2 * counting_slack(size, first.ndim)
    if added > 1 - limits.min_lesion_kept or change > 2 * limits.max_volume_change + slack:
        finding.violated(
            f"{key}: the mask grew beyond the lesion: {added:.0%} of it were none, volume {change:+.0%} against the map"
        )
    finding.checks["lesion topology before"], last = (lesion_topology(*m) for m in (source, result))
    finding.checks["lesion topology after"] = last
    for name, (was, is_now) in topology_changes(source, result).items():
        finding.violated(f"{key}: the lesion's {name} went from {was} to {is_now}", GEOMETRY)
    finding.checked.append(f"{kept:.0%} of the lesion in the image, {last['components']} components")


def _density(passage: Passage, found: np.ndarray) -> float:
    """Mean determinant of the map back at up to 200 voxels: voxels before for each one after."""
    at = found[np.linspace(0, len(found) - 1, min(200, len(found))).astype(int)].astype(float)
    flat = [n == 1 for n in passage.grids[1].size]
    slopes = np.stack([passage.back(at + e / 2) - passage.back(at - e / 2) for e in np.eye(3)], -1)
    slopes[:, :, flat] = np.eye(3)[:, flat]
    return float(np.abs(np.linalg.det(slopes)).mean())


def _judge_contrast(
    key: Any,
    first: np.ndarray,
    last: np.ndarray,
    parts: LesionParts,
    passage: Passage,
    images: Sequence[ShownImage],
    limits: Limits,
    ours: bool,
    finding: Finding,
) -> None:
    lines = border_lines(last.view(np.uint8), passage.grids[1])
    if lines is not None:
        in_place = borders_in_place(lines, last, first, passage.back(lines.index))
        finding.checks["lesion borders in place"] = in_place
        if in_place < _BORDERS_IN_PLACE:
            finding.violated(f"{key}: the lesion's border is elsewhere than the steps moved it")
    visible = False
    causes = [INTENSITY] if ours else []
    for image in images:
        if not image.in_place:
            finding.violated(f"{key}: moved otherwise than {image.key}")
            continue
        places = [image.places(v.astype(float)) for v in (parts.lesion, parts.ring)]
        everywhere = image.everywhere()
        elsewhere = ~_was(first, everywhere[0])
        was_ring = ~_was(first, places[1][0])
        for name, channel in image.channels():
            lesion, ring, all_over = (image.values(channel, p) for p in (*places, everywhere))
            inside = lesion[2]
            around_it = ring[2] & was_ring
            if inside.sum() < 3 or around_it.sum() < 8:
                continue
            own = LesionParts(
                parts.lesion[inside],
                parts.ring[around_it],
                {k: v[inside] for k, v in parts.parts.items()},
                parts.cell[around_it],
            )
            contrast = lesion_contrast(
                own,
                (lesion[0][inside], lesion[1][inside]),
                (ring[0][around_it], ring[1][around_it]),
                tuple(v[all_over[2] & elsewhere] for v in all_over[:2]),
            )
            finding.checks[f"{name}: lesion contrast to noise"] = list(contrast.contrast_to_noise)
            finding.checks[f"{name}: lesion detectability"] = list(contrast.detectability)
            if not contrast.was_visible:
                continue
            visible = True
            finding.checks[f"{name}: contrast kept of the lesion's parts"] = contrast.parts
            wrong = _wrong(name, contrast, limits)
            if lines is not None:
                profiles = image.values(channel, image.places(lines.index))
                edges = edges_kept(lines.place, profiles[0], profiles[1], profiles[2][:, 3:-3].all(1))
                finding.checks[f"{name}: edges kept of the lesion"] = edges.kept
                if edges.visible >= _FEWEST_PLACES and edges.kept < _EDGES_KEPT:
                    wrong.append(
                        f"{name}: only {edges.kept:.0%} of the {edges.visible} edges at the lesion's border are where "
                        "they were"
                    )
                if edges.visible >= _FEWEST_PLACES and contrast.gain:
                    sharp = edges.steepness / contrast.gain
                    finding.checks[f"{name}: steepness kept of the lesion's border"] = sharp
                    if sharp < limits.min_contrast_kept:
                        wrong.append(f"{name}: the lesion's border keeps {sharp:.0%} of its steepness")
            for sentence in wrong:
                finding.violated(sentence, *causes)
            if not wrong:
                low, high = (f(contrast.parts.values(), default=1.0) for f in (min, max))
                finding.checked.append(
                    f"visible in {name}: detectability {contrast.detectability[0]:.1f} to "
                    f"{contrast.detectability[1]:.1f}, {low:.0%} to {high:.0%} of its parts' contrast"
                )
    if not visible and images and not finding.violations:
        finding.unchecked = "the lesion was not visible before"


def _wrong(name: str, contrast: LesionContrast, limits: Limits) -> list[str]:
    """Sentences on lost contrast."""
    wrong = []
    least = limits.min_contrast_kept
    for what, (was, is_now) in (
        ("contrast to noise", contrast.contrast_to_noise),
        ("detectability", contrast.detectability),
    ):
        if is_now / was < least:
            wrong.append(f"{name}: the lesion's {what} fell from {was:.2f} to {is_now:.2f}")
    off = {part: kept for part, kept in contrast.parts.items() if least and not least <= kept <= 1 / least}
    if off:
        said = ", ".join(f"{part} {kept:.2f}" for part, kept in list(off.items())[:4])
        wrong.append(f"{name}: parts of the lesion have another contrast, as shares of that before: {said}")
    return wrong


def _parts(last: np.ndarray, voxels: np.ndarray, component: np.ndarray) -> LesionParts:
    """The parts of a lesion of these voxels, and voxels around it: beside its rim, at random within 4 voxels."""
    lesion = _embedded(voxels)
    rim = ~values_at(last, lesion[:, None] + _FACES, linear=False)[0].all(1)
    reach = [_RING * (n > 1) for n in (1,) * (3 - last.ndim) + last.shape]
    steps = np.random.RandomState(0).uniform(-1, 1, (_POINTS, 3)) * reach
    ring = lesion[rim][np.arange(_POINTS) % rim.sum()] + np.rint(steps).astype(int)
    inside, there = values_at(last, ring, linear=False)
    return lesion_parts(lesion, rim, component, ring[~inside & there])


def _was(mask: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Whether positions lie in a mask or beside it."""
    return values_at(mask, index[:, None] + _FACES, linear=False)[0].any(1)
