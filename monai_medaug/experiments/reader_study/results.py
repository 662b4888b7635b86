"""The key of a study and the results of its readers, read as data that may be broken or made up."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_medaug.experiments.reader_study.questions import PREFERENCE, RATING
from monai_medaug.experiments.reader_study.study import KEY_FORMAT, PAIRS, RESULT_FORMAT, SINGLES

_LARGEST_FILE = 8 * 2**20  # bytes: a thousand trials need less than one
_READER = re.compile(r"[A-Za-z0-9_-]{1,20}")
_RESULT_NAMES = {"format", "study", "content", "reader", "complete", "answers"}
_ANSWER_NAMES = {"trial", "shown", "seconds", "values"}


@dataclass(frozen=True)
class StudyKey:
    """What the page conceals.

    Attributes:
        study: id of the study.
        content: hash of what readers see.
        pairs: whether two images are shown at a time.
        versions: their names.
        questions: as the page asks them, with id, kind, text and labels.
        cases: how many there are.
        images: by id the case, from 0, and the version, 0 or 1.
        trials: by id its images, and whether it repeats a case.
    """

    study: str
    content: str
    pairs: bool
    versions: tuple[str, str]
    questions: tuple[dict[str, Any], ...]
    cases: int
    images: Mapping[str, tuple[int, int]]
    trials: Mapping[str, tuple[tuple[str, ...], bool]]


@dataclass(frozen=True)
class ReaderAnswers:
    """What a reader answered, by version.

    Attributes:
        reader: the code.
        complete: whether every trial is answered.
        seconds: for each answered trial.
        values: by question's id, (2, cases) of preferences, 0 the first version, 1 no difference, 2 the second, or
            (2, cases, versions) of ratings, from 0; the first row holds first answers, the second those to repeats; nan
            where there is none.
        sides: by id of each question of preference, how often A, neither and B was chosen.
    """

    reader: str
    complete: bool
    seconds: tuple[float, ...]
    values: Mapping[str, np.ndarray]
    sides: Mapping[str, np.ndarray]


def read_study_key(path: str | os.PathLike) -> StudyKey:
    """The key that `make_reader_study` wrote.

    Raises:
        ValueError: it is none.
    """
    data = _read_json(Path(path), "the key file")
    try:
        if data["format"] != KEY_FORMAT:
            raise ValueError
        images = {own: (_count(i["case"]) - 1, (0, 1).index(i["version"])) for own, i in data["images"].items()}
        trials = {own: (tuple(t["images"]), bool(t["repeat"])) for own, t in data["trials"].items()}
        first, second = data["versions"]
        for shown, _ in trials.values():
            if len(shown) != 1 + ((SINGLES, PAIRS).index(data["layout"])) or not set(shown) <= images.keys():
                raise ValueError
        for question in data["questions"]:
            (PREFERENCE, RATING).index(question["kind"])
            question["id"], question["text"], len(question["labels"])
        cases = 1 + max(case for case, _ in images.values())
        pairs = data["layout"] == PAIRS
        fixed = str(data["study"]), str(data["content"]), pairs, (str(first), str(second))
        return StudyKey(*fixed, tuple(data["questions"]), cases, images, trials)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError("the key file must be the key of a reader study, got another or a broken one") from None


def read_reader_result(path: str | os.PathLike, key: StudyKey, what: str) -> ReaderAnswers:
    """The result that a reader saved, checked against the key: it holds what the page writes and nothing else.

    Args:
        path: a JSON file.
        key: of the study.
        what: name of the file for messages, which quote nothing of it.

    Raises:
        ValueError: it is no result, of another study, or anything in it is not as the page writes it.
    """
    data = _read_json(Path(path), what)
    if data.keys() != _RESULT_NAMES or data["format"] != RESULT_FORMAT:
        raise ValueError(f"{what} must be the result of a reader study")
    if data["study"] != key.study or data["content"] != key.content:
        raise ValueError(f"{what} must be of the study of the key, got one of another study")
    if not isinstance(data["reader"], str) or not _READER.fullmatch(data["reader"]):
        raise ValueError(f"{what} must hold a reader's code of 1 to 20 letters, digits, - or _")
    answers = data["answers"]
    if not isinstance(answers, list) or len(answers) > len(key.trials):
        raise ValueError(f"{what} must hold a list of at most {len(key.trials)} answers")
    values = {
        q["id"]: np.full((2, key.cases) if q["kind"] == PREFERENCE else (2, key.cases, 2), np.nan)
        for q in key.questions
    }
    sides = {q["id"]: np.zeros(3, int) for q in key.questions if q["kind"] == PREFERENCE}
    seconds, seen = [], set()
    for place, answer in enumerate(answers, 1):
        said = f"answer {place} of {what}"
        if not isinstance(answer, dict) or answer.keys() != _ANSWER_NAMES:
            raise ValueError(f"{said} must hold trial, shown, seconds and values")
        trial, shown = answer["trial"], answer["shown"]
        if not isinstance(trial, str) or trial not in key.trials or trial in seen:
            raise ValueError(f"{said} must be to a trial of the study that has no other answer")
        images, repeat = key.trials[trial]
        if shown not in (list(images), list(images[::-1])):
            raise ValueError(f"{said} must name the images of its trial")
        if not _is_number(answer["seconds"]) or not 0 <= answer["seconds"] < 1e7:
            raise ValueError(f"{said} must hold the seconds that it took")
        if not isinstance(answer["values"], dict) or answer["values"].keys() != values.keys():
            raise ValueError(f"{said} must hold a value for each question and no other")
        seen.add(trial)
        seconds.append(float(answer["seconds"]))
        where = [key.images[image] for image in shown]
        for question in key.questions:
            own = question["id"]
            _enter_value(answer["values"][own], question, where, int(repeat), values[own], sides.get(own), said)
    return ReaderAnswers(data["reader"], len(seen) == len(key.trials), tuple(seconds), values, sides)


def _enter_value(
    value: Any,
    question: Mapping[str, Any],
    where: list[tuple[int, int]],
    repeat: int,
    table: np.ndarray,
    sides: np.ndarray | None,
    said: str,
) -> None:
    """Enter a value into its table, by version instead of side."""
    if sides is not None:
        if not _is_whole(value) or value not in (-1, 0, 1):
            raise ValueError(f"{said} must hold -1, 0 or 1 for a preference")
        case, at_left = where[0]
        table[repeat, case] = 1 + (value if at_left == 0 else -value)
        sides[1 + value] += 1
        return
    steps = len(question["labels"])
    fits = isinstance(value, list) and len(value) == len(where)
    if not fits or not all(_is_whole(v) and 1 <= v <= steps for v in value):
        raise ValueError(f"{said} must hold a rating from 1 to {steps} for each image")
    for (case, version), own in zip(where, value, strict=True):
        table[repeat, case, version] = own - 1


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except OSError:
        raise ValueError(f"{what} must be a file that can be read") from None
    if len(text) > _LARGEST_FILE:
        raise ValueError(f"{what} must not exceed {_LARGEST_FILE >> 20} MiB")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} must be JSON") from None
    if not isinstance(data, dict):
        raise ValueError(f"{what} must hold a JSON object")
    return data


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> int:
    if not _is_whole(value) or not 1 <= value <= 1000:
        raise ValueError
    return int(value)
