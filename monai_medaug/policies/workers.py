"""Which process works on a trial, and whether it still lives."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_active: set[str] = set()
"""The workers of this process: one may have ended by an exception, and its process lives on."""


@contextmanager
def named_worker() -> Iterator[str]:
    """A name for a block of work that no other has had: machine, process, its start, and a number of its own.

    Example:
        >>> with named_worker() as name:
        ...     is_alive(name)
        True
        >>> is_alive(name)
        False
    """
    name = "|".join((machine_name(), str(os.getpid()), _start_of(os.getpid()), uuid.uuid4().hex[:8]))
    _active.add(name)
    try:
        yield name
    finally:
        _active.discard(name)


def machine_name() -> str:
    """The machine, by a digest of its name, and since when it runs where that is known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{_host()}/{boot}"


def _host() -> str:
    return hashlib.blake2b(platform.node().encode(), digest_size=6).hexdigest()


def is_alive(name: str) -> bool | None:
    """Whether a worker lives; None on another machine, where nobody knows.

    Example:
        >>> is_alive("elsewhere/|1|0") is None
        True
    """
    machine, number, start, _ = [*name.split("|"), *[""] * 4][:4]
    if machine != machine_name():
        same_host = machine.partition("/")[0] == _host()
        return False if same_host and machine.partition("/")[2] else None  # before the machine was started again
    if not number.isdigit():
        return None
    if int(number) == os.getpid() and start == _start_of(os.getpid()):
        return name in _active
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return _start_of(int(number)) == start


def _start_of(number: int) -> str:
    """When a process began, in ticks since the machine did, where the system tells."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="latin1")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
