"""What a search may choose from, and how a trial of it becomes a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.policies.operations import PolicyStep, SubPolicy, policy_operations
from monai_medaug.policies.pipeline import chosen_operations
from monai_medaug.policies.policy import AugmentationPolicy


@dataclass(frozen=True)
class PolicySpace:
    """The policies of a modality with a number of sub-policies and steps, at probabilities and magnitudes in ranges.

    The defaults are the source's: 5 sub-policies of 2 operations, probabilities 0.1 to 0.9, magnitudes 0.1 to 1.

    Attributes:
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        operations: names to choose from; None for all of the modality.
        sub_policies: of a policy, 1 to 50.
        steps: of a sub-policy, 1 to 10.
        probability: range of a step's probability.
        magnitude: range of its magnitude.
        spatial_dims: 2 or 3, of the images; None leaves out what is not for both.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> space = PolicySpace("ct", ("rotate", "ct_noise"), sub_policies=1, steps=1)
        >>> params = {"0.0.operation": "rotate", "0.0.probability": 0.5, "0.0.magnitude": 0.2}
        >>> space.policy(params).sub_policies[0].steps
        (PolicyStep(operation='rotate', probability=0.5, magnitude=0.2),)
    """

    modality: str
    operations: Sequence[str] | None = None
    sub_policies: int = 5
    steps: int = 2
    probability: tuple[float, float] = (0.1, 0.9)
    magnitude: tuple[float, float] = (0.1, 1.0)
    spatial_dims: int | None = None

    def __post_init__(self) -> None:
        names = chosen_operations(self.operations, policy_operations(self.modality, self.spatial_dims))
        object.__setattr__(self, "operations", tuple(names))
        whole_number("sub_policies", self.sub_policies, 1, 50)
        whole_number("steps", self.steps, 1, 10)
        for name, least in (("probability", 0.0), ("magnitude", 0.001)):
            low, high = getattr(self, name)
            if number(name, low, least, 1) > number(name, high, least, 1):
                raise ValueError(f"{name} must be a pair (low, high) in that order, got {(low, high)}")
            object.__setattr__(self, name, (float(low), float(high)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, by which a study tells whether it searches the same."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}

    def suggested(
        self, choose: Callable[[str, Sequence[str]], str], draw: Callable[[str, float, float], float]
    ) -> dict:
        """The parameters of a trial.

        Args:
            choose: from a name and the operations to one of them.
            draw: from a name, low and high to a number between.
        """
        params: dict[str, Any] = {}
        for sub in range(self.sub_policies):
            for step in range(self.steps):
                place = f"{sub}.{step}"
                params[f"{place}.operation"] = choose(f"{place}.operation", list(self.operations or ()))
                for name in ("probability", "magnitude"):
                    params[f"{place}.{name}"] = draw(f"{place}.{name}", *getattr(self, name))
        return params

    def policy(self, params: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> AugmentationPolicy:
        """The policy of a trial's parameters; numbers are rounded to three digits after the point."""

        def step(place: str) -> PolicyStep:
            numbers = (round(float(params[f"{place}.{name}"]), 3) for name in ("probability", "magnitude"))
            return PolicyStep(params[f"{place}.operation"], *numbers)

        subs = [SubPolicy(tuple(step(f"{sub}.{n}") for n in range(self.steps))) for sub in range(self.sub_policies)]
        return AugmentationPolicy(self.modality, subs, provenance)
