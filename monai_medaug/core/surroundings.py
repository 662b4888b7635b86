"""Settings of torch that the caller may have made for a network, and that operations must not follow."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
_products = torch.backends.cuda.matmul
_callers: ContextVar[Sequence[Callable[[], AbstractContextManager]]] = ContextVar("callers_settings", default=())
_lock, _inside, _before = threading.Lock(), 0, "none"


def undisturbed(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: run without autocast, with CPU as the default device, and matrix products in full precision.

    Half precision moves labels and loses the last digits of HU, TF32 makes -999.88 of -1000, and random numbers drawn
    on the CPU, so that all devices get the same, must not be made elsewhere.

    Example:
        >>> with torch.autocast("cpu", dtype=torch.bfloat16):
        ...     undisturbed(torch.mm)(torch.eye(2), torch.eye(2)).dtype
        torch.float32
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if _as_wanted():
            return function(*args, **kwargs)
        with ExitStack() as stack:
            found: list[Callable[[], AbstractContextManager]] = []
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    found.append(partial(torch.autocast, kind, torch.get_autocast_dtype(kind)))
                    stack.enter_context(torch.autocast(kind, enabled=False))
            if (device := torch.get_default_device()).type != "cpu":
                found.append(partial(torch.device, device))
                stack.enter_context(torch.device("cpu"))
            if found:
                stack.callback(_callers.reset, _callers.set(found))
            if _inside or _products.fp32_precision == "tf32":
                stack.enter_context(_full_precision())
            return function(*args, **kwargs)

    return call


def _as_wanted() -> bool:
    """Whether there is nothing to switch off."""
    return not (
        torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
        or _inside
        or _products.fp32_precision == "tf32"
        or torch.get_default_device().type != "cpu"
    )


@contextmanager
def as_the_caller() -> Iterator[None]:
    """A block within `undisturbed` that runs the user's own code, with the user's autocast and default device."""
    with ExitStack() as stack:
        for setting in _callers.get():
            stack.enter_context(setting())
        yield


@contextmanager
def _full_precision() -> Iterator[None]:
    """The setting is that of all threads: the last one to leave restores it."""
    global _inside, _before
    with _lock:
        if not _inside:
            _before, _products.fp32_precision = _products.fp32_precision, "ieee"
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _products.fp32_precision = _before


def _leave_with_the_fork() -> None:
    """In a forked child: the threads that were inside, or held the lock, are not here."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside:
        _inside, _products.fp32_precision = 0, _before


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_with_the_fork)
