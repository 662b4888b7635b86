"""Scans on disk: NIfTI, DICOM, NRRD, MetaImage and greyscale pictures in, NIfTI out."""

from monai_medaug.scans.files import Scan, ScanError, read_scan, staged, write_scan
from monai_medaug.scans.place import placed_labels, require_same_place
from monai_medaug.scans.restore import restored_scan

__all__ = [
    "Scan",
    "ScanError",
    "placed_labels",
    "read_scan",
    "require_same_place",
    "restored_scan",
    "staged",
    "write_scan",
]
