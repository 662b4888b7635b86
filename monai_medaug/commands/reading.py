"""The arguments by which commands read their input, and the input."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai_medaug.scans.files import Scan

FORMATS = "NIfTI, a DICOM file or the folder of a series, NRRD, MetaImage, or a greyscale PNG, JPEG, TIFF or BMP"
_CT_BELOW_HU = -500.0


def add_input_arguments(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Declare the input file and how it is read; the help may say what more it can be."""
    parser.add_argument("input", type=Path, metavar="INPUT", help=FORMATS + more)
    add_reading_arguments(parser)


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how files are read."""
    parser.add_argument(
        "--volume", type=whole_number_from(1), metavar="N", help="which volume of a file with several (4D), from 1"
    )
    parser.add_argument(
        "--series", type=whole_number_from(1), metavar="N", help="which DICOM series of a folder with several, from 1"
    )
    parser.add_argument(
        "--nan-as", type=_finite_number, metavar="VALUE", help="replace NaN by this value, in masks by 0; else refused"
    )


def read_input(arguments: argparse.Namespace, complex_values: bool = False) -> Scan:
    """The scan that the arguments name."""
    return read_as_said(arguments, arguments.input, "the input file", complex_values)


def read_as_said(arguments: argparse.Namespace, path: Path, what: str, complex_values: bool = False) -> Scan:
    """A scan, read as the arguments say."""
    from monai_medaug.scans.files import read_scan

    chosen = {"volume": arguments.volume, "nan_as": arguments.nan_as, "series": arguments.series}
    return read_scan(path, what=what, **chosen, complex_values=complex_values)


def refuse_labels(scan: Scan, what: str = "the input file") -> None:
    """Raise a ValueError if a scan is a label map: one that lies beside the scans of a folder is taken for a scan."""
    from monai_medaug.core.label_maps import label_count

    if count := label_count(scan.image):
        raise ValueError(
            f"{what} looks like a label map, with {count} different whole numbers: masks must not lie among the scans"
        )


def is_ct(scan: Scan) -> bool:
    """Whether a scan is a CT: only DICOM states it; another file with values below -500 is taken for one."""
    unknown = scan.modality is None and not scan.image.is_complex()
    return scan.modality == "CT" or (unknown and float(scan.image.min()) < _CT_BELOW_HU)


def read_labels(arguments: argparse.Namespace, key: str, scan: Scan) -> Scan:
    """The mask or lesion that the arguments name, at its place on the scan."""
    from monai_medaug.scans.files import read_scan
    from monai_medaug.scans.place import placed_labels

    what, nan_as = f"the {key.replace('_', ' ')} file", None if arguments.nan_as is None else 0.0
    labels = read_scan(getattr(arguments, key), True, what, volume=arguments.volume, nan_as=nan_as)
    return placed_labels(scan, labels, what)


def whole_number_from(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from ``least`` on."""

    def number(text: str) -> int:
        try:
            if int(text) >= least:
                return int(text)
        except ValueError:
            raise argparse.ArgumentTypeError("must be a whole number") from None
        raise argparse.ArgumentTypeError(f"must be {least} or more")

    return number


def _finite_number(text: str) -> float:
    try:
        if math.isfinite(float(text)):
            return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number") from None
    raise argparse.ArgumentTypeError("must be finite")
