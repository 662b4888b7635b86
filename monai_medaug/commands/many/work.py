"""The work on one scan of many, and what came of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from monai_medaug.scans.dataset import ScanCase

DONE, FAILED, MISSING = "done", "failed", "missing"
"""States of a scan."""
BEGUN_AGAIN = "a worker process died, and what it was at was begun again"
DIED = "its worker process died: killed, crashed or out of memory"


class ScanWork(Protocol):
    """What is done to each scan. It goes to other processes by pickle, and depends on itself and the scan alone."""

    def targets(self, case: ScanCase) -> list[Path]:
        """All files that the scan's results consist of."""

    def samples(self, case: ScanCase) -> list[dict[str, Any]]:
        """The results as items of a datalist: paths by ``image`` and ``label``."""

    def __call__(self, case: ScanCase) -> None:
        """Write the files that are missing, each set of them whole or not at all."""


@dataclass(frozen=True)
class ScanOutcome:
    """What came of a scan: its name, a state, the reason of a failure, and notices for the user."""

    name: str
    state: str
    reason: str = ""
    notes: tuple[str, ...] = ()


def is_complete(work: ScanWork, case: ScanCase) -> bool:
    """Whether all files of a scan's results are there."""
    return all(target.is_file() for target in work.targets(case))


def attempt(work: ScanWork, case: ScanCase) -> ScanOutcome:
    """Do the work on one scan; whatever goes wrong is in the outcome.

    It runs on one thread, also in the main process: some sums depend on the number of threads in their last bit.
    """
    from monai_medaug.core.tensors import Notice
    from monai_medaug.functional.acceleration import one_thread

    reason = case.problem
    with one_thread(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", Notice)
        if not reason:
            try:
                work(case)
            except ValueError as error:
                reason = " ".join(str(error).split())
            except OSError as error:  # of writing: reading raises ScanError
                reason = f"cannot write the results: {error.strerror or type(error).__name__}"
            except Exception as error:  # whose message may quote a path
                reason = f"unexpected {type(error).__name__}: run the command on this scan alone to see where"
    notes = tuple(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, Notice)))
    return ScanOutcome(case.name, FAILED if reason else DONE, reason, notes)
