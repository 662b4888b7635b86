"""``monai-medaug gallery``: every transform on a real image, as a web page."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_medaug.commands.command import Command


def _add_gallery_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder for the page (default: gallery)")


def _run_gallery(arguments: argparse.Namespace) -> None:
    from monai_medaug.figures.gallery import write_gallery

    files = write_gallery(arguments.out)
    print(f"{len(files)} files written; open the page in a browser")


COMMAND = Command("draw what every transform does to a real image, as a web page", _add_gallery_arguments, _run_gallery)
