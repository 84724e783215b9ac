"""Renders the page of a comparison: one self-contained HTML file, without a script."""

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from chorale.cluster.versions import DISTRIBUTION, version_of
from chorale.search.comparison.comparison import StudyComparison, caution_lines, pair_sentence
from chorale.search.console.progress import duration_text
from chorale.search.report.charts.best_so_far import best_so_far
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.svg import printable
from chorale.search.report.page.page import REPORT_TEMPLATES
from chorale.search.statistics.main_score import main_score_of

COMPARISON_TEMPLATES = Path(__file__).parent / "templates"


def render_comparison(comparison: StudyComparison) -> str:
    """The page's HTML; its content security policy forbids network access and all scripts."""
    environment = Environment(
        loader=FileSystemLoader(COMPARISON_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["main_score"] = main_score_of
    environment.filters["duration"] = duration_text
    metric, n_tracks = comparison.metric, len(comparison.tracks.ids)
    title = f"Test {metric} on the {n_tracks} common test tracks, with 95 % intervals"
    rows = []
    for one in comparison.summaries:
        low, high = one["common"]["ci95"]
        value = main_score_of(one["common"])
        rows.append(Estimate(one["study"], value, low, high, "ensemble"))
    curves = comparison.curves
    made = environment.get_template("comparison.html").render(
        title=" and ".join([", ".join(comparison.names[:-1]), comparison.names[-1]]),
        comparison=comparison,
        pairs=[pair_sentence(one) for one in comparison.pairs],
        cautions=caution_lines(comparison),
        scores=forest(rows, metric=metric, title=title),
        curves=best_so_far(curves, objective=comparison.objective) if curves else None,
        style=Markup((REPORT_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        chorale_version=version_of(DISTRIBUTION),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    return printable(made)
