"""The web page at `/` in a browser: choosing, dropping and recording, by keyboard alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.serve.app import create_app
from chorale.search.champion.serve.limits import RequestLimits
from tests.search.champion.serve.browser import N_STEPS, Browser, running


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
    with running(app) as url:
        yield url


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
