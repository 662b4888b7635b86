"""Presets: whole augmentations as a MONAI Compose. Those of each modality are in files of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms.compose import Compose, execute_compose
from monai.utils import ensure_tuple

from monai_medaug.core.arguments import choice
from monai_medaug.functional.ct import PADDING_HU
from monai_medaug.transforms.preserving import PreservingCompose
from monai_medaug.transforms.sample_seed import SampleSeeds
from monai_medaug.transforms.seeded import SEEDED_CALL, SeededContainer, random_operations, seed_children
from monai_medaug.transforms.spatial import RandAffineElasticd
from monai_medaug.transforms.tensors import plain_tensor
from monai_medaug.transforms.xray import Radiograph

RANGE_HU = (-1000.0, 1000.0)
STRENGTHS = ("light", "standard", "strong", "source")
SMOOTH: dict[str, Any] = {"elastic_sigma": 20, "elastic_unit": "mm"}  # organs move, bones do not wobble

# a step: its dictionary transform, its share of the preset's probability, its arguments
Steps = Sequence[tuple[type, float, dict[str, Any]]]


class AugmentationPreset(SeededContainer, Compose):
    """A Compose that draws one seed per call and records it with its settings and the output's range.

    Made by `ct_augmentation`, `mri_augmentation` and `xray_augmentation`.

    Args:
        name: for the record.
        transforms: the steps.
        keys: all keys.
        image_keys: those whose range in HU is checked.
        settings: plain values for the record.
        clip: a last step after the range check, or None.
        seeds: what the seed of a call depends on; None draws it.
    """

    def __init__(
        self,
        name: str,
        transforms: Sequence[Any],
        keys: Sequence[Any],
        image_keys: Sequence[Any],
        settings: Mapping[str, Any],
        clip: Any = None,
        seeds: SampleSeeds | None = None,
    ) -> None:
        Compose.__init__(self, [*transforms, *([clip] if clip is not None else [])])
        self.label, self.keys, self.image_keys = name, tuple(keys), tuple(image_keys)
        self.settings = dict(settings)
        self.steps_before_check = len(transforms)
        self.seeds = seeds
        self.scale_key: Any = None
        SeededContainer.__init__(self)

    def set_random_state(self, seed: int | None = None, state: Any = None) -> AugmentationPreset:
        """Seed the container; the children are seeded at each call."""
        SeededContainer.set_random_state(self, seed, state)
        return self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins, where the draws depend on the sample (``sample_key``)."""
        if self.seeds is None:
            raise ValueError(f"{self.label} was made without sample_key: its draws don't depend on the epoch")
        self.seeds.set_epoch(epoch)

    def call_seed(self, data: Any, sample: int | None = None) -> int:
        return SeededContainer.call_seed(self, data) if self.seeds is None else self.seeds.of(data, sample)

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

    def before_call(self, data: Mapping, sample: int | None = None) -> None:
        """Radiographs keep one display scale through all steps: that of the first image before them."""
        if self.scale_key is None or self.scale_key not in data:
            return
        image = plain_tensor(data[self.scale_key], repr(self.scale_key), sample is not None)
        low, high = (float(v) for v in torch.aminmax((image if sample is None else image[sample]).float()))
        for operation in random_operations(self.transforms):
            if isinstance(operation, Radiograph):
                operation.value_range = (0.0 if operation.linear else low, high) if low < high else None

    def run_seeded(self, data: Mapping, seed: int) -> dict:
        with SEEDED_CALL:
            return self._run_seeded(data, seed)

    def _run_seeded(self, data: Mapping, seed: int) -> dict:
        self.before_call(data)
        seed_children(self.transforms, seed)
        out = execute_compose(data, self.transforms[: self.steps_before_check], lazy=self._lazy)
        infos = self.infos(out, seed)
        out = execute_compose(out, self.transforms[self.steps_before_check :])
        return self.with_records(out, True, infos)

    def infos(self, data: Mapping, seed: int) -> dict[Any, dict[str, Any]]:
        """What the record under each key holds, from one sample before the last step."""
        infos: dict[Any, dict[str, Any]] = {k: {"seed": seed, "settings": self.settings} for k in self.keys}
        for key in self.image_keys:
            if key in data:
                infos[key]["range_check"] = range_check(data[key], repr(key))
        return infos


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


def chosen_strength(table: Mapping[str, Any], strength: str) -> Any:
    """The entry of a preset's table, or a ValueError."""
    return table[choice("strength", strength, STRENGTHS)]


def build_preset(
    name: str,
    steps: Steps,
    keys: KeysCollection,
    mask_keys: KeysCollection,
    lesion_key: str | None,
    settings: Mapping[str, Any],
    sample_key: Any = None,
    seed: int = 0,
    checked: bool = False,
    last: Any = None,
) -> AugmentationPreset:
    """Put a preset together: geometry for all keys, the rest for the images, guarded where there is a label or lesion.

    Args:
        name: for the record.
        steps: in the order of the physics; `settings` holds the probability that their shares refer to.
        keys: images.
        mask_keys: label maps.
        lesion_key: lesion mask, or None.
        settings: ``strength``, ``prob`` and what else the record should tell.
        sample_key: key of the sample's id, or None.
        seed: of the experiment, where there is one.
        checked: whether the images' range in HU is checked.
        last: a step after that check, or None.
    """
    images, masks = ensure_tuple(keys), ensure_tuple(mask_keys)
    lesions = () if lesion_key is None or lesion_key in masks else (lesion_key,)
    moving = (*images, *masks, *lesions)
    flat = len(masks) + len(lesions)
    built: list[Any] = []
    for step, share, arguments in steps:
        if step is RandAffineElasticd:
            arguments = {
                "mode": ["bilinear"] * len(images) + ["nearest"] * flat,
                "padding_mode": ["border"] * len(images) + ["zeros"] * flat,
                **arguments,
            }
        built.append(step(moving if step is RandAffineElasticd else images, prob=settings["prob"] * share, **arguments))
    seeds = None if sample_key is None else SampleSeeds(sample_key, seed)
    if masks or lesion_key is not None:
        built = [PreservingCompose(built, masks or None, lesion_key)]
    return AugmentationPreset(name, built, moving, images if checked else (), settings, last, seeds)
