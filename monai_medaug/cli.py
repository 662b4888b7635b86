"""The command line: ``monai-medaug demo`` and ``monai-medaug augment``.

It reads, calls the preset, writes. Errors are one line and exit code 2; no line, log or file that leaves here names
a patient or an input path. Imports wait until they are needed.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

if TYPE_CHECKING:
    from monai_medaug.scans import Scan
    from monai_medaug.transforms import Report

_AIR_HU = -200.0
_DEMO_FILES = ("J2K_pixelrep_mismatch.dcm", "693_UNCR.dcm", "CT_small.dcm")
_DEMO_SEED = 11
_DEMO_TEXT = """\
A real CT slice that comes with pydicom, augmented. Its mask is the body, found by threshold (above -300 HU, the largest
piece, filled), so that there is something to preserve; no lesion is given, so pathology is not checked.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments after the program's name; None for those of the process.

    Returns:
        The exit code: 0, 2 after an error, 130 after Ctrl-C.

    Example:
        >>> main(["augment", "missing.nii.gz", "--modality", "ct", "--out", "results"])
        2
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries quote values and paths in theirs
            arguments = _parsed(argv)
            arguments.command(arguments)
        return 0
    except KeyboardInterrupt:
        print("\nmonai-medaug: interrupted", file=sys.stderr)
        return 130
    except ValueError as error:
        message = " ".join(str(error).split())
    except OSError as error:  # of writing: what happens in reading is a ScanError
        message = f"cannot write the results: {error.strerror or type(error).__name__}"
    print(f"monai-medaug: error: {message}", file=sys.stderr)
    return 2


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # the offending value is not quoted: it may be a path
        raise ValueError(re.sub(r""": (['"]).*?\1(?= |$)""", "", message) + f"; see {self.prog} --help")


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    from monai_medaug.version import __version__

    parser = _Arguments(prog="monai-medaug", description="Augment medical images, with proof of what was done.")
    parser.add_argument("--version", action="version", version=f"monai-medaug {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="augment a real CT slice that comes with pydicom, and draw what happened")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    demo.set_defaults(command=_run_demo)

    augment = commands.add_parser("augment", help="augment a scan: NIfTI, a DICOM file, or the folder of a series")
    augment.add_argument("input", type=Path, metavar="INPUT", help=".nii, .nii.gz, a DICOM file, or a folder of them")
    augment.add_argument("--modality", choices=["ct"], required=True, help="what the scan is; CT must be in HU")
    augment.add_argument("--mask", type=Path, help="labels that move along and must be preserved (NIfTI)")
    augment.add_argument("--lesion", type=Path, help="lesion that moves along and must be preserved (NIfTI)")
    augment.add_argument("--seed", type=_whole_number(0), help="repeats a run; drawn and printed where it is not given")
    augment.add_argument("--count", type=_whole_number(1), default=1, help="number of samples (default: 1)")
    strengths = ["light", "standard", "strong", "source"]
    augment.add_argument("--strength", choices=strengths, default="standard", help="default: standard")
    augment.add_argument("--out", type=Path, required=True, help="folder for the results, made where it is missing")
    augment.set_defaults(command=_run_augment)

    arguments, unknown = parser.parse_known_args(argv)
    if unknown:  # not quoted either: often the pieces of a path with blanks
        parser.error(f"{len(unknown)} argument(s) too many: put quotes round a path that holds blanks")
    return arguments


def _whole_number(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more")
        return int(text)

    return number


def _run_augment(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from monai_medaug.scans import read_scan, require_same_place

    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError("--out must be a folder, and there is a file of that name")
    scans = {"image": read_scan(arguments.input)}
    _require_ct(scans["image"])
    for key, path in (("mask", arguments.mask), ("lesion", arguments.lesion)):
        if path is not None:
            what = f"the {key} file"
            scans[key] = read_scan(path, labels=True, what=what)
            require_same_place(scans["image"], scans[key], what)
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    inputs = [path for path in (arguments.input, arguments.mask, arguments.lesion) if path is not None]
    for number in tqdm(range(1, arguments.count + 1), desc="augmenting", unit="sample"):
        stem = f"augmented_{number:03d}"
        names = {
            "image": f"{stem}.nii.gz",
            "mask": f"{stem}_mask.nii.gz",
            "lesion": f"{stem}_lesion.nii.gz",
            "report": f"{stem}_report.json",
            "figure": f"{stem}.png",
        }
        targets = [arguments.out / name for name in names.values()]
        if any(target.exists() and target.samefile(path) for target in targets for path in inputs):
            raise ValueError("--out holds an input under a name that a result would take: choose another folder")
        report = _augment_and_write(scans, arguments.strength, _sample_seed(seed, number), arguments.out, names)
        tqdm.write(f"\n{stem}\n{report}", file=sys.stdout)
    print(f"\n{arguments.count} sample(s) written, each with its report and a picture")


def _run_demo(arguments: argparse.Namespace) -> None:
    scans = _demo_scans()
    names = {
        "image": "augmented.nii.gz",
        "mask": "augmented_mask.nii.gz",
        "report": "report.json",
        "figure": "figure.png",
    }
    report = _augment_and_write(scans, "standard", _DEMO_SEED, arguments.out, names)
    print(f"{_DEMO_TEXT}\n{report}\n\nwritten to {arguments.out}: {', '.join(names.values())}")


def _augment_and_write(
    scans: Mapping[str, Scan], strength: str, seed: int, out: Path, names: Mapping[str, str]
) -> Report:
    """Augment once, and write all files of the sample or none; what an earlier run left of it goes."""
    from monai_medaug.figures import augmentation_figure
    from monai_medaug.scans import staged, write_scan
    from monai_medaug.transforms import augmentation_report, ct_augmentation

    lesion = "lesion" if "lesion" in scans else None
    augment = ct_augmentation("image", [k for k in scans if k == "mask"], lesion, strength).set_random_state(seed)
    before = {key: scan.image for key, scan in scans.items()}
    after = augment(before)
    report = augmentation_report(after)
    shown = "mask" if "mask" in scans else "lesion"
    with staged(out) as folder:
        for key, scan in scans.items():
            write_scan(after[key], scan, folder / names[key])
        (folder / names["report"]).write_text(report.to_json() + "\n", encoding="utf-8")
        figure = folder / names["figure"]
        augmentation_figure(before["image"], after["image"], before.get(shown), after.get(shown), report, path=figure)
    for key in {"mask", "lesion"} & names.keys() - scans.keys():
        (out / names[key]).unlink(missing_ok=True)
    return report


def _sample_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _require_ct(scan: Scan) -> None:
    """Refuse what is not CT in HU: a whole scan holds air."""
    if scan.modality not in (None, "CT"):
        raise ValueError(f"the input file is a DICOM of modality {scan.modality}, not CT")
    lowest = float(scan.image.min())
    if not np.isfinite(lowest) or not np.isfinite(float(scan.image.max())):
        raise ValueError("the input file holds NaN or infinite values: CT must be finite, in HU")
    if lowest >= _AIR_HU:
        raise ValueError(
            f"the input file is no CT in HU: air is about -1000, and none lies below {_AIR_HU:g} (lowest {lowest:g})"
        )


def _demo_scans() -> dict[str, Scan]:
    """The first of the demo's CT slices that is there and decodes, and its body mask."""
    from dataclasses import replace

    import torch
    from monai.data.meta_tensor import MetaTensor
    from pydicom.data import get_testdata_file
    from scipy.ndimage import binary_fill_holes, label

    from monai_medaug.scans import ScanError, read_scan

    for name in _DEMO_FILES:
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        try:
            scan = read_scan(path)
        except ScanError:
            continue
        pieces, _ = label(scan.image[0].numpy() > -300)
        body = binary_fill_holes(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
        mask = MetaTensor(torch.from_numpy(body[None].astype(np.uint8)), affine=scan.image.affine)
        return {"image": scan, "mask": replace(scan, image=mask)}
    raise ValueError("none of the demo's CT slices is there: pydicom is installed without its test files")
