"""Times a peer and ours in turn in one process: milliseconds drift from run to run, ratios much less.

A `Row` names two set-up functions, each of which returns the call to time. They take turns (theirs, ours, theirs,
ours, ...) after a warm-up, and the table shows the medians. A peer whose import fails is shown as "not installed".
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

Call = Callable[[], object]
PACKAGES = (
    "monai-medaug",
    "monai",
    "torch",
    "numpy",
    "numba",
    "torchio",
    "medaugmentx",
    "batchgeneratorsv2",
    "scikit-image",
    "astra-toolbox",
)


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what is done.
        peer: who does it too.
        theirs: sets up the peer and returns the call to time.
        ours: the same for this package.
        target: the greatest ratio wanted, or the greatest difference in ms a key for ``difference`` rows; None where
            none is set.
        difference: judge ours - theirs instead of ours / theirs.
        calls: calls in one timing, for calls too short to time alone.
        keys: what the times are divided by.
        within: context in which ours runs.
    """

    name: str
    peer: str
    theirs: Callable[[], Call]
    ours: Callable[[], Call]
    target: float | None = None
    difference: bool = False
    calls: int = 1
    keys: int = 1
    within: Callable[[], AbstractContextManager[Any]] = nullcontext


def milliseconds(call: Call, calls: int = 1) -> float:
    """Time of one call, averaged over several in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls * 1e3


def measure(row: Row, repeats: int, warm_up: int = 2) -> dict[str, Any]:
    """Medians in ms a key and their ratio or difference; None where the peer is missing."""
    ours = row.ours()
    try:
        theirs = row.theirs()
    except ImportError:
        theirs = None
    times: dict[str, list[float]] = {"theirs": [], "ours": []}
    for turn in range(warm_up + repeats):
        if theirs is not None:
            times["theirs"].append(milliseconds(theirs, row.calls))
        with row.within():
            times["ours"].append(milliseconds(ours, row.calls))
        if turn < warm_up:
            times = {"theirs": [], "ours": []}
    our_ms = statistics.median(times["ours"]) / row.keys
    their_ms = statistics.median(times["theirs"]) / row.keys if theirs is not None else None
    figure = None
    if their_ms is not None:
        figure = our_ms - their_ms if row.difference else our_ms / their_ms
    return {
        "name": row.name,
        "peer": row.peer,
        "theirs_ms": their_ms,
        "ours_ms": our_ms,
        "difference_ms" if row.difference else "ratio": figure,
        "target": row.target,
    }


def time_table(rows: Iterable[Row], repeats: int) -> list[dict[str, Any]]:
    """Measure and print row by row."""
    head = f"{'operation':<50} {'against':<26} {'theirs ms':>13} {'ours ms':>9} {'ratio':>9} {'target':>8}"
    print(head, "-" * len(head), sep="\n", flush=True)
    results = []
    for row in rows:
        result = measure(row, repeats)
        results.append(result)
        theirs = "not installed" if result["theirs_ms"] is None else f"{result['theirs_ms']:.3f}"
        figure = result.get("ratio", result.get("difference_ms"))
        unit = " ms" if row.difference else ""
        shown = "-" if figure is None else f"{figure:.3f}{unit}"
        target = "-" if row.target is None else f"≤ {row.target:.2f}"
        print(
            f"{row.name:<50} {row.peer:<26} {theirs:>13} {result['ours_ms']:>9.3f} {shown:>9} {target:>8}", flush=True
        )
    return results


def environment() -> dict[str, Any]:
    """Versions and threads, without which the figures mean nothing."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "packages": {name: installed_version(name) for name in PACKAGES},
    }


def installed_version(package: str) -> str:
    """Version of a distribution, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def print_environment(facts: dict[str, Any], suites: Sequence[str]) -> None:
    """The header of a report."""
    print(f"benchmarks: {', '.join(suites)}")
    print(f"Python {facts['python']}, {facts['machine']}, {facts['cpus']} CPUs, {facts['torch_threads']} torch threads")
    print(", ".join(f"{name} {v}" for name, v in facts["packages"].items()))
