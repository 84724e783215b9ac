"""Gathered facts -> one self-contained HTML file, with styles, charts and few lines of script."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from chorale.cluster.versions import NAME, version_of
from chorale.search.console.progress import WORDS
from chorale.search.report.charts.svg import clean
from chorale.search.report.data.data import Gathered
from chorale.search.report.data.hardest import MOST as MOST_HARD
from chorale.search.report.page import numbers, sentences
from chorale.search.report.page.drawings import drawings

TEMPLATES = Path(__file__).parent / "templates"

MOST_LINES = 15
"""Of the leaderboard; the whole of it is folded away."""

MOST_SETTINGS = 4
"""So many hyperparameters of a trial are seen at once."""

MOST_CLASSES = 24
"""A table of more is folded away."""

MOST_PROBLEMS = 50

PARTS = (
    "dataset", "split", "selection", "comparisons", "per_class", "calibration", "conformal",
    "versions", "seed",
)  # fmt: skip
"""What a report may lack."""

SECTIONS = (
    ("result", "What was found", False),
    ("ensembles", "Ensembles", True),
    ("optimism", "Belief and truth", True),
    ("leaderboard", "Leaderboard", False),
    ("errors", "Where it errs", True),
    ("sureness", "How sure it is", True),
    ("search", "The search", False),
    ("tracks", "Hardest tracks", False),
    ("data", "The data", False),
    ("cost", "Cost", False),
    ("reproduce", "Do it again", False),
)
"""Anchor, name, and whether a study must have been scored to have it."""


def page(g: Gathered, *, headline: str) -> str:
    """The page's HTML; `headline` is its first sentence.

    Everything is escaped but the charts, which escape what they are given. A policy in the page
    forbids every script but its own, and every network.
    """
    scored = g.found is not None and "ensemble" in g.found
    script = (TEMPLATES / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = {**dict.fromkeys(PARTS), **(g.found or {})}
    drawn = drawings(g)
    made = _environment().get_template("page.html").render(
        g=g,
        found=found,
        scored=scored,
        headline=headline,
        dateline=sentences.dateline(g),
        notes=sentences.notes(g),
        tiles=sentences.tiles(found) if scored else [],
        members=bool(drawn.members),
        optimism=sentences.optimism(found) if scored else "",
        calibration=sentences.calibration(found) if found["calibration"] else "",
        conformal=sentences.conformal(found) if found["conformal"] else "",
        importance=sentences.importance(g),
        counted=sentences.counted(g),
        audited=sentences.audited(g.problems),
        costs=sentences.costs(g),
        drawings=drawn,
        parallel_width=drawn.parallel_width,
        sections=[(anchor, name) for anchor, name, needs in SECTIONS if scored or not needs],
        any_finalist=any(t.folds_accuracy is not None for t in g.trials),
        words=WORDS,
        most_lines=MOST_LINES,
        most_settings=MOST_SETTINGS,
        most_classes=MOST_CLASSES,
        hardest_classes=sentences.hardest_classes(found["per_class"] or {}),
        most_hard=MOST_HARD,
        most_problems=MOST_PROBLEMS,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        chorale_version=version_of(NAME),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )  # fmt: skip
    return clean(made)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    for name in ("pct", "points", "interval", "dec1", "dec3", "short", "whole", "settings"):
        made.filters[name] = getattr(numbers, name)
    return made
