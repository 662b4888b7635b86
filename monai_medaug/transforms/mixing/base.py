"""What the batch mixes share: the draw, and the path that both faces take."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import RandomizableTransform
from monai.utils.enums import TransformBackends
from monai.utils.misc import ensure_tuple, get_seed

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.core.call import REGISTRY
from monai_medaug.core.tensors import image_dtype, restored, say_once
from monai_medaug.core.trace import new_record, push_batch_records
from monai_medaug.functional.acceleration import one_thread
from monai_medaug.functional.mixing.mix import blended, box_of_share, mixed, soft_labels, soft_masks
from monai_medaug.transforms.mixing.items import MixedBatch, MixEntry, Mixture, require_equal_batches, without_record
from monai_medaug.transforms.mixing.plan import BatchLesions, SampleMix, pastes_on

_FORMS = ("soft", "pair")
_LESIONS = ("any", "whole", "carve", "copy")


class BatchMixing(InvertibleTransform, RandomizableTransform):
    """Base of the array classes that mix the samples of a batch with one another.

    They stand beside `Operation`, not under it: a sample's result needs its partner, so that neither one sample alone
    nor the record on it can repeat the step.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]
    geometric: ClassVar[bool] = False
    mixes_samples: ClassVar[bool] = True
    """No verdict on a sample's anatomy holds after it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        REGISTRY[cls.__name__] = REGISTRY[f"{cls.__name__}d"] = cls  # reports look records' classes up there

    def __init__(
        self,
        alpha: float,
        cutmix_prob: float,
        prob: float,
        per_sample: bool,
        target_form: str,
        num_classes: int | None,
        num_mask_classes: int | None = None,
        lesions: str = "any",
        lesion_labels: int | Sequence[int] = (),
        tries: int = 1,
    ) -> None:
        self.uid = uuid.uuid4().hex
        RandomizableTransform.__init__(self, number("prob", prob, 0, 1))
        self.alpha = number("alpha", alpha, 1e-3)
        self.cutmix_prob = number("cutmix_prob", cutmix_prob, 0, 1)
        self.per_sample = flag("per_sample", per_sample)
        self.target_form = choice("target_form", target_form, _FORMS)
        self.num_classes = class_count("num_classes", num_classes)
        self.num_mask_classes = class_count("num_mask_classes", num_mask_classes)
        self.lesions = choice("lesions", lesions, _LESIONS)
        self.lesion_labels = tuple(whole_number("lesion_labels", v) for v in ensure_tuple(lesion_labels))
        self.tries = whole_number("tries", tries, 1)
        self.set_random_state(get_seed())

    @property
    def trace_uid(self) -> str | None:
        """The uid to leave on records, None where tracing is off."""
        return self.uid if self.tracing else None

    @classmethod
    def check(cls, image: torch.Tensor, name: str) -> None:
        """Called when a report is replayed, which cannot be done."""
        raise ValueError(f"step {cls.__name__} cannot be replayed on {name} alone: it mixed the samples of a batch")

    def randomize(self, data: Any = None) -> None:
        """Draw for a batch of ``data`` samples; how many numbers a sample takes depends on nothing."""
        size = int(data)
        self.permutation = [int(i) for i in self.R.permutation(size)]
        count = size if self.per_sample else 1
        self.drawn = [self._draw_sample() for _ in range(count)] * (size // count)

    def _draw_sample(self) -> dict[str, Any]:
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

    def __call__(self, images: Any, targets: Any = None, masks: Any = None) -> MixedBatch:
        """Mix a batch.

        Args:
            images: (B, C, H, W) or (B, C, D, H, W), array, Tensor or collated MetaTensor.
            targets: labels of the samples, or None.
            masks: segmentation masks (B, C, *spatial), or None; the lesions' are these.
        """
        image = MixEntry(images, "images")
        labels = [] if targets is None else [MixEntry(targets, "targets", 0, self.num_classes, label=True)]
        given = [] if masks is None else [MixEntry(masks, "masks", 1, self.num_mask_classes)]
        lesion = given[0] if given else None
        done = self.run([image], labels, given, lesion, type(self).__name__)
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

    def run(
        self,
        images: Sequence[MixEntry],
        labels: Sequence[MixEntry],
        masks: Sequence[MixEntry],
        lesion: MixEntry | None,
        name: str,
    ) -> Mixture:
        """The one path of both faces: draw, plan, mix, and leave a record on each image and mask."""
        first = images[0]
        require_equal_batches([*images, *labels, *masks])
        self.randomize(len(first.tensor))
        with one_thread():  # small operations for each sample
            plans = self._plans(first, lesion)
        permutation = torch.tensor(self.permutation)
        blend = None
        if any(p.method == "mixup" for p in plans):
            values = [p.weight if p.method == "mixup" else 1.0 for p in plans]
            blend = torch.tensor(values, dtype=torch.float64)
        result = Mixture(torch.tensor([p.weight for p in plans], dtype=torch.float64), permutation)
        for entry in images:
            out = mixed(entry.tensor, permutation, blend, pastes_on(plans, entry), image_dtype(entry.tensor.dtype))
            result.images.append(self._traced(out, entry, plans, name))
        for entry in masks:
            result.masks.append(self._mixed_mask(entry, permutation, blend, plans, name))
        for entry in labels:
            there = permutation.to(entry.tensor.device)
            partner, target = entry.like(entry.tensor[there]), None
            if self.target_form == "soft":
                soft = soft_labels(entry.tensor, entry.classes, entry.name)
                target = entry.like(blended(soft, there, result.weights, soft.dtype))
            result.labels.append((target, entry.data, partner))
        result.weights = result.weights.to(first.tensor.device, torch.float32)
        result.permutation = permutation.to(first.tensor.device)
        return result

    def inverse(self, data: Any) -> Any:
        """Drop the record of the last call, from one sample's MetaTensor or a batch's; voxels stay as they are."""
        return without_record(data, self.uid)

    def _plans(self, first: MixEntry, lesion: MixEntry | None) -> list[SampleMix]:
        """What becomes of each sample, with λ as it is on the first image's grid."""
        dims, alone = len(first.shape), len(self.drawn) == 1
        found = None
        if self.lesions != "any" and self.cutmix_prob > 0:
            found = BatchLesions(self.lesions, self.lesion_labels, self.tries, lesion, first)
        plans = []
        for sample, drawn in enumerate(self.drawn):
            plan = SampleMix("none", self.permutation[sample])
            if drawn["mix"] and not alone:
                if not drawn["cut"]:
                    plan.method, plan.weight = "mixup", drawn["weight"]
                elif found is None:
                    box = box_of_share(1 - drawn["weight"], drawn["centre"][:dims])
                    plan.method, plan.box = "cutmix", box
                else:
                    found.plan(plan, sample, drawn)
                paste = plan.paste(first)
                if paste is not None:
                    plan.weight = 1 - paste.voxels() / int(np.prod(first.shape))
            plans.append(plan)
        return plans

    def _mixed_mask(
        self,
        entry: MixEntry,
        permutation: torch.Tensor,
        blend: torch.Tensor | None,
        plans: Sequence[SampleMix],
        name: str,
    ) -> tuple[Any, Any]:
        """A mask after the mix, and the partner's where both are asked for. Its form depends on no draw."""
        pastes = pastes_on(plans, entry)
        if self.cutmix_prob < 1 and self.target_form == "soft":
            soft = soft_masks(entry.tensor, entry.classes, entry.name)
            return self._traced(mixed(soft, permutation, blend, pastes, soft.dtype), entry, plans, name), None
        own = mixed(entry.tensor, permutation, None, pastes, entry.tensor.dtype)
        partner = None
        if self.cutmix_prob < 1:
            other = entry.tensor[permutation.to(entry.tensor.device)]
            for sample, plan in enumerate(plans):
                if plan.method != "mixup":
                    other[sample] = own[sample]
            partner = entry.like(other)
        return self._traced(own, entry, plans, name), partner

    def _traced(self, out: torch.Tensor, entry: MixEntry, plans: Sequence[SampleMix], name: str) -> Any:
        """The result as the kind that came in, with a record a sample."""
        result, uid = restored(out, entry.data), self.trace_uid
        if uid is None or not isinstance(result, MetaTensor) or not get_track_meta():
            return result
        if not result.is_batch:
            say_once("a MetaTensor batch that list_data_collate did not make cannot hold a trace for each sample")
            return result
        records = []
        for plan in plans:
            applied = plan.weight < 1
            extra = {"uid": uid, "key": entry.index, **({"params": plan.params()} if applied else {})}
            records.append(new_record(name, applied, entry.shape, extra))
        push_batch_records(result, records)
        return result


def class_count(name: str, value: Any) -> int | None:
    """A number of classes argument, which may be None."""
    return None if value is None else whole_number(name, value, 1)
