"""``monai-medaug reader-study``: two versions of the same images, judged blind by physicians, and scored."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from monai_medaug.commands.command import Command
from monai_medaug.commands.reading import FORMATS, add_reading_arguments, read_as_said, whole_number_from


def _add_study_arguments(parser: argparse.ArgumentParser) -> None:
    from monai_medaug.experiments.reader_study.study import PAIRS, SINGLES
    from monai_medaug.transforms.ct.hu import HU_PRESETS

    steps = parser.add_subparsers(required=True, metavar="STEP")
    make = steps.add_parser("make", help="write the page for readers, and its key, which stays with you")
    make.add_argument(
        "--images",
        action="append",
        nargs="+",
        required=True,
        metavar=("NAME", "FILE"),
        help=f"a version's name and its files; given twice, with the same cases in the same order. {FORMATS}; of a "
        "volume the middle slice is shown",
    )
    make.add_argument("--out", type=Path, required=True, metavar="FILE", help=".html; the key goes beside")
    make.add_argument("--window", choices=sorted(HU_PRESETS), help="in which a CT opens (default: by percentiles)")
    make.add_argument("--layout", choices=(PAIRS, SINGLES), default=PAIRS, help=f"default: {PAIRS}")
    make.add_argument("--repeats", type=whole_number_from(0), metavar="N", help="cases that come twice: a fifth")
    make.add_argument("--title", default="Reader study", help="of the page")
    make.add_argument("--instructions", default="", metavar="TEXT", help="what readers are told first")
    make.add_argument("--prefer", action="append", default=[], metavar="TEXT", help="a question of preference")
    make.add_argument("--rate", action="append", default=[], metavar="TEXT", help="a question of rating from 1 to 5")
    add_reading_arguments(make)
    make.set_defaults(step=_make_study)
    score = steps.add_parser("score", help="preferences, ratings and agreement from the files that readers saved")
    score.add_argument("key", type=Path, metavar="KEY", help="the key of the study")
    score.add_argument("results", type=Path, nargs="+", metavar="RESULT", help="of a reader")
    score.add_argument("--out", type=Path, metavar="FILE", help=".json")
    score.set_defaults(step=_score_study)


def _run_study(arguments: argparse.Namespace) -> None:
    arguments.step(arguments)


def _make_study(arguments: argparse.Namespace) -> None:
    from monai_medaug.experiments import ReaderQuestion, make_reader_study

    if len(arguments.images) != 2 or arguments.images[0][0] == arguments.images[1][0]:
        raise ValueError("--images must be given twice, each with a name of its own and its files")
    scans = {
        name: [read_as_said(arguments, Path(file), f"file {n} of version {v}") for n, file in enumerate(own, 1)]
        for v, (name, *own) in enumerate(arguments.images, 1)
    }
    questions = [ReaderQuestion(text, "preference") for text in arguments.prefer]
    questions += [ReaderQuestion(text) for text in arguments.rate]
    chosen: dict[str, Any] = {
        name: getattr(arguments, name) for name in ("window", "layout", "repeats", "title", "instructions")
    }
    versions = {name: [scan.image for scan in own] for name, own in scans.items()}
    # only DICOM says so, not the NIfTI file of what became of it
    inverted = [any(scan.inverted for scan in case) for case in zip(*scans.values(), strict=False)]
    page, _ = make_reader_study(versions, arguments.out, questions or None, inverted=inverted, **chosen)
    print(
        f"written: a page of {page.stat().st_size / 1e6:.1f} MB for the readers, and its key, which tells the versions "
        "apart: keep it to yourself"
    )


def _score_study(arguments: argparse.Namespace) -> None:
    from monai_medaug.experiments import score_reader_study
    from monai_medaug.scans import staged

    out = arguments.out
    if out is not None and (out.suffix != ".json" or out.is_dir()):
        raise ValueError("--out must be a file that ends in .json")
    score = score_reader_study(arguments.key, arguments.results)
    print(score)
    if out is not None:
        with staged(out.parent) as folder:
            (folder / out.name).write_text(score.to_json() + "\n", encoding="utf-8")


COMMAND = Command(
    "ask physicians blind which of two versions of images is better, and score it", _add_study_arguments, _run_study
)
