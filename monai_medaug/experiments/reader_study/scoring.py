"""`score_reader_study`: what readers prefer and how they rate, with intervals over readers and cases."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from monai_medaug.core.arguments import number, whole_number
from monai_medaug.experiments.reader_study.questions import PREFERENCE
from monai_medaug.experiments.reader_study.results import ReaderAnswers, read_reader_result, read_study_key
from monai_medaug.functional.agreement import two_way_draws, vgc_area, weighted_kappa
from monai_medaug.functional.paired import interval_of
from monai_medaug.version import __version__

_BIASED_P = 0.01
_CONSISTENT = 0.5  # share of the same answers when a case comes again


class ReaderStudyScore(dict):
    """What `score_reader_study` found; ``str()`` is a table, `to_json` is for machines. It names no reader.

    Entries: ``readers``, ``complete`` (readers who answered all), ``cases``, ``versions``, ``level``,
    ``seconds_per_trial`` (median), ``questions`` and ``warnings``. Of each question ``text`` and ``kind``; ``value``,
    the share that prefers the second version (no difference counts half) or the VGC area, above 0.5 where the second
    is better, with ``interval``; ``counts``, of answers; ``between_readers`` and ``within_readers``, weighted kappas;
    ``same_again``, the share of the same answers when a case comes again; of a preference also ``sides`` with the share
    of A among those who chose and its ``p``. None stands for what these answers don't define.
    """

    def to_json(self) -> str:
        """The score as JSON text."""
        return json.dumps(self, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        first, second = self["versions"]
        lines = [
            f"reader study of {self['cases']} cases by {self['readers']} readers ({self['complete']} complete): "
            f"{first} against {second}, {self['package']}"
        ]
        for found in self["questions"]:
            lines.append(f"  {found['text']}")
            low, high = found["interval"]
            said = f"preferred: {second}, share" if found["kind"] == PREFERENCE else f"VGC area of {second}"
            lines.append(f"    {said:38}{_said(found['value'])}  ({_said(low)} to {_said(high)})")
            for name, counts in found["counts"].items():
                lines.append(f"    {name:38}{counts if isinstance(counts, int) else '  '.join(map(str, counts))}")
            lines.append(f"    {'kappa between readers':38}{_said(found['between_readers'])}")
            within = f"{_said(found['within_readers'])}  (same answer {_said(found['same_again'])})"
            lines.append(f"    {'kappa within readers, of repeats':38}{within}")
            if found["kind"] == PREFERENCE:
                sides = found["sides"]
                lines.append(f"    {'A among those who chose':38}{_said(sides['share_a'])}  (p {_said(sides['p'])})")
        return "\n".join([*lines, *(f"  ATTENTION: {warning}" for warning in self["warnings"])])


def score_reader_study(
    key: str | os.PathLike,
    results: Sequence[str | os.PathLike],
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> ReaderStudyScore:
    """Score a study that `make_reader_study` wrote, from the files that its readers saved.

    - *Preference*: the share of answers for the second version, no difference counting half; 0.5 without a preference.
    - *Rating*: the VGC area, the chance that an image of the second version is rated above one of the first, of each
      reader, then the mean over readers, so that each may use the scale in his own way.
    - *Intervals* come from a bootstrap that draws readers **and** cases: they hold for other readers and other cases.
      In simulated studies of 20 cases those of 95 % held the truth in 94 to 97 of 100 with four or more readers, in 90
      to 94 with two or three, and in 96 to 99 where readers and cases are much alike. Of one reader they hold for that
      reader alone; a warning says so.
    - *Agreement* is Cohen's kappa with quadratic weights, between readers (mean over pairs of readers) and within them
      (repeated cases, pooled). Answers to repeats count there alone.
    - *Sides*: whether A is chosen more often than B, by an exact binomial test over all answers, repeats included; each
      version is as often A as B, so that this bends no result as a whole, but tells of readers who guess.

    Args:
        key: the file ``…_key.json``.
        results: JSON files, one for each reader; what is missing in an incomplete one doesn't count.
        level: of the intervals.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: a file is broken, of another study, or holds what the page would not write; or two are of the same
            reader. The message names its place in ``results``, none of its content.

    Source: Båth and Månsson, Visual grading characteristics (VGC) analysis, British Journal of Radiology 2007; Owen,
    The pigeonhole bootstrap, Annals of Applied Statistics 2007; Cohen, Weighted kappa, Psychological Bulletin 1968.

    Example:
        The reader of a study without a browser, who always prefers B:

        >>> import tempfile
        >>> from pathlib import Path
        >>> from monai_medaug.experiments import make_reader_study
        >>> images = [np.random.default_rng(n).normal(40, 30, (1, 8, 8)) for n in range(4)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _, key = make_reader_study({"one": images, "two": images}, f"{folder}/study.html", seed=0)
        ...     plan = json.loads(key.read_text())
        ...     result = {"format": "monai_medaug reader study result 1", "reader": "R1", "complete": True}
        ...     answers = [
        ...         {"trial": t, "shown": own["images"], "seconds": 9.5, "values": {"q0": 1, "q1": [3, 4]}}
        ...         for t, own in plan["trials"].items()
        ...     ]
        ...     result |= {"study": plan["study"], "content": plan["content"], "answers": answers}
        ...     _ = Path(folder, "r1.json").write_text(json.dumps(result))
        ...     score = score_reader_study(key, [f"{folder}/r1.json"])
        >>> score["questions"][0]["value"], score["questions"][0]["sides"]["share_a"], score["readers"]
        (0.5, 0.0, 1)
    """
    level = number("level", level, 0.5, 0.9999)
    draws, seed = whole_number("draws", draws, 10), whole_number("seed", seed, 0)
    if isinstance(results, str | os.PathLike) or not len(results):
        raise ValueError("results must be a list of one or more files")
    plan = read_study_key(key)
    readers = [read_reader_result(path, plan, f"result {n}") for n, path in enumerate(results, 1)]
    codes = [reader.reader for reader in readers]
    for place, code in enumerate(codes):
        if code in codes[:place]:
            raise ValueError(
                f"results {codes.index(code) + 1} and {place + 1} are of the same reader: leave one of them"
            )
    times = [s for reader in readers for s in reader.seconds]
    warnings = _warnings_of_answers(readers, len(plan.trials))
    questions = []
    for question in plan.questions:
        values = np.stack([reader.values[question["id"]] for reader in readers], 1)  # repeat, reader, case, …
        is_preference = question["kind"] == PREFERENCE
        steps = 3 if is_preference else len(question["labels"])
        found = (_preference if is_preference else _rating)(values[0], steps, plan.versions, (level, draws, seed))
        found |= {
            "between_readers": _between_readers(values[0], steps),
            "within_readers": _defined(weighted_kappa(values[0].ravel(), values[1].ravel(), steps)),
            "same_again": _same_again(*values),
        }
        if is_preference:
            found["sides"] = _sides(np.stack([reader.sides[question["id"]] for reader in readers]))
            if found["sides"]["p"] is not None and found["sides"]["p"] < _BIASED_P:
                warnings.append(f"a side is preferred, whatever it shows: {question['text']}")
        if found["same_again"] is not None and found["same_again"] < _CONSISTENT:
            warnings.append(f"readers answer otherwise when a case comes again: {question['text']}")
        questions.append({"text": question["text"], "kind": question["kind"], **found})
    return ReaderStudyScore(
        {
            "package": f"monai_medaug {__version__}",
            "readers": len(readers),
            "complete": sum(reader.complete for reader in readers),
            "cases": plan.cases,
            "versions": list(plan.versions),
            "level": level,
            "seconds_per_trial": round(float(np.median(times)), 1) if times else None,
            "questions": questions,
            "warnings": warnings,
        }
    )


def _preference(
    answers: np.ndarray, steps: int, versions: Sequence[str], bootstrap: tuple[float, int, int]
) -> dict[str, Any]:
    """Of answers (readers, cases), 0 the first version, 1 no difference, 2 the second."""
    given = np.isfinite(answers)
    shares = np.where(given, answers / 2, 0)

    def share(by_reader: np.ndarray, by_case: np.ndarray) -> np.ndarray:
        count = ((by_reader @ given) * by_case).sum(1)
        return np.where(count > 0, ((by_reader @ shares) * by_case).sum(1) / np.maximum(count, 1), np.nan)

    names = [versions[0], "no difference", versions[1]]
    return {
        **_with_interval(share, answers.shape, bootstrap),
        "counts": {name: int((answers == step).sum()) for step, name in zip(range(steps), names, strict=True)},
    }


def _rating(
    answers: np.ndarray, steps: int, versions: Sequence[str], bootstrap: tuple[float, int, int]
) -> dict[str, Any]:
    """Of ratings (readers, cases, versions), from 0."""

    def area(by_reader: np.ndarray, by_case: np.ndarray) -> np.ndarray:
        areas = np.stack([vgc_area(own[:, 0], own[:, 1], by_case) for own in answers], 1)
        weights = by_reader * np.isfinite(areas)
        count = weights.sum(1)
        return np.where(count > 0, (weights * np.nan_to_num(areas)).sum(1) / np.maximum(count, 1), np.nan)

    return {
        **_with_interval(area, answers.shape[:2], bootstrap),
        "counts": {
            name: [int((answers[:, :, version] == step).sum()) for step in range(steps)]
            for version, name in enumerate(versions)
        },
    }


def _with_interval(statistic: Any, shape: tuple[int, ...], bootstrap: tuple[float, int, int]) -> dict[str, Any]:
    level, draws, seed = bootstrap
    readers, cases = shape
    whole = float(statistic(np.ones((1, readers)), np.ones((1, cases)))[0])
    drawn = two_way_draws(statistic, readers, cases, draws, seed)
    return {"value": _defined(whole), "interval": [_defined(end) for end in interval_of(drawn, level)]}


def _between_readers(answers: np.ndarray, steps: int) -> float | None:
    """The mean kappa over pairs of readers."""
    kappas = [weighted_kappa(one.ravel(), other.ravel(), steps) for one, other in combinations(answers, 2)]
    known = [kappa for kappa in kappas if math.isfinite(kappa)]
    return float(np.mean(known)) if known else None


def _same_again(first: np.ndarray, second: np.ndarray) -> float | None:
    """The share of repeats that got the same answer."""
    both = np.isfinite(first) & np.isfinite(second)
    return float((first == second)[both].mean()) if both.any() else None


def _sides(counts: np.ndarray) -> dict[str, Any]:
    """Of how often each reader chose A, neither and B."""
    from scipy.stats import binomtest

    chosen = int(counts[:, 0].sum()), int(counts[:, 2].sum())
    if not sum(chosen):
        return {"share_a": None, "p": None}
    return {"share_a": chosen[0] / sum(chosen), "p": float(binomtest(chosen[0], sum(chosen)).pvalue)}


def _warnings_of_answers(readers: Sequence[ReaderAnswers], trials: int) -> list[str]:
    found = []
    if len(readers) == 1:
        found.append("one reader: the intervals hold for other cases, not for other readers")
    missing = [trials - len(reader.seconds) for reader in readers]
    if any(missing):
        found.append(f"{sum(missing)} of {trials * len(readers)} trials have no answer")
    return found


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
