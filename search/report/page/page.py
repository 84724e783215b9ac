"""Renders the HTML report of a study: one self-contained file with styles, charts and scripts."""

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from chorale.cluster.versions import DISTRIBUTION, version_of
from chorale.search.console.progress import STATE_WORDS
from chorale.search.report.charts.script import chart_script, inline_script
from chorale.search.report.charts.text import printable
from chorale.search.report.data.hardest import MAX_HARDEST_TRACKS
from chorale.search.report.data.study_data import StudyData
from chorale.search.report.page import numbers, sentences
from chorale.search.report.page.figures import draw_figures
from chorale.search.statistics.main_score import main_score_of

REPORT_TEMPLATES = Path(__file__).parent / "templates"

MAX_LEADERBOARD_ROWS = 15
"""Rows that are shown at once; the table of all trials is collapsed."""

MAX_PARAMS_SHOWN = 4
"""Hyperparameters of a trial that are shown at once."""

MAX_CLASSES_SHOWN = 24
"""A per-class table with more rows is collapsed."""

MAX_FINDINGS_SHOWN = 50
"""Rows of the table of audit findings."""

OPTIONAL_KEYS = (
    "dataset", "split", "selection", "comparisons", "per_class", "calibration", "conformal",
    "versions", "seed", "thresholds",
)  # fmt: skip
"""Keys that a report may lack; the templates get None for them."""

PAGE_SECTIONS = (
    ("result", "Result", False),
    ("ensembles", "Ensembles", True),
    ("optimism", "Optimism", True),
    ("leaderboard", "Leaderboard", False),
    ("errors", "Confusion matrix", True),
    ("calibration", "Calibration", True),
    ("search", "Search", False),
    ("tracks", "Hardest tracks", False),
    ("data", "Data", False),
    ("cost", "Cost", False),
    ("reproduce", "Reproduce", False),
)
"""Anchor, name, and whether only a scored study has the section."""


def render_page(study: StudyData, *, summary: str) -> str:
    """The page's HTML; `summary` is its first sentence.

    Everything is escaped but the charts, which escape their texts themselves. The page's content
    security policy forbids network access and all scripts but its own.
    """
    scored = study.report is not None and "ensemble" in study.report
    report = {**dict.fromkeys(OPTIONAL_KEYS), **(study.report or {})}
    figures = draw_figures(study)
    html = _environment().get_template("page.html").render(
        study=study,
        report=report,
        scored=scored,
        summary=summary,
        dateline=sentences.dateline(study),
        caveats=sentences.caveats(study),
        tiles=sentences.score_tiles(report) if scored else [],
        optimism=sentences.optimism_text(report) if scored else "",
        calibration=sentences.calibration_text(report) if report["calibration"] else "",
        conformal=sentences.conformal_text(report) if report["conformal"] else "",
        seeds=sentences.seeds_text(report),
        importance=sentences.importance_text(study),
        trial_counts=sentences.trial_counts_text(study),
        audit=sentences.audit_text(study.problems),
        label_changes=sentences.label_change_lines(report),
        costs=sentences.cost_lines(study),
        figures=figures,
        metric=study.metric,
        capital_metric="The mAP" if study.multi_label else "Accuracy",
        errors_title=_errors_title(study),
        sections=[
            (anchor, _errors_title(study) if anchor == "errors" else name)
            for anchor, name, needs in PAGE_SECTIONS if scored or not needs
        ],
        any_finalist=any(t.folds_accuracy is not None for t in study.trials),
        state_words=STATE_WORDS,
        max_rows=MAX_LEADERBOARD_ROWS,
        max_params=MAX_PARAMS_SHOWN,
        max_classes=MAX_CLASSES_SHOWN,
        max_hardest=MAX_HARDEST_TRACKS,
        max_findings=MAX_FINDINGS_SHOWN,
        hardest_classes=sentences.hardest_classes(report["per_class"] or {}),
        style=Markup((REPORT_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        scripts=(
            inline_script((REPORT_TEMPLATES / "sort.js").read_text(encoding="utf-8")),
            chart_script(),
        ),
        chorale_version=version_of(DISTRIBUTION),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )  # fmt: skip
    return printable(html)


def _errors_title(study: StudyData) -> str:
    return "True and predicted labels" if study.multi_label else "Confusion matrix"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(REPORT_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    for name in (
        "pct", "signed_points", "interval", "dec1", "dec3", "four_digits", "integer", "params_line",
    ):  # fmt: skip
        environment.filters[name] = getattr(numbers, name)
    environment.filters["main_score"] = main_score_of
    return environment
