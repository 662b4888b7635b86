"""Presets: whole augmentations for a modality, physically ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms.compose import Compose, execute_compose
from monai.utils import ensure_tuple

from monai_medaug.functional.ct import PADDING_HU
from monai_medaug.transforms.base import span
from monai_medaug.transforms.ct import HUWindowd, RandHUContrastd
from monai_medaug.transforms.ct_dose import RandCTDosed
from monai_medaug.transforms.preserving import PreservingCompose
from monai_medaug.transforms.seeded import SeededContainer, seed_children
from monai_medaug.transforms.spatial import RandAffineElasticd
from monai_medaug.transforms.tensors import plain_tensor

RANGE_HU = (-1000.0, 1000.0)

_SMOOTH: dict[str, Any] = {"elastic_sigma": 20, "elastic_unit": "mm"}  # organs move, bones do not wobble
_CT_STRENGTHS: dict[str, dict[str, dict[str, Any]]] = {
    "light": {
        "geometry": {"rotate_degrees": 3, "translate_fraction": 0.02, "scale_fraction": 0.05, "elastic_mm": (0, 1.5)}
        | _SMOOTH,
        "contrast": {"factor": (0.95, 1.05)},
        "dose": {"noise_hu": (1, 5)},
    },
    "standard": {
        "geometry": {"elastic_mm": (0, 4)} | _SMOOTH,  # rotation 5°, shift 5 %, scaling 10 % are the defaults
        "contrast": {"factor": (0.9, 1.1)},
        "dose": {"noise_hu": (1, 10)},
    },
    "strong": {
        "geometry": {"rotate_degrees": 15, "translate_fraction": 0.1, "scale_fraction": 0.2, "elastic_mm": (0, 8)}
        | _SMOOTH,
        "contrast": {"factor": (0.8, 1.2)},
        "dose": {"noise_hu": (5, 30)},
    },
    "source": {
        "geometry": {"elastic_alpha": 1000},  # at the default sigma 8
        "contrast": {"factor": (0.85, 1.15)},
        "dose": {"noise_hu": (1, 12.3), "kernel": "white", "slice_correlation": 0},
    },
}


class AugmentationPreset(SeededContainer, Compose):
    """A Compose that draws one seed per call and records it with its settings and the output's range.

    Made by `ct_augmentation` and its like.

    Args:
        name: for the record.
        transforms: the steps.
        keys: all keys.
        image_keys: those whose range is checked.
        settings: plain values for the record.
        clip: a last step after the range check, or None.
    """

    def __init__(
        self,
        name: str,
        transforms: Sequence[Any],
        keys: Sequence[Any],
        image_keys: Sequence[Any],
        settings: Mapping[str, Any],
        clip: Any = None,
    ) -> None:
        Compose.__init__(self, [*transforms, *([clip] if clip is not None else [])])
        self.label, self.keys, self.image_keys = name, tuple(keys), tuple(image_keys)
        self.settings = dict(settings)
        self.steps_before_check = len(transforms)
        SeededContainer.__init__(self)

    def set_random_state(self, seed: int | None = None, state: Any = None) -> AugmentationPreset:
        """Seed the container; the children are seeded at each call."""
        SeededContainer.set_random_state(self, seed, state)
        return self

    def __call__(
        self, input_: Any, start: int = 0, end: int | None = None, threading: bool = False, lazy: bool | None = None
    ) -> Any:
        """Apply to a dictionary or a list of them."""
        if start == end == 0:  # what MONAI's caching datasets ask of the steps before the first random one
            return input_
        if start != 0 or end is not None:
            raise ValueError(f"{self.label} runs as a whole, got start {start} and end {end}")
        if isinstance(input_, (list, tuple)):
            return [self(item, lazy=lazy) for item in input_]
        return SeededContainer.__call__(self, input_)

    def inverse(self, data: Any) -> Any:
        """Undo the last call; geometry is inverted, intensities stay."""
        if isinstance(data, (list, tuple)):
            return [self.inverse(item) for item in data]
        return SeededContainer.inverse(self, data)

    def run_seeded(self, data: Mapping, seed: int) -> dict:
        seed_children(self.transforms, seed)
        out = execute_compose(data, self.transforms[: self.steps_before_check], lazy=self._lazy)
        info: dict[str, Any] = {"seed": seed, "settings": self.settings}
        infos = {k: dict(info) for k in self.keys}
        for key in self.image_keys:
            if key in out:
                infos[key]["range_check"] = range_check(out[key], repr(key))
        out = execute_compose(out, self.transforms[self.steps_before_check :])
        return self.with_records(out, True, infos)


def range_check(image: Any, name: str) -> dict[str, Any]:
    """The shares of voxels below and above [-1000, 1000] HU, padding at or below -1400 HU not counted.

    Example:
        >>> check = range_check(torch.tensor([[[-2048.0, -1000.0, -1010.0, 40.0, 1500.0]]]), "image")
        >>> check["share_below"], check["share_above"], check["passed"]
        (0.25, 0.25, False)
    """
    values = plain_tensor(image, name)
    low, high = torch.aminmax(values)
    values = values[values > PADDING_HU]
    below, above = (
        float(n) / max(len(values), 1) for n in ((values < RANGE_HU[0]).sum(), (values > RANGE_HU[1]).sum())
    )
    return {
        "range_hu": list(RANGE_HU),
        "share_below": below,
        "share_above": above,
        "minimum": float(low),
        "maximum": float(high),
        "passed": below == above == 0,
    }


def ct_augmentation(
    keys: KeysCollection,
    mask_keys: KeysCollection = (),
    lesion_key: str | None = None,
    strength: str = "standard",
    prob: float = 0.8,
    clip_hu: Sequence[float] | None = None,
) -> AugmentationPreset:
    """The augmentation of a CT image in HU, in the order of the physics: geometry, contrast, noise, range.

    Each step is applied with its own probability. With masks or a lesion the steps run in a `PreservingCompose`, which
    eases or rejects what harms them. `augmentation_report` tells what was done and the verdicts, `replay` repeats it.

    Args:
        keys: CT images in HU, 2D or 3D.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved.
        strength: ``"light"``, ``"standard"``, ``"strong"``, or ``"source"``: rotation ±5°, shift ±5 %, scaling ±10 %,
            alpha 1000 at sigma 8, contrast 0.85 to 1.15, white noise up to 12.3 HU.
        prob: probability of each step.
        clip_hu: clip the result to this range; else the share outside [-1000, 1000] HU is only reported.

    Returns:
        A MONAI Compose.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import augmentation_report
        >>> augment = ct_augmentation("image", strength="source").set_random_state(0)
        >>> out = augment({"image": MetaTensor(torch.randn(1, 64, 64) * 100)})
        >>> print(str(augmentation_report(out)).splitlines()[-1].strip())
        seed             209652396
    """
    if strength not in _CT_STRENGTHS:
        raise ValueError(f"strength must be one of {tuple(_CT_STRENGTHS)}, got {strength!r}")
    chosen = _CT_STRENGTHS[strength]
    images, masks = ensure_tuple(keys), ensure_tuple(mask_keys)
    lesions = () if lesion_key is None or lesion_key in masks else (lesion_key,)
    moving = (*images, *masks, *lesions)
    modes = ["bilinear"] * len(images) + ["nearest"] * (len(masks) + len(lesions))
    paddings = ["border"] * len(images) + ["zeros"] * (len(masks) + len(lesions))
    steps: list[Any] = [
        RandAffineElasticd(moving, prob=prob, mode=modes, padding_mode=paddings, **chosen["geometry"]),
        RandHUContrastd(images, prob=prob, **chosen["contrast"]),
        RandCTDosed(images, prob=prob, **chosen["dose"]),
    ]
    if masks or lesion_key is not None:
        steps = [PreservingCompose(steps, masks or None, lesion_key)]
    clip = None
    settings: dict[str, Any] = {"strength": strength, "prob": prob}
    if clip_hu is not None:
        low, high = span("clip_hu", clip_hu)
        clip = HUWindowd(images, center=(low + high) / 2, width=high - low, out_range=(low, high))
        settings["clip_hu"] = [low, high]
    return AugmentationPreset("ct_augmentation", steps, moving, images, settings, clip)
