"""Studies for tests, and readers that answer by a rule, without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from monai_medaug.experiments import make_reader_study
from tests.images import smooth_noise


def synthetic_versions(cases: int, side: int = 24, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Heads of whole HU with noise, and with less of it."""
    rng = np.random.default_rng(seed)
    clean = [80 * smooth_noise((1, side, side), seed + n) for n in range(cases)]
    return {
        name: [np.rint(c + sigma * rng.standard_normal(c.shape)) for c in clean]
        for name, sigma in (("noisy", 20.0), ("denoised", 5.0))
    }


def study_of(folder: Path, cases: int = 5, **settings) -> tuple[Path, dict, dict]:
    """A study written into a folder: its page, the data in it and its key."""
    page, key = make_reader_study(synthetic_versions(cases), folder / "study.html", **{"seed": 1} | settings)
    return page, page_data(page), json.loads(key.read_text())


def page_data(page: Path) -> dict:
    """What the page's script reads."""
    text = page.read_text(encoding="utf-8")
    return json.loads(text.partition('<script type="application/json" id="study">')[2].partition("</script>")[0])


def result_by(key: dict, reader: str, prefer, rate, swapped: bool = False) -> dict:
    """A result by answers to versions, turned here into answers to sides.

    ``prefer(case, repeat)`` gives -1 for the first version, 0, or 1; ``rate(case, version, repeat)`` a step from 1 on.
    """
    answers = []
    for trial, own in key["trials"].items():
        shown = own["images"][::-1] if swapped else own["images"]
        at = [(key["images"][i]["case"], key["images"][i]["version"]) for i in shown]
        values = {}
        for question in key["questions"]:
            if question["kind"] == "preference":
                chosen = prefer(at[0][0], own["repeat"])
                values[question["id"]] = chosen if at[0][1] == 0 else -chosen
            else:
                values[question["id"]] = [rate(case, version, own["repeat"]) for case, version in at]
        answers.append({"trial": trial, "shown": shown, "seconds": 12.5, "values": values})
    return {
        "format": "monai_medaug reader study result 1",
        "study": key["study"],
        "content": key["content"],
        "reader": reader,
        "complete": True,
        "answers": answers,
    }


def written(folder: Path, *results: dict) -> list[Path]:
    paths = []
    for n, result in enumerate(results):
        paths.append(folder / f"result_{n}.json")
        paths[-1].write_text(json.dumps(result))
    return paths
