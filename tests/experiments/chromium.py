"""A headless Chromium driven by its protocol over a pipe, without further packages; tests skip where there is none."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT = 60  # seconds


def browser_or_skip() -> str:
    """The first Chromium that runs: a name may be that of a stub, which only says where to get it."""
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.run([path, "--version"], capture_output=True, timeout=WAIT, check=False).returncode == 0:
            return path
    pytest.skip("there is no Chromium")


class Chromium:
    """One page in a window of its own; ``requests`` and ``errors`` hold what it asked for and what went wrong."""

    def __init__(self, home: Path, width: int = 1600, height: int = 1000) -> None:
        to_browser, self._send = os.pipe()
        self._receive, from_browser = os.pipe()
        options = [
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",  # tests may run as root
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--hide-scrollbars",
            f"--user-data-dir={home / 'profile'}",
            f"--window-size={width},{height}",
            "about:blank",
        ]
        # the protocol wants descriptors 3 and 4: from numbers above them, so that neither is overwritten
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
        moved = f"import os, sys; os.dup2({ends[0]}, 3); os.dup2({ends[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", moved, browser_or_skip(), *options],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in ends:
            os.close(end)
        os.close(to_browser)
        os.close(from_browser)
        self._numbers, self._buffer = itertools.count(1), b""
        self._session: str | None = None
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.downloads = home / "downloads"
        self.downloads.mkdir(parents=True, exist_ok=True)
        target = next(t["targetId"] for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        session, self._session = self._session, None
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        self._session = session

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(WAIT)
        os.close(self._send)
        os.close(self._receive)

    def call(self, method: str, **params):
        """A call of the protocol, and its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._send, data) :]
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _next(self) -> dict:
        until = time.monotonic() + WAIT
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receive], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._receive, 1 << 20)
            assert piece, "the browser ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.errors.append(json.dumps(params["args"]))

    def open(self, page: Path) -> None:
        self.call("Page.navigate", url=page.absolute().as_uri())
        self.wait("document.readyState === 'complete' && document.getElementById('title')")

    def run(self, script: str):
        """The value of an expression of the page, waited for where it is a promise."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        until = time.monotonic() + WAIT
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < until, f"never came true: {condition}"
            time.sleep(0.02)

    def key(self, key: str, shift: bool = False, held: bool = False) -> None:
        """A key pressed and let go; ``held`` so long that it repeats itself twice."""
        text = {"text": key} if len(key) == 1 else {}
        if key == "Enter":
            text = {"text": "\r"}
        kinds = ["keyDown", *(["keyDown"] * 2 if held else []), "keyUp"]
        for n, kind in enumerate(kinds):
            own = text | {"autoRepeat": n > 0} if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0, **own)

    def mouse(self, kind: str, x: float, y: float, button: str = "none", **more) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, **more)

    def drag(self, start: tuple[float, float], by: tuple[float, float], button: str = "left") -> None:
        held = {"left": 1, "right": 2}[button]
        (x, y), (right, down) = start, by
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button, clickCount=1, buttons=held)
        self.mouse("mouseMoved", x + right / 2, y + down / 2, button, buttons=held)
        self.mouse("mouseMoved", x + right, y + down, button, buttons=held)
        self.mouse("mouseReleased", x + right, y + down, button, clickCount=1)

    def click(self, selector: str) -> None:
        """A press and release of the mouse on the middle of an element."""
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
            "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, "left", clickCount=1, buttons=1)
        self.mouse("mouseReleased", x, y, "left", clickCount=1)

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def downloaded(self, count: int = 1) -> list[Path]:
        until = time.monotonic() + WAIT
        while len(found := sorted(self.downloads.glob("*.json"))) < count:
            assert time.monotonic() < until, "nothing was saved"
            self.run("1")
            time.sleep(0.02)
        return found
