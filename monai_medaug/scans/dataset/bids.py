"""Data sets in the Brain Imaging Data Structure: the anatomical images of all subjects."""

from __future__ import annotations

import re
from pathlib import Path

from monai_medaug.scans.dataset.case import ScanCase, is_litter

_NO_SCAN = re.compile(r"_(part-(phase|real|imag)_.*|defacemask|mask|dseg|probseg)\.nii(\.gz)?$")
"""Names under anat of what is no magnitude image."""


def bids_cases(folder: Path) -> list[ScanCase]:
    """A case for each ``sub-*/[ses-*/]anat/*.nii[.gz]``; derivatives, masks and phase images are left out."""
    found = []
    for pattern in ("sub-*/anat/*.nii*", "sub-*/ses-*/anat/*.nii*"):
        for path in folder.glob(pattern):
            if path.name.endswith((".nii", ".nii.gz")) and not (is_litter(path.name) or _NO_SCAN.search(path.name)):
                found.append(ScanCase(path.relative_to(folder).as_posix(), (path,)))
    return found
