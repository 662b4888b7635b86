"""The labels that enter a mix of a batch, and its results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from monai_medaug.core.tensors import require_finite


class MixedBatch(NamedTuple):
    """A mixed batch.

    Attributes:
        image: the mixed images, (B, C, *spatial).
        target: soft targets, λ own + (1 - λ) partner's; None without targets, or for ``target_form="pair"``.
        targets: the sample's own and the partner's original targets, for ``λ loss(y, own) + (1 - λ) loss(y, partner)``.
        weights: λ (B,), the weight of the own sample: float32, on the images' device.
        permutation: partners (B,): sample b is mixed with sample ``permutation[b]``.
        mask: the mixed masks; None without masks, or if ``masks`` is set.
        masks: own and partner's masks to weigh like ``targets``, for ``target_form="pair"`` with blended samples. Both
            hold the pasted parts.
    """

    image: Any
    target: Any
    targets: tuple[Any, Any] | None
    weights: torch.Tensor
    permutation: torch.Tensor
    mask: Any = None
    masks: tuple[Any, Any] | None = None


@dataclass
class MixLabel:
    """The labels of all samples under one key."""

    data: Any
    name: str
    classes: int | None = None
    tensor: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        if isinstance(self.data, torch.Tensor):
            with torch._C.DisableTorchFunctionSubclass():
                self.tensor = self.data.as_subclass(torch.Tensor)
        elif isinstance(self.data, np.ndarray) and self.data.dtype.kind in "biuf":
            native = self.data.astype(self.data.dtype.newbyteorder("="), copy=True)
            self.tensor = torch.from_numpy(native)
        else:
            raise TypeError(f"{self.name} must be a tensor or array of numbers, got {type(self.data).__name__}")
        require_finite(self.tensor, self.name)

    def like(self, tensor: torch.Tensor) -> Any:
        """The result in the kind of the input, but without meta data, since it belongs to two samples."""
        return tensor.cpu().numpy() if isinstance(self.data, np.ndarray) else tensor


@dataclass
class Mixture:
    """The results of a call in the order of its items: for a label target, own and partner's, for a mask the latter."""

    weights: torch.Tensor
    permutation: torch.Tensor
    images: list[Any]
    labels: list[tuple[Any, Any, Any]] = field(default_factory=list)
    masks: list[tuple[Any, Any]] = field(default_factory=list)
