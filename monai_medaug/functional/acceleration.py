"""Compiled loops and threads of the CPU kernels. Numba is imported at first use, cached on disk, optional.

The compiled modules (``_numba_*.py``) hold loops and nothing else. Where they cannot serve, the torch path of the same
function does. ``MONAI_MEDAUG_NUMBA=0`` switches them off, and OpenCV with them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType
from typing import Any

import torch

_enabled = os.environ.get("MONAI_MEDAUG_NUMBA", "1") != "0"


@functools.cache
def _import_compiled(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"monai_medaug.functional.{name}")
    except ImportError:
        return None


def cpu_library_serves(*tensors: torch.Tensor, dtypes: Collection[torch.dtype] | None = None) -> bool:
    """Whether numba or OpenCV may work on these tensors' memory.

    They must be on the CPU, of one of ``dtypes`` (None: any), and not require a gradient. Within `torch_only` never.
    """
    return _enabled and all(
        t.device.type == "cpu" and (dtypes is None or t.dtype in dtypes) and not t.requires_grad for t in tensors
    )


def loops(name: str, *tensors: torch.Tensor, dtypes: Collection[torch.dtype] | None = None) -> ModuleType | None:
    """The compiled module of that name if numba is there and may work on these tensors, else None.

    Args:
        name: below ``monai_medaug.functional``.
        tensors: all whose memory the loops are given.
        dtypes: see `cpu_library_serves`.

    Example:
        >>> loops("denoise._numba_nlm", torch.zeros(2, dtype=torch.float16), dtypes=[torch.float32]) is None
        True
    """
    return _import_compiled(name) if cpu_library_serves(*tensors, dtypes=dtypes) else None


def elements_at_once(device: torch.device) -> int:
    """Greatest number of elements in a temporary tensor of the torch path: some launches of many elements on a GPU,
    parts that fit the cache on the CPU.
    """
    return 1 << 19 if device.type == "cpu" else 1 << 24


def sent(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Numbers, an array or a tensor on a device; to CUDA they go from pinned memory, so that nobody waits.

    Example:
        >>> sent([1, 2], torch.device("cpu"), torch.float32)
        tensor([1., 2.])
    """
    if isinstance(values, torch.Tensor) and values.device.type != "cpu":
        return values.to(device, dtype)
    tensor = torch.as_tensor(values, dtype=dtype, device="cpu")
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextlib.contextmanager
def torch_only() -> Iterator[None]:
    """Within this block the torch path serves everywhere: for tests and benchmarks.

    Example:
        >>> with torch_only():
        ...     loops("geometry._numba_warp") is None
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

    For many small operations: shared among threads, each waits at a barrier, for milliseconds if another process has
    the core. The setting holds for the calling thread only.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over_rows(kernel: Callable[[int, int], None], rows: int, least: int = 1024) -> None:
    """Call ``kernel(first, last)`` on slabs of at least ``least`` rows, in up to as many threads as torch uses.

    The threads end with the call; compiled code releases the interpreter lock. Numba's own threading layers are not
    used: with OpenMP's, a process that forks aborts, and data loaders fork.
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
