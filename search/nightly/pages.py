"""HTML pages of a schedule: the report of one night, and the trend over all nights."""

import csv
import io
from pathlib import Path
from typing import Any

from chorale.datasets.atomic import write_text
from chorale.search.champion.registry.registry import Registry
from chorale.search.nightly import page_texts
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.records import Night, Records
from chorale.search.report.charts.chart import Chart
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.trend import trend
from chorale.search.report.page.frame import render_framed
from chorale.search.statistics.main_score import main_score_of

NIGHTLY_TEMPLATES = Path(__file__).parent / "templates"
TREND_COLUMNS = ("date", "word", "champion", "interval", "candidate", "is", "difference", "tracks",
           "trials", "took", "why")  # fmt: skip
"""The columns of `trend.csv`."""


def write_pages(nightly: Nightly, records: Records, night: Night) -> None:
    """Writes the page of a night, and the schedule's trend page and CSV file."""
    page = render_framed(NIGHTLY_TEMPLATES, "night.html", _of_night(nightly, night))
    write_text(records.night(night.date).report_html, page)
    every = records.all()
    page = render_framed(NIGHTLY_TEMPLATES, "trend.html", _of_all(nightly, every))
    write_text(nightly.paths.trend_html, page)
    text = io.StringIO()
    writer = csv.DictWriter(text, TREND_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(page_texts.trend_row(one, "") for one in every)
    write_text(nightly.paths.trend_csv, text.getvalue())


def _of_night(nightly: Nightly, night: Night) -> dict[str, Any]:
    figures = night.figures
    study = nightly.runs.study(night.study) if night.study else None
    links = [("all nights", "../../trend.html")]
    if study is not None and study.report_html.is_file():
        links.append(("the night's study", f"../../../../{night.study}/{study.report_html.name}"))
    runs = "" if nightly.sweep.runs == "runs" else f" --runs {nightly.sweep.runs}"
    name = nightly.champion
    commands = [f"chorale champion show {name}{runs}", f"chorale champion history {name}{runs}"]
    if night.word == "PROMOTED":
        commands.append(f"chorale champion rollback {name}{runs}")
    elif night.word in ("KEPT", "INCONCLUSIVE"):
        commands.append(f"chorale champion promote {night.study} --as {name}{runs}")
    elif night.word in ("REFUSED", "FAILED"):
        commands = [f"chorale nightly {nightly.file} --night {night.date}"]
    return {
        "title": f"Night of {night.date}",
        "kicker": f"Chorale · nightly · {nightly.name}",
        "dateline": f"{night.word.lower()}, ended {night.ended_utc}",
        "lede": page_texts.night_lede(night),
        "notes": page_texts.night_notes(night),
        "tiles": page_texts.night_tiles(night),
        "drawing": _comparison_chart(night),
        "n_test": figures["candidate"]["n"] if "candidate" in figures else 0,
        "sections": page_texts.night_sections(night),
        "commands": commands,
        "links": links,
    }


def _comparison_chart(night: Night) -> Chart | None:
    """The chart of candidate and champion with their intervals; None without a champion."""
    both = (("candidate", "chosen"), ("champion", "ensemble"))
    found = [(name, kind, night.figures.get(name)) for name, kind in both]
    rows = [
        Estimate(name, main_score_of(one), one["ci95"][0], one["ci95"][1], kind)  # type: ignore[arg-type]
        for name, kind, one in found
        if one is not None
    ]
    metric = page_texts.night_metric([night])
    title = f"Test {metric} of candidate and champion, with 95 % intervals"
    return forest(rows, metric=metric, title=title) if len(rows) == 2 else None


def _of_all(nightly: Nightly, every: list[Night]) -> dict[str, Any]:
    schedule, last = nightly.settings.schedule, every[-1]
    rows = [page_texts.trend_row(one, _link(nightly, one)) for one in reversed(every)]
    periods = Registry(nightly.runs.champion(nightly.champion)).history()
    return {
        "title": nightly.name,
        "kicker": "Chorale · nightly · trend",
        "dateline": f"every night from {schedule.at} to {schedule.until}, {schedule.zone}",
        "lede": f"{last.date}: {page_texts.night_lede(last)}",
        "notes": page_texts.night_notes(last),
        "tiles": page_texts.trend_tiles(every),
        "metric": (metric := page_texts.night_metric(every)),
        "drawing": trend([page_texts.trend_mark(one) for one in every], metric=metric),
        "rows": rows,
        "periods": list(reversed(periods)),
    }


def _link(nightly: Nightly, night: Night) -> str:
    page = nightly.paths.night(night.date).report_html
    return page.relative_to(nightly.paths.root).as_posix() if page.is_file() else ""
