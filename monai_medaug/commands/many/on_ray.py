"""Scans worked on by Ray Data, on this machine or on a cluster."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from monai_medaug.commands.many.work import DIED, FAILED, Outcome, ScanWork, attempt
from monai_medaug.scans.dataset import ScanCase

_RETRIES = 3
"""How often Ray begins a scan again whose process died."""


class RayScanWorker:
    """An actor of Ray Data, which gets the numbers of scans."""

    def __init__(self, work: ScanWork, cases: Sequence[ScanCase]) -> None:
        self.work = work
        self.cases = cases

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do the work on one scan."""
        outcome = attempt(self.work, self.cases[int(row["number"])])
        return {
            "name": outcome.name,
            "state": outcome.state,
            "reason": outcome.reason,
            "notes": "\n".join(outcome.notes),
        }


def require_ray() -> None:
    """Raise a ValueError where Ray Data is missing."""
    for package, name in (("ray", "Ray"), ("pyarrow", "pyarrow")):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"--engine ray needs {name}: pip install monai-medaug[ray]")


def on_ray(work: ScanWork, cases: Sequence[ScanCase], jobs: int, address: str | None) -> Iterator[Outcome]:
    """The scans by a pool of actors, one CPU each, as they are done; a scan whose actor dies is begun again elsewhere.

    Args:
        work: what is done; its files must have the same paths on all nodes.
        cases: the scans.
        jobs: number of actors.
        address: of a Ray cluster, such as ``"auto"``; None starts Ray on this machine for the time of the call, unless
            it runs already.
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
    before = context.enable_progress_bars, context.max_errored_blocks
    context.enable_progress_bars, context.max_errored_blocks = False, -1
    left = {case.name for case in cases}
    try:
        numbers = ray.data.from_items([{"number": n} for n in range(len(cases))], override_num_blocks=len(cases))
        rows = numbers.map(
            RayScanWorker,
            fn_constructor_args=(work, list(cases)),
            compute=ray.data.ActorPoolStrategy(size=min(jobs, len(cases))),
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        for row in rows.iter_rows():
            left.discard(row["name"])
            yield Outcome(row["name"], row["state"], row["reason"], tuple(filter(None, row["notes"].split("\n"))))
    finally:
        context.enable_progress_bars, context.max_errored_blocks = before
        if began:
            ray.shutdown()
    yield from (Outcome(name, FAILED, DIED) for name in sorted(left))
