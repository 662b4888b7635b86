"""The page in a real browser, opened from the disk: what a reader does, from the first look to the saved result."""

import json
import time

import numpy as np
import pytest

from monai_medaug.experiments import score_reader_study
from tests.experiments.chromium import Chromium
from tests.experiments.studies import study_of, synthetic_versions

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    own = Chromium(tmp_path_factory.mktemp("chromium"))
    yield own
    own.close()


@pytest.fixture
def study(browser, tmp_path):
    """A study of five cases with one repeat, open in the browser; errors and requests of the network fail the test."""
    browser.errors.clear()
    browser.requests.clear()
    page, data, key = study_of(tmp_path, 5, window=(40, 80), instructions="Look at the edges.")
    browser.open(page)
    yield page, data, key
    browser.run("1")
    assert browser.errors == []
    assert {url.partition(":")[0] for url in browser.requests} <= {"file", "blob"}
    assert sum(url.startswith("file") for url in browser.requests) == sum("study.html" in u for u in browser.requests)


def begin(browser, reader: str) -> None:
    browser.run(f"byId('reader').value = {reader!r}")
    browser.click("#begin button")
    wait_for_images(browser)


def wait_for_images(browser) -> None:
    browser.wait("viewer.scale && trial && viewer.scale === trial.scale")


def shown_versions(browser, key) -> list[str]:
    return [key["versions"][key["images"][own]["version"]] for own in browser.run("shownImages(trial, session)")]


def greys(browser, panel: int) -> np.ndarray:
    """What a canvas shows, (rows, columns)."""
    values = browser.run(
        f"(() => {{ const c = viewer.panels[{panel}].canvas; "
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; "
        "return [c.width, c.height, Array.from({ length: d.length / 4 }, (_, i) => d[4 * i])]; })()"
    )
    return np.array(values[2]).reshape(values[1], values[0])


def test_a_reader_from_the_first_look_to_the_saved_result(browser, study, tmp_path):
    page, data, key = study
    assert browser.run("document.body.innerText").count("Look at the edges.") == 1
    begin(browser, "R-1")
    assert browser.run("byId('place').textContent") == "Case 1 of 6"
    assert browser.run("byId('next').disabled")
    browser.key("Enter")  # not yet answered
    assert browser.run("session.at") == 0
    for place in range(6):
        wait_for_images(browser)
        versions = shown_versions(browser, key)
        if place == 0:
            time.sleep(0.3)
        browser.key(str(1 + 2 * versions.index("denoised")))
        for version in versions:
            browser.key({"noisy": "2", "denoised": "5"}[version])
        assert not browser.run("byId('next').disabled")
        if place == 2:  # the browser is closed and the page opened again
            browser.open(page)
            begin(browser, "R-1")
            assert browser.run("session.at") == 2
            assert browser.run("byId('progress').value") == 3
        if place == 3:
            browser.key("ArrowLeft")
            wait_for_images(browser)
            assert browser.run("session.at") == 2
            assert browser.run("document.querySelectorAll('input:checked').length") == 3
            browser.click("#next")
            wait_for_images(browser)
        if place == 5:
            browser.run("delete session.answers[session.order[1]].values.q0")
            browser.key("Enter")  # an answer is missing: back to it
            wait_for_images(browser)
            assert browser.run("session.at") == 1
            browser.key(str(1 + 2 * shown_versions(browser, key).index("denoised")))
            for at in range(2, 6):
                browser.key("Enter")
                wait_for_images(browser)
                assert browser.run("session.at") == at
        browser.key("ArrowRight")
    browser.wait("!byId('end').hidden")
    browser.click("#save-all")
    (saved,) = browser.downloaded()
    assert saved.name == f"reader_R-1_{data['study'][:6]}.json"
    result = json.loads(saved.read_text())
    saved.unlink()
    assert result["complete"]
    assert result["reader"] == "R-1"
    assert 0.3 <= result["answers"][0]["seconds"] < 60
    assert all(0 <= answer["seconds"] < 60 for answer in result["answers"])
    (tmp_path / "r.json").write_text(json.dumps(result))
    score = score_reader_study(page.with_name("study_key.json"), [tmp_path / "r.json"], draws=100)
    preference, rating = score["questions"]
    assert preference["counts"] == {"noisy": 0, "no difference": 0, "denoised": 5}
    assert rating["counts"] == {"noisy": [0, 5, 0, 0, 0], "denoised": [0, 0, 0, 0, 5]}
    assert preference["within_readers"] is None  # one repeat, all alike
    assert score["complete"] == 1


def test_the_canvases_show_the_images_in_the_window(browser, study):
    _, _, key = study
    begin(browser, "pixels")
    shown = [key["images"][own] for own in browser.run("shownImages(trial, session)")]
    versions = synthetic_versions(5)
    for panel, place in enumerate(shown):
        image = versions[key["versions"][place["version"]]][place["case"] - 1][0]
        canvas = greys(browser, panel)
        side = min(canvas.shape)
        top, left = (canvas.shape[0] - side) // 2, (canvas.shape[1] - side) // 2
        centres = ((np.arange(24) + 0.5) * side / 24).astype(int)
        found = canvas[np.ix_(top + centres, left + centres)]
        away = np.abs(found - 255 * np.clip(image / 80, 0, 1))  # the canvas's pixels lie up to half a one off
        assert away.max() <= 30
        assert away.mean() <= 4


def test_view_and_window_move_in_step(browser, study):
    begin(browser, "view")
    panel = browser.run(
        "(() => { const b = viewer.panels[0].canvas.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()"
    )
    at = (panel[0] + panel[2] * 0.3, panel[1] + panel[3] * 0.6)

    def state():
        return browser.run("({ ...viewer.view, ...viewer.window })")

    first = state()
    browser.mouse("mouseWheel", *at, deltaX=0, deltaY=-240)
    browser.wait("viewer.view.zoom > 1.3")
    zoomed = state()
    assert zoomed["x"] < first["x"]  # toward the pointer
    assert zoomed["y"] > first["y"]
    browser.drag(at, (50, 20))
    moved = state()
    scale = zoomed["zoom"] * min(panel[2], panel[3])
    assert moved["x"] == pytest.approx(zoomed["x"] - 50 / scale)
    assert moved["y"] == pytest.approx(zoomed["y"] - 20 / scale)
    assert moved["width"] == first["width"]
    browser.drag(at, (100, -30), "right")
    windowed = state()
    assert windowed["width"] == pytest.approx(first["width"] * np.exp(100 / 250))
    assert windowed["center"] < first["center"]
    assert windowed["zoom"] == moved["zoom"]
    assert browser.run("byId('window-text').textContent") == f"C {windowed['center']:.0f}  W {windowed['width']:.0f}"
    one, other = greys(browser, 0), greys(browser, 1)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.5  # the same place on both
    browser.key("0")
    assert state() == first
    for key in ("+", "w", "b"):
        browser.key(key)
    browser.key("ArrowRight", shift=True)
    keyed = state()
    assert keyed["zoom"] == 1.25
    assert keyed["width"] > first["width"]
    assert keyed["center"] < first["center"]
    assert keyed["x"] > first["x"]
    assert browser.run("session.at") == 0


def test_keys_work_after_clicks_and_a_held_key_answers_once(browser, study):
    begin(browser, "keys")
    browser.key("2", held=True)
    assert browser.run("document.querySelectorAll('input:checked').length") == 1
    for row in (2, 3):
        browser.click(f".question:nth-child({row}) label:nth-of-type(4)")
    assert browser.run("Object.values(answersOf(session, trial.id).values)") == [1, 3, 3]
    browser.click("#next")
    wait_for_images(browser)
    for key in "311":
        browser.key(key)
    browser.key("ArrowUp")
    browser.key("2")  # corrects the first rating
    browser.key("Enter", held=True)
    wait_for_images(browser)
    assert browser.run("session.at") == 2
    browser.click("#previous")
    wait_for_images(browser)
    values = browser.run("Object.entries(answersOf(session, trial.id).values).sort()")
    assert values == [["q0", 2], ["q1-0", 1], ["q1-1", 0]]


def test_two_readers_share_a_browser_and_can_stop(browser, study):
    begin(browser, "one")
    browser.key("3")
    first = browser.run("session.order")
    browser.click("#leave")
    begin(browser, "two")
    assert browser.run("Object.keys(session.answers).length === 0 || countAnswered(study, session) === 0")
    assert browser.run("document.querySelectorAll('input:checked').length") == 0
    browser.click("#leave")
    begin(browser, "one")
    assert browser.run("session.order") == first
    assert browser.run("document.querySelectorAll('input:checked').length") == 1
    browser.click("#save")  # what there is: no trial is complete
    (saved,) = browser.downloaded()
    result = json.loads(saved.read_text())
    saved.unlink()
    assert result["answers"] == []
    assert not result["complete"]


def test_a_reader_without_a_code_does_not_begin(browser, study):
    for code in ("", "Dr. Mueller", "<b>"):
        browser.run(f"byId('reader').value = {code!r}")
        browser.click("#begin button")
        assert browser.run("byId('reading').hidden")


def test_a_browser_that_keeps_nothing_says_so(browser, study):
    browser.run("Object.defineProperty(window, 'localStorage', { get() { throw new Error('private'); } }), 1")
    begin(browser, "private")
    assert not browser.run("byId('warning').hidden")
    assert "do not close the page" in browser.run("byId('warning').textContent")
    browser.key("1")
    assert browser.run("document.querySelectorAll('input:checked').length") == 1


def test_nothing_can_be_fetched_or_run_by_an_injected_element(browser, study):
    refused = browser.run(
        """
        (async () => {
          const refused = [];
          document.addEventListener('securitypolicyviolation', (event) => refused.push(event.violatedDirective));
          await fetch('data:text/plain,x').catch(() => {});
          const script = document.createElement('script');
          script.textContent = 'window.injected = true';
          document.body.append(script);
          const image = new Image();
          image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';
          await new Promise((done) => { image.onerror = image.onload = () => setTimeout(done, 50); });
          return { refused, injected: Boolean(window.injected) };
        })()
        """
    )
    browser.run("1")
    browser.errors.clear()  # the refusals are logged as errors
    browser.requests.clear()
    assert not refused["injected"]
    assert {rule.removesuffix("-elem") for rule in refused["refused"]} == {"connect-src", "script-src", "img-src"}


def test_single_images_and_radiographs(browser, tmp_path):
    page, _, _ = study_of(tmp_path, 3, layout="one by one", inverted=True)
    browser.open(page)
    begin(browser, "single")
    assert browser.run("viewer.panels.length") == 1
    bright = greys(browser, 0)
    browser.run("(trial.scale.inverted = false, viewer.paint(), 1)")
    upright = greys(browser, 0)
    middle = (slice(bright.shape[0] // 4, -bright.shape[0] // 4), slice(bright.shape[1] // 3, -bright.shape[1] // 3))
    assert np.abs(bright[middle] + upright[middle] - 255).max() <= 2
    assert browser.errors == []
