"""A learned augmentation as data: sub-policies, weights and where they come from, read and written as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import KeysCollection

from monai_medaug.core.arguments import choice, number
from monai_medaug.policies.operations import POLICY_MODALITIES, PolicyStep, SubPolicy, every_policy_operation
from monai_medaug.policies.pipeline import PolicyChain
from monai_medaug.policies.reading import plain_provenance, policy_entries, policy_json

SCHEMA = 1


class AugmentationPolicy:
    """Of each sample one sub-policy, drawn by weight, whose steps follow one another, each with its probability.

    A step is an operation by the name in `policy_operations`, a probability, and a magnitude in (0, 1]: how far it
    goes, of what it draws evenly in each call. It is data, without code: it may be shared as JSON, and read from a
    stranger.

    Args:
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        sub_policies: each a `SubPolicy`, a mapping with ``steps`` and perhaps ``weight``, or a list of steps; a step is
            a `PolicyStep`, a mapping with ``operation``, ``probability`` and ``magnitude``, or these three in a list.
        provenance: where it comes from, plain values by name: ``study``, ``objective``, ``measure``, ``sampler``
            (text), ``seed``, ``trial``, ``trials`` (whole numbers), ``score`` (a number), ``versions`` (text by
            package).

    Raises:
        TypeError: something is of another type.
        ValueError: an operation is unknown, or a number out of its range.

    Example:
        >>> policy = AugmentationPolicy("ct", [[["rotate", 0.8, 0.5], ["ct_noise", 0.5, 0.4]], [["gamma", 1, 0.3]]])
        >>> print(policy)
        policy for ct, 2 sub-policies
          1/2: rotate (0.8: rotate_degrees -15 to 15°), ct_noise (0.5: noise_hu 0 to 10 HU)
          1/2: gamma (1: gamma 0.838 to 1.19)
        >>> AugmentationPolicy.from_json(policy.to_json()) == policy
        True
    """

    def __init__(self, modality: str, sub_policies: Sequence[Any], provenance: Mapping[str, Any] | None = None) -> None:
        self.modality = choice("modality", modality, POLICY_MODALITIES)
        self.sub_policies = tuple(_checked_sub_policy(s, self.modality) for s in policy_entries(sub_policies))
        if not sum(s.weight for s in self.sub_policies) > 0:
            raise ValueError("sub_policies must have a weight above 0, at least one, got none")
        self.provenance = plain_provenance({} if provenance is None else provenance)

    # ---- data ------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in the JSON."""
        return {
            "schema": SCHEMA,
            "modality": self.modality,
            "sub_policies": [
                {"weight": sub.weight, "steps": [dict(vars(step)) for step in sub.steps]} for sub in self.sub_policies
            ],
            "provenance": json.loads(json.dumps(self.provenance)),
        }

    def to_json(self) -> str:
        """The policy as JSON text; `from_json` gives an equal one."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False)

    @staticmethod
    def from_json(text: str | Path) -> AugmentationPolicy:
        """From the text, or the file, that `to_json` wrote.

        Nothing in it is executed or imported: names are looked up in `policy_operations`, all else are numbers in
        their ranges; what is unknown, twice there, or begins like an expression of MONAI's configurations is refused.

        Args:
            text: the JSON, or a `pathlib.Path` of up to 1 MB.

        Raises:
            ValueError: it is no policy; the message says what is wrong with it.
        """
        content = policy_json(text)
        if "schema" not in content or content["schema"] != SCHEMA or isinstance(content["schema"], bool):
            raise ValueError(f"schema must be {SCHEMA}, got {str(content.get('schema', 'none'))[:40]!r}")
        given = {key: value for key, value in content.items() if key != "schema"}
        try:
            return AugmentationPolicy(**given)
        except TypeError as error:
            raise ValueError(str(error)) from None

    def write(self, file: str | Path) -> None:
        """Write the JSON, whole or not at all."""
        target = Path(file)
        temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            temporary.write_text(self.to_json() + "\n", encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AugmentationPolicy) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        return f"AugmentationPolicy({self.modality!r}, {len(self.sub_policies)} sub-policies)"

    def __str__(self) -> str:
        table = every_policy_operation(self.modality)
        total = sum(sub.weight for sub in self.sub_policies)
        lines = [f"policy for {self.modality}, {len(self.sub_policies)} sub-policies"]
        for sub in self.sub_policies:
            share = f"1/{round(total / sub.weight)}" if sub.weight and (total / sub.weight) % 1 == 0 else ""
            said = (
                f"{s.operation} ({s.probability:.3g}: {table[s.operation].magnitude.text(s.magnitude)})"
                for s in sub.steps
            )
            lines.append(f"  {share or f'{sub.weight / total:.1%}'}: {', '.join(said)}")
        return "\n".join(lines)

    # ---- use -------------------------------------------------------------------------------------------------

    def to_compose(
        self, keys: KeysCollection = "image", mask_keys: KeysCollection | None = (), **settings: Any
    ) -> PolicyAugmentation:
        """A MONAI Compose that does it to dictionaries: a `PolicyAugmentation` of this policy.

        Args:
            keys: images, in the units that the modality's preset takes.
            mask_keys: label maps that move along and must be preserved.
            settings: further arguments of `PolicyAugmentation`.

        Raises:
            ValueError: an argument is out of its range.

        Example:
            >>> policy = AugmentationPolicy("xray", [[["rotate", 1, 1]]])
            >>> [type(step).__name__ for step in policy.to_compose("image").transforms]
            ['RandAffineElasticd']
        """
        return PolicyAugmentation(keys, self, mask_keys, **settings)


def _checked_sub_policy(given: Any, modality: str) -> SubPolicy:
    """With known operations and numbers in their ranges."""
    table = every_policy_operation(modality)
    sub = given if isinstance(given, SubPolicy) else SubPolicy(given["steps"], given.get("weight", 1.0))
    steps = []
    for step in sub.steps:
        if not isinstance(step.operation, str) or step.operation not in table:
            named = repr(step.operation)[:60]
            raise ValueError(f"operation must be one of {', '.join(table)} for {modality}, got {named}")
        probability = number(f"probability of {step.operation}", step.probability, 0, 1)
        magnitude = number(f"magnitude of {step.operation}", step.magnitude, 0, 1)
        if not magnitude >= 1e-3:
            raise ValueError(f"magnitude of {step.operation} must be within [0.001, 1], got {magnitude:g}")
        steps.append(PolicyStep(step.operation, probability, magnitude))
    return SubPolicy(tuple(steps), number("weight", sub.weight, 0, 1e6))


class PolicyAugmentation(PolicyChain):
    """An `AugmentationPolicy` as a dictionary transform, a MONAI Compose.

    With one key and no masks it also takes a bare image, for chains of array transforms. Put it where the modality's
    preset would stand, before the normalisation: CT in HU, magnitudes, radiographs in their own scale.

    Args:
        keys: images, 2D or 3D.
        policy: the policy, its JSON text, a `pathlib.Path` of it, or its plain values.
        mask_keys: label maps that move along and must be preserved.
        lesion_key: lesion mask that moves along and must be preserved; of several channels their union.
        guard: with masks or a lesion, run in a `PreservingCompose`, which eases or rejects what harms them, as in the
            presets. False leaves them unjudged, in a third to a sixth of the time.
        padding_mode: what the geometry fills in from outside; ``"automatic"`` as the preset of the modality does.
        ignore: value of the masks there, such as 255, for a loss that ignores it; None for none.
        inverted: of radiographs: bright means little attenuation.
        linear: of radiographs: values are photon counts.
        value_range: of radiographs: (low, high) of the display scale; None takes each image's own.
        sample_key: key of the sample's id: draws then depend on ``seed``, the id and the epoch, see `SampleSeeded`.
        seed: of the experiment, with ``sample_key``.
        allow_missing_keys: skip missing keys instead of raising a KeyError.

    Raises:
        TypeError: ``policy`` is none.
        ValueError: an argument is out of its range.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai_medaug.policies import AugmentationPolicy
        >>> from monai_medaug.transforms import RandXRayScatter
        >>> policy = AugmentationPolicy("xray", [[["rotate", 1, 0.5], ["scatter", 1, 0.5]]])
        >>> augment = PolicyAugmentation("image", policy).set_random_state(0)
        >>> out = augment({"image": MetaTensor(RandXRayScatter.example(2))})["image"]
        >>> [record["class"] for record in out.applied_operations]
        ['RandAffineElasticd', 'RandXRayScatterd', 'PolicyAugmentation']
    """

    def __init__(
        self,
        keys: KeysCollection,
        policy: Any,
        mask_keys: KeysCollection | None = (),
        lesion_key: str | None = None,
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
        self.policy = found = resolved_policy(policy)
        super().__init__(
            "PolicyAugmentation",
            found.modality,
            [found.sub_policies],
            keys,
            mask_keys,
            lesion_key,
            {"policy": found.to_dict()},
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


def resolved_policy(policy: Any) -> Any:
    """A policy from its object, JSON text, file or plain values.

    Raises:
        TypeError: it is none of these.
        ValueError: it is no valid policy.

    Example:
        >>> resolved_policy({"schema": 1, "modality": "ct", "sub_policies": [[["rotate", 1, 1]]]})
        AugmentationPolicy('ct', 1 sub-policies)
    """
    if isinstance(policy, AugmentationPolicy):
        return policy
    if isinstance(policy, Mapping):
        try:
            policy = json.dumps(policy)
        except (TypeError, ValueError):
            raise TypeError("policy must hold plain values, got others") from None
    if not isinstance(policy, (str, Path)):
        raise TypeError(
            f"policy must be an AugmentationPolicy, JSON text, a Path or a mapping, got {type(policy).__name__}"
        )
    return AugmentationPolicy.from_json(policy)
