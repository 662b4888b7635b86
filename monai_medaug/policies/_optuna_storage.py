"""Where a study of Optuna is kept: a journal file that survives a killed writer, or a data base."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class MendingLock:
    """The lock of a journal, which cuts off the torn last line of a killed writer before anybody writes on.

    Optuna's journal is lines of JSON. One that was cut by a kill is no harm until the next line is appended to it: then
    every later reading fails. The lock is the kernel's (flock) on a file beside the journal, so that a kill releases
    it at once; Optuna's own leaves a file behind, for which the others wait 30 seconds. That one is used where the
    system has no flock.

    Args:
        file: of the journal.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._beside = file.with_name(f"{file.name}.lock")
        self._other = JournalFileOpenLock(str(file)) if fcntl is None else None
        self._held: int | None = None

    def acquire(self) -> bool:
        """Wait for the lock, and mend the journal."""
        if self._other is not None:
            self._other.acquire()
        else:
            self._held = os.open(self._beside, os.O_CREAT | os.O_RDWR, 0o644)
            fcntl.flock(self._held, fcntl.LOCK_EX)
        try:
            mend_journal(self._file)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Let others in."""
        if self._other is not None:
            self._other.release()
        elif self._held is not None:
            os.close(self._held)
            self._held = None


def mend_journal(file: Path) -> int:
    """Cut a journal back to its last whole line; how many bytes went. Only for who holds its lock."""
    if not file.is_file():
        return 0
    with file.open("r+b") as journal:
        size = end = journal.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            journal.seek(start)
            newline = journal.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            journal.truncate(end)
            journal.flush()
            os.fsync(journal.fileno())
        return size - end


def opened_storage(where: str | Path) -> Any:
    """The storage: a journal in a file, or the data base of a URL.

    Raises:
        ValueError: the file holds something else, or the data base can't be opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features that Optuna calls experimental
        if isinstance(where, str) and "://" in where:
            try:
                return RDBStorage(where)
            except Exception as error:
                raise ValueError(f"storage must be the URL of a data base, got a {type(error).__name__}") from None
        file = Path(where)
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = MendingLock(file)
        lock.acquire()
        lock.release()
        try:
            return JournalStorage(JournalFileBackend(str(file), lock_obj=lock))  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"storage must be the journal of a search, got another file ({error})") from None
