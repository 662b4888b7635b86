"""The dictionary twins of the batch mixes, with labels, masks and new keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.config import KeysCollection
from monai.utils.misc import ensure_tuple, ensure_tuple_rep

from monai_medaug.core.dictionary import KeyArgument, RandomDictionaryOperation, present_keys
from monai_medaug.core.operation import Operation
from monai_medaug.transforms.mixing.base import BatchMixing, class_count, image_entry, mask_entry
from monai_medaug.transforms.mixing.items import MixLabel

_LABEL_KEYS = KeyArgument(
    "label_keys",
    (),
    """keys of the samples' labels: ids (B,), or rows (B, K). The key then holds the soft target (with
            ``target_form="pair"`` the original label), the new keys ``<label>_own`` and ``<label>_partner`` the two
            labels, ``mix_weights`` λ (B,) and ``mix_permutation`` the partners (B,). ``num_classes`` may be one for
            all keys or one per key.""",
    True,
    "KeysCollection",
)
_MASK_KEYS = KeyArgument(
    "mask_keys",
    (),
    """keys of segmentation masks, of the images' field of view in any resolution. The key then holds the
            mixed mask, or, if masks are paired instead of blended, the sample's own beside ``<mask>_partner``.
            ``num_mask_classes`` may be one for all keys or one per key.""",
    True,
    "KeysCollection",
)
_LESION_KEY = KeyArgument(
    "lesion_key",
    None,
    "the one of ``mask_keys`` that shows the lesions; not needed for a single mask key.",
)


class MixingDictionary(RandomDictionaryOperation):
    """Base of the twins of the mixes, on a collated dictionary: all keys share partners, λ and boxes."""

    operation: BatchMixing
    per_key = dict.fromkeys(("num_classes", "num_mask_classes"), "int | Sequence[int | None] | None")

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection = (),
        mask_keys: KeysCollection = (),
        lesion_key: Any = None,
        num_classes: Any = None,
        num_mask_classes: Any = None,
        **arguments: Any,
    ) -> None:
        super().__init__(keys, **arguments)
        self.label_keys, self.mask_keys = ensure_tuple(label_keys), ensure_tuple(mask_keys)
        every = [*self.keys, *self.label_keys, *self.mask_keys]
        twice = {k for k in every if every.count(k) > 1}
        if twice:
            raise ValueError(f"each key must be given once, as image, label or mask: {sorted(map(str, twice))}")
        self.label_classes = _counts_per_key("num_classes", num_classes, self.label_keys)
        self.mask_classes = _counts_per_key("num_mask_classes", num_mask_classes, self.mask_keys)
        lesions = self.operation.lesions
        if lesions != "ignore" and lesion_key is None and len(self.mask_keys) == 1:
            lesion_key = self.mask_keys[0]
        if lesion_key is not None and lesion_key not in self.mask_keys:
            raise ValueError(f"lesion_key must be one of mask_keys, so that it is mixed too, got {lesion_key!r}")
        if lesions != "ignore" and lesion_key is None:
            raise ValueError(f"lesions={lesions!r} needs lesion_key, one of mask_keys")
        self.lesion_key = lesion_key

    @classmethod
    def key_arguments(cls, operation_class: type[Operation]) -> list[KeyArgument]:
        pasting = "lesions" in operation_class.__init__.__annotations__
        return [_LABEL_KEYS, _MASK_KEYS, *([_LESION_KEY] if pasting else [])]

    @property
    def traced_keys(self) -> tuple:
        return (*self.keys, *self.mask_keys)

    def __call__(self, data: Mapping, lazy: bool | None = None) -> dict:
        """Mix the items of a collated dictionary; returns a new one with all other items unchanged.

        Args:
            data: the dictionary.
            lazy: for MONAI's calls; mixes are always carried out at once.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dictionary, got {type(data).__name__}")
        present = [present_keys(self, data, keys) for keys in (self.keys, self.label_keys, self.mask_keys)]
        images = [image_entry(data[k], repr(k), self.keys.index(k)) for k in present[0]]
        if not images:
            return dict(data)
        labels = {k: MixLabel(data[k], repr(k), self.label_classes[self.label_keys.index(k)]) for k in present[1]}
        masks = {}
        for k in present[2]:
            index = self.mask_keys.index(k)
            own = self.mask_classes[index], k == self.lesion_key
            masks[k] = mask_entry(data[k], repr(k), len(self.keys) + index, *own)
        done = self.operation.mix(type(self).__name__, images, [*labels.values()], [*masks.values()])
        out = dict(data)
        for entry, image in zip(images, done.images, strict=True):
            out[self.keys[entry.index]] = image
        for key, (target, own, partner) in zip(labels, done.labels, strict=True):
            out |= {key: own if target is None else target, f"{key}_own": own, f"{key}_partner": partner}
        for key, (mask, other) in zip(masks, done.masks, strict=True):
            out |= {key: mask} if other is None else {key: mask, f"{key}_partner": other}
        return out | {"mix_weights": done.weights, "mix_permutation": done.permutation}


def _counts_per_key(name: str, value: Any, keys: tuple) -> tuple[int | None, ...]:
    counts = ensure_tuple_rep(value, len(keys)) if keys else ()
    return tuple(class_count(name, v) for v in counts)
