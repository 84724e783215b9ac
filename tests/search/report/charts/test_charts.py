"""Charts are pure functions: numbers and names in, one well-formed SVG with a description out."""

import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from chorale.search.report.charts import svg
from chorale.search.report.charts.accuracy_by_split import SplitAccuracies, accuracy_by_split
from chorale.search.report.charts.architectures import architectures
from chorale.search.report.charts.bars import BarRow, bars
from chorale.search.report.charts.best_so_far import best_so_far
from chorale.search.report.charts.confusion import confusion
from chorale.search.report.charts.curves import Curve, curves
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.history import HistoryPoint, history
from chorale.search.report.charts.parallel import Axis, TrialLine, parallel
from chorale.search.report.charts.pareto import ParetoPoint, pareto
from chorale.search.report.charts.reliability import ReliabilityBin, ReliabilityPanel, reliability

ODD = "<script>alert('x')</script> \"& \x00\udc80"
"""A name as a hostile folder or a file system may give it."""

EVERY = {
    "architectures": architectures({ODD: [(0.5, True), (0.2, False)]}, objective=ODD),
    "bars": bars([BarRow(ODD, 0.5, ODD), BarRow("none", 0.0, "0")], key="k", title=ODD),
    "best_so_far": best_so_far({ODD: [None, 0.5, 0.7], "b": [], "c": [0.7]}, objective=ODD),
    "confusion": confusion([[3, 1], [0, 0]], [ODD, "b"], key="test"),
    "curves": curves(
        {ODD: [Curve(0, "COMPLETE", [(1, 0.5)], True), Curve(1, "FAIL", [(1, 0.1), (2, 0.2)])]},
        objective=ODD,
    ),
    "forest": forest(
        [Estimate(ODD, 0.5, 0.4, 0.6, "chosen"), Estimate("b", 0.5, 0.5, 0.5, "baseline", ODD)]
    ),
    "history": history(
        [HistoryPoint(0, None, "FAIL", ODD), HistoryPoint(3, 0.5, "COMPLETE", ODD, True)],
        objective=ODD,
    ),
    "parallel": parallel(
        [
            TrialLine(0, 0.5, {"a": ODD, "b": 1e-3}, ODD),
            TrialLine(1, 0.6, {"a": "x", "b": None}, "one"),
        ],
        [Axis("a", ODD), Axis("b", "b", log=True)],
        key="k",
        objective=ODD,
    ),
    "pareto": pareto([ParetoPoint(0, 0.5, 10.0, True, ODD)], objective=ODD, second=ODD),
    "reliability": reliability(
        [ReliabilityPanel(ODD, [ReliabilityBin(0.5, 0.4, 3)], [ReliabilityBin(0.6, 0.4, 3)])]
    ),
    "accuracy_by_split": accuracy_by_split([SplitAccuracies(ODD, None, 0.5, 0.5, ODD)]),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_chart_is_well_formed_for_any_names(name: str) -> None:
    drawn = EVERY[name]
    root = ElementTree.fromstring(drawn)
    assert root.tag == "svg"
    assert [child.tag for child in root][:2] == ["title", "desc"]
    assert all((child.text or "").strip() for child in [*root][:2])
    ids = {child.get("id") for child in [*root][:2]}
    assert set((root.get("aria-labelledby") or "").split()) == ids
    assert "script" not in {element.tag for element in root.iter()}
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', drawn)
    drawn.encode()


@pytest.mark.parametrize("name", EVERY)
def test_a_chart_stays_within_its_view_box(name: str) -> None:
    root = ElementTree.fromstring(EVERY[name])
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    for element in root.iter():
        for key, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            if element.get(key) is not None:
                assert -1 <= float(element.get(key) or 0) <= most + 1, (element.tag, key)


def test_a_forest_plot_shows_every_estimate_with_its_interval() -> None:
    rows = [
        Estimate("greedy", 0.8, 0.7, 0.9, "chosen"),
        Estimate("svm", 0.6, 0.5, 0.7, "baseline", "+20.0 (+5 to +30)"),
    ]
    drawn = forest(rows)
    for text in ("greedy", "80.0%", "70.0", "svm", "+20.0 (+5 to +30)", "Highest: greedy"):
        assert text in drawn
    assert drawn.count("<polygon") == 1, "one is chosen"


def test_a_confusion_matrix_of_sixty_classes_has_no_numbers_but_names_the_errors() -> None:
    n = 60
    counts = [[5 if i == j else 0 for j in range(n)] for i in range(n)]
    counts[3][7] = 4
    drawn = confusion(counts, [f"class {i}" for i in range(n)], key="test")
    assert "class 3 predicted as class 7, 4 times" in drawn
    assert "300 of 304 are correct" in drawn
    assert ">5<" not in drawn, "the cells are too small for numbers"
    assert len(drawn) < 100_000


def test_the_history_marks_how_trials_ended() -> None:
    tried = [
        HistoryPoint(0, 0.4, "COMPLETE", "trial 0"),
        HistoryPoint(1, 0.9, "PRUNED", "trial 1"),
        HistoryPoint(2, None, "FAIL", "trial 2: broken"),
        HistoryPoint(3, 0.6, "COMPLETE", "trial 3", finalist=True),
    ]
    drawn = history(tried, objective="accuracy")
    assert "4 trials: 2 done, 1 pruned, 1 failed. Best value 0.600." in drawn
    assert "trial 2: broken" in drawn
    (steps,) = re.findall(r'<polyline points="([^"]+)"', drawn)
    assert len(steps.split()) == 4, "one step up, then to the end: a pruned trial is never the best"


def test_a_trial_without_a_parameter_passes_below_its_axis() -> None:
    trials = [
        TrialLine(0, 0.5, {"width": 16}, "zero"),
        TrialLine(1, 0.6, {}, "one"),
        TrialLine(2, 0.7, {"width": 32}, "two"),
    ]
    drawn = parallel(trials, [Axis("width", "width")], key="k", objective="accuracy")
    assert ">n/a<" in drawn
    lines = re.findall(r'<polyline points="([^"]+)"', drawn)
    starts = [float(line.split()[0].split(",")[1]) for line in lines]
    assert starts[1] > max(starts[0], starts[2]) + 20


def test_children_are_escaped_unless_they_are_markup() -> None:
    inner = svg.element("b", "<")
    assert inner == Markup("<b>&lt;</b>")
    assert svg.element("a", inner, "&", title='"', class_="c", data_v=1.25) == Markup(
        '<a title="&#34;" class="c" data-v="1.2"><b>&lt;</b>&amp;</a>'
    )


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.41, 0.79, [0.5, 0.6, 0.7]),
        (3, 3, [3]),
        (0, 500, [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert svg.ticks(low, high) == expected


def test_a_logarithmic_scale_spaces_powers_evenly() -> None:
    x = svg.AxisScale(1e-4, 1e-2, 0, 100, log=True)
    assert [x(value) for value in (1e-4, 1e-3, 1e-2, 1.0, 0.0)] == pytest.approx(
        [0, 50, 100, 100, 0]
    )


def test_tick_percentages_of_a_short_axis_stay_distinct() -> None:
    assert svg.tick_percents([0.5, 0.6]) == ["50%", "60%"]
    assert svg.tick_percents([0.985, 0.99, 0.995]) == ["98.5%", "99.0%", "99.5%"]


def test_long_names_lose_their_middle() -> None:
    assert svg.shortened("a" * 10 + "b" * 10, 9) == "aaaa…bbbb"
    assert svg.shortened("short", 9) == "short"
