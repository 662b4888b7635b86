"""The scans of a data set: a folder, an MSD or nnU-Net data set, or BIDS."""

from monai_medaug.scans.dataset.case import ScanCase
from monai_medaug.scans.dataset.find import find_cases
from monai_medaug.scans.dataset.labels import with_labels

__all__ = ["ScanCase", "find_cases", "with_labels"]
