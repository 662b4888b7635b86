"""The radiograph preset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import KeysCollection

from monai_medaug.core.seeded import random_operations
from monai_medaug.functional.xray.display import robust_range
from monai_medaug.transforms.presets.base import SMOOTH, AugmentationPreset, Steps, build_preset, chosen_strength
from monai_medaug.transforms.spatial import RandAffineElasticd
from monai_medaug.transforms.xray import Radiograph, RandXRayCollimationd, RandXRayExposured, RandXRayScatterd

_XRAY_STEPS: dict[str, Steps] = {
    "light": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 3, "translate_fraction": 0.02, "scale_fraction": 0.05, "elastic_mm": (0, 1)} | SMOOTH,
        ),
        (RandXRayExposured, 1, {"factor": (0.85, 1.2), "photons": (1e4, 1e5)}),
    ],
    "standard": [
        (RandAffineElasticd, 1, {"elastic_mm": (0, 3)} | SMOOTH),  # 5°, 5 % and 10 % are its defaults
        (RandXRayCollimationd, 0.2, {"share": (0, 0.1)}),
        (RandXRayScatterd, 0.4, {"scatter_to_primary": (0.1, 1), "compensate": True}),
        (RandXRayExposured, 1, {"photons": (3e3, 1e5)}),
    ],
    "strong": [
        (
            RandAffineElasticd,
            1,
            {"rotate_degrees": 15, "translate_fraction": 0.1, "scale_fraction": 0.2, "elastic_mm": (0, 6)} | SMOOTH,
        ),
        (RandXRayCollimationd, 0.4, {}),
        (RandXRayScatterd, 0.6, {"compensate": True}),
        (RandXRayExposured, 1, {"factor": (0.5, 2)}),
    ],
    "source": [
        # 0 to 20/255 of the open field, for an object with a mean transmission of 0.3
        (RandXRayScatterd, 1, {"scatter_to_primary": (0, 20 / 255 / 0.3)}),
        (RandXRayExposured, 1, {"factor": (0.7, 1.3)}),
    ],
}


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
    padding_mode: str | float = "border",
    ignore: float | None = None,
    allow_missing_keys: bool = False,
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

    Each step is applied on its own with the table's share of ``prob``. Values may leave the original range, as in
    another exposure. Put the preset before `NormalizeIntensityd` or `ScaleIntensityd`: noise and scatter follow from
    the display scale.

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
        padding_mode: what the geometry fills in from outside the image: ``"border"`` repeats the edge, in images and
            masks alike; a number (as behind a collimator) fills the images, and masks get 0.
        ignore: value of the masks there, such as 255, for a loss that ignores it; None for none.
        allow_missing_keys: skip missing keys instead of raising a KeyError.

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
    display: dict[str, Any] = {"inverted": inverted, "linear": linear}
    if value_range is not None:
        display["value_range"] = value_range
    steps = [
        (step, share, arguments if step is RandAffineElasticd else {**arguments, **display})
        for step, share, arguments in chosen_strength(_XRAY_STEPS, strength)
    ]
    settings: dict[str, Any] = {"strength": strength, "prob": prob, "inverted": inverted, "linear": linear}
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
        padding_mode=padding_mode,
        ignore=ignore,
        allow_missing_keys=allow_missing_keys,
    )
