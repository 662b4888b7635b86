"""The labels of many scans, from a folder with files of the same names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from monai_medaug.scans.dataset.case import ScanCase, named
from monai_medaug.scans.dataset.folder import folder_cases
from monai_medaug.scans.error import ScanError


def with_labels(cases: Sequence[ScanCase], key: str, folder: Path) -> list[ScanCase]:
    """The cases with labels of a folder, which replace those that they bring.

    A file belongs to the scan of the same path but for the ending, or else of the same name, where no other scan has
    it. A scan without one has a `problem`.

    Args:
        cases: as from `find_cases`.
        key: of the labels, such as ``"mask"``.
        folder: of the labels, with folders inside where the scans are in some.

    Raises:
        ScanError: it is no folder, or holds no file of any scan's name.
    """
    what = f"--{key.replace('_', '-')}"
    if not folder.is_dir():
        raise ScanError(f"{what} must be a folder with files named like the scans, since the input holds many")
    files = {label.name: label.images[0] for label in named(folder_cases(folder))}
    shared = Counter(_last(case.name) for case in cases)
    found = []
    for case in cases:
        last = _last(case.name)
        file = files.get(case.name) or (files.get(last) if shared[last] == 1 else None)
        if file is not None:
            found.append(replace(case, labels={**case.labels, key: file}))
        else:
            found.append(replace(case, problem=case.problem or f"{what} has no file of its name"))
    if not any(case.labels.get(key) in files.values() for case in found):
        raise ScanError(f"{what} has no file of any scan's name")
    return found


def _last(name: str) -> str:
    return name.rpartition("/")[2]
