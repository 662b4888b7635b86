"""Samples whose order and draws follow from seed, epoch and place alone, alike under every strategy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from monai.data.dataset import CacheDataset
from monai.transforms.compose import Compose
from torch.utils.data import Dataset

from monai_medaug.core.seeded import seed_children
from monai_medaug.experiments.strategy import AugmentationStrategy


class DrawnSamples(Dataset):
    """The samples of an epoch, one permutation of all after another until there are as many as wanted.

    Draws are seeded by (seed, epoch, place in the epoch), torch's and numpy's global generators too, so that they don't
    depend on loader workers or on where a run was resumed.

    Args:
        items: dataset of loaded samples.
        chain: of transforms, which augments.
        seed: of the run.
        count: samples of an epoch.

    Example:
        >>> samples = DrawnSamples(["a", "b", "c"], lambda x: x, seed=0, count=5)
        >>> [samples[i] for i in range(5)]
        ['c', 'a', 'b', 'c', 'b']
    """

    def __init__(self, items: Any, chain: Any, seed: int, count: int) -> None:
        self.items, self.chain, self.seed, self.count = items, chain, seed, count
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch."""
        self.epoch = epoch
        rng, total = np.random.default_rng([self.seed, epoch]), len(self.items)
        self.order = np.concatenate([rng.permutation(total) for _ in range(-(-self.count // total))])[: self.count]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Any:
        own = int(np.random.SeedSequence([self.seed, self.epoch, place]).generate_state(1)[0])
        with seeded_everywhere(own):
            seed_children([self.chain], own)
            return self.chain(deepcopy(self.items[int(self.order[place])]))  # some transforms write into their input


@contextmanager
def seeded_everywhere(seed: int) -> Iterator[None]:
    """Seed the global generators for a block, and put them back as they were.

    Example:
        >>> with seeded_everywhere(0):
        ...     first = np.random.rand()
        >>> with seeded_everywhere(0):
        ...     np.random.rand() == first
        True
    """
    before = np.random.get_state()  # noqa: NPY002 - the generator that a user's transform may draw from
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002


def training_chain(strategy: AugmentationStrategy, normalize: Any) -> Compose:
    """What happens to a loaded sample before it enters a batch.

    Example:
        >>> training_chain(AugmentationStrategy(after=lambda x: x + 1), lambda x: 2 * x)(1)
        3
    """
    return Compose([step for step in (strategy.before, normalize, strategy.after) if step is not None])


def cached_items(items: Sequence[Mapping], load: Any) -> CacheDataset:
    """Samples after the deterministic steps, kept in memory."""
    return CacheDataset([dict(item) for item in items], load or Compose([]), progress=False, copy_cache=False)


def data_digest(items: Sequence[Mapping]) -> str:
    """A fingerprint of samples: of arrays their values, of paths their names.

    Example:
        >>> data_digest([{"image": np.zeros(3), "label": 0}]) == data_digest([{"image": np.ones(3), "label": 0}])
        False
    """
    found = hashlib.blake2b(digest_size=8)
    for item in items:
        for key in sorted(item, key=str):
            value = item[key]
            if isinstance(value, (np.ndarray, torch.Tensor)):
                array = np.ascontiguousarray(torch.as_tensor(value).detach().cpu().numpy())
                found.update(f"{key}{array.shape}{array.dtype}".encode())
                found.update(array.tobytes())
            else:
                found.update(f"{key}{value!r}".encode())
    return found.hexdigest()


def trial_of(chain: Compose, items: Any, image_key: str) -> list[float]:
    """What a strategy does to a few samples under fixed seeds, by which a changed one is told from what it was.

    Example:
        >>> trial_of(Compose([]), [{"image": torch.ones(1, 2, 2)}], "image")[:2]
        [1.0, 0.0]
    """
    found = []
    for place in range(min(8, 4 * len(items))):
        with seeded_everywhere(place):
            seed_children([chain], place)
            out = chain(deepcopy(items[place % len(items)]))
        image = torch.as_tensor((out[0] if isinstance(out, list) else out)[image_key]).float()
        found += [float(image.mean()), float(image.std())]
    return found
