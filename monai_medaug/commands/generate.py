"""``monai-medaug generate``: images of a trained generator, and whether they copy those that it learned from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from monai_medaug.commands.command import Command
from monai_medaug.commands.reading import whole_number_from

if TYPE_CHECKING:
    import torch

_IMAGES = "a folder of greyscale images (PNG, JPEG, TIFF or BMP)"

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def _add_generate_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.bundles.pretrained import GENERATORS

    parser.add_argument(
        "--model", default=GENERATORS[0], choices=GENERATORS, metavar="NAME", help=f"of {', '.join(GENERATORS)}"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights.safetensors of a DCGANGenerator that train_gan wrote"
    )
    parser.add_argument("--count", type=whole_number_from(1), default=16, metavar="N", help="images (default: 16)")
    parser.add_argument("--seed", type=whole_number_from(0), default=0, metavar="N", help="of the images (default: 0)")
    parser.add_argument(
        "--class", type=whole_number_from(0), dest="of_class", metavar="ID", help="only this class, else all in turn"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    parser.add_argument(
        "--training", type=Path, metavar="DIR", help=f"what it learned from, {_IMAGES}, to look for copies"
    )
    parser.add_argument("--held-out", type=Path, metavar="DIR", help="images of other patients, with --training")
    parser.add_argument(
        "--patient-folders",
        action="store_true",
        help="each sub folder of --training and --held-out is a patient; else patients count as not known",
    )


def _run_generate(arguments: argparse.Namespace) -> None:
    from monai_medaug.bundles.pretrained import load_pretrained
    from monai_medaug.engines.sample_files import write_samples
    from monai_medaug.networks.dcgan import load_generator

    if (arguments.training is None) != (arguments.held_out is None):
        raise ValueError("--training and --held-out must be given together: one sets the threshold of the other")
    if arguments.patient_folders and arguments.training is None:
        raise ValueError("--patient-folders must be given with --training and --held-out, whose sub folders it means")
    try:
        generator = load_pretrained(arguments.model) if arguments.weights is None else load_generator(arguments.weights)
    except OSError:
        raise ValueError("--weights must be a file that can be read") from None
    images = write_samples(generator, arguments.out, arguments.count, arguments.seed, arguments.of_class)
    size = "×".join(str(n) for n in images.shape[2:])
    print(f"{len(images)} generated images of {size}, datalist.json and grid.png written")
    if arguments.training is None:
        print("not checked for copies of training images: --training and --held-out do that")
        return
    _report(images, arguments)


def _report(images: torch.Tensor, arguments: argparse.Namespace) -> None:
    """The report on the images, beside those of two folders."""
    from monai_medaug.experiments.generation_report import generation_report

    size = tuple(images.shape[-2:])
    known = _image_files(arguments.training, "--training")
    others = _image_files(arguments.held_out, "--held-out")
    patients = other_patients = None
    if arguments.patient_folders:
        patients = _folder_patients(known, arguments.training, "--training")
        other_patients = _folder_patients(others, arguments.held_out, "--held-out")
        if both := {*patients} & {*other_patients}:
            raise ValueError(f"--held-out must hold no patient of --training, got {len(both)} sub folders in both")
    report = generation_report(
        images,
        _images(known, "--training", size),
        _images(others, "--held-out", size),
        patients,
        other_patients,
        out_dir=arguments.out,
        seed=arguments.seed,
    )
    print(f"\n{report}")


def _image_files(folder: Path, name: str) -> list[Path]:
    """The files of a folder and its sub folders by their endings."""
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in _SUFFIXES)
    if not files:
        raise ValueError(f"{name} must be {_IMAGES}, there is none")
    return files


def _folder_patients(files: list[Path], folder: Path, name: str) -> list[str]:
    """The sub folder of each file, at whatever depth the file lies."""
    parts = [file.relative_to(folder).parts for file in files]
    if loose := sum(len(part) == 1 for part in parts):
        raise ValueError(f"{name} must have a sub folder for each patient, {loose} of {len(files)} files lie in none")
    return [part[0] for part in parts]


def _images(files: list[Path], name: str, size: tuple[int, ...]) -> torch.Tensor:
    """The images of the files at the size of the generated ones."""
    import torch

    from monai_medaug.functional.geometry.upscale import cubic_resized
    from monai_medaug.scans.files import ScanError, read_scan

    found = []
    for number, file in enumerate(files, 1):
        try:
            image = torch.as_tensor(read_scan(file, what=f"image {number} of {name}").image).float()
            image = image.mT.contiguous()  # pictures are read columns first, generated images have rows first
        except ScanError as error:
            raise ValueError(str(error)) from None
        found.append(image[None] if image.shape[1:] == size else cubic_resized(image[None], list(size), True))
    return torch.cat(found)


COMMAND = Command(
    "make images by a trained generator, and look for copies of its training images",
    _add_generate_arguments,
    _run_generate,
)
