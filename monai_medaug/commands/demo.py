"""``monai-medaug demo``: a real CT slice that comes with pydicom, augmented."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from monai_medaug.commands.command import Command
from monai_medaug.commands.sample import modality_preset, write_sample

if TYPE_CHECKING:
    from monai_medaug.scans.files import Scan

_FILES = ("J2K_pixelrep_mismatch.dcm", "693_UNCR.dcm", "CT_small.dcm")
_SEED = 11
_TEXT = """\
A real CT slice that comes with pydicom, augmented. Its mask is the body, found by threshold (above -300 HU, the largest
piece, filled), so that there is something to preserve; no lesion is given, so pathology is not checked.
"""


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")


def _run_demo(arguments: argparse.Namespace) -> None:
    scans = _demo_scans()
    names = {
        "image": "augmented.nii.gz",
        "mask": "augmented_mask.nii.gz",
        "report": "report.json",
        "figure": "figure.png",
    }
    preset = modality_preset("ct", scans, "standard").set_random_state(_SEED)
    report = write_sample(scans, preset, "ct", False, arguments.out, names)
    print(f"{_TEXT}\n{report}\n\nwritten to {arguments.out}: {', '.join(names.values())}")


def _demo_scans() -> dict[str, Scan]:
    """The first of the demo's CT slices that is there and decodes, and its body mask."""
    from dataclasses import replace

    import torch
    from monai.data.meta_tensor import MetaTensor
    from pydicom.data import get_testdata_file

    from monai_medaug.functional.ct.hu import body_mask
    from monai_medaug.scans.files import ScanError, read_scan

    for name in _FILES:
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        try:
            scan = read_scan(path)
        except ScanError:
            continue
        body = body_mask(scan.image.as_tensor()[0])
        mask = MetaTensor(body[None].to(torch.uint8), affine=scan.image.affine)
        return {"image": scan, "mask": replace(scan, image=mask)}
    raise ValueError("none of the demo's CT slices is there: pydicom is installed without its test files")


COMMAND = Command(
    "augment a real CT slice that comes with pydicom, and draw what happened", _add_demo_arguments, _run_demo
)
