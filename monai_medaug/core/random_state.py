"""A random state that notices when the workers of a loader draw from copies of it."""

from __future__ import annotations

import os
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
from monai.transforms.transform import Randomizable
from monai.utils.misc import MAX_SEED
from torch.utils.data import get_worker_info

from monai_medaug.core.tensors import say_once

_process = os.getpid()


def _note_process() -> None:
    global _process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_note_process)


def _holders(owner: Any) -> int:
    return sys.getrefcount(owner.__dict__["R"])


_ALONE = _holders(SimpleNamespace(R=object()))
_thread = threading.local()


def seeded_state(seed: int) -> np.random.RandomState:
    """This thread's random state with a new seed, to draw from at once: the next call seeds it again.

    To make a new one takes a hundred times as long, since it gathers entropy first.

    Example:
        >>> seeded_state(5).randint(100) == np.random.RandomState(5).randint(100)
        True
    """
    if not hasattr(_thread, "state"):
        _thread.state = np.random.RandomState(0)
    state: np.random.RandomState = _thread.state
    state.seed(seed)
    return state


class WatchedRandomState(Randomizable):
    """Random state of its own that knows in which process it was seeded."""

    _seeded_in: int | None = None

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Any:
        """Set the random state by a seed or a state."""
        if isinstance(seed, int) and "R" in self.__dict__ and _holders(self) == _ALONE:
            self.R.seed(seed % MAX_SEED)  # as a new state would be, see `seeded_state`; one that is shared stays as is
        else:
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
