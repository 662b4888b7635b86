"""Scans worked on by Ray Data, on this machine or on a cluster."""

from __future__ import annotations

import importlib.util
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from monai_medaug.commands.many.work import BEGUN_AGAIN, DIED, FAILED, ScanOutcome, ScanWork, attempt
from monai_medaug.scans.dataset import ScanCase

_ATTEMPTS = 3
"""How often a scan is begun whose process dies; Ray itself would never give up."""


class RayAttempts:
    """An actor that counts how often each scan was begun."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count, and return how often it was begun before."""
        self.begun[number] += 1
        return self.begun[number] - 1


class RayScanWorker:
    """An actor of Ray Data, which gets the numbers of scans."""

    def __init__(self, work: ScanWork, cases: Sequence[ScanCase], attempts: Any) -> None:
        self.work = work
        self.cases = cases
        self.attempts = attempts

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the work on one scan, unless it has killed its processes."""
        import ray

        case = self.cases[int(row["number"])]
        before = ray.get(self.attempts.begin.remote(int(row["number"])))
        outcome = attempt(self.work, case) if before < _ATTEMPTS else ScanOutcome(case.name, FAILED, DIED)
        notes = (*outcome.notes, *([BEGUN_AGAIN] if before else []))
        return {"name": outcome.name, "state": outcome.state, "reason": outcome.reason, "notes": "\n".join(notes)}


def require_ray() -> None:
    """Raise a ValueError where Ray Data is missing."""
    for package, name in (("ray", "Ray"), ("pyarrow", "pyarrow")):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"--engine ray needs {name}: pip install monai-medaug[ray]")


def on_ray(work: ScanWork, cases: Sequence[ScanCase], jobs: int, address: str | None) -> Iterator[ScanOutcome]:
    """The scans by a pool of actors, one CPU each, as they are done; a scan whose actor dies is begun again.

    Args:
        work: what is done; its files must have the same paths on all nodes.
        cases: the scans.
        jobs: number of actors.
        address: of a Ray cluster, such as ``"auto"``; None starts Ray on this machine for the time of the call, unless
            it runs already.

    Raises:
        ValueError: Ray cannot be started or reached.
    """
    import ray
    import ray.data  # its logger is set by the import

    began = not ray.is_initialized()
    if began:
        own: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address is None else {}
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error", **own)
        except (ConnectionError, RuntimeError) as error:
            raise ValueError(f"Ray cannot be started or reached at --address ({type(error).__name__})") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    before, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        attempts = ray.remote(num_cpus=0)(RayAttempts).remote()
        numbers = ray.data.from_items([{"number": n} for n in range(len(cases))], override_num_blocks=len(cases))
        rows = numbers.map(
            RayScanWorker,
            fn_constructor_args=(work, list(cases), attempts),
            compute=ray.data.ActorPoolStrategy(size=min(jobs, len(cases)), max_tasks_in_flight_per_actor=1),
            num_cpus=1,
        )
        for row in rows.iter_rows():
            yield ScanOutcome(row["name"], row["state"], row["reason"], tuple(filter(None, row["notes"].split("\n"))))
    finally:
        context.enable_progress_bars = before
        if began:
            ray.shutdown()
