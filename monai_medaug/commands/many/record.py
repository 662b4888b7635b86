"""``scans.json`` beside the results: how they were made, what came of each scan, and the results as a datalist."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_medaug.commands.many.work import DONE, MISSING, ScanOutcome, ScanWork, is_complete
from monai_medaug.scans.dataset import ScanCase
from monai_medaug.scans.dataset.case import RECORD, RECORD_KIND
from monai_medaug.version import __version__


def _read_record(out: Path) -> dict[str, Any]:
    try:
        content = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError:
        content = None
    if not isinstance(content, dict) or RECORD_KIND not in content:
        raise ValueError(f"--out holds a {RECORD} that is not of an earlier run: choose another folder")
    return content


def earlier_settings(out: Path) -> dict[str, Any]:
    """The settings of an earlier run into the folder; empty where there was none.

    Raises:
        ValueError: the folder holds a file of that name that is something else.
    """
    return dict(_read_record(out).get("settings", {}))


class RunRecord:
    """The record of a run.

    Args:
        out: folder of the results.
        work: what is done.
        cases: all scans.
        settings: all that results depend on, but the scan.

    Raises:
        ValueError: the folder holds results of other settings.
    """

    def __init__(self, out: Path, work: ScanWork, cases: Sequence[ScanCase], settings: Mapping[str, Any]) -> None:
        self.file, self.work, self.cases = out / RECORD, work, cases
        self.settings = json.loads(json.dumps(settings))
        earlier = _read_record(out)
        if earlier and any(target.is_file() for case in cases for target in work.targets(case)):
            old = earlier.get("settings", {})
            other = [k for k in self.settings.keys() | old.keys() if self.settings.get(k) != old.get(k)]
            if other:
                pairs = [
                    (k.replace("_", "-"), _in_words(old.get(k)), _in_words(self.settings.get(k))) for k in sorted(other)
                ]
                said = ", ".join(f"{name} {before}, now {now}" for name, before, now in pairs)
                raise ValueError(f"--out holds results of another run ({said}): choose another folder")
        self._earlier = earlier.get("scans", {})
        self._sizes = {case.name: _file_sizes(case) for case in cases}

    def has_done(self, case: ScanCase) -> bool:
        """Whether all files of a scan are there; those of a scan whose own files have changed in size are removed."""
        known = self._earlier.get(case.name, {}).get("bytes")
        if known not in (None, self._sizes[case.name]):
            for target in self.work.targets(case):
                target.unlink(missing_ok=True)
        return is_complete(self.work, case)

    def write(self, outcomes: Mapping[str, ScanOutcome], complete: Iterable[str]) -> None:
        """Write the file, with the outcomes so far."""
        scans: dict[str, Any] = {}
        lists: dict[str, list[dict[str, Any]]] = {}
        there = set(complete)
        for case in self.cases:
            outcome = outcomes.get(case.name) or ScanOutcome(case.name, DONE if case.name in there else MISSING)
            entry = {"source": case.key, "bytes": self._sizes[case.name], "state": outcome.state}
            scans[case.name] = entry | ({"reason": outcome.reason} if outcome.reason else {})
            if outcome.state == DONE:
                lists.setdefault(case.subset, []).extend(self.work.samples(case))
        about = {"version": __version__, "about": "paths are relative to this file; its lists are a MONAI datalist"}
        content = {RECORD_KIND: about, "settings": self.settings, **lists, "scans": scans}
        temporary = self.file.with_name(f".unfinished-{RECORD}")
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.file)


def _in_words(value: Any) -> str:
    return "not given" if value is None else str(value).lower()


def _file_sizes(case: ScanCase) -> list[int]:
    """The sizes of a scan's files in bytes, that of a folder's in sum; -1 of one that is missing."""
    sizes = []
    for path in (*case.images, *(case.labels[key] for key in sorted(case.labels))):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        sizes.append(sum(f.stat().st_size for f in files if f.is_file()) if path.exists() else -1)
    return sizes
