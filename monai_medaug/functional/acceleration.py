"""Numba for the CPU kernels: imported at first use, cached on disk, optional.

The compiled modules (``_numba_*.py``) hold loops and nothing else. Where numba is missing, or the tensor is
not on the CPU, the torch path of the same function serves. ``MONAI_MEDAUG_NUMBA=0`` switches numba off.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType

import torch

_enabled = os.environ.get("MONAI_MEDAUG_NUMBA", "1") != "0"


@functools.cache
def _import_compiled(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"monai_medaug.functional.{name}")
    except ImportError:
        return None


def compiled(name: str, device: torch.device) -> ModuleType | None:
    """The compiled module of that name if it can serve this device, else None."""
    return _import_compiled(name) if _enabled and device.type == "cpu" else None


@contextlib.contextmanager
def torch_only() -> Iterator[None]:
    """Within this block the torch path serves everywhere: for tests and benchmarks.

    Example:
        >>> with torch_only():
        ...     compiled("geometry._numba_warp", torch.device("cpu")) is None
        True
    """
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within this block torch works on this thread alone.

    For many small operations: shared out over threads each waits at a barrier, which takes milliseconds when another
    process has the core. The setting is the calling thread's own.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over_rows(kernel: Callable[[int, int], None], rows: int, least: int = 1024) -> None:
    """Call ``kernel(first, last)`` on slabs of at least so many rows, one thread for each that torch may use.

    The threads live for this call only and the compiled code releases the interpreter lock. Numba's own
    threading layers are left alone: OpenMP's aborts a process that forks, as data loaders do.
    """
    threads = min(torch.get_num_threads(), rows // least)
    if threads <= 1:
        kernel(0, rows)
        return
    edges = [rows * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads - 1) as pool:
        waiting = [pool.submit(kernel, a, b) for a, b in pairwise(edges[1:])]
        kernel(0, edges[1])
        for w in waiting:
            w.result()
