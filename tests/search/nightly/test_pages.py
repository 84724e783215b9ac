"""The pages of a night and of a schedule: their content, and that texts are escaped."""

import csv
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser

from chorale.search.console.progress import duration_text
from chorale.search.nightly import page_texts
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.pages import write_pages
from chorale.search.nightly.records import Night, Records


class _Tags(HTMLParser):
    """Fails where tags do not close in order."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _checked(text: str) -> str:
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    return text


def test_a_page_shows_the_verdict_and_escapes_its_reason(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    records = Records(nightly.paths)
    night = recorded(2, "KEPT")
    write_pages(nightly, records, night)
    page = _checked(records.night(night.date).report_html.read_text())
    assert "KEPT: because &lt;it&gt; is." in page
    assert "80.0%" in page
    assert "chorale champion promote tiny-2026-11-02 --as tiny" in page
    assert "used up" not in page


def test_the_trend_has_a_row_for_every_night_in_any_state(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    records = Records(nightly.paths)
    recorded(2, "PROMOTED", 0.6)
    recorded(3, "KEPT", 0.7)
    records.miss((date(2026, 11, 4),), "UTC")
    records.write(Night(date(2026, 11, 5), "refused", "UTC", reason="labels moved"))
    records.write(Night(date(2026, 11, 6), "failed", "UTC", reason="no room"))
    last = recorded(7, "INCONCLUSIVE", 0.8)
    write_pages(nightly, records, last)
    page = _checked(nightly.paths.trend_html.read_text())
    words = ("PROMOTED", "KEPT", "MISSED", "REFUSED", "FAILED", "INCONCLUSIVE")
    assert all(f">{word}</span>" in page for word in words)
    with nightly.paths.trend_csv.open() as file:
        assert [line["word"] for line in csv.DictReader(file)] == list(words)


def test_a_used_up_test_set_and_a_failed_drift_check_are_noted(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    records = Records(nightly.paths)
    moved = {"reason": "it fell", "then": 0.9, "now": 0.4, "moved": True}
    night = recorded(14, "KEPT", sentinel=moved)
    night = records.write(replace(night, state="refused", reason="it fell"))
    write_pages(nightly, records, night)
    page = _checked(records.night(night.date).report_html.read_text())
    assert "The test set is used up: it has been evaluated on 14 times" in page
    assert "The drift check failed: it fell." in page
    assert "chorale nightly" in page


def test_the_duration_of_a_night_is_from_its_start_to_its_end(
    recorded: Callable[..., Night],
) -> None:
    night = recorded(2, "KEPT", latency_wall_ms=4.5)  # an hour, of which its sweep took 90 s
    assert page_texts.took_s(night) == 3600
    assert "took" in page_texts.trend_row(night, "")
    assert page_texts.trend_row(night, "")["took"] == duration_text(3600)
    tiles = [(one.what, one.figure) for one in page_texts.night_tiles(night)]
    assert ("took", duration_text(3600)) in tiles
    assert page_texts.trend_mark(night).hours == 1
    facts = dict(dict(page_texts.night_sections(night))["The candidate"])
    assert facts["latency"] == "3.0 ms CPU time, 4.5 ms wall-clock time"
    assert page_texts.took_s(replace(night, ended_utc="")) == 90


def test_the_champion_in_use_is_on_the_page_and_its_alarm_is_a_note(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    records = Records(nightly.paths)
    night = recorded(2, "KEPT", in_use={"sentence": "about 80.0% ...; no alarm", "alarm": False})
    write_pages(nightly, records, night)
    page = _checked(records.night(night.date).report_html.read_text())
    assert "<h2>The champion in use" in page
    assert page_texts.night_notes(night) == []
    night = recorded(3, "KEPT", in_use={"sentence": "ALARM since then", "alarm": True})
    assert page_texts.night_notes(night) == ["The champion in use: ALARM since then."]
