"""Scans on disk: NIfTI and DICOM in, NIfTI out."""

from monai_medaug.scans.files import Scan, ScanError, read_scan, require_same_place, staged, write_scan
from monai_medaug.scans.restore import restored_scan

__all__ = ["Scan", "ScanError", "read_scan", "require_same_place", "restored_scan", "staged", "write_scan"]
