"""A random state that notices when the workers of a loader draw from copies of it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from monai.transforms.transform import Randomizable
from torch.utils.data import get_worker_info

from monai_medaug.core.tensors import say_once

_process = os.getpid()


def _note_process() -> None:
    global _process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_note_process)


class WatchedRandomState(Randomizable):
    """Random state of its own that knows in which process it was seeded."""

    _seeded_in: int | None = None

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Any:
        """Set the random state by a seed or a state."""
        Randomizable.set_random_state(self, seed, state)  # not that of a Compose, which seeds its children
        self._seeded_in = _process
        return self

    def watch_state(self) -> None:
        """Say, before a draw, that this process has a copy of another's state, if it is a loader's worker."""
        if self._seeded_in != _process:
            self._seeded_in = _process
            if get_worker_info() is not None:
                say_once(
                    "each worker of a loader repeats the same draws, epoch after epoch, for it was not seeded: use "
                    "monai.data.DataLoader, or worker_init_fn=monai.data.utils.worker_init_fn, or SampleSeeded or a "
                    "preset's sample_key"
                )
