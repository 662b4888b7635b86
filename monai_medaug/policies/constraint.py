"""Limits that a policy must keep before it is tried: what it does to labels and lesions of real samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.core.tensors import tracking
from monai_medaug.policies.policy import AugmentationPolicy
from monai_medaug.transforms import augmentation_report


class PreservationConstraint:
    """The share of a policy's draws that `PreservingCompose` would ease or reject, less the share that is allowed.

    A policy that it eases often is not what its numbers say, and without the guard it would harm labels. The draws are
    the same for each policy of equal steps: sample by sample, under seeds of their own.

    Args:
        samples: dictionaries with an image and a label map or lesion, raw, as a policy takes them.
        image_key: of the images.
        mask_key: of label maps; None for none.
        lesion_key: of a lesion mask; None for none.
        most: share of the draws that may be eased or rejected, 0 to 1.
        draws: how many; they go through the samples in turn.
        seed: of the draws.
        settings: further arguments of `AugmentationPolicy.to_compose`.

    Raises:
        ValueError: there are no samples, neither mask nor lesion, or an argument is out of its range.

    Example:
        >>> import torch
        >>> label = torch.zeros(1, 32, 32)
        >>> label[:, 12:20, 10:22] = 1
        >>> limit = PreservationConstraint([{"image": 100 * label, "label": label}], draws=4)
        >>> limit(AugmentationPolicy("xray", [[["blur", 1, 0.1]]]))
        {'violations': -0.1}
    """

    def __init__(
        self,
        samples: Sequence[Mapping[str, Any]],
        image_key: str = "image",
        mask_key: str | None = "label",
        lesion_key: str | None = None,
        most: float = 0.1,
        draws: int = 20,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if not samples:
            raise ValueError("samples must be at least one, got none")
        if mask_key is None and lesion_key is None:
            raise ValueError("mask_key or lesion_key must be given, got neither: there is nothing to preserve")
        self.samples, self.image_key, self.mask_key, self.lesion_key = samples, image_key, mask_key, lesion_key
        self.most, self.draws = number("most", most, 0, 1), whole_number("draws", draws, 1)
        self.seed, self.compose = whole_number("seed", seed, 0), dict(settings or {})

    @property
    def settings(self) -> dict[str, Any]:
        """By which a search tells whether it goes on under the same limit."""
        names = ("image_key", "mask_key", "lesion_key", "most", "draws", "seed")
        return {"kind": type(self).__name__, **{name: getattr(self, name) for name in names}}

    def __call__(self, policy: AugmentationPolicy) -> dict[str, float]:
        """The constraint ``violations``: at most 0 if the policy keeps the limit."""
        masks = () if self.mask_key is None else self.mask_key
        augment = policy.to_compose(self.image_key, masks, lesion_key=self.lesion_key, **self.compose)
        harmed = 0
        for draw in range(self.draws):
            augment.set_random_state(self.seed + draw)
            with tracking(everywhere=True):
                report = augmentation_report(augment(self._traced(self.samples[draw % len(self.samples)])))
            harmed += report["strength"] < 1 or report["rejected"]
        return {"violations": harmed / self.draws - self.most}

    def _traced(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A sample that carries the verdicts, whatever kind its arrays are."""
        keys = [key for key in (self.image_key, self.mask_key, self.lesion_key) if key is not None]
        bare = {key: sample[key] for key in keys if not isinstance(sample[key], MetaTensor)}
        return {**sample, **{key: MetaTensor(torch.as_tensor(value)) for key, value in bare.items()}}
