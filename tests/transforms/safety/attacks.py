"""Attacks on the verdict: what must not get a "yes", and harmless steps that must.

An `Attack` says which answers ("anatomy", "pathology") are wrong if they are "yes". Whether its harm can be seen on a
scan is measured by `tests.transforms.safety.harm`, without the verdict's own means. Unless "ours" or "MONAI" stands in
its name, the guard meets an unknown transform that leaves no record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import monai.transforms as mt
import numpy as np
import torch
from monai.transforms import MapTransform

import monai_medaug.transforms as ours
from tests.transforms.safety.changes import (
    Arrays,
    another,
    boxed,
    clipped,
    depth,
    elsewhere,
    faint,
    gamma,
    grown_labels,
    grown_to,
    half_of,
    halves,
    inside,
    invented,
    labels_by,
    local_blur,
    monotone,
    moved,
    noise,
    occluded,
    one_of_several,
    repainted,
    ring,
    rods,
    shrunk,
    shuffled,
    soft,
    stepwise,
    striped,
    swapped,
    tenth_of_contrast,
    thick,
    turned,
    undersampled,
    warped,
    with_contrast,
)
from tests.transforms.safety.scans import Scan

Change = Callable[[Scan], Arrays]
BOTH = ("anatomy", "pathology")
ANATOMY, PATHOLOGY, NEITHER = ("anatomy",), ("pathology",), ()
KEYS = ("image", "label", "lesion")


class Unrecorded(MapTransform):
    """Replaces arrays of the sample by a function of the scan, without a record."""

    def __init__(self, change: Callable[[Scan], Arrays], scan: Scan) -> None:
        super().__init__(KEYS, allow_missing_keys=True)
        self.change, self.scan = change, scan

    def __call__(self, data: Any) -> dict:
        out = dict(data)
        for key, values in self.change(self.scan).items():
            if key in data:
                out[key] = data[key].clone()
                out[key][0] = torch.from_numpy(np.ascontiguousarray(values)).to(data[key].dtype)
        return out


@dataclass(frozen=True)
class Attack:
    """Steps for a scan, the answers that must not be "yes", and whether that holds even if nothing can be seen.

    Attributes:
        name: for the table.
        steps: the transforms inside the guard, for a scan; None where the attack makes no sense.
        wrong: answers that are wrong if "yes"; for a harmless step NEITHER.
        always: wrong by definition, however little the image shows.
        lesion: needs a lesion.
        prepare: a change of the scan before the guard sees it.
    """

    name: str
    steps: Callable[[Scan], Sequence[Any] | None]
    wrong: tuple[str, ...] = NEITHER
    always: bool = False
    lesion: bool = False
    prepare: Callable[[Scan], Scan] = lambda s: s


# ---- the tables --------------------------------------------------------------------------------------------------


def unknown(name: str, change: Change, wrong: tuple[str, ...] = NEITHER, **more: Any) -> Attack:
    return Attack(name, lambda s: [Unrecorded(change, s)], wrong, **more)


def on_image(name: str, change: Callable[[Scan], np.ndarray], wrong: tuple[str, ...] = NEITHER, **more: Any) -> Attack:
    return unknown(name, lambda s: {"image": change(s)}, wrong, **more)


def on_lesion(name: str, change: Callable[[Scan], np.ndarray], **more: Any) -> Attack:
    return on_image(name, change, PATHOLOGY, lesion=True, **more)


def on_mask(name: str, change: Callable[[Scan], np.ndarray]) -> Attack:
    return unknown(name, lambda s: {"lesion": change(s)}, PATHOLOGY, lesion=True, always=True)


def on_label(name: str, change: Callable[[Scan], np.ndarray], wrong: tuple[str, ...] = ANATOMY, **more: Any) -> Attack:
    return unknown(name, lambda s: {"label": change(s)}, wrong, **more)


def several_labels(name: str, change: Callable[[Scan], np.ndarray]) -> Attack:
    return Attack(
        name,
        lambda s: [Unrecorded(lambda s: {"label": change(s)}, s)] if len(s.values) > 1 else None,
        ANATOMY,
        always=True,
    )


def step(
    name: str, make: Callable[[Scan], Any], wrong: tuple[str, ...] = NEITHER, on: str = "ct mr xray", **more: Any
) -> Attack:
    """A transform of ours or MONAI's for some modalities."""
    return Attack(name, lambda s: [make(s)] if s.modality in on.split() else None, wrong, **more)


def volume(name: str, make: Callable[[Scan], Any], wrong: tuple[str, ...] = NEITHER, **more: Any) -> Attack:
    return Attack(name, lambda s: [make(s)] if s.image.ndim == 3 else None, wrong, **more)


def several_lesions(s: Scan) -> list[Any] | None:
    part = None if s.lesion is None else one_of_several(s)
    return None if part is None else [Unrecorded(lambda s: {"image": repainted(s, part)}, s)]


def elastic(keys: Sequence[str], mm: float, **more: Any) -> Any:
    mode = ["bilinear" if k == "image" else "nearest" for k in keys]
    calm = {"rotate_degrees": 0, "translate_fraction": 0, "scale_fraction": 0, "elastic_sigma": 15, **more}
    settings = {"prob": 1.0, "mode": mode, "elastic_mm": (mm, mm), "elastic_unit": "mm", "allow_missing_keys": True}
    return ours.RandAffineElasticd(keys, **settings, **calm)


def mr_motion(mm: float) -> Any:
    return ours.RandMRIMotiond(["image"], translate_mm=(mm, mm), rotate_degrees=(10, 10), movements=8, prob=1.0)


def ct_motion(mm: float) -> Any:
    return ours.RandCTMotiond(["image"], shift_mm=(mm, mm), rotate_degrees=(10, 10), prob=1.0)


def display(s: Scan) -> Any:
    """A window a tenth wider than all that lies in the lesion and its ring."""
    values = s.image[inside(s) | ring(s)]
    low, high = float(values.min()), float(values.max())
    margin = 0.1 * (high - low)
    return mt.ScaleIntensityRanged(["image"], low - margin, high + margin, 0, 1, clip=True)


def cut(s: Scan) -> Any:
    """MONAI's crop to the lesion's box and 12 voxels, or the label's and 3."""
    mask = inside(s) if s.lesion is not None else s.label > 0
    places, margin = np.argwhere(mask), 12 if s.lesion is not None else 3
    low = np.maximum(places.min(0) - margin, 0)
    high = np.minimum(places.max(0) + 1 + margin, s.image.shape)
    return mt.SpatialCropd(KEYS, roi_start=low.tolist(), roi_end=high.tolist(), allow_missing_keys=True)


def turn(s: Scan) -> Any:
    angle = 0.08 if s.image.ndim == 2 else (0.0, 0.0, 0.08)
    move = [2.0] * s.image.ndim
    return mt.Affined(
        KEYS,
        rotate_params=angle,
        translate_params=move,
        mode=("bilinear", "nearest", "nearest"),
        padding_mode="border",
        allow_missing_keys=True,
    )


ATTACKS: tuple[Attack, ...] = (
    # the image no longer belongs to its labels
    on_image("constant image", lambda s: np.full(s.image.shape, float(np.median(s.image))), BOTH),
    on_image("image turned by 180 degrees", lambda s: s.image[::-1, ::-1], BOTH),
    on_image("image turned by 10 degrees", lambda s: turned(s, s.image, 10), BOTH),
    on_image("image enlarged by 15 %", lambda s: turned(s, s.image, scale=1.15), BOTH),
    on_image("image flipped left to right", lambda s: s.image[::-1], BOTH),
    on_image("image flipped front to back", lambda s: s.image[:, ::-1], BOTH),
    Attack(
        "image transposed",
        lambda s: (
            [Unrecorded(lambda s: {"image": s.image.swapaxes(0, 1)}, s)]
            if s.image.shape[0] == s.image.shape[1]
            else None
        ),
        BOTH,
    ),
    unknown("labels and lesion flipped", labels_by(lambda s, a: a[::-1]), BOTH),
    step("image deformed by 15 mm, ours", lambda s: elastic(["image"], 15), BOTH),
    step("image deformed by 6 mm, ours", lambda s: elastic(["image"], 6), BOTH),
    on_image("image deformed by 15 mm", lambda s: warped(s, s.image, 15), BOTH),
    on_image("image deformed by 6 mm", lambda s: warped(s, s.image, 6), BOTH),
    on_image("image shifted by 5 mm", lambda s: moved(s, s.image, (5, 0, 0)), BOTH),
    unknown("labels and lesion shifted by 5 mm", labels_by(lambda s, a: moved(s, a, (0, 5, 0), order=0)), BOTH),
    on_image("another patient's image", another, BOTH),
    on_image("blocks in another order", shuffled, BOTH),
    # the labels alone
    on_label("label shifted by 5 mm", lambda s: moved(s, s.label, (5, 0, 0), order=0)),
    several_labels("two labels swapped", swapped),
    several_labels("a label lost", lambda s: np.where(s.label == s.label.max(), 0, s.label)),
    several_labels("a label merged", lambda s: np.where(s.label == s.label.max(), s.values[-2], s.label)),
    on_label("labels grown by 2 voxels", lambda s: np.where(s.label == 0, grown_labels(s.label), s.label)),
    on_label("labels replaced by their box", lambda s: boxed(s.label), always=True),
    # the image is destroyed
    on_image("half of the image zeroed", lambda s: half_of(s, 0.0), BOTH),
    on_image("half of the labels occluded", occluded, ANATOMY),
    on_lesion("two rods and their streaks at the lesion", lambda s: rods(s, inside(s))),
    on_image(
        "two rods and their streaks at an organ", lambda s: rods(s, s.label == s.values[-1]), ANATOMY, always=True
    ),
    on_image("patient moved by 20 mm", lambda s: stepwise(s, 20), BOTH),
    step("MR motion of 20 mm, ours", lambda s: mr_motion(20), BOTH, on="mr"),
    step("CT motion of 20 mm, ours", lambda s: ct_motion(20), BOTH, on="ct"),
    on_image("undersampling by 8", lambda s: undersampled(s, 8), PATHOLOGY),
    step(
        "undersampling by 8, ours",
        lambda s: ours.RandMRIUndersamplingd(["image"], acceleration=8, prob=1.0),
        PATHOLOGY,
        on="mr",
    ),
    on_image("blur of 8 voxels", lambda s: soft(s.image, 8), BOTH),
    on_image("slices of 20 mm", lambda s: thick(s, 20), PATHOLOGY),
    volume(
        "slices of 20 mm, ours", lambda s: ours.RandThickSliced(["image"], thickness_mm=(20, 20), prob=1.0), PATHOLOGY
    ),
    on_image("noise of 10 times the lesion's contrast", lambda s: noise(s, 10), PATHOLOGY, lesion=True),
    on_image("inverted", lambda s: float(s.image.max()) + float(s.image.min()) - s.image, PATHOLOGY, lesion=True),
    on_lesion("clipped at the ring's level", lambda s: clipped(s)),
    # the lesion in the image
    on_lesion("lesion blurred by 3 voxels", lambda s: local_blur(s, 3)),
    on_lesion("half the lesion painted over", lambda s: repainted(s, halves(s))),
    on_lesion("other half painted over", lambda s: repainted(s, inside(s) & ~halves(s))),
    on_lesion("a third painted over", lambda s: repainted(s, halves(s, 1 / 3))),
    on_lesion("core painted over", lambda s: repainted(s, inside(s) & (depth(s) > 0.5))),
    on_lesion("rim painted over", lambda s: repainted(s, inside(s) & (depth(s) <= 0.5))),
    on_lesion("lesion erased", lambda s: repainted(s, inside(s))),
    on_lesion("lesion faded to 40 %", lambda s: with_contrast(s, 0.4)),
    on_lesion("lesion five times brighter", lambda s: with_contrast(s, 5)),
    on_lesion("lesion's contrast inverted", lambda s: with_contrast(s, -1)),
    on_lesion("lesion shrunk to 0.6", shrunk),
    Attack("one of several lesions erased", several_lesions, PATHOLOGY, always=True, lesion=True),
    on_lesion("stripes across the lesion", lambda s: striped(s)),
    # the lesion's mask
    on_mask("lesion's mask moved beside it", elsewhere),
    on_mask("a lesion added to the mask", invented),
    on_mask("mask doubled", lambda s: grown_to(inside(s), 2)),
    on_mask("mask eroded to half", lambda s: inside(s) & (depth(s) > 0.5)),
    on_mask("half of the mask lost", lambda s: halves(s)),
    # seen before? no: neither yes nor no
    Attack(
        "a lesion too faint to see, untouched", lambda s: [Unrecorded(lambda s: {}, s)], PATHOLOGY, True, True, faint
    ),
)


def padded(s: Scan) -> list[Any]:
    """The image by its darkest value, the masks by 0."""
    image = mt.BorderPadd(["image"], 4, mode="constant", value=float(s.image.min()))
    return [image, mt.BorderPadd(["label", "lesion"], 4, allow_missing_keys=True)]


HARMLESS: tuple[Attack, ...] = (
    on_image("nothing", lambda s: s.image),
    on_image("gain 1.2 and offset", lambda s: 1.2 * s.image + 30),
    step("scaled to 0 to 1 by MONAI", lambda s: mt.ScaleIntensityd(["image"])),
    step("normalised by MONAI", lambda s: mt.NormalizeIntensityd(["image"])),
    on_image("gamma 0.9", lambda s: gamma(s, 0.9)),
    on_image("gamma 1.1", lambda s: gamma(s, 1.1)),
    on_image("a monotone curve", monotone),
    step("a window wide enough", display),
    on_image(
        "noise of a tenth of the contrast",
        lambda s: s.image + np.random.RandomState(2).normal(0, tenth_of_contrast(s), s.image.shape),
    ),
    on_image("blur of half a voxel", lambda s: soft(s.image, 0.5)),
    step("flipped with its labels", lambda s: mt.Flipd(KEYS, 0, allow_missing_keys=True)),
    step("turned by 90 degrees with its labels", lambda s: mt.Rotate90d(KEYS, allow_missing_keys=True)),
    step("affine of all by MONAI", turn),
    step("cropped by MONAI round the lesion", cut),
    Attack("padded by MONAI", padded),
    volume(
        "finer grid by MONAI",
        lambda s: mt.Spacingd(
            KEYS, tuple(0.8 * s.spacing), mode=("bilinear", "nearest", "nearest"), allow_missing_keys=True
        ),
    ),
    step("deformed by 1.5 mm with its labels, ours", lambda s: elastic(KEYS, 1.5, elastic_sigma=20)),
    step("turned by 5 degrees with its labels, ours", lambda s: elastic(KEYS, 1, rotate_degrees=(5, 5))),
    step("CT noise of 5 HU, ours", lambda s: ours.RandCTDosed(["image"], noise_hu=(5, 5), prob=1.0), on="ct"),
    step("HU contrast 1.05, ours", lambda s: ours.RandHUContrastd(["image"], factor=(1.05, 1.05), prob=1.0), on="ct"),
    step(
        "bias field of 0.2, ours",
        lambda s: ours.RandMRIBiasFieldd(["image"], peak_to_peak=(0.2, 0.2), prob=1.0),
        on="mr",
    ),
    step("MR noise at SNR 40, ours", lambda s: ours.RandMRINoised(["image"], snr=(40, 40), prob=1.0), on="mr"),
    step("exposure of 1.1, ours", lambda s: ours.RandXRayExposured(["image"], factor=(1.1, 1.1), prob=1.0), on="xray"),
)
