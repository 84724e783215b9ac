"""Renders the page of a comparison: one self-contained HTML file."""

from pathlib import Path

from chorale.search.comparison.comparison import StudyComparison, caution_lines, pair_sentence
from chorale.search.console.progress import duration_text
from chorale.search.report.charts.best_so_far import best_so_far
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.page.frame import render_framed
from chorale.search.statistics.main_score import main_score_of

COMPARISON_TEMPLATES = Path(__file__).parent / "templates"


def render_comparison(comparison: StudyComparison) -> str:
    """The page's HTML."""
    metric, n_tracks = comparison.metric, len(comparison.tracks.ids)
    title = f"Test {metric} on the {n_tracks} common test tracks, with 95 % intervals"
    rows = []
    for one in comparison.summaries:
        low, high = one["common"]["ci95"]
        value = main_score_of(one["common"])
        rows.append(Estimate(one["study"], value, low, high, "ensemble"))
    *others, last = comparison.names
    curves = comparison.curves
    values = {
        "title": f"{', '.join(others)} and {last}",
        "kicker": "Chorale · comparison of studies",
        "dateline": f"{n_tracks} common test tracks in {comparison.n_groups_text}",
        "comparison": comparison,
        "pairs": [pair_sentence(one) for one in comparison.pairs],
        "cautions": caution_lines(comparison),
        "scores": forest(rows, metric=metric, title=title),
        "curves": best_so_far(curves, objective=comparison.objective) if curves else None,
    }
    filters = {"main_score": main_score_of, "duration": duration_text}
    return render_framed(COMPARISON_TEMPLATES, "comparison.html", values, filters=filters)
