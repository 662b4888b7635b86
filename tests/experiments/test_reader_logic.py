"""The page's logic in Node, without a browser: skipped where there is none."""

import json
import shutil
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from monai_medaug.experiments.reader_study.pixels import PixelScale
from tests.experiments.studies import study_of

LOGIC = (files("monai_medaug.experiments.reader_study") / "web" / "logic.js").read_text(encoding="utf-8")


def in_node(script: str, **data):
    """What a script reports, after the page's logic, with values of its own."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node")
    given = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in data.items())
    asked = f"const report = (() => {{\n{script}\n}})();\nconsole.log(JSON.stringify(report));"
    text = f"'use strict';\n{LOGIC}\n{given}{asked}"
    run = subprocess.run(["node", "-"], input=text, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_random_numbers_are_uniform_and_repeat():
    drawn = in_node(
        """
        const first = Array.from({ length: 4000 }, (_, i) => seededRandom(i + 1)());
        const random = seededRandom(7);
        const long = Array.from({ length: 4000 }, () => random());
        return { first, long, again: seededRandom(7)(), zero: seededRandom(0)() };
        """
    )
    for series in (drawn["first"], drawn["long"]):
        counts = np.histogram(series, 10, (0, 1))[0]
        assert counts.sum() == 4000
        assert np.abs(counts - 400).max() < 80  # 4 standard deviations
    assert drawn["again"] == drawn["long"][0]
    assert 0 <= drawn["zero"] < 1


def test_each_reader_has_an_order_of_its_own_in_which_a_case_comes_again_late(tmp_path):
    _, study, _ = study_of(tmp_path, 20)
    seen = in_node(
        """
        return [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map((seed) => {
          const session = newSession(study, 'R', seed);
          const byId = new Map(study.trials.map((t) => [t.id, t]));
          const least = leastDistance(session.order.map((id) => byId.get(id)));
          return { least, order: session.order, swapped: session.swapped, first: session.order[0] };
        });
        """,
        study=study,
    )
    ids = sorted(t["id"] for t in study["trials"])
    assert len(ids) == 24
    assert all(sorted(reader["order"]) == ids for reader in seen)
    assert len({tuple(reader["order"]) for reader in seen}) == 12
    assert len({reader["first"] for reader in seen}) > 4
    assert {reader["swapped"] for reader in seen} == {True, False}
    assert min(reader["least"] for reader in seen) >= 6


def test_a_session_is_kept_and_what_is_broken_is_dropped(tmp_path):
    _, study, _ = study_of(tmp_path)
    found = in_node(
        """
        const session = newSession(study, 'R', 5);
        const [one, two, three] = study.trials;
        answersOf(session, one.id).values = { q0: 2, 'q1-0': 3, 'q1-1': 0 };
        answersOf(session, one.id).seconds = 4.26;
        answersOf(session, two.id).values = { q0: 1, 'q1-0': 3 };
        session.at = 2;
        const text = JSON.stringify(session);
        const kept = restoredSession(study, 'R', text);
        const odd = JSON.parse(text);
        odd.answers[one.id] = { values: { q0: 3, 'q1-0': '4', 'q1-1': -1, other: 1 }, seconds: -3 };
        odd.answers[three.id] = 'x';
        odd.answers.unknown = { values: {}, seconds: 1 };
        odd.at = 99;
        const refused = ['', 'null', '{}', '[1]', text.replace(study.content, 'x'), text.replace(study.study, 'x')];
        return {
          same: JSON.stringify(kept) === text,
          repaired: restoredSession(study, 'R', JSON.stringify(odd)),
          refused: refused.map((other) => restoredSession(study, 'R', other)),
          another: restoredSession(study, 'S', text),
          count: countAnswered(study, kept),
          result: resultOf(study, kept),
          trial: one,
        };
        """,
        study=study,
    )
    assert found["same"]
    assert found["refused"] == [None] * 6
    assert found["another"] is None
    assert found["count"] == 1
    repaired = found["repaired"]
    assert repaired["at"] == 0
    assert repaired["answers"][found["trial"]["id"]] == {"values": {}, "seconds": 0}
    assert set(repaired["answers"]) == {study["trials"][0]["id"], study["trials"][1]["id"]}
    result = found["result"]
    assert not result["complete"]
    shown = found["trial"]["images"]
    answer = {"trial": found["trial"]["id"], "seconds": 4.3, "values": {"q0": 1, "q1": [4, 1]}}
    assert result["answers"] in ([answer | {"shown": shown}], [answer | {"shown": shown[::-1]}])


def test_the_marked_question_is_the_next_without_an_answer():
    rows = [{"id": name} for name in "abc"]
    cases = [({}, 0), ({"a": 1}, 0), ({"a": 1, "c": 0}, 2), ({"b": 1, "c": 0}, 2), ({"a": 0, "b": 0, "c": 0}, 1)]
    found = in_node("return cases.map(([values, from]) => rowToAnswer(rows, values, from));", rows=rows, cases=cases)
    assert found == [0, 1, 1, 0, 1]


def test_pixels_come_back_as_they_were():
    import gzip

    values = np.random.default_rng(0).integers(-1024, 3072, (5, 7)).astype(float)
    values[0, :2] = -1024, 3071.9375  # differences of all 16 bits
    scale = PixelScale.of([values], (40, 80))
    assert scale.step == 0.0625
    packed = list(gzip.decompress(scale.packed(values)))
    codes = in_node("return [...unpackedCodes(Uint8Array.from(packed))];", packed=packed)
    assert np.array_equal(scale.low + scale.step * np.array(codes).reshape(5, 7), values)


@pytest.mark.parametrize("inverted", [False, True])
def test_grey_values_are_those_of_the_window(inverted):
    scale = {"low": -1024.0, "step": 0.25, "inverted": inverted}
    codes = [0, 3000, 4096, 4256, 4257, 4800, 65535]
    found = in_node(
        """
        const pixels = new Uint8Array(greyTable(scale, { center: 40, width: 400 }).buffer);
        return codes.map((code) => [...pixels.subarray(4 * code, 4 * code + 4)]);
        """,
        scale=scale,
        codes=codes,
    )
    share = np.clip((-1024 + 0.25 * np.array(codes) - (-160)) / 400, 0, 1)
    grey = 255 * (1 - share if inverted else share)
    assert np.abs(np.array(found)[:, 0] - grey).max() <= 0.5
    assert all(p[0] == p[1] == p[2] and p[3] == 255 for p in found)


def test_zoom_keeps_what_lies_under_the_pointer_and_moves_follow_the_hand():
    found = in_node(
        """
        const panel = { width: 700, height: 500 };
        const height = 1.25;
        const place = (view, point) => ['x', 'y'].map((a) => view[a] + point[a] / viewScale(view, panel, height));
        const start = { x: 0.4, y: 0.5, zoom: 1.5 };
        const point = { x: -80, y: 60 };
        const zoomed = zoomedView(start, 1.7, point, panel, height);
        const moved = movedView(zoomed, 30, -20, panel, height);
        return {
          fits: viewScale(firstView(height), panel, height),
          before: place(start, point), after: place(zoomed, point),
          under: place(moved, { x: point.x + 30, y: point.y - 20 }),
          lost: movedView(start, 1e6, -1e6, panel, height), largest: zoomedView(start, 1e9, point, panel, height).zoom,
        };
        """
    )
    assert found["fits"] == 400  # 500 pixels for the height of 1.25
    np.testing.assert_allclose(found["after"], found["before"])
    np.testing.assert_allclose(found["under"], found["before"])
    assert (found["lost"]["x"], found["lost"]["y"]) == (0, 1.25)
    assert found["largest"] == 40


def test_windows_stay_within_bounds_and_are_written_with_enough_digits():
    found = in_node(
        """
        const scale = { step: 0.25, inverted: false };
        const start = { center: 40, width: 400 };
        const said = [[40, 400], [40.4, 12], [0.5, 0.8], [0.0004, 0.003]];
        return {
          wider: draggedWindow(start, 250, 0, scale), brighter: draggedWindow(start, 0, -100, scale),
          film: draggedWindow(start, 0, -100, { step: 0.25, inverted: true }),
          least: draggedWindow(start, -1e5, 0, scale).width, most: draggedWindow(start, 1e5, 0, scale).width,
          said: said.map(([center, width]) => windowText({ center, width })),
        };
        """
    )
    assert found["wider"]["width"] == pytest.approx(400 * np.e)
    assert found["brighter"] == {"center": -60, "width": 400}
    assert found["film"] == {"center": 140, "width": 400}
    assert (found["least"], found["most"]) == (1, 32768)
    assert found["said"] == ["C 40  W 400", "C 40.4  W 12.0", "C 0.500  W 0.800", "C 0.00040  W 0.00300"]
