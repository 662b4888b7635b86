"""Notices that a process and the workers of its loaders say once, all together."""

from __future__ import annotations

import atexit
import hashlib
import multiprocessing
import os
import re
import shutil
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

_VARIABLE = "MONAI_MEDAUG_NOTICES"  # workers inherit it, whether forked or spawned


def _open_tree() -> None:
    """Name this process's tree, unless it is a worker, which inherits the name."""
    unpickling = getattr(multiprocessing.current_process(), "_inheriting", False)  # a spawned worker as it starts
    if multiprocessing.parent_process() is None and not unpickling:
        os.environ[_VARIABLE] = f"monai_medaug_{uuid.uuid4().hex}"
        atexit.register(_close_tree, os.getpid())


def _close_tree(root: int) -> None:
    if os.getpid() == root:  # not in a fork of it
        forget_notices()


def forget_notices() -> None:
    """Let everything be said again, as far as the workers' memory allows."""
    with suppress(KeyError, OSError):
        shutil.rmtree(_directory(), ignore_errors=True)


def _directory() -> Path:
    """The tree's directory, which is removed at the end: no other name than ours is taken from the environment."""
    name = os.environ[_VARIABLE]
    if not re.fullmatch(r"monai_medaug_[0-9a-f]{32}", name):
        raise KeyError(_VARIABLE)
    return Path(tempfile.gettempdir(), name)


def is_first_to_say(message: str) -> bool:
    """Whether no process of this tree has said the message yet; from now on one has.

    A process started on its own, such as a command of a notebook, is the root of another tree. Where no file can be
    written, each process is the first.
    """
    try:
        directory = _directory()
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / hashlib.blake2b(message.encode(), digest_size=16).hexdigest()).touch(exist_ok=False)
    except FileExistsError:
        return False
    except (KeyError, OSError):
        return True
    return True


_open_tree()
