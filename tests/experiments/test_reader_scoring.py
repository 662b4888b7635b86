"""Scores of simulated readers, whose preference, consistency and side are known."""

import json

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from monai_medaug.experiments import score_reader_study
from tests.experiments.simulated import coverage
from tests.experiments.studies import result_by, study_of, written


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """20 cases of which 4 come twice."""
    folder = tmp_path_factory.mktemp("study")
    _, _, key = study_of(folder, 20)
    return folder / "study_key.json", key


def scored(study, folder, *results):
    return score_reader_study(study[0], written(folder, *results), draws=500)


def test_answers_are_those_of_the_versions_whatever_the_sides(study, tmp_path):
    rule = {"prefer": lambda case, repeat: (-1, 0, 1, 1)[case % 4], "rate": lambda case, version, repeat: 2 + version}
    results = [result_by(study[1], f"R{n}", **rule, swapped=bool(n % 2)) for n in range(4)]
    score = scored(study, tmp_path, *results)
    preference, rating = score["questions"]
    assert preference["counts"] == {"noisy": 20, "no difference": 20, "denoised": 40}
    assert preference["value"] == 0.625
    assert preference["between_readers"] == preference["same_again"] == 1
    assert preference["sides"]["share_a"] == pytest.approx(0.5)
    assert rating["counts"] == {"noisy": [0, 80, 0, 0, 0], "denoised": [0, 0, 80, 0, 0]}
    assert (rating["value"], rating["interval"]) == (1, [1, 1])
    assert (score["readers"], score["complete"], score["cases"], score["warnings"]) == (4, 4, 20, [])
    assert score["seconds_per_trial"] == 12.5


def test_areas_are_of_each_reader_so_that_the_scale_may_be_used_in_its_own_way(study, tmp_path):
    """One reader rates from 1 to 3, the other from 3 to 5; both see the same."""
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 3, (21, 2))
    seen[:, 1] = np.maximum(seen[:, 1], rng.integers(0, 3, 21))
    results = [
        result_by(
            study[1], f"R{n}", lambda case, repeat: 0, lambda case, v, repeat, n=n: 1 + 2 * n + int(seen[case, v])
        )
        for n in range(2)
    ]
    found = scored(study, tmp_path, *results)["questions"][1]
    theirs = mannwhitneyu(seen[1:, 1], seen[1:, 0]).statistic / 400
    assert found["value"] == pytest.approx(theirs, abs=1e-12)


def test_a_reader_who_always_chooses_the_left_is_noticed(study, tmp_path):
    result = result_by(study[1], "R", lambda case, repeat: 0, lambda *_: 3)
    for answer in result["answers"]:
        answer["values"]["q0"] = -1
    score = scored(study, tmp_path, result)
    found = score["questions"][0]
    assert found["value"] == 0.5  # the sides are balanced
    assert found["sides"] == {"share_a": 1.0, "p": pytest.approx(2 * 0.5**24)}
    assert found["same_again"] == 0  # repeats have the sides exchanged
    assert any("a side is preferred" in warning for warning in score["warnings"])
    assert any("one reader" in warning for warning in score["warnings"])
    assert any("readers answer otherwise" in warning for warning in score["warnings"])
    assert "ATTENTION: a side is preferred" in str(score)


def test_repeats_count_for_consistency_alone(study, tmp_path):
    result = result_by(study[1], "R", lambda case, repeat: -1 if repeat else 1, lambda c, v, repeat: 5 if repeat else 2)
    preference, rating = scored(study, tmp_path, result)["questions"]
    assert preference["value"] == 1
    assert rating["counts"] == {"noisy": [0, 20, 0, 0, 0], "denoised": [0, 20, 0, 0, 0]}
    assert preference["within_readers"] == 0  # always the same, and always the opposite
    assert preference["same_again"] == rating["same_again"] == 0


def test_what_is_missing_does_not_count(study, tmp_path):
    full = result_by(study[1], "full", lambda *_: 1, lambda c, v, r: 1 + v)
    half = result_by(study[1], "half", lambda *_: -1, lambda c, v, r: 2 - v)
    none = result_by(study[1], "none", lambda *_: 1, lambda *_: 1) | {"answers": [], "complete": True}
    firsts = [a for a in half["answers"] if not study[1]["trials"][a["trial"]]["repeat"]]
    half["answers"] = firsts[:10]
    score = scored(study, tmp_path, full, half, none)
    preference, rating = score["questions"]
    assert preference["counts"] == {"noisy": 10, "no difference": 0, "denoised": 20}
    assert preference["value"] == pytest.approx(2 / 3)
    assert rating["value"] == pytest.approx(0.5)  # areas 1 and 0
    assert score["complete"] == 1
    assert "38 of 72 trials have no answer" in score["warnings"]
    empty = scored(study, tmp_path, none)
    assert empty["questions"][0]["value"] is None
    assert empty["questions"][1]["interval"] == [None, None]
    assert empty["seconds_per_trial"] is None
    json.loads(empty.to_json())
    assert "-" in str(empty)


def test_a_study_of_single_images(tmp_path):
    _, _, key = study_of(tmp_path, 6, layout="one by one")
    result = result_by(key, "R", None, lambda case, version, repeat: 2 + version)
    score = score_reader_study(tmp_path / "study_key.json", written(tmp_path, result), draws=200)
    assert [q["value"] for q in score["questions"]] == [1]
    assert score["questions"][0]["within_readers"] == 1


def test_the_report_names_no_reader(study, tmp_path):
    results = [result_by(study[1], name, lambda *_: 1, lambda *_: 3) for name in ("Mueller", "Erika")]
    score = scored(study, tmp_path, *results)
    for text in (str(score), score.to_json()):
        assert "Mueller" not in text
        assert "Erika" not in text
        assert str(tmp_path) not in text


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_intervals_cover_the_truth_of_other_readers_and_cases(shift):
    """95 % intervals of 4 readers and 20 cases hold what many readers would find in many cases."""
    held = coverage(4, shift=shift)
    assert (held >= 0.88).all(), held  # 0.95 in long runs, less 2.5 standard deviations of 80 studies
    assert (held < 1).all(), "the intervals are so wide that they say nothing"
