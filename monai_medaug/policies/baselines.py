"""Augmentation without a search: one operation at any strength, or n operations at one strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.config import KeysCollection

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.policies.operations import PolicyStep, SubPolicy, policy_operations
from monai_medaug.policies.pipeline import BareImageChain, PolicyChain, chosen_operations, without_keys


class MedTrivialAugmentd(PolicyChain):
    """Of each sample one operation, drawn evenly, at a strength that is drawn evenly: no search, nothing to tune.

    The operations are those of `policy_operations` for the modality, with magnitudes in mm, degrees, HU and
    signal-to-noise: geometry, which moves masks along, curves of grey values, and the modality's own physics. The
    strength of each goes from nothing to its greatest magnitude, to both sides where it has two.

    A MONAI Compose for dictionaries; it stands where the modality's preset would, before the normalisation.

    Args:
        keys: images, 2D or 3D: CT in HU, MR magnitudes, radiographs.
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved; of several channels their union.
        operations: names to draw from; None for all.
        magnitude: greatest strength, 0.001 to 1.
        prob: probability of doing anything; None counts doing nothing as one more operation, as the source does.
        spatial_dims: 2 or 3, of the images; None leaves out what is not for both, which is thick slices.
        guard: with masks or a lesion, run in a `PreservingCompose`.
        padding_mode: what the geometry fills in from outside; ``"automatic"`` as the preset of the modality does.
        ignore: value of the masks there, such as 255; None for none.
        inverted: of radiographs: bright means little attenuation.
        linear: of radiographs: values are photon counts.
        value_range: of radiographs: (low, high) of the display scale; None takes each image's own.
        sample_key: key of the sample's id: draws then depend on ``seed``, the id and the epoch, see `SampleSeeded`.
        seed: of the experiment, with ``sample_key``.
        allow_missing_keys: skip missing keys instead of raising a KeyError.

    Raises:
        ValueError: an argument is out of its range.

    Source: S. G. Müller & F. Hutter, TrivialAugment: Tuning-free yet state-of-the-art data augmentation, ICCV 2021.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandCTDose
        >>> augment = MedTrivialAugmentd("image", "ct").set_random_state(4)
        >>> out = augment({"image": MetaTensor(RandCTDose.example(2))})["image"]
        >>> [record["class"] for record in out.applied_operations if record["class"].startswith("Rand")]
        ['RandBlurd']
    """

    def __init__(
        self,
        keys: KeysCollection,
        modality: str,
        mask_keys: KeysCollection | None = (),
        lesion_key: str | None = None,
        operations: Sequence[str] | None = None,
        magnitude: float = 1.0,
        prob: float | None = None,
        spatial_dims: int | None = None,
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
        names = chosen_operations(operations, policy_operations(modality, spatial_dims))
        share = len(names) / (len(names) + 1) if prob is None else number("prob", prob, 0, 1)
        super().__init__(
            "MedTrivialAugment",
            modality,
            [each_alone(names, share, magnitude)],
            keys,
            mask_keys,
            lesion_key,
            {"operations": names, "magnitude": float(magnitude), "prob": share},
            guard=guard,
            padding_mode=padding_mode,
            ignore=ignore,
            inverted=inverted,
            linear=linear,
            value_range=value_range,
            sample_key=sample_key,
            seed=seed,
            allow_missing_keys=allow_missing_keys,
        )


class MedRandAugmentd(PolicyChain):
    """Of each sample n operations, drawn evenly and one after another, up to one strength m: two numbers to tune.

    Strengths are drawn up to m, which does as well as m itself in the source's comparison of schedules and leaves no
    strength out. Otherwise as `MedTrivialAugmentd`.

    Args:
        keys: images, 2D or 3D: CT in HU, MR magnitudes, radiographs.
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        n: operations of a sample, 1 to 10; one may be drawn more than once.
        m: greatest strength of each, 0.001 to 1.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved; of several channels their union.
        operations: names to draw from; None for all.
        prob: probability of each of the n; None counts doing nothing as one more operation, as the source does.
        spatial_dims: 2 or 3, of the images; None leaves out what is not for both, which is thick slices.
        guard: with masks or a lesion, run in a `PreservingCompose`.
        padding_mode: what the geometry fills in from outside; ``"automatic"`` as the preset of the modality does.
        ignore: value of the masks there, such as 255; None for none.
        inverted: of radiographs: bright means little attenuation.
        linear: of radiographs: values are photon counts.
        value_range: of radiographs: (low, high) of the display scale; None takes each image's own.
        sample_key: key of the sample's id: draws then depend on ``seed``, the id and the epoch, see `SampleSeeded`.
        seed: of the experiment, with ``sample_key``.
        allow_missing_keys: skip missing keys instead of raising a KeyError.

    Raises:
        ValueError: an argument is out of its range.

    Source: E. D. Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space, NeurIPS
    2020.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.transforms import RandMRINoise
        >>> augment = MedRandAugmentd("image", "mri", n=2, m=0.3).set_random_state(0)
        >>> out = augment({"image": MetaTensor(RandMRINoise.example(2))})["image"]
        >>> sum(record["class"].startswith("Rand") for record in out.applied_operations)
        2
    """

    def __init__(
        self,
        keys: KeysCollection,
        modality: str,
        n: int = 2,
        m: float = 0.5,
        mask_keys: KeysCollection | None = (),
        lesion_key: str | None = None,
        operations: Sequence[str] | None = None,
        prob: float | None = None,
        spatial_dims: int | None = None,
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
        names = chosen_operations(operations, policy_operations(modality, spatial_dims))
        share = len(names) / (len(names) + 1) if prob is None else number("prob", prob, 0, 1)
        count = whole_number("n", n, 1, 10)
        super().__init__(
            "MedRandAugment",
            modality,
            [each_alone(names, share, m, "m")] * count,
            keys,
            mask_keys,
            lesion_key,
            {"operations": names, "n": count, "m": float(m), "prob": share},
            guard=guard,
            padding_mode=padding_mode,
            ignore=ignore,
            inverted=inverted,
            linear=linear,
            value_range=value_range,
            sample_key=sample_key,
            seed=seed,
            allow_missing_keys=allow_missing_keys,
        )


class MedTrivialAugment(BareImageChain, MedTrivialAugmentd):
    """`MedTrivialAugmentd` for a bare image (C, *spatial), in chains of array transforms.

    Args:
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        operations: names to draw from; None for all.
        magnitude: greatest strength, 0.001 to 1.
        prob: probability of doing anything; None counts doing nothing as one more operation.
        spatial_dims: 2 or 3, of the images; None leaves out what is not for both.
        settings: further arguments of `MedTrivialAugmentd` that are not about keys.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from monai_medaug.transforms import RandMRINoise
        >>> MedTrivialAugment("mri").set_random_state(1)(RandMRINoise.example(2)).shape
        torch.Size([1, 24, 21])
    """

    def __init__(
        self,
        modality: str,
        operations: Sequence[str] | None = None,
        magnitude: float = 1.0,
        prob: float | None = None,
        spatial_dims: int | None = None,
        **settings: Any,
    ) -> None:
        own: dict[str, Any] = {
            "operations": operations,
            "magnitude": magnitude,
            "prob": prob,
            "spatial_dims": spatial_dims,
        }
        super().__init__("image", modality, **own, **without_keys(settings))


class MedRandAugment(BareImageChain, MedRandAugmentd):
    """`MedRandAugmentd` for a bare image (C, *spatial), in chains of array transforms.

    Args:
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        n: operations of a sample, 1 to 10.
        m: greatest strength of each, 0.001 to 1.
        operations: names to draw from; None for all.
        prob: probability of each of the n; None counts doing nothing as one more operation.
        spatial_dims: 2 or 3, of the images; None leaves out what is not for both.
        settings: further arguments of `MedRandAugmentd` that are not about keys.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> from monai_medaug.transforms import RandMRINoise
        >>> MedRandAugment("mri", n=1, m=0.2).set_random_state(1)(RandMRINoise.example(2)).shape
        torch.Size([1, 24, 21])
    """

    def __init__(
        self,
        modality: str,
        n: int = 2,
        m: float = 0.5,
        operations: Sequence[str] | None = None,
        prob: float | None = None,
        spatial_dims: int | None = None,
        **settings: Any,
    ) -> None:
        own: dict[str, Any] = {"operations": operations, "prob": prob, "spatial_dims": spatial_dims}
        super().__init__("image", modality, n, m, **own, **without_keys(settings))


MedTrivialAugmentD = MedTrivialAugmentDict = MedTrivialAugmentd
MedRandAugmentD = MedRandAugmentDict = MedRandAugmentd


def each_alone(names: Sequence[str], prob: float, magnitude: float, name: str = "magnitude") -> list[SubPolicy]:
    """A sub-policy of one step for each operation."""
    strength = number(name, magnitude, 0.001, 1)
    return [SubPolicy((PolicyStep(operation, prob, strength),)) for operation in names]
