"""The page and the key as files: what they hold, and what they conceal."""

import base64
import gzip
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from monai_medaug.experiments import ReaderQuestion, make_reader_study
from monai_medaug.scans import read_scan
from tests.experiments.studies import study_of, synthetic_versions
from tests.scan_files import real_scan


class Page(html.parser.HTMLParser):
    """The page as a browser parses it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks, self.policy, self.links, self.texts = {}, "", [], []
        self._within = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        own = dict(attrs)
        self._within = (tag, own.get("id")) if tag in ("script", "style") else None
        if own.get("http-equiv") == "Content-Security-Policy":
            self.policy = own["content"]
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        assert not any(name.startswith("on") or name == "style" for name in own), "the policy forbids it"

    def handle_endtag(self, tag):
        self._within = None

    def handle_data(self, data):
        if self._within:
            self.blocks[self._within] = self.blocks.get(self._within, "") + data
        else:
            self.texts.append(data)


def unpacked(packed: bytes) -> np.ndarray:
    """The whole numbers of an image, one after the other."""
    raw = gzip.decompress(packed)
    codes = [0]
    for low, high in zip(raw[: len(raw) // 2], raw[len(raw) // 2 :], strict=True):
        half, negative = divmod(low + 256 * high, 2)
        codes.append((codes[-1] + (-half - 1 if negative else half)) % 65536)
    return np.array(codes[1:], float)


def pixels_of(page: Page, study: dict, own: str) -> np.ndarray:
    """An image of the page as values."""
    codes = unpacked(base64.b64decode(page.blocks["script", f"pixels-{own}"]))
    scale = next(t["scale"] for t in study["trials"] if own in t["images"])
    described = study["images"][own]
    return (scale["low"] + scale["step"] * codes).reshape(described["rows"], described["columns"])


def test_images_come_back_exactly_and_the_key_tells_them_apart(tmp_path):
    path, study, key = study_of(tmp_path, window="brain")
    page = Page(path.read_text())
    versions = synthetic_versions(5)
    assert key["versions"] == ["noisy", "denoised"]
    assert len(key["images"]) == 10
    for own, place in key["images"].items():
        image = versions[key["versions"][place["version"]]][place["case"] - 1][0]
        assert np.array_equal(pixels_of(page, study, own), image)  # whole HU stay whole
    assert {tuple(t["scale"][n] for n in ("center", "width")) for t in study["trials"]} == {(40, 80)}


def test_the_page_conceals_which_is_which(tmp_path):
    path, study, key = study_of(tmp_path, 12)
    text = path.read_text()
    for word in ("noisy", "denoised", "version", "key.json", str(tmp_path)):
        assert word not in re.sub(r"<script>.*</script>", "", text, flags=re.S).replace("ReaderStudy", "")
    assert list(study["images"]) == sorted(study["images"])
    assert [t["id"] for t in study["trials"]] == sorted(t["id"] for t in study["trials"])
    by_order = [key["images"][own]["version"] for own in study["images"]]
    assert 0 < sum(by_order) < 24
    assert by_order != sorted(by_order)
    groups = [t["group"] for t in study["trials"]]
    cases = [key["images"][t["images"][0]]["case"] for t in study["trials"]]
    assert [g + 1 for g in groups] != cases
    per_case = {json.dumps(t["scale"]) for t in study["trials"]}
    assert len(per_case) == 12, "the versions of a case differ in their scale"


@pytest.mark.parametrize("cases", [1, 8, 9])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sides_are_balanced_and_exchanged_in_repeats(tmp_path, cases, seed):
    _, _, key = study_of(tmp_path, cases, seed=seed, repeats=cases // 2)
    first = {True: {}, False: {}}
    for trial in key["trials"].values():
        places = [key["images"][own] for own in trial["images"]]
        assert places[0]["case"] == places[1]["case"]
        first[trial["repeat"]][places[0]["case"]] = places[0]["version"]
    assert sorted(first[False]) == list(range(1, cases + 1))
    assert abs(sum(first[False].values()) - cases / 2) <= 0.5
    assert len(first[True]) == cases // 2
    assert all(first[False][case] == 1 - side for case, side in first[True].items())


def test_images_one_by_one(tmp_path):
    _, study, key = study_of(tmp_path, 5, layout="one by one", repeats=2)
    assert [q["kind"] for q in study["questions"]] == ["rating"]
    shown = [t["images"] for t in key["trials"].values()]
    assert sorted(map(len, shown)) == [1] * 14
    assert sorted({own for (own,) in shown}) == sorted(key["images"])
    with pytest.raises(ValueError, match="must be ratings where images are shown one by one"):
        study_of(tmp_path / "other", layout="one by one", questions=[ReaderQuestion("Better?", "preference")])


def test_the_policy_allows_the_script_and_the_style_by_their_hashes_and_nothing_else(tmp_path):
    path, _, _ = study_of(tmp_path)
    page = Page(path.read_text())
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, block in (("script-src", ("script", None)), ("style-src", ("style", None))):
        digest = base64.b64encode(hashlib.sha256(page.blocks[block].encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert page.links == []
    assert not re.search(r"https?:|//[a-z]+\.", path.read_text().partition('id="study"')[0])
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|eval\(|innerHTML", page.blocks["script", None])


def test_texts_cannot_leave_their_place(tmp_path):
    evil = "</script><script>alert(1)</script>@@PIXELS@@<!--"
    page, study, _ = study_of(tmp_path, title=evil, instructions=evil, questions=[ReaderQuestion(evil, "preference")])
    assert study["title"] == study["instructions"] == study["questions"][0]["text"] == evil
    parsed = Page(page.read_text())
    assert "alert(1)" not in parsed.blocks["script", None]
    assert sum(name == "script" for name, _ in parsed.blocks) == 2 + 10


def test_twenty_cases_of_512_pixels_take_less_than_25_megabytes(tmp_path):
    """Float images with the noise of a head CT, in a narrow window: what compresses worst."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 80, 512)[None, None] + np.zeros((1, 512, 1))
    noisy = [(ramp + 10 * rng.standard_normal(ramp.shape, np.float32)).astype(np.float32) for _ in range(2)]
    page, _ = make_reader_study({"a": noisy, "b": [i + 0.1 for i in noisy]}, tmp_path / "s.html", window="brain")
    assert 10 * page.stat().st_size < 25e6


def test_a_real_head_is_kept_exactly_and_small(tmp_path):
    """20 slices of 512² in two versions of whole HU: real ones take less than half of the 25 MB."""
    head = read_scan(real_scan("ct_head_ge_512.nii.gz")).image
    original, smooth = head[..., 6], np.rint(gaussian_filter(head[..., 6].numpy(), (0, 1, 1)))
    path, key_file = make_reader_study({"a": [original], "b": [smooth]}, tmp_path / "s.html", window="brain")
    page, key = Page(path.read_text()), json.loads(key_file.read_text())
    study = json.loads(page.blocks["script", "study"])
    plain = next(own for own, place in key["images"].items() if place["version"] == 1)
    assert np.array_equal(pixels_of(page, study, plain), smooth[0])
    assert 20 * path.stat().st_size < 12.5e6


def test_a_seed_makes_the_study_again_and_other_images_another_one(tmp_path):
    (tmp_path / "other").mkdir()
    page, study, key = study_of(tmp_path / "one")
    again, same, _ = study_of(tmp_path / "two")
    assert page.read_bytes() == again.read_bytes()
    versions = synthetic_versions(5)
    versions["noisy"][0][0, 0, 0] += 1
    changed, _ = make_reader_study(versions, tmp_path / "three" / "study.html", seed=1)
    assert study["content"] == key["content"] == same["content"]
    assert study["content"].encode() not in changed.read_bytes()
    assert study["study"] != study_of(tmp_path / "four", seed=None)[1]["study"]


def test_volumes_spacings_and_finer_versions(tmp_path):
    affine = np.diag([1.0, 2.0, 5.0, 1.0])
    volume = MetaTensor(torch.rand(1, 12, 8, 5), affine=torch.from_numpy(affine))
    finer = MetaTensor(torch.rand(1, 24, 16, 5), affine=torch.from_numpy(np.diag([0.5, 1.0, 5.0, 1.0])))
    page, key = make_reader_study({"a": [volume], "b": [finer]}, tmp_path / "s.html")
    text = page.read_text()
    study = json.loads(Page(text).blocks["script", "study"])
    versions = {i["version"]: study["images"][own] for own, i in json.loads(key.read_text())["images"].items()}
    assert versions == {
        0: {"rows": 8, "columns": 12, "aspect": 2.0},
        1: {"rows": 16, "columns": 24, "aspect": 2.0},
    }


def test_windows_of_all_kinds_of_image():
    from monai_medaug.experiments.reader_study.pixels import PixelScale

    rng = np.random.default_rng(0)
    mr = [rng.rayleigh(100, (64, 64)), rng.rayleigh(100, (64, 64))]
    scale = PixelScale.of(mr, None)
    together = np.stack(mr)
    assert scale.center - scale.width / 2 == pytest.approx(np.percentile(together, 0.5))
    assert scale.center + scale.width / 2 == pytest.approx(np.percentile(together, 99.5))
    for values, window in (
        (np.zeros((4, 4)), None),
        (np.full((4, 4), -1e30), None),
        (np.pad([[1.0]], 40), None),
        (np.array([[-2048.0, 1e6]]), (40, 80)),
        (rng.integers(0, 65536, (9, 9)).astype(float), None),
        (1e-12 * rng.random((9, 9)), None),
    ):
        scale = PixelScale.of([values], window)
        back = scale.low + scale.step * unpacked(scale.packed(values)).reshape(values.shape)
        assert scale.width > 0
        assert np.abs(back - values).max() <= 0.5 * scale.step
        assert np.log2(scale.step) == round(np.log2(scale.step))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": {"a": []}}, "versions must be a dict of two"),
        ({"versions": [[], []]}, "versions must be a dict of two"),
        ({"versions": {"a": [], "b": []}}, "the same 1 to 1000 cases, got 0 and 0"),
        ({"versions": {"a": [np.zeros((1, 4, 4))], "b": []}}, "got 1 and 0"),
        ({"versions": {"a": [np.zeros((1, 4, 4))], "b": [np.full((1, 4, 4), np.nan)]}}, "case 1 must be finite"),
        ({"versions": {"a": [np.zeros((3, 4, 4))], "b": [np.zeros((3, 4, 4))]}}, "case 1 must have one channel"),
        ({"versions": {"a": [np.zeros((1, 4, 4))], "b": [np.zeros((1, 4, 5))]}}, "the same field of view"),
        ({"versions": {"a": [np.zeros((1, 4, 4, 4))], "b": [np.zeros((1, 4, 4, 8))]}}, "as many slices"),
        ({"versions": {"": [np.zeros((1, 4, 4))], "b": [np.zeros((1, 4, 4))]}}, "versions must be a text"),
        ({"out": "study.pdf"}, r"ends in \.html"),
        ({"questions": []}, "questions must be 1 to 6"),
        ({"window": "head"}, "window must be one of"),
        ({"window": (40, 0)}, "window's width must be"),
        ({"window": (40,)}, r"window must be a preset's name or \(centre, width\)"),
        ({"layout": "above"}, "layout must be one of"),
        ({"repeats": 6}, "repeats must be"),
        ({"inverted": [True]}, "inverted must be one for each of the 5 cases"),
        ({"title": ""}, "title must be a text of 1 to 100"),
        ({"instructions": "x" * 4001}, "instructions must be a text"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, changed, said):
    arguments = {"versions": synthetic_versions(5, 8), "out": "study.html"} | changed
    with pytest.raises(ValueError, match=said):
        make_reader_study(arguments.pop("versions"), tmp_path / arguments.pop("out"), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(TypeError, match="case 1 must be a numpy array or a torch tensor, got str"):
        make_reader_study({"a": ["x"], "b": ["y"]}, tmp_path / "s.html")
    with pytest.raises(TypeError, match="questions must hold ReaderQuestion, got str"):
        make_reader_study(synthetic_versions(1), tmp_path / "s.html", ["better?"])
    with pytest.raises(ValueError, match="labels must be 2 to 9 texts"):
        ReaderQuestion("Sharp?", labels=("yes",))
    with pytest.raises(ValueError, match="kind must be one of"):
        ReaderQuestion("Sharp?", "likert")


def test_a_study_that_runs_is_not_written_over(tmp_path):
    page, _, key = study_of(tmp_path)
    page.unlink()  # sent away
    with pytest.raises(ValueError, match="a study or its key is there already"):
        study_of(tmp_path)
    assert json.loads((tmp_path / "study_key.json").read_text()) == key
