"""`make_reader_study`: a blinded study as one page, and its key beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_medaug.core.arguments import choice, flag, number, whole_number
from monai_medaug.experiments.reader_study.page import reader_page
from monai_medaug.experiments.reader_study.pixels import PixelScale, ReaderPicture, case_pictures
from monai_medaug.experiments.reader_study.questions import ReaderQuestion, checked_questions, require_short_text
from monai_medaug.scans.files import staged
from monai_medaug.transforms.ct.hu import HU_PRESETS

KEY_FORMAT = "monai_medaug reader study key 1"
RESULT_FORMAT = "monai_medaug reader study result 1"
PAIRS, SINGLES = "side by side", "one by one"
_MOST_CASES = 1000
_LARGEST_PAGE = 250 * 2**20  # bytes: more than that is slow to open


def make_reader_study(
    versions: Mapping[str, Sequence[Any]],
    out: str | os.PathLike,
    questions: Sequence[ReaderQuestion] | None = None,
    window: str | Sequence[float] | None = None,
    inverted: bool | Sequence[bool] = False,
    layout: str = PAIRS,
    repeats: int | None = None,
    title: str = "Reader study",
    instructions: str = "",
    seed: int | None = None,
) -> list[Path]:
    """Write a study of two versions of the same images, such as original and denoised, for readers to judge blind.

    The page is one HTML file: it opens from the disk, in any current browser, without a server or a network, and holds
    pixels, no names. Readers see the versions side by side, as A and B, with pan, zoom and window in step; answers
    stay in the browser, so that they can stop and go on, until they save them as a JSON file. `score_reader_study`
    reads these files with the key.

    Blinding: the page knows the images by random ids alone; which is which stands in the key, so **keep the key to
    yourself**. Each version is as often A as B, and half of the readers, by chance, have all sides exchanged. The order
    of the cases is each reader's own. Some cases come twice, with exchanged sides: these show how consistent a reader
    is, and who prefers a side. Who looks into the page's source could tell an image that is larger or compresses
    better.

    Args:
        versions: the two versions by name, each a sequence with the same cases in the same order: images of one channel
            of the same field of view, (1, H, W), or (1, D, H, W), of which the middle axial slice is shown. Their
            resolution may differ.
        out: the page, a file that ends in ``.html``; the key is written beside it, with ``_key.json`` at the end.
        questions: up to six; None asks for the preferred version and for a rating of each from 1 to 5.
        window: in which images open: the name of a window of CT, see `HUWindow`, which lets readers choose the others
            too, or (centre, width); None takes the 0.5th and 99.5th percentile over both versions of a case.
        inverted: whether low values are bright, as in MONOCHROME1, for all cases or each.
        layout: ``"side by side"``, or ``"one by one"``, which rates each image alone, as VGC analysis has it in its
            first form, and asks for no preference.
        repeats: how many cases come twice; None for a fifth.
        title: of the page, up to 100 characters.
        instructions: what readers are told first, up to 4000 characters.
        seed: of ids, sides and repeats; None for a new one. With a known seed the key could be made again.

    Returns:
        The page and the key.

    Raises:
        TypeError: an image is not an array of real numbers, or a question is none.
        ValueError: not two versions of equally many cases, images that don't fit, an argument of the wrong kind, a page
            above 250 MiB, or the page or its key is there already: without its key a study can't be scored.
        OSError: the folder can't be written.

    Source: Båth and Månsson, Visual grading characteristics (VGC) analysis, British Journal of Radiology 2007.

    Example:
        >>> import tempfile
        >>> rng = np.random.default_rng(0)
        >>> originals = [rng.normal(40, 30, (1, 16, 16)) for _ in range(5)]
        >>> versions = {"original": originals, "smooth": [0.5 * image + 20 for image in originals]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file.name for file in make_reader_study(versions, f"{folder}/study.html", window="brain")]
        ['study.html', 'study_key.json']
    """
    out = Path(out)
    if out.suffix != ".html":
        raise ValueError("out must be a file that ends in .html")
    key_file = out.with_name(f"{out.stem}_key.json")
    if out.exists() or key_file.exists():
        raise ValueError("out must be a new file: a study or its key is there already")
    pairs = choice("layout", layout, (PAIRS, SINGLES)) == PAIRS
    asked = checked_questions(questions, pairs)
    texts = {"title": require_short_text("title", title, 100), "instructions": _checked_instructions(instructions)}
    names, cases = _checked_versions(versions)
    upside = _for_each_case("inverted", inverted, len(cases))
    opened = _checked_window(window)
    repeats = round(len(cases) / 5) if repeats is None else whole_number("repeats", repeats, 0, len(cases))
    rng = np.random.default_rng(None if seed is None else whole_number("seed", seed, 0))

    shown, data, key_images = [], {}, {}
    for place, images in enumerate(cases, 1):
        pictures = case_pictures(images, f"case {place}")
        scale = PixelScale.of([p.values for p in pictures], opened)
        ids = [_token(rng) for _ in pictures]
        for version, (own, picture) in enumerate(zip(ids, pictures, strict=True)):
            data[own] = (_described(picture), scale.packed(picture.values))
            key_images[own] = {"case": place, "version": version}
        shown.append({"ids": ids, "scale": scale.plain() | {"inverted": upside[place - 1]}})
    trials = _trials(shown, pairs, repeats, rng)
    study = {
        **texts,
        "study": _token(rng),
        "layout": layout,
        "questions": [{"id": f"q{n}", "kind": q.kind, "text": q.text, "labels": q.labels} for n, q in enumerate(asked)],
        "trials": [{name: t[name] for name in ("id", "group", "images", "scale")} for t in trials],
        "images": {own: data[own][0] for own in sorted(data)},
        "windows": {n: list(w) for n, w in HU_PRESETS.items()} if isinstance(window, str) else {},
        "result_format": RESULT_FORMAT,
    }
    packed = {own: data[own][1] for own in sorted(data)}
    study["content"] = _content_hash(study, packed)
    page = reader_page(study, packed).encode()
    if len(page) > _LARGEST_PAGE:
        raise ValueError(f"the page must not exceed 250 MiB, got {len(page) / 2**20:.0f}: make several studies")
    key = {
        "format": KEY_FORMAT,
        **{name: study[name] for name in ("study", "content", "layout", "questions")},
        "versions": names,
        "images": key_images,
        "trials": {t["id"]: {name: t[name] for name in ("images", "repeat")} for t in trials},
    }
    with staged(out.parent) as folder:
        (folder / out.name).write_bytes(page)
        (folder / key_file.name).write_bytes((json.dumps(key, indent=1) + "\n").encode())
    return [out, key_file]


def _trials(shown: Sequence[dict[str, Any]], pairs: bool, repeats: int, rng: np.random.Generator) -> list[dict]:
    """What readers are shown at a time, in an order that tells nothing; sides are balanced, of repeats exchanged."""
    sides = rng.permutation(np.arange(len(shown)) % 2 ^ int(rng.integers(2)))  # of an odd one too many, either
    again = rng.permutation(len(shown))[:repeats]
    trials = []
    for place, case in enumerate(shown):
        order = case["ids"][:: -1 if sides[place] else 1]
        for repeat in [False, True] if place in again else [False]:
            sets = [order[:: -1 if repeat else 1]] if pairs else [[own] for own in order]
            trials += [{"group": place, "images": own, "scale": case["scale"], "repeat": repeat} for own in sets]
    groups = rng.permutation(len(shown))  # the page's numbers aren't those of the cases
    trials = [{**t, "id": _token(rng), "group": int(groups[t["group"]])} for t in trials]
    return sorted(trials, key=lambda t: t["id"])


def _token(rng: np.random.Generator) -> str:
    return rng.bytes(8).hex()


def _described(picture: ReaderPicture) -> dict[str, Any]:
    rows, columns = picture.values.shape
    return {"rows": rows, "columns": columns, "aspect": picture.aspect}


def _content_hash(study: Mapping[str, Any], packed: Mapping[str, bytes]) -> str:
    """SHA-256 of all that readers see: results of a study made again from other images don't fit its key."""
    digest = hashlib.sha256(json.dumps(study, sort_keys=True).encode())
    for own, pixels in packed.items():
        digest.update(own.encode() + pixels)
    return digest.hexdigest()


# ---- arguments ---------------------------------------------------------------------------------------------------


def _checked_versions(versions: Mapping[str, Sequence[Any]]) -> tuple[list[str], list[tuple[Any, Any]]]:
    """The names, and the two images of each case."""
    if not isinstance(versions, Mapping) or len(versions) != 2:
        said = len(versions) if isinstance(versions, Mapping) else type(versions).__name__
        raise ValueError(f"versions must be a dict of two, by name, got {said}")
    names = [require_short_text("versions", name, 60) for name in versions]
    counts = [len(images) for images in versions.values()]
    if counts[0] != counts[1] or not 1 <= counts[0] <= _MOST_CASES:
        raise ValueError(f"versions must have the same 1 to {_MOST_CASES} cases, got {counts[0]} and {counts[1]}")
    return names, list(zip(*versions.values(), strict=True))


def _checked_window(window: str | Sequence[float] | None) -> tuple[float, float] | None:
    if window is None:
        return None
    if isinstance(window, str):
        return HU_PRESETS[choice("window", window, sorted(HU_PRESETS))]
    if len(window) != 2:
        raise ValueError(f"window must be a preset's name or (centre, width), got {window!r}")
    return number("window's centre", window[0]), number("window's width", window[1], 1e-9)


def _checked_instructions(text: str) -> str:
    return require_short_text("instructions", text, 4000) if text else ""


def _for_each_case(name: str, value: bool | Sequence[bool], cases: int) -> list[bool]:
    if isinstance(value, Sequence):
        if len(value) != cases:
            raise ValueError(f"{name} must be one for each of the {cases} cases, got {len(value)}")
        return [flag(name, v) for v in value]
    return [flag(name, value)] * cases
