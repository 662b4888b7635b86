"""Base of the batch mixes: the draw, the plan for all samples, and the labels and masks beside the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.utils.misc import ensure_tuple

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.core.contract import Call, Params
from monai_medaug.core.entry import Entry, require_one_device
from monai_medaug.core.operation import RandomOperation
from monai_medaug.core.tensors import plain_tensor
from monai_medaug.functional.acceleration import one_thread
from monai_medaug.functional.mixing.mix import blended, box_of_share, mixed, soft_labels, soft_masks
from monai_medaug.functional.precision import samples_at
from monai_medaug.transforms.mixing.items import MixedBatch, MixLabel, Mixture
from monai_medaug.transforms.mixing.plan import BatchLesions, SampleMix, pastes_on

_FORMS = ("soft", "pair")
_LESIONS = ("ignore", "whole", "carve", "copy")


@dataclass
class MixPlan:
    """The plan of a batch: each sample's mix, the partners, and λ of the blends, or None without blends."""

    samples: list[SampleMix]
    permutation: torch.Tensor
    blend: torch.Tensor | None
    soft: bool
    """Whether masks become soft targets."""

    @property
    def weights(self) -> torch.Tensor:
        """λ of each sample."""
        return torch.tensor([s.weight for s in self.samples], dtype=torch.float64)


class BatchMixing(RandomOperation):
    """Base of the array classes that mix the samples of a batch with one another."""

    abstract = True
    takes_batches = True
    plans_by_image = True
    mixes_samples = True
    replayable = "it mixed the samples of a batch"

    def __init__(
        self,
        alpha: float,
        cutmix_prob: float,
        prob: float,
        per_sample: bool,
        target_form: str,
        num_classes: int | None,
        num_mask_classes: int | None = None,
        lesions: str = "ignore",
        lesion_labels: int | Sequence[int] = (),
        tries: int = 1,
    ) -> None:
        super().__init__(prob)
        self.alpha = number("alpha", alpha, 1e-3)
        self.cutmix_prob = number("cutmix_prob", cutmix_prob, 0, 1)
        self.per_sample = flag("per_sample", per_sample)
        self.target_form = choice("target_form", target_form, _FORMS)
        self.num_classes = class_count("num_classes", num_classes)
        self.num_mask_classes = class_count("num_mask_classes", num_mask_classes)
        self.lesions = choice("lesions", "ignore" if lesions == "any" else lesions, _LESIONS)
        self.lesion_labels = tuple(whole_number("lesion_labels", v) for v in ensure_tuple(lesion_labels))
        self.tries = whole_number("tries", tries, 1)

    def settings(self) -> Params:
        return {
            "soft": self.target_form == "soft" and self.cutmix_prob < 1,
            "spares_lesions": self.lesions != "ignore" and self.cutmix_prob > 0,
            "lesions": self.lesions,
            "lesion_labels": list(self.lesion_labels),
            "tries": self.tries,
        }

    def randomize(self, data: Any = None) -> None:
        """Draw for a batch of ``data`` samples; each sample takes a fixed count of numbers."""
        self.watch_state()
        size = int(data)
        self.permutation = [int(i) for i in self.R.permutation(size)]
        count = size if self.per_sample else 1
        self.drawn = [self._draw_sample() for _ in range(count)] * (size // count)

    def _draw_sample(self) -> Params:
        drawn = {
            "mix": bool(self.R.rand() < self.prob),
            "weight": float(self.R.beta(self.alpha, self.alpha)),
            "cut": bool(self.R.rand() < self.cutmix_prob),
            "centre": self.R.uniform(size=3).tolist(),
            "growth": float(self.R.uniform(-0.5, 0.0) if self.R.rand() < 0.5 else self.R.uniform(0.0, 1.0)),
            "seed": int(self.R.randint(2**31 - 1)),
        }
        self._do_transform = drawn["mix"]
        return drawn

    def batch_params(self, size: int, randomize: bool = True) -> list[Params | None]:
        if flag("randomize", randomize):
            self.randomize(size)
        elif len(getattr(self, "drawn", ())) != size:
            raise RuntimeError(
                f"{type(self).__name__} has no draw to repeat for {size} samples: call randomize({size}) before "
                "randomize=False"
            )
        return [{**drawn, "partner": p} for drawn, p in zip(self.drawn, self.permutation, strict=True)]

    @classmethod
    def plan(cls, call: Call) -> MixPlan:
        """Each sample's mix, with λ counted on the first image's grid."""
        first, alone = call.keys[0], len(call.draws) == 1
        shape, found = tuple(first.image.shape[2:]), None
        if call.settings["spares_lesions"]:
            lesion = next((key for key in call.keys if key.settings.get("shows_lesions")), None)
            found = BatchLesions(call.settings, lesion, [key for key in call.keys if key.mode != "nearest"])
        samples = []
        with one_thread():  # small operations for each sample
            for index, drawn in enumerate(call.draws):
                sample = SampleMix("none", drawn["partner"])
                if drawn["mix"] and not alone:
                    if not drawn["cut"]:
                        sample.method, sample.weight = "mixup", drawn["weight"]
                    elif found is None:
                        box = box_of_share(1 - drawn["weight"], drawn["centre"][: len(shape)])
                        sample.method, sample.box = "cutmix", box
                    else:
                        found.plan(sample, index, drawn)
                    if pastes := sample.pastes(shape):
                        sample.weight = 1 - sum(p.voxels() for p in pastes) / int(np.prod(shape))
                samples.append(sample)
        blend = None
        if any(s.method == "mixup" for s in samples):
            values = [s.weight if s.method == "mixup" else 1.0 for s in samples]
            blend = torch.tensor(values, dtype=torch.float64)
        return MixPlan(samples, torch.tensor(call.drawn("partner")), blend, call.settings["soft"])

    @classmethod
    def recorded(cls, call: Call, plan: MixPlan) -> list[Params | None]:
        return [s.params() if s.weight < 1 else None for s in plan.samples]

    @classmethod
    def apply(cls, image: torch.Tensor, call: Call) -> torch.Tensor:
        plan: MixPlan = call.plan
        pastes = pastes_on(plan.samples, tuple(image.shape[2:]), call.name, call.mode == "nearest")
        if call.mode != "nearest":
            return mixed(image, plan.permutation, plan.blend, pastes, image.dtype)
        if plan.soft:  # whatever is drawn
            soft = soft_masks(image, call.settings.get("classes"), call.name)
            return mixed(soft, plan.permutation, plan.blend, pastes, soft.dtype)
        return mixed(image, plan.permutation, None, pastes, image.dtype)

    def __call__(  # type: ignore[override]
        self, images: Any, targets: Any = None, masks: Any = None, randomize: bool = True
    ) -> MixedBatch:
        """Mix a batch.

        Args:
            images: (B, C, H, W) or (B, C, D, H, W), array, Tensor or collated MetaTensor.
            targets: labels of the samples, or None.
            masks: segmentation masks (B, C, *spatial), or None; they show the lesions too.
            randomize: False repeats the last draw, for a batch of the same size.

        Raises:
            RuntimeError: ``randomize=False`` before a draw for so many samples.
        """
        labels = [] if targets is None else [MixLabel(targets, "targets", self.num_classes)]
        given = [] if masks is None else [mask_entry(masks, "masks", 1, self.num_mask_classes, True)]
        done = self.mix(type(self).__name__, [image_entry(images, "images", 0)], labels, given, randomize)
        target, own, partner = done.labels[0] if labels else (None, None, None)
        mask, other = done.masks[0] if given else (None, None)
        return MixedBatch(
            done.images[0],
            target,
            (own, partner) if labels else None,
            done.weights,
            done.permutation,
            mask if other is None else None,
            None if other is None else (mask, other),
        )

    def mix(
        self,
        name: str,
        images: Sequence[Entry],
        labels: Sequence[MixLabel],
        masks: Sequence[Entry],
        randomize: bool = True,
    ) -> Mixture:
        """Mix images and masks as one call of the operation, then labels and partners by its plan."""
        entries, first = [*images, *masks], images[0]
        for label in labels:
            if label.tensor.ndim == 0 or len(label.tensor) != len(first.tensor):
                got = len(label.tensor) if label.tensor.ndim else "a single value"
                raise ValueError(
                    f"{label.name} must have the batch size of {first.name}, {len(first.tensor)}, got {got}"
                )
        require_one_device([*((e.name, e.tensor) for e in entries), *((label.name, label.tensor) for label in labels)])
        done = self.run(name, entries, self.batch_params(len(first.tensor), randomize))
        plan: MixPlan = done.plan
        result = Mixture(plan.weights, plan.permutation, done.results[: len(images)])
        for entry, own in zip(masks, done.results[len(images) :], strict=True):
            paired = self.cutmix_prob < 1 and self.target_form == "pair"
            result.masks.append((own, _partner_mask(entry, own, plan) if paired else None))
        for label in labels:
            there, target = plan.permutation.to(label.tensor.device), None
            if self.target_form == "soft":
                soft = soft_labels(label.tensor, label.classes, label.name)
                target = label.like(blended(soft, there, plan.weights, soft.dtype))
            result.labels.append((target, label.data, label.like(samples_at(label.tensor, there))))
        result.weights = result.weights.to(first.tensor.device, torch.float32)
        result.permutation = result.permutation.to(first.tensor.device)
        return result


def image_entry(data: Any, name: str, index: int) -> Entry:
    """The entry of images."""
    return Entry(data, name, index, batched=True, loose=True)


def mask_entry(data: Any, name: str, index: int, classes: int | None, shows_lesions: bool) -> Entry:
    """The entry of masks."""
    own = {"classes": classes, "shows_lesions": shows_lesions}
    return Entry(data, name, index, "nearest", batched=True, loose=True, settings=own)


def _partner_mask(entry: Entry, own: Any, plan: MixPlan) -> Any:
    """The partners' masks, to weigh with the samples' own; both hold the pasted parts."""
    pasted = plain_tensor(own, entry.name, batch=True)
    other = samples_at(entry.tensor, plan.permutation.to(entry.tensor.device))
    for sample, mix in enumerate(plan.samples):
        if mix.method != "mixup":
            other[sample] = pasted[sample]
    return other.cpu().numpy() if isinstance(entry.data, np.ndarray) else other


def class_count(name: str, value: Any) -> int | None:
    """A number of classes, or None."""
    return None if value is None else whole_number(name, value, 1)
