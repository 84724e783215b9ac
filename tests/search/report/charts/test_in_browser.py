"""Charts in Chromium: each is drawn without an error or a request, and reacts to the pointer."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chorale.search.report.page.frame import render_framed
from tests.search.champion.serve.browser import Browser
from tests.search.report.charts.examples import EVERY

TEMPLATE = """{% extends "frame.html" %}{% block body %}{% for one in figures %}<figure>
{{ one }}
</figure>{% endfor %}{% endblock %}"""

AXIS = "[...document.querySelectorAll('#{}-chart .role-axis-label text')].map(t => t.textContent)"


class PageOfCharts:
    """All examples in a browser, with a mouse."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser = browser
        (folder / "page.html").write_text(TEMPLATE)
        texts = {"title": "charts", "kicker": "", "dateline": ""}
        html = render_framed(folder, "page.html", {**texts, "figures": [*EVERY.values()]})
        (folder / "charts.html").write_text(html)
        self.url = (folder / "charts.html").as_uri()

    def open(self, width: int = 1000, *, scripts: bool = True) -> None:
        """Opens the page anew; waits until its charts are drawn."""
        self.browser.new_page()
        self.browser.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False}
        self.browser.call("Emulation.setDeviceMetricsOverride", **size)
        self.browser.call("Page.navigate", url=self.url)
        state = (
            "dataset.charts === 'drawn'" if scripts else "querySelector('footer') instanceof Object"
        )
        self.browser.until(f"location.protocol === 'file:' && document.documentElement?.{state}")

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width, height of an element, which it scrolls to."""
        found = f"document.querySelector({selector!r})"
        self.browser.evaluate(f"{found}.scrollIntoView({{block: 'center'}})")
        place = f"(r => [r.x, r.y, r.width, r.height])({found}.getBoundingClientRect())"
        left, top, width, height = json.loads(self.browser.evaluate(f"JSON.stringify({place})"))
        return left, top, width, height

    def mouse(self, kind: str, x: float, y: float, *, button: str = "left", **more: Any) -> None:
        given = {"type": kind, "x": x, "y": y, "button": button, **more}
        self.browser.call("Input.dispatchMouseEvent", **given)

    def point_at(self, x: float, y: float) -> str:
        """The text of the tooltip there."""
        tooltip = "document.getElementById('vg-tooltip-element')"
        for at in (x - 3, x):
            self.mouse("mouseMoved", at, y, button="none")
        self.browser.until(f"{tooltip}?.classList.contains('visible')")
        return str(self.browser.evaluate(f"{tooltip}.innerText"))

    def drag(self, x: float, start: float, end: float) -> None:
        self.mouse("mousePressed", x, start, buttons=1, clickCount=1)
        for y in ((start + end) / 2, end):
            self.mouse("mouseMoved", x, y, buttons=1)
        self.mouse("mouseReleased", x, end, clickCount=1)

    def double_click(self, x: float, y: float) -> None:
        for n in (1, 2):
            self.mouse("mousePressed", x, y, buttons=1, clickCount=n)
            self.mouse("mouseReleased", x, y, clickCount=n)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageOfCharts]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    browser = Browser(found, tmp_path_factory.mktemp("profile"))
    made = PageOfCharts(browser, tmp_path_factory.mktemp("charts"))
    made.open()
    yield made
    browser.close()


def test_every_chart_is_drawn_and_nothing_is_logged_or_requested(page: PageOfCharts) -> None:
    marks = "c => [c.id, c.querySelectorAll('svg path, svg text').length]"
    drawn = page.browser.evaluate(f"[...document.querySelectorAll('.chart')].map({marks})")
    assert {name for name, _ in drawn} == {f"{one.key}-chart" for one in EVERY.values()}
    assert min(n for _, n in drawn) > 5
    logged = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    events = [one["params"] for one in page.browser.events if one.get("method") in logged]
    assert [one.get("args", one) for one in events] == []
    urls = [
        one["params"]["request"]["url"]
        for one in page.browser.events
        if one.get("method") == "Network.requestWillBeSent"
    ]
    assert urls == [page.url]


def test_a_trial_that_is_pointed_at_shows_what_it_is(page: PageOfCharts) -> None:
    left, top, width, height = page.box("#history-chart path[transform][fill^='var(--blue']")
    text = page.point_at(left + width / 2, top + height / 2)
    assert [line.split("\t")[0] for line in text.splitlines()][:2] == ["trial", "state"]
    assert "lr 0.1" in text
    assert "0.500" in text


def test_a_curve_that_is_pointed_at_shows_its_epoch_and_trial(page: PageOfCharts) -> None:
    left, top, width, height = page.box("#curves-chart svg")
    text = page.point_at(left + width * 0.2, top + height * 0.4)
    found = dict(line.split("\t") for line in text.splitlines())
    assert {"trial", "state", "epoch", "at this epoch"} <= set(found)


@pytest.mark.parametrize("key", ["history", "curves"])
def test_control_and_the_wheel_zoom_and_a_double_click_shows_all(
    page: PageOfCharts, key: str
) -> None:
    left, top, width, height = page.box(f"#{key}-chart svg")
    x, y = left + width * 0.25, top + height * 0.45
    labels = f"{AXIS.format(key)}.sort().join()"
    before = page.browser.evaluate(labels)
    page.mouse("mouseWheel", x, y, button="none", deltaX=0, deltaY=-300, modifiers=2)
    page.browser.until(f"{labels} !== {json.dumps(before)}")
    page.double_click(x, y)
    page.browser.until(f"{labels} === {json.dumps(before)}")


def test_a_brush_on_an_axis_keeps_the_trials_that_cross_it_there(page: PageOfCharts) -> None:
    count = "document.querySelector('#parallel-k-chart .count').textContent"
    shown = "p => +p.getAttribute('stroke-opacity') > 0.1"
    lines = f"[...document.querySelectorAll('#parallel-k-chart .lines path')].filter({shown})"
    assert page.browser.evaluate(f"{lines}.length") == 3
    left, top, width, height = page.box("#parallel-k-chart .axis2 path")  # the objective
    page.drag(left + width / 2, top + 1, top + height * 0.5)
    page.browser.until(f"{count} === '2 of 3 trials'")
    assert page.browser.evaluate(f"{lines}.length") == 2
    first, *_ = page.box("#parallel-k-chart .axis0 path")
    page.drag(first + width / 2, top + 1, top + height * 0.45)  # of two values, the upper one
    page.browser.until(f"{count} === '1 of 3 trials'")
    page.double_click(left + width / 2, top + height * 0.8)
    page.browser.until(f"{count} === '3 of 3 trials'")


def test_on_a_small_screen_charts_scroll_and_the_page_does_not(page: PageOfCharts) -> None:
    page.open(390)
    assert page.browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_scripts_the_texts_and_tables_of_charts_are_there(page: PageOfCharts) -> None:
    page.open(scripts=False)
    assert page.browser.evaluate("document.querySelectorAll('svg').length") == 0
    text = page.browser.evaluate("document.body.innerText")
    for one in EVERY.values():
        assert one.title.split("<")[0].strip() in text
    assert "4 trials: 2 done, 1 pruned, 1 failed. Best value 0.700." in text
    page.browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert "accuracy\t95 % CI" in page.browser.evaluate("document.body.innerText")
