"""A scan of a data set: what identifies it, its files, and the name of its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from monai_medaug.scans.formats import META_IMAGES, NRRDS, PICTURES

VOLUMES = (".nii.gz", ".nii", ".hdr.gz", ".hdr", *META_IMAGES, *NRRDS)
"""How names of volumes end, but for DICOM; the longer of two that fit comes first."""
RECORD, RECORD_KIND = "scans.json", "monai-medaug"
"""The list that commands write beside the results of many scans, and its first key."""
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class ScanCase:
    """A scan of a data set.

    Attributes:
        key: its identity: the path within the data set, with "/"; the same on every machine.
        images: its files, or the folder of a DICOM series: one, or one for each channel.
        labels: files of labels by key, such as ``"mask"``.
        subset: the list or folder that it stands in, such as ``"training"`` or ``"test"``.
        problem: why it cannot be used, in words; empty if nothing is known.
        name: of its results: the key without the ending, where no other scan has the same.
    """

    key: str
    images: tuple[Path, ...]
    labels: Mapping[str, Path] = field(default_factory=dict)
    subset: str = "training"
    problem: str = ""
    name: str = ""


def stem_of(key: str) -> str:
    """A key without the ending of an image file.

    Example:
        >>> stem_of("a/case 1.nii.gz"), stem_of("1.2.840.10008")
        ('a/case 1', '1.2.840.10008')
    """
    for ending in (*VOLUMES, *PICTURES):
        if key.lower().endswith(ending):
            return key[: -len(ending)]
    return key


def named(cases: Iterable[ScanCase]) -> list[ScanCase]:
    """The cases in the order of their keys, each once and with a name of its own; capitals don't tell names apart.

    Example:
        >>> [case.name for case in named(ScanCase(key, ()) for key in ("b.nii", "a.nii.gz", "a.nii"))]
        ['a.nii', 'a.nii.gz', 'b']
    """
    unique = {case.key: case for case in reversed([*cases])}
    ordered = [unique[key] for key in sorted(unique)]
    shared = Counter(stem_of(case.key).casefold() for case in ordered)
    stems = [stem_of(case.key) for case in ordered]
    return [replace(c, name=s if shared[s.casefold()] == 1 else c.key) for c, s in zip(ordered, stems, strict=True)]


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden (``._`` of macOS among them) or an operating system's."""
    return name.startswith(".") or name.lower() in LITTER
