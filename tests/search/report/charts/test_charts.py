"""Charts are pure functions: numbers and names in, a specification with its texts out."""

import hashlib
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from chorale.search.report.charts import script
from chorale.search.report.charts.architectures import architectures
from chorale.search.report.charts.bars import BarRow, bars
from chorale.search.report.charts.best_so_far import best_so_far
from chorale.search.report.charts.chart import MAX_TABLE_ROWS, Chart, Table
from chorale.search.report.charts.confusion import confusion
from chorale.search.report.charts.curves import MAX_CURVES, Curve, curves
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.history import HistoryPoint, history
from chorale.search.report.charts.parallel import Axis, TrialLine, parallel
from chorale.search.report.charts.pareto import ParetoPoint, pareto
from chorale.search.report.charts.reliability import ReliabilityBin, ReliabilityPanel, reliability
from chorale.search.report.charts.style import padded_range
from chorale.search.report.charts.text import shortened
from chorale.search.report.charts.trend import NightMark, trend
from chorale.search.report.charts.trial import TrialMark
from tests.search.report.charts.examples import EVERY, ODD

CHARTS = Path(script.__file__).parent
MADE = {"at", "epoch", "kept"}
"""Fields that transforms make."""


class _Markup(HTMLParser):
    """The elements, ids and texts of a chart's markup."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.box: dict[str, str | None] = {}
        self.texts: dict[str, str] = {}
        self._id = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.open.append(tag)
        self._id = given.get("id") or ""
        if given.get("class") == "chart":
            self.box = given

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._id = ""

    def handle_data(self, data: str) -> None:
        if self._id:
            self.texts[self._id] = data


def parts(spec: Any) -> Iterator[dict[str, Any]]:
    """All objects of a specification."""
    if isinstance(spec, dict):
        yield spec
    for one in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ():
        yield from parts(one)


def rows(chart: Chart) -> list[dict[str, Any]]:
    """All rows of the chart's data."""
    return [row for part in parts(chart.spec) for row in part.get("values", ())
            if isinstance(row, dict)]  # fmt: skip


def test_there_is_an_example_of_every_chart() -> None:
    others = {"__init__", "chart", "parallel_axis", "rows", "script", "style", "text", "trial"}
    assert {path.stem for path in CHARTS.glob("*.py")} - others == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_a_chart_is_well_formed_and_has_a_text_alternative_for_any_names(name: str) -> None:
    chart = EVERY[name]
    html = chart.__html__()
    found = _Markup(html)
    assert found.open == []
    assert found.tags.count("script") == 1, "its specification"
    assert "<script>" not in html
    html.encode()
    assert found.box["role"] == "img"
    assert found.box["aria-labelledby"] == f"{chart.key}-title"
    assert found.box["aria-describedby"] == f"{chart.key}-desc"
    assert found.texts[f"{chart.key}-title"].strip()
    assert found.texts[f"{chart.key}-desc"].strip()
    spec = json.loads(found.texts[f"{chart.key}-spec"])
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega")
    assert "\0" not in json.dumps(spec, ensure_ascii=False)


@pytest.mark.parametrize("name", EVERY)
def test_every_field_that_a_chart_shows_is_in_its_data(name: str) -> None:
    chart = EVERY[name]
    known = {key for row in rows(chart) for key in row} | MADE
    used = {part["field"] for part in parts(chart.spec) if isinstance(part.get("field"), str)}
    assert used
    assert used - {"reason"} <= known, "only a failed trial has a reason"


def test_a_notebook_gets_colours_without_the_page_and_a_table_without_a_renderer() -> None:
    for name, language in (("history", "vegalite"), ("parallel", "vega")):
        found = EVERY[name]._repr_mimebundle_(include=None)
        spec = found[f"application/vnd.{language}.v5+json"]
        assert spec["$schema"].endswith("/v5.json")
        assert "var(" not in json.dumps(spec)
    found = forest([Estimate("greedy", 0.8, 0.7, 0.9, "chosen")])._repr_mimebundle_()
    assert "<td>80.0%</td>" in found["text/html"]
    assert "Highest: greedy." in found["text/plain"]


def test_a_long_table_says_how_much_is_left_out() -> None:
    table = Table(["a", "b"], [[i, i] for i in range(MAX_TABLE_ROWS + 3)])
    html = Chart("k", "t", "d", {"$schema": ""}, table).__html__()
    assert html.count("<tr>") == 1 + MAX_TABLE_ROWS
    assert "(3 further rows are left out)" in html


def test_a_number_that_is_not_finite_is_left_out() -> None:
    assert script_values([float("nan"), float("inf"), 1.0]) == [None, None, 1.0]


def script_values(values: list[float]) -> Any:
    found = _Markup(Chart("k", "t", "d", {"values": values}).__html__())
    return json.loads(found.texts["k-spec"])["values"]


def test_a_forest_plot_shows_every_estimate_with_its_interval() -> None:
    chart = forest(
        [
            Estimate("greedy", 0.8, 0.7, 0.9, "chosen"),
            Estimate("svm", 0.6, 0.5, 0.7, "baseline", "+20.0 (+5 to +30)"),
        ]
    )
    first, second = [row for row in rows(chart) if row.get("kind")]
    assert (first["value"], first["low"], first["high"], first["kind"]) == (0.8, 0.7, 0.9, "chosen")
    assert (first["text"], first["interval"]) == ("80.0%", "70.0 \N{EN DASH} 90.0")
    assert (second["kind"], second["gain"]) == ("baseline", "+20.0 (+5 to +30)")
    assert chart.description.startswith("Highest: greedy. greedy: 80.0% (70.0% to 90.0%)")
    assert chart.table is not None
    assert chart.table.rows[1] == ["svm", "60.0%", "50.0 \N{EN DASH} 70.0", "+20.0 (+5 to +30)"]


def test_a_confusion_matrix_of_sixty_classes_has_no_numbers_but_names_the_errors() -> None:
    n = 60
    counts = [[5 if i == j else 0 for j in range(n)] for i in range(n)]
    counts[3][7] = 4
    chart = confusion(counts, [f"class {i}" for i in range(n)], key="test")
    assert "class 3 predicted as class 7, 4 times" in chart.description
    assert "300 of 304 are correct" in chart.description
    assert len(chart.spec["layer"]) == 1, "the cells are too small for numbers"
    assert len(chart.__html__()) < 100_000
    small = confusion([[3, 1], [0, 4]], ["a", "b"], key="test")
    assert len(small.spec["layer"]) == 2
    assert [row["text"] for row in rows(small)] == [
        "a correct: 3 of 4", "a predicted as b: 1 of 4", "b correct: 4 of 4",
    ]  # fmt: skip


def test_cells_of_several_labels_are_shares_of_the_tracks_that_could_be_wrong() -> None:
    chart = confusion([[3, 1], [0, 4]], ["a", "b"], key="test", totals=[[5, 2], [1, 4]])
    assert [row["share"] for row in rows(chart)] == [0.6, 0.5, 1.0]
    assert "7 of 9 labels are found. Most frequent errors: b predicted beside a" in (
        chart.description
    )


def test_the_history_marks_how_trials_ended() -> None:
    tried = [
        TrialMark(0, "COMPLETE", 0.4),
        TrialMark(1, "PRUNED", 0.9),
        TrialMark(2, "FAIL", None, reason="broken"),
        TrialMark(3, "COMPLETE", 0.6),
    ]
    chart = history([HistoryPoint(one, one.number == 3) for one in tried], objective="accuracy")
    assert "4 trials: 2 done, 1 pruned, 1 failed. Best value 0.600." in chart.description
    steps, finalists, trials, failed = (layer["data"]["values"] for layer in chart.spec["layer"])
    assert [row["value"] for row in steps] == [0.4, 0.6, 0.6], "a pruned trial is never the best"
    assert [row["trial"] for row in finalists] == [3]
    assert [(row["trial"], row["state"]) for row in trials] == [
        (0, "done"), (1, "pruned"), (3, "done"),
    ]  # fmt: skip
    assert [row["reason"] for row in failed] == ["broken"]


def test_curves_are_drawn_best_first_and_at_most_so_many() -> None:
    many = [
        Curve(TrialMark(i, "COMPLETE", i / 200), [(1, i / 400), (2, i / 200)])
        for i in range(MAX_CURVES + 5)
    ]
    chart = curves({"cnn": many}, objective="accuracy")
    drawn = rows(chart)
    assert len(drawn) == MAX_CURVES
    assert min(row["trial"] for row in drawn) == 5
    assert drawn[0]["panel"] == f"cnn ({MAX_CURVES + 5} trials, the best {MAX_CURVES})"
    assert (drawn[-1]["epoch"], len(drawn[-1]["at"])) == ([1, 2], 2)


@pytest.mark.parametrize("name", ["history", "curves", "pareto", "best_so_far"])
def test_curves_and_scatter_plots_zoom_without_taking_the_wheel_from_the_page(name: str) -> None:
    bound = [part for part in parts(EVERY[name].spec) if part.get("bind") == "scales"]
    assert [one["select"]["zoom"] for one in bound] == ["wheel![event.ctrlKey || event.metaKey]"]


def test_a_trial_without_a_parameter_passes_below_its_axis() -> None:
    trials = [
        TrialLine(TrialMark(0, "COMPLETE", 0.5), {"width": 16}),
        TrialLine(TrialMark(1, "COMPLETE", 0.6), {}),
        TrialLine(TrialMark(2, "COMPLETE", 0.7), {"width": 32}),
    ]
    chart = parallel(trials, [Axis("width", "width")], key="k", objective="accuracy")
    at = {row["trial"]: row["p0"] for row in rows(chart) if "trial" in row}
    assert at[1] < -0.05
    assert 0 < at[0] < 0.5 < at[2] < 1
    labels = [row["label"] for row in rows(chart) if row.get("axis") == 0 and "at" in row]
    assert labels == ["16", "32", "n/a"]
    assert "The best is trial 2 with 0.700: width 32." in chart.description


def test_a_logarithmic_axis_spaces_powers_evenly() -> None:
    trials = [TrialLine(TrialMark(i, "COMPLETE", 0.5), {"lr": 10.0 ** (i - 8)}) for i in range(7)]
    chart = parallel(trials, [Axis("lr", "lr", log=True)], key="k", objective="accuracy")
    at = {row["trial"]: row["p0"] for row in rows(chart) if "trial" in row}
    assert [at[i] for i in range(7)] == pytest.approx([i / 6 for i in range(7)], abs=1e-3)


def test_architectures_mark_the_median_and_the_best_of_finished_trials() -> None:
    tried = [TrialMark(i, "COMPLETE", v) for i, v in enumerate((0.2, 0.4, 0.6))]
    chart = architectures({"cnn": [*tried, TrialMark(3, "PRUNED", 0.9)]}, objective="accuracy")
    found = {(row["mark"], row["value"]) for row in rows(chart)}
    assert {("best", 0.6), ("median of done", 0.4), ("pruned", 0.9), ("done", 0.2)} <= found
    assert "cnn: best 0.600, median 0.400" in chart.description


def test_bars_and_their_rest_end_at_the_sum() -> None:
    [row] = rows(bars([BarRow("3 more", 0.0, "40%", rest=0.4)], key="k", title="t"))
    assert (row["value"], row["end"], row["text"]) == (0.0, 0.4, "40%")


def test_best_so_far_has_the_trials_with_a_new_best_and_the_last() -> None:
    chart = best_so_far({"a": [None, 0.5, 0.5, 0.7, 0.7]}, objective="accuracy")
    assert [(row["trials"], row["best"]) for row in rows(chart)] == [(2, 0.5), (4, 0.7), (5, 0.7)]
    assert chart.description == "a: 0.700 after 5 trials."


def test_the_front_is_named() -> None:
    pairs = [
        ParetoPoint(TrialMark(4, "COMPLETE", 0.5), 1000.0, front=True),
        ParetoPoint(TrialMark(5, "COMPLETE", 0.4), 2000.0, front=False),
    ]
    chart = pareto(pairs, objective="accuracy", second="n_parameters")
    assert chart.description == "On the front: trial 4: 0.500 at 1,000."
    assert chart.table is not None
    assert [row[-1] for row in chart.table.rows] == ["on the front", "dominated"]


def test_reliability_names_decisions_where_tracks_have_several_labels() -> None:
    panel = ReliabilityPanel("test", [ReliabilityBin(0.5, 0.4, 3)], [ReliabilityBin(0.6, 0.4, 3)])
    chart = reliability([panel], multi_label=True)
    assert chart.description == "test: probability 60%, labels present 40%."
    assert chart.table is not None
    assert chart.table.columns[-1] == "decisions"
    assert [row[1:] for row in chart.table.rows] == [
        ["before", "50.0%", "40.0%", 3], ["after", "60.0%", "40.0%", 3],
    ]  # fmt: skip


def test_the_trend_shows_a_candidate_unless_it_became_the_champion() -> None:
    nights = [
        NightMark("2026-11-02", "PROMOTED", (0.6, 0.5, 0.7), 0.6, 2.0, "better"),
        NightMark("2026-11-03", "KEPT", (0.6, 0.5, 0.7), 0.55, 1.0, "not better"),
    ]
    chart = trend(nights)
    models = [(row["date"], row["model"]) for row in rows(chart) if "model" in row]
    assert models.count(("2026-11-02", "candidate")) == 0
    assert models.count(("2026-11-03", "candidate")) == 1
    assert [row["took"] for row in rows(chart) if "took" in row] == [2.0, 1.0]
    assert chart.description.startswith("2 nights: 1 PROMOTED, 1 KEPT. The champion's accuracy")


def test_ends_of_an_axis_are_within_the_possible_scores() -> None:
    assert padded_range([0.5, 1.0]) == [0.47, 1.0]
    assert padded_range([0.01]) == [0.0, 0.03]


def test_long_names_lose_their_middle() -> None:
    assert shortened("a" * 10 + "b" * 10, 9) == "aaaa…bbbb"
    assert shortened("short", 9) == "short"


def test_the_script_is_that_of_its_maintainers_and_ends_no_element() -> None:
    for line in (CHARTS / "vega" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((CHARTS / "vega" / name).read_bytes()).hexdigest() == digest
    text = script.chart_script().text
    assert "</script" not in text
    assert "<!--" not in text
    assert "\r" not in text, "a page's parser would change it, and with it its hash"
    assert "sourceMappingURL" not in text
    assert ODD not in text
