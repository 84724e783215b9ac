"""Charts are pure: numbers and names in, one well-formed and described drawing out."""

import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from chorale.search.report.charts import svg
from chorale.search.report.charts.architectures import architectures
from chorale.search.report.charts.bars import Bar, bars
from chorale.search.report.charts.confusion import confusion
from chorale.search.report.charts.curves import Curve, curves
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.history import Tried, history
from chorale.search.report.charts.parallel import Axis, Setting, parallel
from chorale.search.report.charts.pareto import Pair, pareto
from chorale.search.report.charts.reliability import Bin, Panel, reliability
from chorale.search.report.charts.side_by_side import Believed, side_by_side

ODD = "<script>alert('x')</script> \"& \x00\udc80"
"""A name as a hostile folder or a file system may give it."""

EVERY = {
    "architectures": architectures({ODD: [(0.5, True), (0.2, False)]}, objective=ODD),
    "bars": bars([Bar(ODD, 0.5, ODD), Bar("none", 0.0, "0")], key="k", title=ODD),
    "confusion": confusion([[3, 1], [0, 0]], [ODD, "b"], key="test"),
    "curves": curves(
        {ODD: [Curve(0, "COMPLETE", [(1, 0.5)], True), Curve(1, "FAIL", [(1, 0.1), (2, 0.2)])]},
        objective=ODD,
    ),
    "forest": forest(
        [Estimate(ODD, 0.5, 0.4, 0.6, "chosen"), Estimate("b", 0.5, 0.5, 0.5, "baseline", ODD)]
    ),
    "history": history(
        [Tried(0, None, "FAIL", ODD), Tried(3, 0.5, "COMPLETE", ODD, True)], objective=ODD
    ),
    "parallel": parallel(
        [
            Setting(0, 0.5, {"a": ODD, "b": 1e-3}, ODD),
            Setting(1, 0.6, {"a": "x", "b": None}, "one"),
        ],
        [Axis("a", ODD), Axis("b", "b", log=True)],
        key="k",
        objective=ODD,
    ),
    "pareto": pareto([Pair(0, 0.5, 10.0, True, ODD)], objective=ODD, second=ODD),
    "reliability": reliability([Panel(ODD, [Bin(0.5, 0.4, 3)], [Bin(0.6, 0.4, 3)])]),
    "side_by_side": side_by_side([Believed(ODD, None, 0.5, 0.5, ODD)]),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_chart_is_well_formed_whatever_the_names_are(name: str) -> None:
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
def test_a_chart_stays_on_its_paper(name: str) -> None:
    root = ElementTree.fromstring(EVERY[name])
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    for element in root.iter():
        for key, most in (("x", width), ("cx", width), ("y", height), ("cy", height)):
            if element.get(key) is not None:
                assert -1 <= float(element.get(key) or 0) <= most + 1, (element.tag, key)


def test_a_forest_holds_every_estimate_with_its_interval() -> None:
    rows = [
        Estimate("greedy", 0.8, 0.7, 0.9, "chosen"),
        Estimate("svm", 0.6, 0.5, 0.7, "baseline", "+20.0 (+5 to +30)"),
    ]
    said = forest(rows)
    for text in ("greedy", "80.0%", "70.0", "svm", "+20.0 (+5 to +30)", "Highest: greedy"):
        assert text in said
    assert said.count("<polygon") == 1, "one is chosen"


def test_sixty_classes_are_drawn_without_numbers_and_told_in_words() -> None:
    n = 60
    counts = [[5 if i == j else 0 for j in range(n)] for i in range(n)]
    counts[3][7] = 4
    drawn = confusion(counts, [f"class {i}" for i in range(n)], key="test")
    assert "class 3 taken for class 7, 4 times" in drawn
    assert "300 of 304 are on the diagonal" in drawn
    assert ">5<" not in drawn, "there is no room for numbers"
    assert len(drawn) < 100_000


def test_the_history_marks_how_trials_ended() -> None:
    tried = [
        Tried(0, 0.4, "COMPLETE", "trial 0"),
        Tried(1, 0.9, "PRUNED", "trial 1"),
        Tried(2, None, "FAIL", "trial 2: broken"),
        Tried(3, 0.6, "COMPLETE", "trial 3", finalist=True),
    ]
    drawn = history(tried, objective="accuracy")
    assert "4 trials: 2 done, 1 pruned, 1 failed. The best reached 0.600." in drawn
    assert "trial 2: broken" in drawn
    (steps,) = re.findall(r'<polyline points="([^"]+)"', drawn)
    assert len(steps.split()) == 4, "a step up, and on to the end: what was pruned is no best"


def test_a_trial_without_a_parameter_passes_below_its_axis() -> None:
    settings = [
        Setting(0, 0.5, {"width": 16}, "zero"),
        Setting(1, 0.6, {}, "one"),
        Setting(2, 0.7, {"width": 32}, "two"),
    ]
    drawn = parallel(settings, [Axis("width", "width")], key="k", objective="accuracy")
    assert "not there" in drawn
    lines = re.findall(r'<polyline points="([^"]+)"', drawn)
    starts = [float(line.split()[0].split(",")[1]) for line in lines]
    assert starts[1] > max(starts[0], starts[2]) + 20


def test_what_is_no_markup_is_escaped_and_what_is_stays() -> None:
    inner = svg.element("b", "<")
    assert inner == Markup("<b>&lt;</b>")
    assert svg.element("a", inner, "&", title='"', class_="c", data_v=1.25) == Markup(
        '<a title="&#34;" class="c" data-v="1.2"><b>&lt;</b>&amp;</a>'
    )


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0, 1, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.41, 0.79, [0.5, 0.6, 0.7]),
        (3, 3, [3]),
        (0, 500, [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, told: list[float]) -> None:
    assert svg.ticks(low, high) == told


def test_a_logarithmic_scale_is_even_in_powers() -> None:
    x = svg.Scale(1e-4, 1e-2, 0, 100, log=True)
    assert [x(value) for value in (1e-4, 1e-3, 1e-2, 1.0, 0.0)] == pytest.approx(
        [0, 50, 100, 100, 0]
    )


def test_percentages_of_a_short_axis_are_told_apart() -> None:
    assert svg.percents([0.5, 0.6]) == ["50%", "60%"]
    assert svg.percents([0.985, 0.99, 0.995]) == ["98.5%", "99.0%", "99.5%"]


def test_long_names_lose_their_middle() -> None:
    assert svg.shortened("a" * 10 + "b" * 10, 9) == "aaaa…bbbb"
    assert svg.shortened("short", 9) == "short"
