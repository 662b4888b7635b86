"""Many scans from begin to end: what is missing is done, and what came of it said."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_medaug.commands.many.on_ray import on_ray, require_ray
from monai_medaug.commands.many.pool import in_pool, in_process
from monai_medaug.commands.many.record import RunRecord
from monai_medaug.commands.many.work import DONE, FAILED, ScanOutcome, ScanWork, is_complete
from monai_medaug.scans.dataset import ScanCase


def run_many(
    cases: Sequence[ScanCase], work: ScanWork, arguments: argparse.Namespace, settings: Mapping[str, Any], doing: str
) -> None:
    """Do the work on all scans whose results are not all there, and print what came of each.

    What is done stays, whatever happens to the rest: a bad file, a killed process, Ctrl-C.

    Args:
        cases: the scans.
        work: what is done to each.
        arguments: of the command, of which ``out``, ``jobs``, ``engine`` and ``address`` count here.
        settings: all that the results depend on, but the scan; an earlier run into the folder must have had the same.
        doing: a word for the progress bar.

    Raises:
        ValueError: the folder of the results doesn't suit, or scans failed.
        OSError: it cannot be written.
    """
    from tqdm import tqdm

    out = arguments.out
    _require_no_input_among_results(cases, work)
    if arguments.engine == "ray":
        require_ray()
    record = RunRecord(out, work, cases, settings)
    out.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(out)
    there = {case.name for case in cases if record.has_done(case)}
    record.write({}, there)
    todo = [case for case in cases if case.name not in there]
    outcomes: dict[str, ScanOutcome] = {}
    notes: set[str] = set()
    died = False
    folders = {(out / case.name).parent for case in todo}
    for folder in folders:  # shared by scans: a failed one must not take them away from another
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            contextlib.closing(_outcomes(work, todo, arguments)) as results,
            tqdm(total=len(cases), initial=len(there), desc=doing, unit="scan") as bar,
        ):
            for outcome in results:
                outcomes[outcome.name] = outcome
                for note in outcome.notes:
                    if note not in notes:
                        tqdm.write(f"monai-medaug: note: {note} (first said of {outcome.name})", file=sys.stderr)
                        notes.add(note)
                bar.update()
    except ChildProcessError:
        died = True
    finally:
        _remove_unfinished(out)
        for folder in sorted(folders, reverse=True):
            with contextlib.suppress(OSError):  # of folders with files
                folder.rmdir()
        unheard = [case for case in todo if case.name not in outcomes and is_complete(work, case)]  # before Ctrl-C
        outcomes |= {case.name: ScanOutcome(case.name, DONE) for case in unheard}
        record.write(outcomes, there)
        print(_table(cases, there, outcomes))
    again = "the same command again does only what is missing"
    if died:
        raise ValueError(f"the worker processes die as soon as they are started, out of memory for instance; {again}")
    if failed := sum(o.state == FAILED for o in outcomes.values()):
        raise ValueError(f"{failed} of {len(cases)} scans failed, see above; {again}")


def _outcomes(
    work: ScanWork, cases: Sequence[ScanCase], arguments: argparse.Namespace
) -> Generator[ScanOutcome, None, None]:
    jobs = arguments.jobs or 1
    if cases and arguments.engine == "ray":
        yield from on_ray(work, cases, jobs, arguments.address)
    elif cases:
        yield from in_process(work, cases) if jobs == 1 else in_pool(work, cases, jobs)


def _table(cases: Sequence[ScanCase], there: set[str], outcomes: Mapping[str, ScanOutcome]) -> str:
    """How many scans are done, were there before, failed and are missing; and which failed and why."""
    failed = [outcomes[c.name] for c in cases if c.name in outcomes and outcomes[c.name].state == FAILED]
    done = len(outcomes) - len(failed)
    counts = {"done": done, "already there": len(there), "failed": len(failed)}
    counts["missing"] = len(cases) - sum(counts.values())
    said = ", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "done")
    width = max((len(o.name) for o in failed), default=0)
    return "\n".join(
        [f"\n{len(cases)} scan{'s' * (len(cases) > 1)}: {said}", *(f"  {o.name:{width}}  {o.reason}" for o in failed)]
    )


def _require_no_input_among_results(cases: Sequence[ScanCase], work: ScanWork) -> None:
    inputs = {path.resolve() for case in cases for path in (*case.images, *case.labels.values())}
    if any(target.resolve() in inputs for case in cases for target in work.targets(case)):
        raise ValueError("a result would overwrite an input: choose another folder for --out")


def _remove_unfinished(out: Path) -> None:
    """Remove what killed processes left: one run at a time writes into a folder."""
    for left in [*out.rglob(".unfinished-*")]:
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
