"""Augmentation that looks at the image first: what it bears already is not added again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import OneOf

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.core.seeded import random_operations
from monai_medaug.core.tensors import affine_of
from monai_medaug.functional.geometry.grid import VoxelGrid
from monai_medaug.policies.baselines import each_alone
from monai_medaug.policies.measured import Burden, image_burdens, plain_figures
from monai_medaug.policies.operations import policy_operations
from monai_medaug.policies.pipeline import BareImageChain, PolicyChain, chosen_operations, without_keys

_ADDS = {
    **dict.fromkeys(("ct_noise", "mri_noise", "photon_noise"), "noise"),
    "blur": "blur",
    "thick_slice": "slices",
    "contrast": "contrast",
    **dict.fromkeys(("beam_hardening", "ring", "ct_motion", "mri_motion", "ghosting", "spike"), "artefact"),
    **dict.fromkeys(("undersampling", "gibbs"), "artefact"),
    "collimation": "shutters",
}
"""What each operation adds to; the others, geometry among them, add to nothing that is measured."""
_LEAST_ROOM, _NEARLY_ALL = 0.1, 0.95


class AdaptiveAugmentd(PolicyChain):
    """Of each sample n operations, chosen and limited by what its image bears already, and why is in the report.

    The first image is measured: noise, blur, contrast, spacing of the slices, artefacts (`image_burdens`). What an
    operation adds to may reach a limit together with what is there: noise of s out of L leaves ``sqrt(1 - s² / L²)`` of
    the operation's magnitude, so that a noisy scan isn't made noisier, and a thick one not thicker. Operations are
    drawn in proportion to their room; with less than a tenth they are left out. Geometry always has all of it.

    `augmentation_report` holds the figures and a reason for each operation that was limited or left out, under
    ``choice``.

    A MONAI Compose for dictionaries; it stands where the modality's preset would, before the normalisation.

    Args:
        keys: images, 2D or 3D: CT in HU, MR magnitudes, radiographs.
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved; of several channels their union.
        n: operations of a sample, 1 to 10.
        operations: names to choose from; None for all.
        magnitude: greatest strength, 0.001 to 1, of an image that bears nothing.
        prob: probability of each of the n; None counts doing nothing as one more operation.
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

    Example:
        >>> from monai_medaug.transforms import augmentation_report
        >>> noisy = MetaTensor(40 * torch.randn(1, 96, 96, generator=torch.Generator().manual_seed(0)))
        >>> augment = AdaptiveAugmentd("image", "ct").set_random_state(0)
        >>> augmentation_report(augment({"image": noisy}))["choice"]["ct_noise"]
        'left out: noise 40.4 of 25 HU'
    """

    def __init__(
        self,
        keys: KeysCollection,
        modality: str,
        mask_keys: KeysCollection | None = (),
        lesion_key: str | None = None,
        n: int = 2,
        operations: Sequence[str] | None = None,
        magnitude: float = 0.7,
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
        self.names = names = chosen_operations(operations, policy_operations(modality, spatial_dims))
        share = len(names) / (len(names) + 1) if prob is None else number("prob", prob, 0, 1)
        count = whole_number("n", n, 1, 10)
        self.burdens: dict[str, Burden] = {}
        super().__init__(
            "AdaptiveAugment",
            modality,
            [each_alone(names, share, magnitude)] * count,
            keys,
            mask_keys,
            lesion_key,
            {"operations": names, "n": count, "magnitude": float(magnitude), "prob": share},
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

    @property
    def runs_on_batches(self) -> bool:
        return False  # each sample has limits of its own

    def run_seeded(self, data: Any, seed: int) -> Any:
        first = next((k for k in self.image_keys if k in data), None) if isinstance(data, Mapping) else None
        self._affine = affine_of(data[first]) if first is not None and isinstance(data[first], MetaTensor) else None
        return super().run_seeded(data, seed)

    def before_call(self, image: torch.Tensor) -> None:
        super().before_call(image)
        grid = VoxelGrid(tuple(image.shape[1:]), self._affine)
        self.burdens = image_burdens(image, grid, self.modality)
        rooms = [self._room(name) for name in self.names]
        for stage in self._stages():
            if isinstance(stage, OneOf):
                stage.weights = [room / sum(rooms) if sum(rooms) else 1 / len(rooms) for room in rooms]
            children = stage.transforms if isinstance(stage, OneOf) else [stage]
            for child, room in zip(children, rooms, strict=True):
                for operation in random_operations([child]):
                    operation.limit = room

    def findings(self, images: torch.Tensor, name: str) -> list[dict[str, Any]]:
        choice = {name: reason for name in self.names if (reason := self._reason(name))}
        mine = {"measured": plain_figures(self.burdens), "choice": choice}
        return [{**found, **mine} for found in super().findings(images, name)]

    def _stages(self) -> list[Any]:
        """The draws of one operation each, in the guard or not."""
        guarded = len(self.transforms) == 1 and hasattr(self.transforms[0], "label_keys")
        return list(self.transforms[0].transforms if guarded else self.transforms)

    def _room(self, name: str) -> float:
        """Share of the operation's magnitude that this image leaves."""
        burden = self.burdens.get(_ADDS.get(name, ""))
        room = 1.0 if burden is None else burden.room
        return room if room >= _LEAST_ROOM else 0.0

    def _reason(self, name: str) -> str:
        room, burden = self._room(name), self.burdens.get(_ADDS.get(name, ""))
        if burden is None or room > _NEARLY_ALL:
            return ""
        return f"left out: {burden.text()}" if room == 0 else f"limited to {room:.0%}: {burden.text()}"


class AdaptiveAugment(BareImageChain, AdaptiveAugmentd):
    """`AdaptiveAugmentd` for a bare image (C, *spatial), in chains of array transforms.

    Args:
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        n: operations of a sample, 1 to 10.
        operations: names to choose from; None for all.
        magnitude: greatest strength, 0.001 to 1, of an image that bears nothing.
        prob: probability of each of the n; None counts doing nothing as one more operation.
        spatial_dims: 2 or 3, of the images; None leaves out what is not for both.
        settings: further arguments of `AdaptiveAugmentd` that are not about keys.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> AdaptiveAugment("ct").set_random_state(0)(100 * torch.rand(1, 64, 64)).shape
        torch.Size([1, 64, 64])
    """

    def __init__(
        self,
        modality: str,
        n: int = 2,
        operations: Sequence[str] | None = None,
        magnitude: float = 0.7,
        prob: float | None = None,
        spatial_dims: int | None = None,
        **settings: Any,
    ) -> None:
        own: dict[str, Any] = {"magnitude": magnitude, "prob": prob, "spatial_dims": spatial_dims}
        super().__init__("image", modality, n=n, operations=operations, **own, **without_keys(settings))


AdaptiveAugmentD = AdaptiveAugmentDict = AdaptiveAugmentd
