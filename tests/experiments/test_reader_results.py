"""Result files that are broken or made up are refused in words that quote nothing of them."""

import copy
import json

import pytest

from monai_medaug.experiments import score_reader_study
from tests.experiments.studies import result_by, study_of, written


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    _, _, key = study_of(folder, 4, repeats=1)
    return folder / "study_key.json", key, result_by(key, "R1", lambda *_: 1, lambda *_: 3)


def first(result):
    return result["answers"][0]


CHANGES = {
    "another format": (lambda r: r.update(format="x"), "must be the result of a reader study"),
    "a name too many": (lambda r: r.update(patient="Mueller"), "must be the result of a reader study"),
    "a name too few": (lambda r: r.pop("complete"), "must be the result of a reader study"),
    "another study": (lambda r: r.update(study="00"), "must be of the study of the key"),
    "other images": (lambda r: r.update(content="00"), "must be of the study of the key"),
    "a reader of no code": (lambda r: r.update(reader="Dr. Mueller"), "must hold a reader's code"),
    "a reader of no text": (lambda r: r.update(reader=["Mueller"]), "must hold a reader's code"),
    "answers of no list": (lambda r: r.update(answers={"Mueller": 1}), "must hold a list of at most 5 answers"),
    "too many answers": (lambda r: r.update(answers=r["answers"] * 2), "must hold a list of at most 5 answers"),
    "an answer of no object": (
        lambda r: r["answers"].__setitem__(0, "Mueller"),
        "answer 1 of result 1 must hold trial",
    ),
    "an answer with more": (lambda r: first(r).update(Mueller=1), "must hold trial, shown, seconds and values"),
    "an unknown trial": (lambda r: first(r).update(trial="Mueller"), "must be to a trial of the study"),
    "a trial of no text": (lambda r: first(r).update(trial=["Mueller"]), "must be to a trial of the study"),
    "a trial twice": (lambda r: r["answers"].__setitem__(1, first(r)), "answer 2 of result 1 must be to a trial"),
    "images of another trial": (lambda r: first(r).update(shown=r["answers"][1]["shown"]), "the images of its trial"),
    "an image twice": (lambda r: first(r).update(shown=[first(r)["shown"][0]] * 2), "the images of its trial"),
    "images of no list": (lambda r: first(r).update(shown="Mueller"), "the images of its trial"),
    "negative seconds": (lambda r: first(r).update(seconds=-1), "the seconds that it took"),
    "seconds of no number": (lambda r: first(r).update(seconds=True), "the seconds that it took"),
    "seconds of NaN": (lambda r: first(r).update(seconds=float("nan")), "the seconds that it took"),
    "endless seconds": (lambda r: first(r).update(seconds=10**400), "the seconds that it took"),
    "a question too many": (lambda r: first(r)["values"].update(q2=1), "a value for each question and no other"),
    "a question too few": (lambda r: first(r)["values"].pop("q0"), "a value for each question and no other"),
    "values of no object": (lambda r: first(r).update(values=[1]), "a value for each question and no other"),
    "an unknown preference": (lambda r: first(r)["values"].update(q0=2), "-1, 0 or 1 for a preference"),
    "a preference of True": (lambda r: first(r)["values"].update(q0=True), "-1, 0 or 1 for a preference"),
    "a preference of 1.0": (lambda r: first(r)["values"].update(q0=1.0), "-1, 0 or 1 for a preference"),
    "a rating of 0": (lambda r: first(r)["values"].update(q1=[0, 1]), "a rating from 1 to 5 for each image"),
    "a rating of 6": (lambda r: first(r)["values"].update(q1=[6, 1]), "a rating from 1 to 5 for each image"),
    "a rating too few": (lambda r: first(r)["values"].update(q1=[3]), "a rating from 1 to 5 for each image"),
    "ratings as text": (lambda r: first(r)["values"].update(q1="33"), "a rating from 1 to 5 for each image"),
    "a rating in a list": (lambda r: first(r)["values"].update(q1=[[3], 3]), "a rating from 1 to 5 for each image"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_page_would_not_write_is_refused(study, tmp_path, change):
    result = copy.deepcopy(study[2])
    alter, said = CHANGES[change]
    alter(result)
    with pytest.raises(ValueError, match=said) as found:
        score_reader_study(study[0], written(tmp_path, result))
    assert "result 1" in str(found.value)
    assert "Mueller" not in str(found.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be JSON"),
        (b"\xff\xfe\x00", "must be JSON"),
        (b"[" * 200_000, "must be JSON"),
        (b"1" * 5000, "must be JSON"),
        (b"[1]", "must hold a JSON object"),
        (b"{}", "must be the result of a reader study"),
        (b" " * (8 * 2**20 + 1), "must not exceed 8 MiB"),
    ],
    ids=["empty", "bytes", "deep", "a long number", "a list", "nothing", "large"],
)
def test_files_that_are_no_result(study, tmp_path, content, said):
    path = tmp_path / "Mueller.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"result 1 {said}") as found:
        score_reader_study(study[0], [path])
    assert "Mueller" not in str(found.value)


def test_files_that_are_not_there(study, tmp_path):
    with pytest.raises(ValueError, match="result 2 must be a file that can be read"):
        score_reader_study(study[0], [*written(tmp_path, study[2]), tmp_path / "Mueller.json"])
    with pytest.raises(ValueError, match="result 1 must be a file that can be read"):
        score_reader_study(study[0], [tmp_path])
    with pytest.raises(ValueError, match="results must be a list"):
        score_reader_study(study[0], [])
    with pytest.raises(ValueError, match="results must be a list"):
        score_reader_study(study[0], str(tmp_path / "Mueller.json"))


def test_two_files_of_one_reader_are_not_two_readers(study, tmp_path):
    other = study[2] | {"reader": "R2"}
    with pytest.raises(ValueError, match="results 1 and 3 are of the same reader"):
        score_reader_study(study[0], written(tmp_path, study[2], other, study[2]))


@pytest.mark.parametrize(
    "alter",
    [
        lambda k: k.update(format="x"),
        lambda k: k.pop("trials"),
        lambda k: k.update(versions=["a"]),
        lambda k: k.update(layout="above"),
        lambda k: k.update(images=[]),
        lambda k: k.update(images={}),
        lambda k: next(iter(k["images"].values())).update(version=2),
        lambda k: next(iter(k["images"].values())).update(case=0),
        lambda k: next(iter(k["trials"].values())).update(images=["x", "y"]),
        lambda k: next(iter(k["trials"].values())).update(images=["x"]),
        lambda k: k["questions"][0].update(kind="x"),
        lambda k: k["questions"][0].pop("labels"),
        lambda k: k.update(questions=[1]),
    ],
)
def test_a_broken_key_is_refused(study, tmp_path, alter):
    key = copy.deepcopy(study[1])
    alter(key)
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    with pytest.raises(ValueError, match="the key file must be the key of a reader study"):
        score_reader_study(path, written(tmp_path, study[2]))
    with pytest.raises(ValueError, match="the key file must be the key of a reader study"):
        score_reader_study(written(tmp_path, study[2])[0], written(tmp_path, study[2]))
