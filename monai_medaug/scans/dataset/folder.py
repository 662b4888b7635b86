"""The scans of a folder and the folders inside, whatever their names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from monai_medaug.scans.dataset.case import RECORD, RECORD_KIND, VOLUMES, ScanCase, is_litter
from monai_medaug.scans.dicom import is_dicom
from monai_medaug.scans.error import ScanError
from monai_medaug.scans.formats import PICTURES


def folder_cases(folder: Path, leave_out: Collection[Path] = ()) -> list[ScanCase]:
    """A case for each volume, and for each folder with DICOM files; for each picture where there is nothing else.

    Pictures beside volumes are previews. Hidden files are passed over, what lies beside DICOM files, and folders that
    hold results of commands on many scans.

    Args:
        folder: where to look, at any depth; links are followed.
        leave_out: folders to pass over.

    Raises:
        ScanError: a folder cannot be read.
    """
    volumes, pictures = [], []
    for where, files in _walked(folder, {path.resolve() for path in leave_out}):
        here = where.relative_to(folder).as_posix()
        if holds_dicom(where, files):
            volumes.append(ScanCase(here, (where,)))
            continue
        for name in files:
            case = ScanCase(name if here == "." else f"{here}/{name}", (where / name,))
            if name.lower().endswith(VOLUMES):
                volumes.append(case)
            elif name.lower().endswith(PICTURES):
                pictures.append(case)
    return volumes or pictures


def holds_dicom(folder: Path, files: Collection[str] | None = None) -> bool:
    """Whether DICOM files lie in a folder, not in those inside."""
    names = [entry.name for entry in folder.iterdir() if entry.is_file()] if files is None else files
    others = (".json", ".txt", ".tsv", ".csv", ".md", *VOLUMES, *PICTURES)
    return any(is_dicom(folder / n) for n in sorted(names) if not is_litter(n) and not n.lower().endswith(others))


def _is_ours(record: Path) -> bool:
    with record.open("rb") as opened:
        return RECORD_KIND.encode() in opened.read(100)


def _walked(folder: Path, leave_out: set[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Folders with the names of their files, without litter and our results; one that two links reach comes once."""

    def unreadable(error: OSError) -> None:
        raise ScanError(f"a folder of the data set cannot be read: {error.strerror}")

    seen = set(leave_out)
    for where, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        real = Path(where).resolve()
        if real in seen or (Path(where) != folder and RECORD in files and _is_ours(real / RECORD)):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_litter(name))
        yield Path(where), [name for name in files if not is_litter(name)]
