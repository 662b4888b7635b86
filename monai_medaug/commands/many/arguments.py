"""The arguments of commands that take many scans."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from monai_medaug.commands.reading import whole_number_from
from monai_medaug.core.tensors import say_once
from monai_medaug.scans.dataset import ScanCase, find_cases, with_labels
from monai_medaug.scans.dataset.case import VOLUMES

MANY = "; or many scans: a folder of them, a data set of MSD, nnU-Net or BIDS, or its JSON file"
"""Of the input, for the help."""
ENGINES = ("processes", "ray")


def add_many_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how many scans are worked on."""
    parser.add_argument(
        "--jobs",
        type=whole_number_from(1),
        metavar="N",
        help="many scans: so many at a time, a thread each (default: 1)",
    )
    parser.add_argument(
        "--engine", choices=ENGINES, help="many scans: processes of this machine, or Ray Data (default: processes)"
    )
    parser.add_argument("--address", metavar="A", help="of a Ray cluster, such as auto (default: this machine)")


def many_cases(arguments: argparse.Namespace, label_keys: Sequence[str]) -> list[ScanCase] | None:
    """The scans that the input holds, with the labels of the folders that the arguments name by these keys.

    Returns:
        None where the input is one scan.

    Raises:
        ValueError: an argument doesn't suit one scan, or many.
    """
    out, folders = arguments.out, {key: path for key in label_keys if (path := getattr(arguments, key)) is not None}
    cases = find_cases(arguments.input, [path for path in (out, *folders.values()) if not _same(path, arguments.input)])
    if cases is None:
        _say_what_is_passed_over(arguments.input)
        for name in ("jobs", "engine", "address"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"--{name} goes with many scans, and the input is one: a file, or a DICOM folder")
        return None
    if arguments.address is not None and arguments.engine != "ray":
        raise ValueError("--address goes with --engine ray")
    if out.exists() and not out.is_dir():
        raise ValueError("--out must be a folder, since the input holds many scans, and is a file")
    for key, path in {"out": out, **folders}.items():
        if _same(path, arguments.input):
            raise ValueError(f"--{key.replace('_', '-')} must be another folder than the input")
    for key, path in folders.items():
        cases = with_labels(cases, key, path)
    return cases


def _say_what_is_passed_over(path: Path) -> None:
    """A notice, where more than a mask and a lesion lie beside DICOM files: it may be meant as many scans."""
    volumes = [p for p in path.iterdir() if p.name.lower().endswith(VOLUMES)] if path.is_dir() else []
    if len(volumes) > 2:
        say_once(
            f"the input is read as one DICOM series, and {len(volumes)} volumes beside it are passed over: they are "
            "taken for scans where the DICOM files lie in a folder of their own"
        )


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
