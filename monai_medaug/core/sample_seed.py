"""Draws that depend on seed, sample and epoch alone, not on the workers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data.grid_dataset import PatchIterd
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import InvertibleTransform
from monai.transforms.traits import RandomizableTrait
from monai.transforms.transform import MapTransform
from monai.utils import ImageMetaKey

from monai_medaug.core.arguments import whole_number
from monai_medaug.core.seeded import PassesMissingKeys, keys_of, seed_children, turn_of
from monai_medaug.core.tensors import say_once


class SampleSeeds:
    """Integers for the calls of a transform: a stable hash of (seed, sample id, epoch).

    Crops of one sample have its id, but each its own integer: MONAI's ``patch_index`` in the meta data, or the
    ``patch_coords`` of its `PatchIterd`, belong in the hash where there are any. The epoch is in shared memory, so that
    `set_epoch` reaches running worker processes.

    Args:
        sample_key: key of the sample's id, a string or whole number, in the data.
        seed: of the experiment.

    Example:
        >>> seeds = SampleSeeds("id", seed=1)
        >>> seeds.of({"id": "case_07"}), seeds.of({"id": "case_07"}), seeds.of({"id": "case_08"})
        (2072850398, 2072850398, 1970622505)
        >>> seeds.set_epoch(1)
        >>> seeds.of({"id": "case_07"}) == 2072850398
        False
    """

    def __init__(self, sample_key: Any, seed: int = 0) -> None:
        self.sample_key = sample_key
        self.seed = whole_number("seed", seed)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._last: tuple[int, bytes] | None = None

    def __deepcopy__(self, memo: dict) -> SampleSeeds:
        twin = SampleSeeds(self.sample_key, self.seed)
        twin.set_epoch(self.epoch)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if not self._epoch.is_shared():  # unpickled from a file; a worker gets the shared memory itself
            self._epoch.share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch of the next draws."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that begins: in the main process, before its loader is iterated."""
        self._epoch.fill_(whole_number("epoch", epoch, 0))

    def of(self, data: Mapping, sample: int | None = None) -> int:
        """The integer of a sample, or of one of a collated batch, below 2**31 - 1.

        Raises:
            KeyError: the data lack the id.
            ValueError: the id is neither a string nor a whole number.
        """
        if self.sample_key not in data:
            raise KeyError(f"key {self.sample_key!r} of the sample's id is missing in the data")
        value, patch = data[self.sample_key], _patch_of(data, sample)
        if sample is not None and isinstance(value, (str, int)):  # the batch holds patches of one sample
            patch.append(str(sample))
        value = _of_sample(value, sample)
        if isinstance(value, (torch.Tensor, np.ndarray, np.generic)) and np.prod(value.shape) == 1:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError(f"{self.sample_key!r} must be a string or a whole number, got {type(value).__name__}")
        parts = [str(self.seed), str(self.epoch), str(value), *patch]
        last, self._last = self._last, (os.getpid(), "\0".join(parts).encode())
        if self._last == last:
            say_once(
                "the same sample id came twice in a row in one epoch: such samples share their draws. Crops of a sample"
                " are told apart by MONAI's patch_index, which needs set_track_meta(True); epochs by set_epoch"
            )
        return stable_seed(*parts)


def stable_seed(*parts: str) -> int:
    """An integer below 2**31 - 1 that depends on the parts alone: the same in every process and on every machine.

    Example:
        >>> stable_seed("1", "0", "case_07")
        2072850398
    """
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (2**31 - 1)


def _of_sample(values: Any, sample: int | None) -> Any:
    """The value of one sample of a batch, unless it is one for all."""
    return values if sample is None or isinstance(values, (str, int)) else values[sample]


def _patch_of(data: Mapping, sample: int | None) -> list[str]:
    """What tells a crop from the others of its sample; empty if the data are no crop.

    A crop of a crop overwrites the index of the keys that it cuts; another key may still hold the first.
    """
    found = {}
    for key, item in data.items():
        if isinstance(item, MetaTensor) and ImageMetaKey.PATCH_INDEX in item.meta:
            found[str(key)] = str(int(_of_sample(item.meta[ImageMetaKey.PATCH_INDEX], sample)))
    patch = [*dict.fromkeys(found[key] for key in sorted(found))]
    if PatchIterd.coords_key in data:
        patch.append(str(np.asarray(_of_sample(data[PatchIterd.coords_key], sample)).tolist()))
    return patch


class SampleSeeded(PassesMissingKeys, MapTransform, InvertibleTransform, RandomizableTrait):
    """Run any transform with draws that depend on (seed, sample id, epoch) alone.

    The number and order of workers, the rank that gets a sample, and a resumed run then make no difference. Each call
    seeds the transform, MONAI's steps included, with a stable hash of the three. Crops of one sample that an earlier
    step cut, such as ``RandCropByPosNegLabeld(num_samples=4)``, have each their own draws, by MONAI's ``patch_index``
    in their meta data. The class has no `set_random_state`, through which MONAI's loaders would give every worker
    another seed.

    Args:
        transform: a dictionary transform or a Compose.
        sample_key: key of the sample's id, a string or whole number, such as an index or a name.
        seed: of the experiment.

    Raises:
        KeyError: a sample lacks its id.
        ValueError: its id is neither a string nor a whole number.

    Example:
        >>> from monai.transforms import Compose, RandFlipd
        >>> from monai_medaug.transforms import RandCTDosed
        >>> chain = Compose([RandFlipd("image", prob=0.5), RandCTDosed("image", prob=1.0)])
        >>> stable = SampleSeeded(chain, sample_key="id", seed=1)
        >>> first = stable({"image": torch.zeros(1, 8, 8), "id": "case_07"})["image"]
        >>> _ = stable({"image": torch.zeros(1, 8, 8), "id": "case_08"})
        >>> torch.equal(first, stable({"image": torch.zeros(1, 8, 8), "id": "case_07"})["image"])
        True
        >>> stable.set_epoch(1)
        >>> torch.equal(first, stable({"image": torch.zeros(1, 8, 8), "id": "case_07"})["image"])
        False
    """

    def __init__(self, transform: Any, sample_key: Any = "id", seed: int = 0) -> None:
        self.transform = transform
        self.keys = keys_of([transform])
        self.seeds = SampleSeeds(sample_key, seed)

    def parts(self) -> Iterable[Any]:
        return [self.transform]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that begins, before its loader is iterated; it reaches running workers."""
        self.seeds.set_epoch(epoch)

    def __call__(self, data: Mapping) -> Any:
        """Apply to one sample."""
        if not isinstance(data, Mapping):
            raise TypeError(f"data must be a dictionary with the sample's id, got {type(data).__name__}")
        with turn_of(self):
            seed_children([self.transform], self.seeds.of(data))
            return self.transform(data)

    def inverse(self, data: Any) -> Any:
        """Undo the last call, as the transform does."""
        with self.lenient(data):
            return self.transform.inverse(data)
