"""The radiograph preset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.utils import ensure_tuple

from monai_medaug.core.arguments import flag
from monai_medaug.core.seeded import random_operations
from monai_medaug.functional.xray.display import robust_range
from monai_medaug.transforms.presets.base import SMOOTH, AugmentationPreset, Steps, build_preset, chosen_strength
from monai_medaug.transforms.spatial import RandAffineElasticd
from monai_medaug.transforms.xray import Radiograph, RandXRayCollimationd, RandXRayExposured, RandXRayScatterd

_STIFF: dict[str, Any] = SMOOTH | {"elastic_sigma": 30}  # shutters stay straight

_XRAY_STEPS: dict[str, Steps] = {
    "light": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 3, "translate_fraction": 0.02, "scale_fraction": 0.05, "elastic_mm": (0, 1)} | _STIFF,
        ),
        (RandXRayExposured, 1, {"factor": (0.85, 1.2), "photons": (2e5, 2e6)}),
    ],
    "standard": [
        (RandAffineElasticd, 1, {"elastic_mm": (0, 2)} | _STIFF),  # 5°, 5 % and 10 % are its defaults
        (RandXRayCollimationd, 0.2, {"share": (0, 0.1)}),
        (RandXRayScatterd, 0.4, {"scatter_to_primary": (0.1, 0.5), "photons": (5e4, 2e6)}),
        (RandXRayExposured, 1, {"photons": (5e4, 2e6)}),
    ],
    "strong": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 15, "translate_fraction": 0.1, "scale_fraction": 0.2, "elastic_mm": (0, 3)} | _STIFF,
        ),
        (RandXRayCollimationd, 0.4, {"share": (0, 0.15)}),
        (RandXRayScatterd, 0.6, {"scatter_to_primary": (0.2, 0.7)}),
        (RandXRayExposured, 1, {"factor": (0.5, 2)}),
    ],
    "source": [
        # 0 to 20/255 of the open field, for an object with a mean transmission of 0.3
        (RandXRayScatterd, 1, {"scatter_to_primary": (0, 20 / 255 / 0.3), "compensate": False}),
        (RandXRayExposured, 1, {"factor": (0.7, 1.3), "compensate": False}),
    ],
}
_PORTABLE: Steps = [
    # at 80 to 100 kV against 120 with a grid, that is what its lack adds; a small dose, and a field set by hand
    (RandXRayCollimationd, 1, {"share": (0, 0.15), "rotate_degrees": 6}),
    (RandXRayScatterd, 1, {"scatter_to_primary": (0.3, 0.8), "photons": (2e4, 4e5)}),
    (RandXRayExposured, 1, {"factor": (0.5, 1.5), "photons": (2e4, 4e5)}),
]


class XRayAugmentationPreset(AugmentationPreset):
    """The preset of `xray_augmentation`, which keeps the display scale of a radiograph through all steps."""

    def before_call(self, image: torch.Tensor) -> None:
        if "value_range" in self.settings:
            return
        low, high = robust_range(image[None].float())[0].tolist()
        for operation in random_operations(self.transforms):
            if isinstance(operation, Radiograph):
                operation.value_range = (0.0 if operation.linear else low, high) if low < high else None


def xray_augmentation(
    keys: KeysCollection = "image",
    mask_keys: KeysCollection | None = (),
    lesion_key: str | None = None,
    strength: str = "standard",
    prob: float = 0.8,
    inverted: bool = False,
    value_range: Sequence[float] | None = None,
    linear: bool = False,
    sample_key: str | None = None,
    seed: int = 0,
    padding_mode: str | float = "black",
    ignore: float | None = None,
    allow_missing_keys: bool = False,
    portable: bool = False,
    mirror_axes: int | Sequence[int] | None = None,
    patches: bool = False,
) -> AugmentationPreset:
    """Augmentation of radiographs, in physical order: patient, collimator, scatter, exposure.

    ====================  =====  ========  ======  =========================================
    step                  light  standard  strong  source
    ====================  =====  ========  ======  =========================================
    geometry              all    all       all
    collimation                  1/5       2/5
    scatter                      2/5       3/5     up to 20/255 of the open field
    exposure, its noise   all    all       all     0.7 to 1.3
    ====================  =====  ========  ======  =========================================

    Each step is applied on its own with the table's share of ``prob``. Exposure and scatter leave the level of the
    display alone, except in "source"; black shutters and saturated air stay black. With masks the collimator's blades
    stay 10 mm off what the first of them shows, as a radiographer sets them. Put the preset before
    `NormalizeIntensityd` or `ScaleIntensityd`: noise and scatter follow from the display scale.

    Of 32 draws (8 on each of four chests) 4 of each strength changed nothing visible, less than 2 % RMS of the display
    range within the body, and none of the portable's. None of "standard", "strong" and the portable "standard" looked
    wrong by eye on contact sheets to the authors, who are no radiologists.

    Args:
        keys: display images of the attenuation (C, rows, columns), of any bit depth; a stack along a third axis is
            moved as a volume.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved; of several channels their union.
        strength: ``"light"``, ``"standard"``, ``"strong"``, or ``"source"``, which leaves the geometry alone.
        prob: probability to which the steps' shares refer.
        inverted: bright means little attenuation: stored values of MONOCHROME1.
        value_range: (low, high) of the display scale, such as (0, 4095); None takes that of the first image,
            without outliers.
        linear: values are photon counts (raw detector data), not their logarithm.
        sample_key: key of the sample's id. The draws then depend on ``seed``, the id and the epoch alone, not on the
            workers, see `SampleSeeded`; set the epoch by ``set_epoch``.
        seed: of the experiment, with ``sample_key``.
        padding_mode: what the geometry fills in from outside the image: ``"black"``, as the shutter of an archive, and
            masks get 0; a number does the same. ``"border"`` repeats the edge, in images and masks alike, and so smears
            an arm or the abdomen to a bright slab; ``"reflection"`` mirrors ribs, devices and letters.
        ignore: value of the masks there, such as 255, for a loss that ignores it; None for none.
        allow_missing_keys: skip missing keys instead of raising a KeyError.
        portable: a chest at the bedside, for ``"light"``, ``"standard"`` and ``"strong"``: their geometry, then always
            (each with ``prob``) a field set by hand, the scatter without a grid, and few photons. A lung segmentation
            trained on children with it lost 0.042 of Dice on adults at the bedside: try it before you trust it.
        mirror_axes: spatial axes along which half of the images are mirrored (`RandMirror`), such as that from left to
            right where both sides are alike; None for none.
        patches: the images are patches about a small structure, such as a nodule, whose lie and size say little: the
            geometry mirrors along all axes (or those of ``mirror_axes``), turns by any angle (about the slices' normal
            where they are thick), scales by 0.7 to 1.3 and leaves out the elastic part. Their corners repeat
            the edge: cut them with a margin where you can.

    Returns:
        A MONAI Compose, for dictionaries. With one key and no masks it also takes a bare image, for chains of array
        transforms; only a MetaTensor carries the trace that the report and the inverse need.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandXRayScatter, augmentation_report
        >>> augment = xray_augmentation("image", strength="light").set_random_state(0)
        >>> report = augmentation_report(augment({"image": MetaTensor(RandXRayScatter.example(2))}))
        >>> [step["name"] for step in report["steps"] if step["applied"]]
        ['RandAffineElasticd', 'RandXRayExposured']
    """
    if flag("portable", portable) and strength == "source":
        raise ValueError("portable must be False with strength 'source', got True")
    display: dict[str, Any] = {"inverted": inverted, "linear": linear}
    if value_range is not None:
        display["value_range"] = value_range
    chosen = chosen_strength(_XRAY_STEPS, strength)
    if portable:
        chosen = [*(s for s in chosen if s[0] is RandAffineElasticd), *_PORTABLE]
    steps = [
        (step, share, arguments if step is RandAffineElasticd else {**arguments, **display})
        for step, share, arguments in chosen
    ]
    organs = [*ensure_tuple(mask_keys or ()), *([] if lesion_key is None else [lesion_key])]
    if organs:
        steps = [(s, p, a | {"organ_key": organs[0]} if s is RandXRayCollimationd else a) for s, p, a in steps]
    settings: dict[str, Any] = {"strength": strength, "prob": prob, "inverted": inverted, "linear": linear}
    settings |= {"portable": True} if portable else {}
    if value_range is not None:
        settings["value_range"] = [float(v) for v in value_range]
    return build_preset(
        "xray_augmentation",
        steps,
        keys,
        mask_keys,
        lesion_key,
        settings,
        sample_key=sample_key,
        seed=seed,
        preset=XRayAugmentationPreset,
        padding_mode=("brightest" if inverted else "darkest") if padding_mode == "black" else padding_mode,
        ignore=ignore,
        allow_missing_keys=allow_missing_keys,
        mirror_axes=mirror_axes,
        patches=patches,
    )
