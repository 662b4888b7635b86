"""``monai-medaug augment``: samples of a scan, each with its report and a picture."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

import numpy as np

from monai_medaug.commands.command import Command
from monai_medaug.commands.reading import add_input_arguments, read_input, read_labels, whole_number_from
from monai_medaug.commands.sample import MODALITIES, SETTINGS, modality_preset, require_modality, write_sample


def _add_augment_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser)
    parser.add_argument("--modality", choices=list(MODALITIES), required=True, help="what it is; CT in HU")
    for name, what in (
        ("--mask", "labels that move along and must be"),
        ("--lesion", "lesion that moves along and must be"),
    ):
        where = "placed by its header, or pixel by pixel without one"
        parser.add_argument(name, type=Path, metavar="FILE", help=f"{what} preserved; {where}")
    parser.add_argument(
        "--seed", type=whole_number_from(0), metavar="N", help="repeats a run; drawn and printed where it is not given"
    )
    parser.add_argument(
        "--count", type=whole_number_from(1), metavar="N", default=1, help="number of samples (default: 1)"
    )
    strengths = ["light", "standard", "strong", "source"]
    parser.add_argument("--strength", choices=strengths, default="standard", help="default: standard")
    parser.add_argument(
        "--inverted", action="store_true", help="xray: bright means little attenuation; DICOM tells (MONOCHROME1)"
    )
    for name, what in (
        ("--portable", "xray: a chest at the bedside: no grid, few photons, a field set by hand"),
        ("--low-dose-screening", "ct: a chest scanned for lung cancer screening"),
        ("--skull-stripped", "mri: a brain whose background was set to 0"),
    ):
        parser.add_argument(name, action="store_true", help=what)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for the results, NIfTI; made where it is missing"
    )


def _run_augment(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError("--out must be a folder, and is a file")
    scans = {"image": read_input(arguments)}
    require_modality(scans["image"], arguments.modality)
    for key in ("mask", "lesion"):
        if getattr(arguments, key) is not None:
            scans[key] = read_labels(arguments, key, scans["image"])
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    settings = [name for name in SETTINGS if getattr(arguments, name)]
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
            raise ValueError("a result would overwrite an input: choose another folder for --out")
        inverted = arguments.inverted or scans["image"].inverted
        preset = modality_preset(arguments.modality, scans, arguments.strength, inverted, settings)
        preset.set_random_state(_seed_of_sample(seed, number))
        report = write_sample(scans, preset, arguments.modality, inverted, arguments.out, names)
        tqdm.write(f"\n{stem}\n{report}", file=sys.stdout)
    print(f"\n{arguments.count} sample(s) written, each with its report and a picture")


def _seed_of_sample(seed: int, number: int) -> int:
    """A sample's own seed, so that it doesn't depend on the count."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


COMMAND = Command(
    "augment a scan or radiograph: NIfTI, DICOM, NRRD, MetaImage, PNG, ...", _add_augment_arguments, _run_augment
)
