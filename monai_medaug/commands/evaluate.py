"""``monai-medaug evaluate``: is the enhanced scan better? A table, its figures as JSON, and a picture with errors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_medaug.commands.command import Command
from monai_medaug.commands.reading import FORMATS, add_reading_arguments, is_ct, read_as_said, read_labels

if TYPE_CHECKING:
    from monai_medaug.scans.files import Scan

_SAME_PLACE = 0.25  # voxels by which grids may lie apart


def _add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.transforms.ct.hu import HU_PRESETS

    parser.add_argument("original", type=Path, metavar="A", help=f"the original: {FORMATS}")
    parser.add_argument("enhanced", type=Path, metavar="B", help="the same scan enhanced, on the same grid")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the truth, on the same grid, where it is known")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="where voxels count")
    parser.add_argument(
        "--data-range", type=float, metavar="R", help="greatest minus least possible value (default: the reference's)"
    )
    parser.add_argument("--window", choices=sorted(HU_PRESETS), help="instead, for a CT: values are clipped to it")
    add_reading_arguments(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help=".json; a picture goes beside")


def _run_evaluate(arguments: argparse.Namespace) -> None:
    from monai_medaug.figures import evaluation_figure
    from monai_medaug.metrics import evaluate_enhancement
    from monai_medaug.scans import staged

    out = arguments.out
    if out is not None and (out.suffix != ".json" or out.is_dir()):
        raise ValueError("--out must be a file that ends in .json")
    named = {"original": arguments.original, "enhanced": arguments.enhanced, "reference": arguments.reference}
    scans = {
        name: read_as_said(arguments, path, f"the {name} file") for name, path in named.items() if path is not None
    }
    original = scans["original"]
    for name, scan in scans.items():
        _require_same_grid(original, scan, name)
    mask = None if arguments.mask is None else _mask_on(original, read_labels(arguments, "mask", original))
    images = {name: scan.image for name, scan in scans.items()}
    report = evaluate_enhancement(**images, mask=mask, data_range=arguments.data_range, hu_window=arguments.window)
    print(report)
    if out is None:
        return
    window = (arguments.window or "soft_tissue") if is_ct(original) else None
    with staged(out.parent) as folder:
        (folder / out.name).write_text(report.to_json() + "\n", encoding="utf-8")
        picture = folder / f"{out.stem}.png"
        evaluation_figure(**images, mask=mask, path=picture, window=window, inverted=original.inverted)
    print("\nwritten, with a picture of the images and their errors")


def _require_same_grid(original: Scan, scan: Scan, name: str) -> None:
    """Refuse what lies elsewhere, unless one of the two has no geometry."""
    from monai_medaug.functional.geometry.grid import VoxelGrid

    grids = [VoxelGrid(tuple(s.image.shape[1:]), s.image.affine.tolist()) for s in (original, scan)]
    if grids[0].shape != grids[1].shape:
        raise ValueError(f"the {name} file must have the original's shape {grids[0].shape}, got {grids[1].shape}")
    if "none" not in (original.placement, scan.placement):
        away = float(np.max(grids[0].displaced_from(grids[1])))
        if away > _SAME_PLACE:
            raise ValueError(f"the {name} file must lie on the original's grid, got one {away:.3g} voxels away")


def _mask_on(original: Scan, labels: Scan) -> Any:
    if labels.image.shape != original.image.shape:
        raise ValueError(
            f"the mask file must have the original's shape {tuple(original.image.shape[1:])}, got "
            f"{tuple(labels.image.shape[1:])}"
        )
    return labels.image


COMMAND = Command(
    "compare an enhanced scan with its original, with or without the truth", _add_evaluate_arguments, _run_evaluate
)
