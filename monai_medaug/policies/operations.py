"""What a policy may do with an image of a modality: the magnitude tables of all operations, by name."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from monai_medaug.core.arguments import choice
from monai_medaug.core.contract import REGISTRY, OperationContract
from monai_medaug.core.magnitude import Magnitude

POLICY_MODALITIES = ("ct", "mri", "xray")


@dataclass(frozen=True)
class PolicyOperation:
    """An entry of the table: an operation and one of its magnitudes.

    Attributes:
        operation: the array class.
        magnitude: what of it is meant, and how far it goes.

    Example:
        >>> rotate = policy_operations("ct")["rotate"]
        >>> rotate.operation.__name__, rotate.magnitude.text(0.5)
        ('RandAffineElastic', 'rotate_degrees -15 to 15°')
    """

    operation: type[OperationContract]
    magnitude: Magnitude

    @property
    def twin(self) -> Any:
        """The dictionary class."""
        return getattr(sys.modules[self.operation.__module__], f"{self.operation.__name__}d")


@dataclass(frozen=True)
class PolicyStep:
    """A step of a sub-policy.

    Attributes:
        operation: name in `policy_operations`.
        probability: of applying it, 0 to 1.
        magnitude: how far it goes, 0.001 to 1.
    """

    operation: str
    probability: float
    magnitude: float


@dataclass(frozen=True)
class SubPolicy:
    """Steps that follow one another.

    Attributes:
        steps: in order.
        weight: in the draw of a sub-policy, relative to the others'.
    """

    steps: tuple[PolicyStep, ...]
    weight: float = 1.0


def policy_operations(modality: str, spatial_dims: int | None = None) -> dict[str, PolicyOperation]:
    """The operations for a modality by name, in alphabetical order.

    A policy, a search and the baselines know nothing else. An operation takes part by its class's own ``magnitudes``;
    one of yours, a subclass of `RandomOperation` with its twin, does so as soon as its module is imported.

    Args:
        modality: ``"ct"``, ``"mri"`` or ``"xray"``.
        spatial_dims: 2 or 3, of the images; None leaves out what is not for both.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> ", ".join(policy_operations("xray"))
        'blur, brightness, collimation, contrast, elastic, film_exposure, gamma, photon_noise, rotate, scale, ...'
        >>> sorted(policy_operations("ct", spatial_dims=3).keys() - policy_operations("ct").keys())
        ['thick_slice']
    """
    modality = choice("modality", modality, POLICY_MODALITIES)
    wanted = {2, 3} if spatial_dims is None else {choice("spatial_dims", spatial_dims, (2, 3, None))}
    found = {
        magnitude.name: PolicyOperation(cls, magnitude)
        for cls in set(REGISTRY.values())
        if cls.modality in ("", modality)
        for magnitude in vars(cls).get("magnitudes", ())  # a subclass is another operation, not its parent's
        if wanted <= {*magnitude.spatial_dims}
    }
    return dict(sorted(found.items()))


def every_policy_operation(modality: str) -> dict[str, PolicyOperation]:
    """Those for images of any number of axes: what a policy may name.

    Example:
        >>> "thick_slice" in every_policy_operation("mri"), "ct_noise" in every_policy_operation("mri")
        (True, False)
    """
    return policy_operations(modality, 2) | policy_operations(modality, 3)
