"""``monai-medaug restore``: scans denoised or their artefacts corrected, and pictures of what was removed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from monai_medaug.commands.command import Command
from monai_medaug.commands.many import MANY, add_many_arguments, many_cases, run_many
from monai_medaug.commands.reading import (
    add_input_arguments,
    is_ct,
    read_input,
    read_labels,
    refuse_labels,
    whole_number_from,
)

if TYPE_CHECKING:
    from monai_medaug.scans.dataset import ScanCase

_OPTIONS = ("noise", "sigma", "strength", "scale", "segments", "phase_axis", "rotate_degrees")


def _add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.scans.correct import CORRECTIONS
    from monai_medaug.scans.network import NETWORKS
    from monai_medaug.scans.restore import RESTORATIONS
    from monai_medaug.transforms.denoise.level import NOISES

    add_input_arguments(parser, MANY)
    methods = [*RESTORATIONS, *NETWORKS, *CORRECTIONS]
    said = (
        f"denoise: {', '.join(RESTORATIONS)}, and dncnn, a network trained on CT and MR; sr: super-resolution by "
        "such a network; mar: metal artefacts of a CT; motion: of a complex MR image"
    )
    parser.add_argument("--method", choices=methods, required=True, metavar="METHOD", help=said)
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
        "--scale",
        type=_scale_number,
        metavar="S",
        help="sr: voxels per voxel along the axes of each slice (default: 2)",
    )
    parser.add_argument("--metal-mask", type=Path, metavar="FILE", help="mar: a mask of the metal; else searched")
    parser.add_argument(
        "--segments", type=whole_number_from(2), metavar="N", help="motion: segments of phase-encoding lines"
    )
    parser.add_argument("--phase-axis", type=int, metavar="AXIS", help="motion: of the phase encoding (default: 0)")
    parser.add_argument(
        "--rotate-degrees", type=float, metavar="D", help="motion: greatest angle searched (default: 5; 0: none)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help=".nii or .nii.gz; a picture goes beside. For many scans a folder",
    )
    add_many_arguments(parser)


def _run_restore(arguments: argparse.Namespace) -> None:
    cases = many_cases(arguments, ("metal_mask",))
    if cases is None:
        _restore_one(arguments)
    else:
        _restore_many(arguments, cases)


def _restore_one(arguments: argparse.Namespace) -> None:
    out = arguments.out
    if _stem(out) in ("", out.name):
        raise ValueError("--out must be a file that ends in .nii or .nii.gz")
    if out.is_dir():
        raise ValueError("--out must be a file, and is a folder")
    if out.exists() and arguments.input.exists() and out.samefile(arguments.input):
        raise ValueError("--out is the input: choose another file")
    print(f"{_write_restored(arguments, True)}: written, with a picture of before, after and what was removed")


def _stem(out: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", out.name)


def _write_restored(arguments: argparse.Namespace, alone: bool) -> str:
    """Restore the input, write the result and its picture, and say in a few words what was done.

    The only scan shows its progress; one of many must not be a mask that lies beside them.
    """
    from monai_medaug.figures import restoration_figure
    from monai_medaug.scans import staged, write_scan
    from monai_medaug.scans.correct import CORRECTIONS
    from monai_medaug.scans.network import NETWORKS

    out = arguments.out
    scan = read_input(arguments, arguments.method in CORRECTIONS and CORRECTIONS[arguments.method].accepts_complex)
    if not alone:
        refuse_labels(scan)
    hounsfield = is_ct(scan)
    _refuse_options_of_others(arguments)
    restored_by = dict.fromkeys(CORRECTIONS, _correct) | dict.fromkeys(NETWORKS, _restored_by_network)
    restored, before, title, said = restored_by.get(arguments.method, _denoise)(arguments, scan, hounsfield, alone)
    with staged(out.parent) as folder:
        write_scan(restored, scan, folder / out.name)
        before, after = (x.abs() if x.is_complex() else x for x in (before, restored))
        window = "soft_tissue" if hounsfield else None
        restoration_figure(before, after, title, folder / f"{_stem(out)}.png", window, scan.inverted)
    return said


def _restore_many(arguments: argparse.Namespace, cases: list[ScanCase]) -> None:
    from monai_medaug.scans.correct import CORRECTIONS, correction
    from monai_medaug.scans.restore import RESTORATIONS, restoration

    if _stem(arguments.out) != arguments.out.name:
        raise ValueError("--out must be a folder, since the input holds many scans")
    _refuse_options_of_others(arguments)
    if arguments.method in CORRECTIONS:
        correction(arguments.method, **_given(arguments))
    elif arguments.method in RESTORATIONS:
        restoration(arguments.method, arguments.sigma, arguments.noise or "gaussian", arguments.strength)
    names = ("method", *_OPTIONS, "volume", "series", "nan_as")
    settings = {"command": "restore", **{name: getattr(arguments, name) for name in names}}
    settings["metal_mask"] = arguments.metal_mask is not None
    run_many(_one_of_each_channel(cases), _RestoreScans(arguments), arguments, settings, "restoring")


def _one_of_each_channel(cases: Sequence[ScanCase]) -> list[ScanCase]:
    """A case for each channel, which is an image of its own to what restores; its name is that of nnU-Net's file."""
    found = []
    for case in cases:
        first = f"{PurePosixPath(case.name).name}_0000."
        if case.problem or (len(case.images) == 1 and not case.images[0].name.startswith(first)):
            found.append(case)
            continue
        for n, path in enumerate(case.images):
            found.append(replace(case, key=f"{case.key}#{n}", images=(path,), name=f"{case.name}_{n:04d}"))
    return found


@dataclass(frozen=True)
class _RestoreScans:
    """Each scan restored, in a file of its name."""

    arguments: argparse.Namespace

    def targets(self, case: ScanCase) -> list[Path]:
        return [self.arguments.out / f"{case.name}{ending}" for ending in (".nii.gz", ".png")]

    def samples(self, case: ScanCase) -> list[dict[str, Any]]:
        return [{"image": f"{case.name}.nii.gz"}]

    def __call__(self, case: ScanCase) -> None:
        own = {"input": case.images[0], "out": self.targets(case)[0], "metal_mask": case.labels.get("metal_mask")}
        _write_restored(argparse.Namespace(**{**vars(self.arguments), **own}), False)


def _refuse_options_of_others(arguments: argparse.Namespace) -> None:
    """Refuse options of other methods; those that a correction takes it knows itself."""
    from monai_medaug.scans.correct import CORRECTIONS
    from monai_medaug.scans.network import NETWORKS

    foreign: tuple[str, ...] = ("metal_mask", "segments", "phase_axis", "rotate_degrees", "scale")
    if arguments.method in NETWORKS:
        foreign = ("noise", "sigma", *foreign[:-1], *(["scale"] if arguments.method == "dncnn" else []))
    elif arguments.method in CORRECTIONS:
        foreign = ("scale", *(["metal_mask"] if arguments.method != "mar" else []))
    for name in foreign:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} does not belong to the method {arguments.method}")


def _scale_number(text: str) -> float:
    try:
        if 1 < float(text) <= 64:
            return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number") from None
    raise argparse.ArgumentTypeError("must be above 1 and at most 64")


def _restored_by_network(
    arguments: argparse.Namespace, scan: Any, hounsfield: bool, progress: bool
) -> tuple[Any, Any, str, str]:
    from monai_medaug.scans.network import network_restored_scan, weights_for

    name = weights_for(arguments.method, scan, hounsfield)
    scale = None if arguments.method == "dncnn" else arguments.scale or 2.0
    strength = 1.0 if arguments.strength is None else arguments.strength
    restored, before = network_restored_scan(scan.image, name, scale, strength, progress)
    said = f"{arguments.method} with the weights {name}"
    if scale is not None:
        said += f", {' × '.join(map(str, restored.shape[1:]))} voxels of {' × '.join(map(str, scan.image.shape[1:]))}"
    title = arguments.method if scale is None else f"{arguments.method} × {scale:g}, original interpolated"
    return restored, before, title, said


def _denoise(arguments: argparse.Namespace, scan: Any, hounsfield: bool, progress: bool) -> tuple[Any, Any, str, str]:
    """The result, the image before on its grid, a title for the picture and what to say."""
    from monai_medaug.scans.restore import restored_scan

    noise = arguments.noise or ("ct" if hounsfield else "gaussian")
    restored, level = restored_scan(scan.image, arguments.method, arguments.sigma, noise, progress, arguments.strength)
    unit = " HU" if noise == "ct" else ""
    title = arguments.method if level is None else f"{arguments.method}, {noise} noise of {level:.3g}{unit}"
    return restored, scan.image, title, title


def _correct(arguments: argparse.Namespace, scan: Any, hounsfield: bool, progress: bool) -> tuple[Any, Any, str, str]:
    from monai_medaug.scans.correct import corrected_scan

    inputs = {}
    if arguments.metal_mask is not None:
        inputs["metal_mask"] = read_labels(arguments, "metal_mask", scan).image
    restored, figures = corrected_scan(scan.image, arguments.method, inputs, progress, **_given(arguments))
    return restored, scan.image, arguments.method, f"{arguments.method}, {_summary(arguments.method, figures)}"


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of corrections."""
    return {name: getattr(arguments, name) for name in _OPTIONS if name != "scale"}


def _summary(method: str, figures: list[dict[str, Any]]) -> str:
    """What a correction found and did, in a few words."""
    first = figures[0]
    if method == "mar":
        if not first["metal_voxels"]:
            return "no metal, nothing changed"
        return f"metal in {first['metal_voxels']} voxels, {first['rays_interpolated']:.1%} of the rays interpolated"
    done = [f for f in figures if f["corrected"]]
    if not done:
        return "no motion that could be undone, nothing changed"
    moved = max(abs(v) for f in done for pose in f["translations_mm"] for v in pose)
    name = "entropy" if "entropy_before" in done[0] else "unexplained"
    sharper = " to ".join(f"{sum(f[f'{name}_{when}'] for f in done) / len(done):.3f}" for when in ("before", "after"))
    where = "" if len(figures) == 1 else f" in {len(done)} of {len(figures)} slices"
    return f"motion of up to {moved:.1f} mm undone{where}, {name} {sharper}"


COMMAND = Command(
    "denoise or enlarge a scan or many, or correct metal or motion: NIfTI, DICOM, PNG, ...; MSD, nnU-Net, BIDS",
    _add_restore_arguments,
    _run_restore,
)
