"""Sub-policies as a MONAI Compose, with the conventions of the modality's preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose, OneOf
from monai.utils import ensure_tuple

from monai_medaug.core.arguments import choice, flag, wide_span
from monai_medaug.core.sample_seed import SampleSeeds
from monai_medaug.core.trace import with_new_trace
from monai_medaug.policies.operations import PolicyOperation, PolicyStep, SubPolicy, every_policy_operation
from monai_medaug.transforms.ct.units import units_known
from monai_medaug.transforms.presets.base import AugmentationPreset
from monai_medaug.transforms.presets.ct import CTAugmentationPreset
from monai_medaug.transforms.presets.keyed_steps import KeyedSteps
from monai_medaug.transforms.presets.xray import XRayAugmentationPreset
from monai_medaug.transforms.resolution import RandThickSlice
from monai_medaug.transforms.xray import RandXRayCollimation
from monai_medaug.transforms.xray.display import Radiograph

_HOOKS: dict[str, Any] = {"ct": CTAugmentationPreset, "mri": AugmentationPreset, "xray": XRayAugmentationPreset}
"""Whose checks and findings apply to a modality."""
_OUTSIDE = {"ct": "air", "mri": "background", "xray": "darkest"}


class PolicyChain(AugmentationPreset):
    """Base: stages that each draw one of several sub-policies, for the keys and in the units of a modality.

    Everything that holds for the presets holds here: one seed per call that the record keeps, `augmentation_report`,
    `replay`, inverse, `Batched`, the unit check of CT, the constant display scale of radiographs.

    Args:
        name: for the record.
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        stages: of each its sub-policies.
        keys: images.
        mask_keys: label maps that move along.
        lesion_key: lesion mask that moves along; of several channels their union.
        settings: plain values for the record.
        guard: with masks or a lesion, run in a `PreservingCompose`.
        padding_mode: what the geometry fills in from outside, see the presets.
        ignore: value of the masks there.
        inverted, linear, value_range: of radiographs, see `xray_augmentation`.
        sample_key, seed: draws by sample, see `SampleSeeded`.
        allow_missing_keys: skip missing keys instead of raising a KeyError.
    """

    def __init__(
        self,
        name: str,
        modality: str,
        stages: Sequence[Sequence[SubPolicy]],
        keys: KeysCollection,
        mask_keys: KeysCollection | None = (),
        lesion_key: str | None = None,
        settings: Mapping[str, Any] | None = None,
        guard: bool = True,
        padding_mode: str | float = "automatic",
        ignore: float | None = None,
        inverted: bool = False,
        linear: bool = False,
        value_range: Sequence[float] | None = None,
        sample_key: str | None = None,
        seed: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        self.modality = modality
        display: dict[str, Any] = {"inverted": flag("inverted", inverted), "linear": flag("linear", linear)}
        if value_range is not None:
            display["value_range"] = list(wide_span("value_range", value_range))
        changed = {name: value for name, value in display.items() if value is not False}
        if changed and modality != "xray":
            raise ValueError(f"{next(iter(changed))} goes with modality 'xray', got {modality!r}")
        if padding_mode == "automatic":
            padding_mode = "brightest" if modality == "xray" and inverted else _OUTSIDE[modality]
        keyed = KeyedSteps(ensure_tuple(keys), ensure_tuple(mask_keys or ()), lesion_key, padding_mode, ignore)
        table = every_policy_operation(modality)

        def made(step: PolicyStep) -> Any:
            found = table[step.operation]
            arguments = found.magnitude.arguments(step.magnitude) | _conventions(found, keyed, display, modality)
            return keyed.made(found.twin, step.probability, arguments, allow_missing_keys)

        children = [_one_of([[made(step) for step in sub.steps] for sub in stage], stage) for stage in stages]
        flat = [step for child in children for step in (child if isinstance(child, list) else [child])]
        steps = keyed.guarded(flat) if flag("guard", guard) else flat
        told = {"modality": modality, **(settings or {}), **changed, **keyed.settings}
        if not guard and (keyed.masks or lesion_key is not None):
            told["guard"] = False
        seeds = None if sample_key is None else SampleSeeds(sample_key, seed)
        super().__init__(name, steps, keyed.moving, keyed.images, told, seeds)

    def check_image(self, image: torch.Tensor, name: str) -> None:
        _HOOKS[self.modality].check_image(self, image, name)

    def before_call(self, image: torch.Tensor) -> None:
        _HOOKS[self.modality].before_call(self, image)

    def findings(self, images: torch.Tensor, name: str) -> list[dict[str, Any]]:
        return _HOOKS[self.modality].findings(self, images, name)

    def run_seeded(self, data: Any, seed: int) -> Any:
        if isinstance(data, Mapping):  # MONAI's OneOf writes its record into the caller's traces
            data = {k: with_new_trace(v) if isinstance(v, MetaTensor) else v for k, v in data.items()}
        with self._units():
            return super().run_seeded(data, seed)

    def run_batch(self, data: Any, draws: Sequence[Any], run: Any) -> Any:
        with self._units():
            return super().run_batch(data, draws, run)

    def _units(self) -> AbstractContextManager:
        """The first image was checked: later steps don't ask again whether it is in HU."""
        return units_known() if self.modality == "ct" else nullcontext()


class BareImageChain(PolicyChain):
    """Base of the array classes: a chain of one image without a key."""

    def __call__(
        self, input_: Any, start: int = 0, end: int | None = None, threading: bool = False, lazy: bool | None = None
    ) -> Any:
        """Apply to a bare image (C, *spatial)."""
        if isinstance(input_, Mapping):
            name = type(self).__name__
            raise TypeError(f"data must be an image, got a dictionary: {name}d takes one, by its keys")
        return super().__call__(input_, start, end, threading, lazy)


def without_keys(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The further arguments of an array class.

    Raises:
        TypeError: one is about keys.

    Example:
        >>> without_keys({"inverted": True})
        {'inverted': True}
    """
    about_keys = ("keys", "mask_keys", "lesion_key", "sample_key", "guard", "ignore", "allow_missing_keys")
    if given := [name for name in about_keys if name in settings]:
        raise TypeError(f"settings must not be about keys, got {given[0]}: the dictionary class, with a d, takes it")
    return settings


def _one_of(chains: Sequence[list[Any]], stage: Sequence[SubPolicy]) -> Any:
    """A draw of one chain by weight; a single one as the list of its steps."""
    if len(chains) == 1:
        return chains[0]
    return OneOf([chain[0] if len(chain) == 1 else Compose(chain) for chain in chains], [s.weight for s in stage])


def _conventions(
    found: PolicyOperation, keyed: KeyedSteps, display: Mapping[str, Any], modality: str
) -> dict[str, Any]:
    """What the presets give an operation besides: the display scale, and the organ that shutters leave open."""
    own: dict[str, Any] = dict(display) if issubclass(found.operation, Radiograph) else {}
    if found.operation is RandXRayCollimation and len(keyed.moving) > len(keyed.images):
        own["organ_key"] = keyed.moving[len(keyed.images)]
    if found.operation is RandThickSlice:
        own["keep_zeros"] = False if modality == "ct" else None  # 0 HU is water
    return own


def chosen_operations(operations: Sequence[str] | None, table: Mapping[str, PolicyOperation]) -> list[str]:
    """The names to draw from: those given, checked, or all of the table.

    Raises:
        ValueError: one is unknown or given twice, or there are none.

    Example:
        >>> chosen_operations(["rotate"], every_policy_operation("ct"))
        ['rotate']
    """
    if operations is None:
        return list(table)
    if isinstance(operations, str) or not operations or len(set(operations)) < len(operations):
        raise ValueError(f"operations must be different names, at least one, got {operations!r}")
    return [choice("operations", name, tuple(table)) for name in operations]
