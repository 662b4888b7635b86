"""``monai-medaug augment``: samples of a scan or of many, each with its report and a picture."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_medaug.commands.command import Command
from monai_medaug.commands.many import MANY, add_many_arguments, earlier_settings, many_cases, run_many
from monai_medaug.commands.reading import (
    add_input_arguments,
    read_as_said,
    read_input,
    read_labels,
    refuse_labels,
    whole_number_from,
)
from monai_medaug.commands.sample import (
    LABELS,
    MODALITIES,
    SETTINGS,
    modality_preset,
    require_modality,
    write_sample,
)
from monai_medaug.core.sample_seed import stable_seed

if TYPE_CHECKING:
    from monai_medaug.scans.dataset import ScanCase
    from monai_medaug.scans.files import Scan
    from monai_medaug.transforms import Report


def _add_augment_arguments(parser: argparse.ArgumentParser) -> None:
    add_input_arguments(parser, MANY)
    parser.add_argument("--modality", choices=list(MODALITIES), required=True, help="what it is; CT in HU")
    for name, what in (
        ("--mask", "labels that move along and must be"),
        ("--lesion", "lesion that moves along and must be"),
    ):
        where = "placed by its header, or pixel by pixel without one; of many scans a folder with files of their names"
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
    add_many_arguments(parser)


def _run_augment(arguments: argparse.Namespace) -> None:
    cases = many_cases(arguments, LABELS)
    if cases is None:
        _augment_one(arguments)
    else:
        _augment_many(arguments, cases)


def _augment_one(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError("--out must be a folder, and is a file")
    scans = {"image": read_input(arguments)}
    require_modality(scans["image"], arguments.modality)
    _add_labels(scans, arguments)
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    inputs = [path for path in (arguments.input, arguments.mask, arguments.lesion) if path is not None]
    for number in tqdm(range(1, arguments.count + 1), desc="augmenting", unit="sample"):
        names = _names_of_sample(number, ("image", *LABELS))
        targets = [arguments.out / name for name in names.values()]
        if any(target.exists() and target.samefile(path) for target in targets for path in inputs):
            raise ValueError("a result would overwrite an input: choose another folder for --out")
        report = _augmented(scans, arguments, _seed_of_sample(seed, number), arguments.out, names)
        tqdm.write(f"\naugmented_{number:03d}\n{report}", file=sys.stdout)
    print(f"\n{arguments.count} sample(s) written, each with its report and a picture")


def _add_labels(scans: dict[str, Scan], arguments: argparse.Namespace) -> None:
    for key in LABELS:
        if getattr(arguments, key) is not None:
            scans[key] = read_labels(arguments, key, scans["image"])


def _names_of_sample(number: int, keys: tuple[str, ...]) -> dict[str, str]:
    """The files of a sample by key."""
    stem = f"augmented_{number:03d}"
    names = {key: f"{stem}{key.removeprefix('image') if key not in LABELS else f'_{key}'}.nii.gz" for key in keys}
    return {**names, "report": f"{stem}_report.json", "figure": f"{stem}.png"}


def _augmented(
    scans: Mapping[str, Scan], arguments: argparse.Namespace, seed: int, out: Path, names: Mapping[str, str]
) -> Report:
    inverted = arguments.inverted or scans["image"].inverted
    preset = modality_preset(arguments.modality, scans, arguments.strength, inverted, _settings(arguments))
    preset.set_random_state(seed)
    return write_sample(scans, preset, arguments.modality, inverted, out, names)


def _settings(arguments: argparse.Namespace) -> list[str]:
    return [name for name in SETTINGS if getattr(arguments, name)]


def _seed_of_sample(seed: int, number: int) -> int:
    """A sample's own seed, so that it doesn't depend on the count."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _augment_many(arguments: argparse.Namespace, cases: list[ScanCase]) -> None:
    modality_preset(arguments.modality, {}, arguments.strength, settings=_settings(arguments))  # suits it or is refused
    earlier = earlier_settings(arguments.out).get("seed")
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**31) if earlier is None else earlier
    print(f"seed {seed}")
    names = ("modality", "strength", "inverted", *SETTINGS, "volume", "series", "nan_as")
    settings = {"command": "augment", "seed": seed, **{name: getattr(arguments, name) for name in names}}
    settings |= {name: getattr(arguments, name) is not None for name in LABELS}
    run_many(cases, _AugmentScans(arguments, seed), arguments, settings, "augmenting")


@dataclass(frozen=True)
class _AugmentScans:
    """The samples of each scan, in a folder of its name; their seeds depend on the scan's key and the number alone."""

    arguments: argparse.Namespace
    seed: int

    def targets(self, case: ScanCase) -> list[Path]:
        folder = self.arguments.out / case.name
        return [folder / name for names in self._names(case).values() for name in names.values()]

    def samples(self, case: ScanCase) -> list[dict[str, Any]]:
        items = []
        for names in self._names(case).values():
            files = {key: f"{case.name}/{name}" for key, name in names.items()}
            images = [files[key] for key in _image_keys(case)]
            label = {"label": files["mask"]} if "mask" in files else {}
            items.append({"image": images if len(images) > 1 else images[0], **label})
        return items

    def __call__(self, case: ScanCase) -> None:
        folder = self.arguments.out / case.name
        own = argparse.Namespace(**{**vars(self.arguments), **dict.fromkeys(LABELS), **case.labels})
        scans: dict[str, Scan] = {}
        for key, path in zip(_image_keys(case), case.images, strict=True):
            what = "the input file" if len(case.images) == 1 else f"the file of channel {len(scans)}"
            scans[key] = read_as_said(own, path, what)
            refuse_labels(scans[key], what)
            require_modality(scans[key], own.modality, what)
        _add_labels(scans, own)
        for number, names in self._names(case).items():
            if not all((folder / name).is_file() for name in names.values()):
                _augmented(scans, own, stable_seed(str(self.seed), str(number), case.key), folder, names)

    def _names(self, case: ScanCase) -> dict[int, dict[str, str]]:
        """The files of each sample by key."""
        keys = (*_image_keys(case), *(key for key in LABELS if key in case.labels))
        return {number: _names_of_sample(number, keys) for number in range(1, self.arguments.count + 1)}


def _image_keys(case: ScanCase) -> tuple[str, ...]:
    """``image``, and ``image_0001`` and so on for further channels."""
    return ("image", *(f"image_{n:04d}" for n in range(1, len(case.images))))


COMMAND = Command(
    "augment a scan or radiograph, or many: NIfTI, DICOM, NRRD, MetaImage, PNG, ...; MSD, nnU-Net, BIDS",
    _add_augment_arguments,
    _run_augment,
)
