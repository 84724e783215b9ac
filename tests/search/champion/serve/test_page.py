"""The web page at `/` in a browser: choosing, dropping and recording, by keyboard alone.

The browser is driven over its DevTools pipe, so no other package is needed.
Source: Chrome DevTools Protocol, 2026, https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray

from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.serve.app import create_app
from chorale.search.champion.serve.limits import RequestLimits

Tone = Callable[..., bytes]
WAIT_S = 150.0
"""A browser without a sound card may look for one for a minute before it records."""
N_STEPS = 12
"""More than the number of Tab stops before there is a result."""


class Browser:
    """A headless browser with one page at a time."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = (
            "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
            "disable-background-networking", "disable-component-update", "disable-sync",
            "hide-scrollbars", "use-fake-ui-for-media-stream", "use-fake-device-for-media-stream",
            "autoplay-policy=no-user-gesture-required", "remote-debugging-pipe",
        )  # fmt: skip
        words = [program, *(f"--{flag}" for flag in flags), f"--user-data-dir={profile}"]

        def connect() -> None:  # it reads commands from file 3, and writes answers to file 4
            os.dup2(theirs_in, 10)
            os.dup2(theirs_out, 11)
            os.dup2(10, 3)
            os.dup2(11, 4)

        self.process = subprocess.Popen(
            [*words, "about:blank"], pass_fds=(3, 4), preexec_fn=connect,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._n, self._rest, self._session, self._target = 0, b"", "", ""
        self.events: list[dict[str, Any]] = []

    def new_page(self) -> None:
        """Replaces the page by a new one, and forgets the events of the old one."""
        old, self._session = self._target, ""
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        if old:
            self.call("Target.closeTarget", targetId=old)
        attached = self.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.events.clear()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command; gives the browser's answer."""
        self._n += 1
        command: dict[str, Any] = {"id": self._n, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._n:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            got = os.read(self._in, 2**20)
            assert got, "the browser has ended"
            self._rest += got
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def evaluate(self, script: str) -> Any:
        """The value of a script."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until a script's value is true."""
        ends_s = time.monotonic() + WAIT_S
        while not self.evaluate(script):
            assert time.monotonic() < ends_s, (script, self.evaluate("document.body.innerText"))
            time.sleep(0.05)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.getElementById('bounds')?.textContent.length > 0")

    def key(self, name: str) -> None:
        """Presses a key."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r"), "ArrowRight": (39, "")}[name]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, text=text,
                windowsVirtualKeyCode=code,
            )  # fmt: skip

    def tab_to(self, name: str) -> None:
        """Presses Tab until the element of that id has the focus."""
        for _ in range(N_STEPS):
            if self.evaluate("document.activeElement.id") == name:
                return
            self.key("Tab")
        raise AssertionError(f"Tab does not lead to {name}")

    def screenshot(self, *, width: int, dark: bool, to: Path) -> None:
        """Saves a screenshot of the whole page, without transitions."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        to.write_bytes(base64.b64decode(answer["data"]))

    def console_messages(self) -> list[Any]:
        """The console's messages: errors, and requests that the page's policy blocked."""
        self.evaluate("1")
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        messages = [one["params"] for one in self.events if one["method"] in kinds]
        return [one for one in messages if one.get("entry", {}).get("level") != "verbose"]

    def requested_urls(self) -> list[str]:
        """The URLs that the page requested."""
        self.evaluate("1")
        method = "Network.requestWillBeSent"
        return [one["params"]["request"]["url"] for one in self.events if one["method"] == method]

    def close(self) -> None:
        with suppress(OSError, AssertionError):
            self._session = ""
            self.call("Browser.close")
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)


class ThreeTracks:
    """A library of three tracks, one of them with HTML in its name."""

    def similar(self, embedding: NDArray[np.float32], n: int) -> Sequence[dict[str, Any]]:
        assert embedding.ndim == 1
        rows = [
            ("Kind of High", "A. Player", "high", 0.97),
            ("<img src=x onerror=alert(1)>", "B & Sons", "mid", 0.81),
            ("A name that goes on for so long that it has to be broken/01", None, "low", 0.5),
        ]  # fmt: skip
        names = ("track", "artist", "label", "similarity")
        return [dict(zip(names, row, strict=True)) for row in rows[:n]]


@pytest.fixture(scope="module")
def site(served: Predictor) -> Iterator[str]:
    """The URL of the app, with a library."""
    app = create_app(served, library=ThreeTracks(), limits=RequestLimits(duration_s=60))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a page; skips where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    made = Browser(found, tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture
def browser(program: Browser, site: str) -> Iterator[Browser]:
    """A browser at the page, which may load nothing else and may write nothing to the console."""
    program.new_page()
    program.open(site)
    yield program
    assert program.console_messages() == []
    assert {url.partition(":")[0] for url in program.requested_urls()} <= {
        "http",
        "data",
        "blob",
        "about",
    }
    http = [url for url in program.requested_urls() if url.startswith("http")]
    assert all(url.startswith(site) for url in http), "it loads from other hosts"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Nine seconds: low, then high, louder."""
    import soundfile

    time_s = np.arange(3 * 8000) / 8000
    parts = [a * np.sin(2 * np.pi * f * time_s) for a, f in ((0.1, 300), (0.3, 600), (0.6, 1200))]
    path = tmp_path / "a song.wav"
    soundfile.write(path, np.concatenate(parts), 8000)
    return path


SHOWN = "!document.getElementById('result').hidden"


def test_a_file_is_chosen_and_its_result_read_by_keyboard_alone(
    browser: Browser, recording: Path, tmp_path: Path
) -> None:
    browser.call("Page.setInterceptFileChooserDialog", enabled=True)
    browser.tab_to("file")
    browser.key("Enter")
    browser.until("1")
    [opened] = [one for one in browser.events if one["method"] == "Page.fileChooserOpened"]
    node = opened["params"]["backendNodeId"]
    browser.call("DOM.setFileInputFiles", files=[str(recording)], backendNodeId=node)
    browser.until(SHOWN)

    label = browser.evaluate("document.getElementById('genre').textContent")
    assert label in ("low", "mid", "high")
    assert (
        browser.evaluate("document.getElementById('state').textContent")
        == f"a song.wav is {label}."
    )
    assert browser.evaluate("document.querySelectorAll('#bars li').length") == 3
    assert browser.evaluate("document.querySelectorAll('#wave rect').length") == 400
    assert browser.evaluate("document.querySelectorAll('#timeline button').length") == 3
    similar = browser.evaluate("document.getElementById('similar').innerText")
    assert "Kind of High" in similar
    assert "<img src=x onerror=alert(1)>" in similar, "it is shown as text"
    assert browser.evaluate("document.querySelectorAll('#similar img').length") == 0

    assert browser.evaluate("document.activeElement.id") == "result", (
        "the focus moves to the result"
    )
    for _ in range(N_STEPS):
        browser.key("Tab")
        if browser.evaluate("document.activeElement.parentElement.id") == "timeline":
            break
    browser.key("ArrowRight")
    assert browser.evaluate("document.getElementById('moment').textContent").startswith(
        "0:03 to 0:06"
    )
    browser.key("Enter")
    assert browser.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    browser.until("document.getElementById('player').currentTime >= 3")

    browser.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    for width in (1000, 400):
        for dark in (False, True):
            browser.screenshot(width=width, dark=dark, to=tmp_path / f"{width}-{dark}.png")
            wide = browser.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, "nothing is cut off at the sides"


def test_a_file_is_dropped(browser: Browser, recording: Path) -> None:
    data = {"items": [], "files": [str(recording)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.call("Input.dispatchDragEvent", type=kind, x=400, y=300, data=data)
    browser.until(SHOWN)
    assert browser.evaluate("document.getElementById('name').textContent") == "a song.wav · 0:09"


def test_the_microphone_is_recorded(browser: Browser) -> None:
    browser.tab_to("record")
    browser.key("Enter")
    browser.until("document.getElementById('record').textContent === 'Stop'")
    assert (
        browser.evaluate("document.activeElement.id") == "record"
    )  # else the next key has no effect
    browser.until("document.getElementById('state').textContent.startsWith('Recording: 0:01')")
    browser.key("Enter")
    browser.until(SHOWN)
    assert "Your recording" in browser.evaluate("document.getElementById('name').textContent")


def test_a_refusal_is_shown_and_the_page_keeps_working(
    browser: Browser, recording: Path, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not audio")
    data: dict[str, Any] = {"items": [], "dragOperationsMask": 1}
    for files in ([str(text)], [str(recording)]):
        for kind in ("dragEnter", "dragOver", "drop"):
            browser.call(
                "Input.dispatchDragEvent", type=kind, x=400, y=300, data=data | {"files": files}
            )
        if files == [str(text)]:
            browser.until("!document.getElementById('error').hidden")
            answer = browser.evaluate("document.getElementById('error').textContent")
            assert answer.startswith("notes.txt: undecodable")
    browser.until(SHOWN)
    assert browser.evaluate("document.getElementById('error').hidden")
    # the browser itself logs the answer 415; there may be no other message
    messages = [one for one in browser.console_messages() if "415" in str(one)]
    assert len(messages) == len(browser.console_messages())
    browser.events.clear()
