"""An augmentation strategy: what is done to raw images, what after their normalisation, and what to whole batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from monai_medaug.core.arguments import choice
from monai_medaug.experiments.nnunet_schemes import nnunet_da5_scheme, nnunet_scheme
from monai_medaug.experiments.peer_schemes import monai_brats_scheme, monai_mednist_scheme, torchio_scheme
from monai_medaug.transforms.presets.base import STRENGTHS
from monai_medaug.transforms.presets.ct import ct_augmentation
from monai_medaug.transforms.presets.mri import mri_augmentation
from monai_medaug.transforms.presets.xray import xray_augmentation

Transform = Callable[[Any], Any]


@dataclass(frozen=True)
class AugmentationStrategy:
    """Where in a pipeline a strategy acts: physics needs raw values, most published schemes need normalised ones.

    Attributes:
        before: dictionary transform of a sample before its intensities are normalised; None does nothing.
        after: the same after that.
        batch: dictionary transform of a collated batch, such as `BatchMixd`; None does nothing.

    Example:
        >>> from monai.transforms import RandFlipd
        >>> AugmentationStrategy(after=RandFlipd("image", prob=0.5)).before is None
        True
    """

    before: Transform | None = None
    after: Transform | None = None
    batch: Transform | None = None


_PEERS: dict[str, Callable[..., tuple[Transform | None, Transform | None]]] = {
    "nnunet": nnunet_scheme,
    "nnunet_da5": nnunet_da5_scheme,
    "monai_brats": monai_brats_scheme,
    "monai_mednist": monai_mednist_scheme,
    "torchio": torchio_scheme,
}
_PRESETS = {
    f"{name}_{strength}": partial(preset, strength=strength)
    for name, preset in (("ct", ct_augmentation), ("mri", mri_augmentation), ("xray", xray_augmentation))
    for strength in STRENGTHS
}
STRATEGY_NAMES = ("none", *_PEERS, *_PRESETS)
"""What `named_strategy` knows."""


def named_strategy(
    name: str, image_key: str = "image", mask_key: str | None = None, size: Sequence[int] = (128, 128)
) -> AugmentationStrategy:
    """A published scheme, or a preset of ours, ready for `compare_strategies`.

    ``"none"`` does nothing. Ours: ``"ct_light"``, ``"mri_standard"``, ``"xray_strong"``, … with masks in the guard.
    Others, expressed in MONAI's transforms with the published parameters; what differs is said where they are made:

    - ``"nnunet"``: nnU-Net v2's default trainer.
    - ``"nnunet_da5"``: its ``nnUNetTrainerDA5``, advised for strong shifts.
    - ``"monai_brats"``: of MONAI's tutorial of brain tumours, flips, scaling and shift of intensities.
    - ``"monai_mednist"``: of MONAI's tutorial of MedNIST, rotation, a flip and zoom.
    - ``"torchio"``: of TorchIO's tutorial, for MR: motion, bias field, noise, a flip, affine or elastic.

    Args:
        name: one of `STRATEGY_NAMES`.
        image_key: of the images.
        mask_key: of a mask that moves along; None for none.
        size: of the images, (rows, columns) or (rows, columns, slices).

    Raises:
        ValueError: there is no such strategy.

    Example:
        >>> [type(step).__name__ for step in named_strategy("monai_mednist").after.transforms]
        ['RandRotated', 'RandFlipd', 'RandZoomd']
    """
    name = choice("name", name, STRATEGY_NAMES)
    if name in _PRESETS:
        return AugmentationStrategy(before=_PRESETS[name](image_key, mask_keys=() if mask_key is None else mask_key))
    if name in _PEERS:
        return AugmentationStrategy(*_PEERS[name](image_key, mask_key, tuple(size)))
    return AugmentationStrategy()


def resolved_strategies(
    strategies: Mapping[str, Any] | Sequence[str], image_key: str, mask_key: str | None, size: Sequence[int]
) -> dict[str, AugmentationStrategy]:
    """By name; a name stands for itself, a transform for one of raw images, a policy for its Compose, None for nothing.

    Raises:
        TypeError: a strategy is none of these.
        ValueError: there are fewer than two, or a name is unknown.
    """
    if isinstance(strategies, str) or not isinstance(strategies, (Mapping, Sequence)):
        raise TypeError(f"strategies must be a dictionary or a list of names, got {type(strategies).__name__}")
    given = dict(strategies) if isinstance(strategies, Mapping) else {name: name for name in strategies}
    if len(given) < 2:
        raise ValueError(f"strategies must be two or more, to be compared, got {len(given)}")
    found = {}
    for name, value in given.items():
        if value is None:
            value = AugmentationStrategy()
        elif isinstance(value, str):
            value = named_strategy(value, image_key, mask_key, size)
        elif hasattr(value, "to_compose"):
            value = AugmentationStrategy(value.to_compose(image_key, mask_keys=() if mask_key is None else mask_key))
        elif not isinstance(value, AugmentationStrategy):
            if not callable(value):
                raise TypeError(
                    f"strategies[{name!r}] must be None, a name, a transform, a policy or an AugmentationStrategy, got "
                    f"{type(value).__name__}"
                )
            value = AugmentationStrategy(value)
        found[str(name)] = value
    return found
