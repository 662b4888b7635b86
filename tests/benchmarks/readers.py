"""Reader studies: how often the intervals of simulated ones hold the truth."""

from __future__ import annotations

from typing import Any

from tests.experiments.simulated import coverage

READERS = (1, 2, 3, 4, 6, 10)
SPREADS = {"readers and cases that differ": (0.4, 0.7), "readers and cases much alike": (0.15, 0.3)}


def reader_table(studies: int = 600) -> list[dict[str, Any]]:
    """Measure and print, a line for each number of readers: 20 cases, a true preference or none."""
    results = []
    print("share of 95 % intervals, of preference and of VGC area, that hold the truth of other readers and cases")
    for name, (by_reader, by_case) in SPREADS.items():
        for shift in (0.0, 0.6):
            for readers in READERS:
                held = coverage(readers, 20, shift, by_reader, by_case, studies, 500)
                kind = "a preference" if shift else "no preference"
                print(f"{name:<32}{kind:<16}{readers:>3} readers {held[0]:>8.3f} {held[1]:>8.3f}", flush=True)
                results.append({"spread": name, "shift": shift, "readers": readers, "held": held.tolist()})
    return results
