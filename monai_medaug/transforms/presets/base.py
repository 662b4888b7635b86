"""Base of the presets: whole augmentations as a MONAI Compose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose, execute_compose
from monai.transforms.transform import MapTransform
from monai.utils import ensure_tuple

from monai_medaug.core.arguments import choice, flag, whole_number
from monai_medaug.core.call import ABSENT
from monai_medaug.core.sample_seed import SampleSeeds
from monai_medaug.core.seeded import SeededContainer, in_kinds_of, seed_children, untraced_steps
from monai_medaug.core.tensors import plain_tensor
from monai_medaug.core.trace import push_batch_records, with_new_trace
from monai_medaug.transforms.mirror import RandMirrord
from monai_medaug.transforms.presets.keyed_steps import KeyedSteps
from monai_medaug.transforms.spatial import RandAffineElasticd

STRENGTHS = ("light", "standard", "strong", "source")
SMOOTH: dict[str, Any] = {"elastic_sigma": 20, "elastic_unit": "mm"}  # organs move, bones keep their shape

_PATCH: dict[str, Any] = {"rotate_degrees": 180, "scale_fraction": 0.3, "elastic_mm": 0}

# a step: its dictionary transform, its share of the preset's probability (None: always applied), its arguments
Steps = Sequence[tuple[type, float | None, dict[str, Any]]]


class AugmentationPreset(SeededContainer, Compose, MapTransform):
    """A Compose that draws one seed per call and records it with its settings.

    One with a single key and no masks also takes a bare image, for chains of array transforms. Made by
    `ct_augmentation`, `mri_augmentation` and `xray_augmentation`. Subclasses override `check_image`, `before_call` and
    `findings` if their modality needs it.

    Args:
        name: for the record.
        transforms: the steps.
        keys: all keys.
        image_keys: those of the images.
        settings: plain values for the record.
        seeds: seeds by sample and epoch; None draws the seed of each call.
    """

    def __init__(
        self,
        name: str,
        transforms: Sequence[Any],
        keys: Sequence[Any],
        image_keys: Sequence[Any],
        settings: Mapping[str, Any],
        seeds: SampleSeeds | None = None,
    ) -> None:
        Compose.__init__(self, [*transforms])
        self.label, self.keys, self.image_keys = name, tuple(keys), tuple(image_keys)
        self.settings = dict(settings)
        self.seeds = seeds
        SeededContainer.__init__(self)

    # ---- hooks of the modalities -----------------------------------------------------------------------------

    def check_image(self, image: torch.Tensor, name: str) -> None:
        """Raise a ValueError with the key's name if an image (C, *spatial) is not what the steps need."""

    def before_call(self, image: torch.Tensor) -> None:
        """Prepare the steps for the first image (C, *spatial) of a call, before they draw."""

    def findings(self, images: torch.Tensor, name: str) -> list[dict[str, Any]]:
        """Plain figures of each image (N, C, *spatial) after the steps, for the records."""
        return [{} for _ in images]

    # ---- the calls -------------------------------------------------------------------------------------------

    def set_random_state(self, seed: int | None = None, state: Any = None) -> AugmentationPreset:
        """Seed the container; the children are seeded at each call."""
        SeededContainer.set_random_state(self, seed, state)
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that begins, for draws that depend on the sample (``sample_key``)."""
        if self.seeds is None:
            raise ValueError(f"{self.label} was made without sample_key: its draws don't depend on the epoch")
        self.seeds.set_epoch(epoch)

    def call_seed(self, data: Any, sample: int | None = None) -> int:
        return SeededContainer.call_seed(self, data) if self.seeds is None else self.seeds.of(data, sample)

    def __call__(
        self, input_: Any, start: int = 0, end: int | None = None, threading: bool = False, lazy: bool | None = None
    ) -> Any:
        """Apply to a dictionary, a bare image for a single key, or a list of them; ``lazy`` carries out at once."""
        if start == end == 0:  # MONAI's caching datasets run the steps before the first random one
            return input_
        if start != 0 or end is not None:
            raise ValueError(f"start and end must not select steps of {self.label}, got {start} and {end}")
        if isinstance(input_, (list, tuple)):
            return [self(item, lazy=lazy) for item in input_]
        if not isinstance(input_, Mapping):
            return self._as_dictionary(input_, lambda data: SeededContainer.__call__(self, data))
        return SeededContainer.__call__(self, input_)

    def inverse(self, data: Any) -> Any:
        """Undo the last call; geometry is inverted, intensities stay."""
        if isinstance(data, (list, tuple)):
            return [self.inverse(item) for item in data]
        if not isinstance(data, Mapping):
            return self._as_dictionary(data, self.inverse)
        return SeededContainer.inverse(self, data)

    def _as_dictionary(self, image: Any, run: Callable[[dict], dict]) -> Any:
        """Run on a bare image as that of the only key."""
        if len(self.keys) != 1:
            keys = ", ".join(map(repr, self.keys))
            raise TypeError(
                f"data must be a dictionary with the keys {keys} of {self.label}, got {type(image).__name__}: a bare "
                "image fits a preset with one key and no masks"
            )
        if self.seeds is not None:
            raise TypeError(
                f"data must be a dictionary with the sample's id under {self.seeds.sample_key!r}, got "
                f"{type(image).__name__}: {self.label} was made with sample_key"
            )
        return run({self.keys[0]: image})[self.keys[0]]

    def run_seeded(self, data: Any, seed: int) -> Any:
        if not isinstance(data, Mapping):
            return self._as_dictionary(data, lambda one: self.run_seeded(one, seed))
        self._prepare(data, None, seed)
        out = execute_compose(data, self.transforms, lazy=self._lazy)
        found = self._infos(out, [None], [seed])[0]
        return self.with_records(in_kinds_of(data, dict(out), self.keys), True, found)

    @property
    def runs_on_batches(self) -> bool:
        return all(t.runs_on_batches for t in self.transforms if isinstance(t, SeededContainer))

    def batch_draw(self, data: Any, sample: int, drawn: Callable[[Any], Any]) -> Any:
        if not isinstance(data, Mapping):
            return self._as_dictionary(data, lambda one: {self.keys[0]: self.batch_draw(one, sample, drawn)})
        seed = self.call_seed(data, sample)
        if not self.runs_on_batches:
            return seed
        self._prepare(data, sample, seed)
        return seed, [drawn(child) for child in self.transforms]

    def run_batch(self, data: Any, draws: Sequence[Any], run: Callable[[Any, list[Any], Any], Any]) -> Any:
        if not isinstance(data, Mapping):
            return self._as_dictionary(data, lambda one: self.run_batch(one, draws, run))
        given = data
        for i, child in enumerate(self.transforms):
            data = run(child, [d if d is ABSENT else d[1][i] for d in draws], data)
        infos: list[Any] = [ABSENT] * len(draws)
        here = [sample for sample, draw in enumerate(draws) if draw is not ABSENT]
        each = self._infos(data, here, [draws[sample][0] for sample in here])
        for sample, found in zip(here, each, strict=True):
            untraced = untraced_steps(draws[sample][1])
            infos[sample] = {k: {**i, **({"untraced": untraced} if untraced else {})} for k, i in found.items()}
        out = in_kinds_of(given, dict(data), self.keys)
        for key in self.keys:
            if isinstance(out.get(key), MetaTensor) and self.tracing:
                shape = out[key].shape[2:]
                out[key] = with_new_trace(out[key])
                records = [i if i is ABSENT else self.record(True, shape, i[key]) for i in infos]
                push_batch_records(out[key], records)
        return out

    def _prepare(self, data: Mapping, sample: int | None, seed: int) -> None:
        for key in self.image_keys:
            if key in data:
                self.check_image(_image_of_sample(data, key, sample), repr(key))
        first = next((k for k in self.image_keys if k in data), None)
        if first is not None:
            self.before_call(_image_of_sample(data, first, sample))
        seed_children(self.transforms, seed)

    def _infos(self, data: Mapping, samples: Sequence[Any], seeds: Sequence[int]) -> list[dict[Any, dict[str, Any]]]:
        """The extra information in each sample's records of the keys; ``[None]`` is a single sample without a batch."""
        infos: list[dict] = [{k: {"seed": seed, "settings": self.settings} for k in self.keys} for seed in seeds]
        for key in self.image_keys if infos else ():
            if key in data:
                images = torch.stack([_image_of_sample(data, key, sample) for sample in samples])
                for info, found in zip(infos, self.findings(images, repr(key)), strict=True):
                    info[key] |= found
        return infos


def _image_of_sample(data: Mapping, key: Any, sample: int | None) -> torch.Tensor:
    image = plain_tensor(data[key], repr(key), batch=sample is not None)
    return image if sample is None else image[sample]


def chosen_strength(table: Mapping[str, Any], strength: str) -> Any:
    """The entry of a preset's table for a strength."""
    return table[choice("strength", strength, STRENGTHS)]


def build_preset(
    name: str,
    steps: Steps,
    keys: KeysCollection,
    mask_keys: KeysCollection | None,
    lesion_key: str | None,
    settings: Mapping[str, Any],
    sample_key: Any = None,
    seed: int = 0,
    preset: type[AugmentationPreset] = AugmentationPreset,
    padding_mode: str | float = "border",
    ignore: float | None = None,
    allow_missing_keys: bool = False,
    mirror_axes: int | Sequence[int] | None = None,
    patches: bool = False,
) -> AugmentationPreset:
    """Build a preset: geometry for all keys, other steps for the images, checked if there is a label or lesion.

    Args:
        name: for the record.
        steps: in physical order; their probabilities are shares of ``settings["prob"]``.
        keys: images.
        mask_keys: label maps.
        lesion_key: lesion mask, or None.
        settings: ``strength``, ``prob`` and other plain values for the record.
        sample_key: key of the sample's id, or None.
        seed: of the experiment, with ``sample_key``.
        preset: class of the result.
        padding_mode: what the geometry fills in from outside, in images and masks alike.
        ignore: value of the masks there instead; None for none.
        allow_missing_keys: skip missing keys instead of raising a KeyError.
        mirror_axes: spatial axes along which half of the images are mirrored; None for none, or all of patches.
        patches: images are patches that may lie in any way: turn by any angle, scale further.
    """
    if flag("patches", patches):
        if settings["strength"] == "source":
            raise ValueError("patches must be False with strength 'source', got True")
        steps = [(s, p, a | _PATCH if s is RandAffineElasticd else a) for s, p, a in steps]
        settings = {**settings, "patches": True}
    if mirror_axes is not None:
        mirror_axes = [whole_number("mirror_axes", axis, 0, 2) for axis in ensure_tuple(mirror_axes)]
        settings = {**settings, "mirror_axes": mirror_axes}
    if mirror_axes is not None or patches:
        steps = [(RandMirrord, None, {"axes": mirror_axes}), *steps]
    keyed = KeyedSteps(ensure_tuple(keys), ensure_tuple(mask_keys or ()), lesion_key, padding_mode, ignore)
    built = [keyed.made(s, p and settings["prob"] * p, a, allow_missing_keys) for s, p, a in steps]
    seeds = None if sample_key is None else SampleSeeds(sample_key, seed)
    return preset(name, keyed.guarded(built), keyed.moving, keyed.images, {**settings, **keyed.settings}, seeds)
