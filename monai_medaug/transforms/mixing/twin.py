"""Dictionary twins of the batch mixes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.transform import MapTransform, RandomizableTransform
from monai.utils.misc import ensure_tuple, ensure_tuple_rep

from monai_medaug.transforms.mixing.base import BatchMixing, class_count
from monai_medaug.transforms.mixing.items import MixEntry, without_record


class BatchMixingDictionary(MapTransform, InvertibleTransform, RandomizableTransform):
    """Base of the dictionary twins. The array instance draws; it alone has a random state."""

    def __init__(
        self,
        mixing: BatchMixing,
        keys: KeysCollection,
        label_keys: KeysCollection,
        mask_keys: KeysCollection,
        num_classes: int | Sequence[int | None] | None,
        num_mask_classes: int | Sequence[int | None] | None = None,
        lesion_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.mixing = mixing
        self.label_keys, self.mask_keys = ensure_tuple(label_keys), ensure_tuple(mask_keys)
        every = [*self.keys, *self.label_keys, *self.mask_keys]
        twice = {k for k in every if every.count(k) > 1}
        if twice:
            raise ValueError(f"each key must be given once, as image, label or mask: {sorted(map(str, twice))}")
        self.label_classes = _counts_per_key("num_classes", num_classes, self.label_keys)
        self.mask_classes = _counts_per_key("num_mask_classes", num_mask_classes, self.mask_keys)
        if mixing.lesions != "any" and lesion_key is None and len(self.mask_keys) == 1:
            lesion_key = self.mask_keys[0]
        if lesion_key is not None and lesion_key not in self.mask_keys:
            raise ValueError(f"lesion_key must be one of mask_keys, so that it is mixed too, got {lesion_key!r}")
        if mixing.lesions != "any" and lesion_key is None:
            raise ValueError(f"lesions={mixing.lesions!r} needs lesion_key, one of mask_keys")
        self.lesion_key = lesion_key

    def __call__(self, data: Mapping) -> dict:
        """Mix the items of a collated dictionary; returns a new one, the rest passes through."""
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dictionary, got {type(data).__name__}")
        images = [MixEntry(data[k], repr(k), i) for i, k in self._present(data, self.keys)]
        if not images:
            return dict(data)
        labels = [
            MixEntry(data[k], repr(k), i, self.label_classes[i], label=True)
            for i, k in self._present(data, self.label_keys)
        ]
        masks = {
            k: MixEntry(data[k], repr(k), len(self.keys) + i, self.mask_classes[i])
            for i, k in self._present(data, self.mask_keys)
        }
        lesion = masks.get(self.lesion_key)
        done = self.mixing.run(images, labels, list(masks.values()), lesion, type(self).__name__)
        out = dict(data)
        for entry, image in zip(images, done.images, strict=True):
            out[self.keys[entry.index]] = image
        for entry, (target, own, partner) in zip(labels, done.labels, strict=True):
            key = self.label_keys[entry.index]
            out |= {key: own if target is None else target, f"{key}_own": own, f"{key}_partner": partner}
        for key, (mask, other) in zip(masks, done.masks, strict=True):
            out[key] = mask
            if other is not None:
                out[f"{key}_partner"] = other
        return out | {"mix_weights": done.weights, "mix_permutation": done.permutation}

    def inverse(self, data: Mapping) -> dict:
        """Drop the record of the last call from the keys that are present; voxels stay as they are."""
        here = [k for k in (*self.keys, *self.mask_keys) if k in data]
        return {**data, **{k: without_record(data[k], self.mixing.uid) for k in here}}

    def _present(self, data: Mapping, keys: Iterable[Any]) -> list[tuple[int, Any]]:
        found = []
        for index, key in enumerate(keys):
            if key in data:
                found.append((index, key))
            elif not self.allow_missing_keys:
                raise KeyError(f"key {key!r} is missing in the data")
        return found

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> BatchMixingDictionary:
        self.mixing.set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        self.mixing.randomize(data)

    @property
    def R(self) -> np.random.RandomState:
        return self.mixing.R

    @property
    def prob(self) -> float:
        return float(self.mixing.prob)

    @prob.setter
    def prob(self, value: float) -> None:
        if "mixing" in self.__dict__:  # MapTransform's constructor sets a default before there is one
            self.mixing.prob = value

    @property
    def tracing(self) -> bool:
        """Whether calls leave a record: that of the array instance."""
        return self.mixing.tracing

    @tracing.setter
    def tracing(self, value: bool) -> None:
        self.mixing.tracing = value


def _counts_per_key(name: str, value: Any, keys: tuple) -> tuple[int | None, ...]:
    counts = ensure_tuple_rep(value, len(keys)) if keys else ()
    return tuple(class_count(name, v) for v in counts)
