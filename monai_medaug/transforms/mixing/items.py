"""What goes into a mix of a batch and what comes out: images, labels and masks of all samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.tensors import plain_tensor, require_finite, with_meta
from monai_medaug.core.trace import pop_record, samples_of


class MixedBatch(NamedTuple):
    """A mixed batch.

    Attributes:
        image: the mixed images, (B, C, *spatial).
        target: the soft targets λ own + (1 - λ) partner's; None without targets, or for ``target_form="pair"``.
        targets: own and partner's targets as they came, for ``λ loss(y, own) + (1 - λ) loss(y, partner)``.
        weights: (B,) λ, the weight of the own sample: float32, on the images' device.
        permutation: (B,) sample b was mixed with sample ``permutation[b]``.
        mask: the mixed masks; None without masks, or where ``masks`` is given.
        masks: own and partner's masks to weigh as ``targets``, with ``target_form="pair"`` where samples are blended.
            What was pasted stands in both.
    """

    image: Any
    target: Any
    targets: tuple[Any, Any] | None
    weights: torch.Tensor
    permutation: torch.Tensor
    mask: Any = None
    masks: tuple[Any, Any] | None = None


@dataclass
class MixEntry:
    """One item of a call: images, labels or masks of all samples."""

    data: Any
    name: str
    index: int = 0
    classes: int | None = None
    label: bool = False
    tensor: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        if not self.label:
            self.tensor = plain_tensor(self.data, self.name, batch=True)
        elif isinstance(self.data, torch.Tensor):
            with torch._C.DisableTorchFunctionSubclass():
                self.tensor = self.data.as_subclass(torch.Tensor)
        elif isinstance(self.data, np.ndarray) and self.data.dtype.kind in "biuf":
            native = self.data.astype(self.data.dtype.newbyteorder("="), copy=True)
            self.tensor = torch.from_numpy(native)
        else:
            raise TypeError(f"{self.name} must be a tensor or array of numbers, got {type(self.data).__name__}")
        require_finite(self.tensor, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[2:])

    def like(self, tensor: torch.Tensor) -> Any:
        """The result as the kind that came in, but without meta data: it is not of these samples alone."""
        return tensor.cpu().numpy() if isinstance(self.data, np.ndarray) else tensor


@dataclass
class Mixture:
    """The results of a call, in the order of the items."""

    weights: torch.Tensor
    permutation: torch.Tensor
    images: list[Any] = field(default_factory=list)
    labels: list[tuple[Any, Any, Any]] = field(default_factory=list)
    masks: list[tuple[Any, Any]] = field(default_factory=list)


def require_equal_batches(entries: Sequence[MixEntry]) -> None:
    """Raise unless all items hold as many samples as the first."""
    size = len(entries[0].tensor)
    for entry in entries:
        if entry.tensor.ndim == 0 or len(entry.tensor) != size:
            got = len(entry.tensor) if entry.tensor.ndim else "a single value"
            raise ValueError(f"{entry.name} must have the batch size of {entries[0].name}, {size}, got {got}")


def without_record(data: Any, owner: str) -> Any:
    """A MetaTensor, of a sample or a batch, as a new object without the last record of an instance."""
    if not isinstance(data, MetaTensor):
        return data
    with torch._C.DisableTorchFunctionSubclass():
        out = with_meta(data.as_subclass(torch.Tensor), data)
    if not data.is_batch:
        pop_record(out, owner)
        return out
    kept = []
    for trace in samples_of(data):
        last = max((i for i, r in enumerate(trace) if (r.get("extra_info") or {}).get("uid") == owner), default=None)
        kept.append([r for i, r in enumerate(trace) if i != last])
    out.applied_operations = kept
    return out
