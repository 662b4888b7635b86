"""Scans worked on in this process, or by a pool of processes, of which one that dies takes no other's work along."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from monai_medaug.commands.many.work import BEGUN_AGAIN, DIED, FAILED, ScanOutcome, ScanWork, attempt
from monai_medaug.scans.dataset import ScanCase

_START = "spawn"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS")
_FRUITLESS = 3
"""So many pools that die one after another, without a scan done, are no accident."""


def in_process(work: ScanWork, cases: Sequence[ScanCase]) -> Iterator[ScanOutcome]:
    """The scans one after another."""
    for case in cases:
        yield attempt(work, case)


def in_pool(work: ScanWork, cases: Sequence[ScanCase], jobs: int) -> Iterator[ScanOutcome]:
    """The scans by a pool of processes, one thread each, as they are done.

    Where a process dies, the pool goes with it. A new one goes on with the rest, and the scans that were being worked
    on are begun again at the end, one at a time, so that one that kills its process, by its size say, is known.

    Raises:
        ChildProcessError: the processes die and none finishes a scan.
    """
    begun_again, fruitless = deque[ScanCase](), 0
    for queue, at_once in ((deque(cases), jobs), (begun_again, 1)):
        alone = queue is begun_again
        while queue:
            done, lost = 0, []
            with contextlib.closing(_one_pool(work, queue, at_once)) as results:
                for case, outcome in results:
                    if outcome is None:
                        lost.append(case)
                    else:
                        done += 1
                        yield replace(outcome, notes=(*outcome.notes, BEGUN_AGAIN)) if alone else outcome
            if alone:
                yield from (ScanOutcome(case.name, FAILED, DIED) for case in lost)
                continue
            begun_again.extend(lost)
            fruitless = 0 if done else fruitless + 1
            if fruitless == _FRUITLESS:
                raise ChildProcessError


def _one_pool(
    work: ScanWork, queue: deque[ScanCase], jobs: int
) -> Generator[tuple[ScanCase, ScanOutcome | None], None, None]:
    """Take cases from the queue until it is empty or the pool dies; those that it was at then come with None."""
    context = multiprocessing.get_context(_START)
    ours, theirs = context.Pipe(duplex=False)[::-1]
    pool = ProcessPoolExecutor(min(jobs, len(queue)), context, _leave_with_parent, (theirs,))
    running: dict[Future, ScanCase] = {}
    dead = False
    try:
        while queue or running:
            while queue and not dead and len(running) < jobs:
                with _starting():
                    try:
                        running[pool.submit(attempt, work, queue[0])] = queue[0]
                    except BrokenProcessPool:  # died while idle
                        dead = True
                        break
                queue.popleft()
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                case = running.pop(future)
                try:
                    yield case, future.result()
                except BrokenProcessPool:
                    dead = True
                    yield case, None
    finally:
        ours.close()  # and with it the workers end, be they idle, which takes them seconds otherwise, or interrupted
        pool.shutdown(cancel_futures=True)
        theirs.close()


def _leave_with_parent(pipe: Any) -> None:
    """In a worker: end when the pipe's other end closes, be it that the main process was killed, and not by Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Processes started within this block have one thread for algebra, and leave Ctrl-C to the main process."""
    before = {name: os.environ.get(name) for name in _THREADS}
    set_mask = getattr(signal, "pthread_sigmask", None)  # inherited by them; Windows has none
    if set_mask is not None:
        mask = set_mask(signal.SIG_BLOCK, {signal.SIGINT})  # what comes meanwhile waits
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if set_mask is not None:
            set_mask(signal.SIG_SETMASK, mask)
