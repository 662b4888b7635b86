"""What a path holds: one scan, or which many."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from monai_medaug.scans.dataset.bids import bids_cases
from monai_medaug.scans.dataset.case import RECORD, ScanCase, named
from monai_medaug.scans.dataset.folder import folder_cases, holds_dicom
from monai_medaug.scans.dataset.listed import listed_cases, read_dataset_json
from monai_medaug.scans.dataset.nnunet import is_nnunet, nnunet_cases
from monai_medaug.scans.error import ScanError

LISTS = ("dataset.json", RECORD)
"""Files of a folder that list its scans: of MSD and nnU-Net, and of our own results."""


def find_cases(path: Path, leave_out: Collection[Path] = ()) -> list[ScanCase] | None:
    """The scans of a data set, in the order of their keys.

    A folder with a ``dataset.json`` is an nnU-Net data set (with ``channel_names``), or one of MSD or MONAI, of whose
    lists each item is a scan; so is such a file by itself. One with ``sub-*/anat`` is BIDS. Of any other folder each
    file in it and in the folders inside is a scan, or a folder that holds DICOM files, see `folder_cases`.

    Args:
        path: file or folder.
        leave_out: folders inside to pass over, unless a list names what lies there.

    Returns:
        The cases; None where it is one scan: a file, or a folder with DICOM files in itself, or nothing.

    Raises:
        ScanError: the list cannot be read or names no scan, or a folder cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home:
        ...     Path(home, "b").mkdir()
        ...     for name in ("a.nii.gz", "b/a.nii", "b/._a.nii", "notes.txt"):
        ...         Path(home, name).touch()
        ...     [(case.key, case.name) for case in find_cases(Path(home))]
        [('a.nii.gz', 'a'), ('b/a.nii', 'b/a')]
    """
    if path.is_file():
        return _of_list(path) if path.suffix.lower() == ".json" else None
    if not path.is_dir() or holds_dicom(path):
        return None
    for name in LISTS:
        if (path / name).is_file():
            return _of_list(path / name)
    return named(bids_cases(path) or folder_cases(path, leave_out)) or None


def _of_list(file: Path) -> list[ScanCase]:
    content = read_dataset_json(file)
    cases = nnunet_cases(content, file.parent) if is_nnunet(content) else listed_cases(content, file.parent)
    if not cases:
        raise ScanError(f"{file.name} names no scans: it must have lists such as training, of image and label")
    return named(cases)
