"""The command line: ``monai-medaug demo``, ``augment``, ``restore`` and ``gallery``.

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
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from monai_medaug.scans.files import Scan
    from monai_medaug.transforms import AugmentationPreset, Report

_AIR_HU = -200.0
_CT_HU = -500.0  # lower values are of a CT
_DICOM_MODALITIES = {"ct": ("CT",), "mri": ("MR",), "xray": ("CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA")}
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
    from monai_medaug.core.tensors import Notice

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries quote values and paths in theirs
            warnings.simplefilter("always", Notice)
            warnings.showwarning = lambda message, *_: print(f"monai-medaug: note: {message}", file=sys.stderr)
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
    from monai_medaug.scans.restore import RESTORATIONS
    from monai_medaug.transforms.denoise.base import NOISES
    from monai_medaug.version import __version__

    parser = _Arguments(prog="monai-medaug", description="Augment medical images, with proof of what was done.")
    parser.add_argument("--version", action="version", version=f"monai-medaug {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="augment a real CT slice that comes with pydicom, and draw what happened")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results (default: demo)")
    demo.set_defaults(command=_run_demo)

    augment = commands.add_parser("augment", help="augment a scan: NIfTI, a DICOM file, or the folder of a series")
    augment.add_argument("input", type=Path, metavar="INPUT", help=".nii, .nii.gz, a DICOM file, or a folder of them")
    augment.add_argument("--modality", choices=list(_DICOM_MODALITIES), required=True, help="what it is; CT in HU")
    augment.add_argument("--mask", type=Path, help="labels that move along and must be preserved (NIfTI)")
    augment.add_argument("--lesion", type=Path, help="lesion that moves along and must be preserved (NIfTI)")
    augment.add_argument("--seed", type=_whole_number(0), help="repeats a run; drawn and printed where it is not given")
    augment.add_argument("--count", type=_whole_number(1), default=1, help="number of samples (default: 1)")
    strengths = ["light", "standard", "strong", "source"]
    augment.add_argument("--strength", choices=strengths, default="standard", help="default: standard")
    augment.add_argument(
        "--inverted", action="store_true", help="xray: bright means little attenuation; DICOM tells (MONOCHROME1)"
    )
    augment.add_argument("--out", type=Path, required=True, help="folder for the results, made where it is missing")
    augment.set_defaults(command=_run_augment)

    restore = commands.add_parser("restore", help="denoise a scan: NIfTI, a DICOM file, or the folder of a series")
    restore.add_argument("input", type=Path, metavar="INPUT", help=".nii, .nii.gz, a DICOM file, or a folder of them")
    methods = list(RESTORATIONS)
    restore.add_argument("--method", choices=methods, required=True, metavar="METHOD", help=", ".join(methods))
    restore.add_argument(
        "--noise",
        choices=list(NOISES),
        help="rician: magnitude MR; ct: correlated, in HU (default: ct for a CT, else gaussian)",
    )
    restore.add_argument("--sigma", type=float, help="noise level in the image's units; else estimated")
    restore.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".nii or .nii.gz; a picture goes beside"
    )
    restore.set_defaults(command=_run_restore)

    gallery = commands.add_parser("gallery", help="draw what every transform does to a real image, as a web page")
    gallery.add_argument("--out", type=Path, default=Path("gallery"), help="folder for the page (default: gallery)")
    gallery.set_defaults(command=_run_gallery)

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

    from monai_medaug.scans.files import read_scan, require_same_place

    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError("--out must be a folder, and there is a file of that name")
    scans = {"image": read_scan(arguments.input)}
    _require_modality(scans["image"], arguments.modality)
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
        inverted = arguments.inverted or scans["image"].inverted
        preset = _preset(arguments.modality, scans, arguments.strength, inverted)
        preset.set_random_state(_sample_seed(seed, number))
        report = _augment_and_write(scans, preset, arguments.modality, inverted, arguments.out, names)
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
    preset = _preset("ct", scans, "standard").set_random_state(_DEMO_SEED)
    report = _augment_and_write(scans, preset, "ct", False, arguments.out, names)
    print(f"{_DEMO_TEXT}\n{report}\n\nwritten to {arguments.out}: {', '.join(names.values())}")


def _run_restore(arguments: argparse.Namespace) -> None:
    from monai_medaug.figures.augmentation import restoration_figure
    from monai_medaug.scans import read_scan, staged, write_scan
    from monai_medaug.scans.restore import restored_scan

    out = arguments.out
    stem = re.sub(r"\.nii(\.gz)?$", "", out.name)
    if stem == out.name or not stem:
        raise ValueError("--out must be a file that ends in .nii or .nii.gz")
    if out.is_dir():
        raise ValueError("--out must be a file, and there is a folder of that name")
    if out.exists() and arguments.input.exists() and out.samefile(arguments.input):
        raise ValueError("--out is the input: choose another file")
    scan = read_scan(arguments.input)
    is_ct = scan.modality == "CT" or (scan.modality is None and float(scan.image.min()) < _CT_HU)
    noise = arguments.noise or ("ct" if is_ct else "gaussian")
    restored, level = restored_scan(scan.image, arguments.method, arguments.sigma, noise, progress=True)
    window = "soft_tissue" if is_ct else None
    title = (
        arguments.method
        if level is None
        else f"{arguments.method}, {noise} noise of {level:.3g}{' HU' * (noise == 'ct')}"
    )
    with staged(out.parent) as folder:
        write_scan(restored, scan, folder / out.name)
        restoration_figure(scan.image, restored, title, folder / f"{stem}.png", window, scan.inverted)
    print(f"{title}: written, with a picture of before, after and what was removed")


def _run_gallery(arguments: argparse.Namespace) -> None:
    from monai_medaug.figures.gallery import write_gallery

    files = write_gallery(arguments.out)
    print(f"{len(files)} files written; open the page in a browser")


def _preset(modality: str, scans: Mapping[str, Scan], strength: str, inverted: bool = False) -> AugmentationPreset:
    from monai_medaug.transforms import ct_augmentation, mri_augmentation, xray_augmentation

    masks, lesion = [k for k in scans if k == "mask"], "lesion" if "lesion" in scans else None
    if modality == "xray":
        return xray_augmentation("image", masks, lesion, strength, inverted=inverted)
    return (ct_augmentation if modality == "ct" else mri_augmentation)("image", masks, lesion, strength)


def _augment_and_write(
    scans: Mapping[str, Scan],
    augment: AugmentationPreset,
    modality: str,
    inverted: bool,
    out: Path,
    names: Mapping[str, str],
) -> Report:
    """Augment once, and write all files of the sample or none; what an earlier run left of it goes."""
    from monai_medaug.figures.augmentation import augmentation_figure
    from monai_medaug.scans import staged, write_scan
    from monai_medaug.transforms import augmentation_report

    before = {key: scan.image for key, scan in scans.items()}
    after = augment(before)
    report = augmentation_report(after)
    shown = "mask" if "mask" in scans else "lesion"
    style: dict[str, Any] = {"window": "soft_tissue" if modality == "ct" else None}
    if modality == "xray":
        style |= {"inverted": inverted, "oriented": False}
    with staged(out) as folder:
        for key, scan in scans.items():
            write_scan(after[key], scan, folder / names[key])
        (folder / names["report"]).write_text(report.to_json() + "\n", encoding="utf-8")
        figure = folder / names["figure"]
        masks = (before.get(shown), after.get(shown))
        augmentation_figure(before["image"], after["image"], *masks, report, path=figure, **style)
    for key in {"mask", "lesion"} & names.keys() - scans.keys():
        (out / names[key]).unlink(missing_ok=True)
    return report


def _sample_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _require_modality(scan: Scan, modality: str) -> None:
    """Refuse what is said to be something else, or cannot be of the modality: a whole CT holds air."""
    name = {"ct": "CT", "mri": "an MR image", "xray": "a radiograph"}[modality]
    if scan.modality is not None and scan.modality not in _DICOM_MODALITIES[modality]:
        raise ValueError(f"the input file is a DICOM of modality {scan.modality}, not {name}")
    lowest, highest = float(scan.image.min()), float(scan.image.max())
    if not np.isfinite(lowest) or not np.isfinite(highest):
        raise ValueError(f"the input file holds NaN or infinite values: {name} must be finite")
    if modality == "ct" and lowest >= _AIR_HU:
        raise ValueError(
            f"the input file is no CT in HU: air is about -1000, and none lies below {_AIR_HU:g} (lowest {lowest:g})"
        )
    if modality != "ct" and lowest == highest:
        raise ValueError(f"the input file holds one value only, {lowest:g}: that is no image")
    if modality == "mri" and lowest < 0:
        print(f"the least value {lowest:g} is taken for no signal: this image has lost its zero", file=sys.stderr)


def _demo_scans() -> dict[str, Scan]:
    """The first of the demo's CT slices that is there and decodes, and its body mask."""
    from dataclasses import replace

    import torch
    from monai.data.meta_tensor import MetaTensor
    from pydicom.data import get_testdata_file
    from scipy.ndimage import binary_fill_holes, label

    from monai_medaug.scans.files import ScanError, read_scan

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
