"""Renders the page of a study's robustness: one self-contained HTML file."""

from pathlib import Path

from chorale.search.champion.robustness.robustness import Robustness
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.page.frame import render_framed

ROBUSTNESS_TEMPLATES = Path(__file__).parent / "templates"


def render_robustness(found: Robustness, *, study: str) -> str:
    """The page's HTML."""
    rows = []
    for i, row in enumerate(found.rows):
        low, high = row.scores["ci95"]
        rows.append(Estimate(row.title, row.score, low, high, "ensemble" if i else "chosen"))
    title = f"Test {found.metric} under each condition, with 95 % intervals"
    values = {
        "title": study,
        "kicker": "Chorale · robustness of a study",
        "dateline": f"{found.rows[0].scores['n']} test tracks, {len(found.rows) - 1} conditions",
        "found": found,
        "sentence": found.sentence(),
        "scores": forest(rows, metric=found.metric, title=title),
    }
    return render_framed(ROBUSTNESS_TEMPLATES, "robustness.html", values)
