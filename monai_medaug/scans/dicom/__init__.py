"""DICOM as a stack of slices, by pydicom.

MONAI's reader sorts slices by number instead of position, mixes the series of a folder, and names paths in warnings.
"""

from monai_medaug.scans.dicom.objects import is_dicom
from monai_medaug.scans.dicom.reader import read_dicom

__all__ = ["is_dicom", "read_dicom"]
