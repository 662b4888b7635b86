"""``monai-medaug restore``: a scan denoised, and a picture of what was removed."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from monai_medaug.commands.command import Command
from monai_medaug.commands.reading import add_input_arguments, read_input

_CT_BELOW_HU = -500.0
"""Only DICOM states its modality: another file with lower values is taken for a CT."""


def _add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.scans.restore import RESTORATIONS
    from monai_medaug.transforms.denoise.base import NOISES

    add_input_arguments(parser)
    methods = list(RESTORATIONS)
    parser.add_argument("--method", choices=methods, required=True, metavar="METHOD", help=", ".join(methods))
    parser.add_argument(
        "--noise",
        choices=list(NOISES),
        help="rician: magnitude MR; ct: correlated, in HU (default: ct for a CT, else gaussian)",
    )
    parser.add_argument("--sigma", type=float, metavar="S", help="noise level in the image's units; else estimated")
    parser.add_argument(
        "--strength",
        type=float,
        metavar="SHARE",
        help="of what the filter finds that is removed, 0 to 1 (default: 1; 0.6 for ct noise, which halves it)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".nii or .nii.gz; a picture goes beside"
    )


def _run_restore(arguments: argparse.Namespace) -> None:
    from monai_medaug.figures import restoration_figure
    from monai_medaug.scans import staged, write_scan
    from monai_medaug.scans.restore import restored_scan

    out = arguments.out
    stem = re.sub(r"\.nii(\.gz)?$", "", out.name)
    if stem == out.name or not stem:
        raise ValueError("--out must be a file that ends in .nii or .nii.gz")
    if out.is_dir():
        raise ValueError("--out must be a file, and is a folder")
    if out.exists() and arguments.input.exists() and out.samefile(arguments.input):
        raise ValueError("--out is the input: choose another file")
    scan = read_input(arguments)
    is_ct = scan.modality == "CT" or (scan.modality is None and float(scan.image.min()) < _CT_BELOW_HU)
    noise = arguments.noise or ("ct" if is_ct else "gaussian")
    restored, level = restored_scan(scan.image, arguments.method, arguments.sigma, noise, True, arguments.strength)
    window = "soft_tissue" if is_ct else None
    unit = " HU" if noise == "ct" else ""
    title = arguments.method if level is None else f"{arguments.method}, {noise} noise of {level:.3g}{unit}"
    with staged(out.parent) as folder:
        write_scan(restored, scan, folder / out.name)
        restoration_figure(scan.image, restored, title, folder / f"{stem}.png", window, scan.inverted)
    print(f"{title}: written, with a picture of before, after and what was removed")


COMMAND = Command(
    "denoise a scan or radiograph: NIfTI, DICOM, NRRD, MetaImage, PNG, ...", _add_restore_arguments, _run_restore
)
