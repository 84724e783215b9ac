"""Confusion matrix: the tracks of each true class by predicted class, or of sets of labels."""

from collections.abc import Sequence
from typing import Any

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.style import BLUE, INK, ORANGE, vega_lite

MIN_CELL, MAX_CELL = 11, 34
"""Height of a cell in pixels."""

MIN_NUMBERED_CELL = 17

ON_MARK = "var(--on-mark, #ffffff)"


ConfusionCounts = Sequence[Sequence[int]]


def confusion(
    counts: ConfusionCounts,
    names: Sequence[str],
    *,
    key: str,
    totals: ConfusionCounts | None = None,
) -> Chart:
    """Draws (n_classes, n_classes) counts; a row is a true class, a column a predicted class.

    The darker a cell, the larger its share of the row; correct ones are blue, errors orange.

    Args:
        counts: numbers of tracks.
        names: of the classes.
        key: which tracks: "test" or "out-of-fold"; also the name of the chart.
        totals: what each count is a share of, where tracks have several labels: see
            `search.statistics.label_confusion`. By default the sum of its row.
    """
    multi_label = totals is not None
    word = "label" if multi_label else "class"
    side = max(min(520 / len(names), MAX_CELL), MIN_CELL)
    cells = [
        {
            "true": names[i],
            "predicted": names[j],
            "n": count,
            "share": round(count / of, 4),
            "correct": i == j,
            "text": f"{_cell_text(i, j, names, multi_label=multi_label)}: {count} of {of}",
        }
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if count
        for of in [sum(row) if totals is None else totals[i][j]]
    ]
    layers: list[dict[str, Any]] = [
        {
            "mark": "rect",
            "encoding": {
                "color": {"condition": {"test": "datum.correct", "value": BLUE}, "value": ORANGE},
                "opacity": {
                    "field": "share",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1], "range": [0.12, 1]},
                    "legend": None,
                },
            },
        }
    ]
    if side >= MIN_NUMBERED_CELL:
        color = {"condition": {"test": "datum.share > 0.5", "value": ON_MARK}, "value": INK}
        layers.append(
            {
                "mark": {"type": "text", "fontSize": min(12, side * 0.5)},
                "encoding": {"text": {"field": "n", "type": "quantitative"}, "color": color},
            }
        )
    n_correct = sum(counts[i][i] for i in range(len(names)))
    if totals is None:
        n_tracks = sum(map(sum, counts))
        title = f"Confusion matrix of {n_tracks} {key} tracks"
        result = f"{n_correct} of {n_tracks} are correct."
        errors = _most_frequent_errors(counts, names, "{true} predicted as {predicted}")
    else:
        title = f"True and predicted labels of {key} tracks"
        result = f"{n_correct} of {sum(totals[i][i] for i in range(len(names)))} labels are found."
        errors = _most_frequent_errors(counts, names, "{predicted} predicted beside {true}")
    return Chart(
        f"confusion-{key}",
        title,
        f"{result} {errors}",
        vega_lite(
            height=round(side * len(names)),
            data={"values": cells},
            encoding={
                "x": _classes("predicted", word, names, side, orient="top", labelAngle=-90),
                "y": _classes("true", word, names, side),
                "tooltip": {"field": "text"},
            },
            layer=layers,
        ),
        Table(
            [f"true {word}", *(f"predicted {name}" for name in names)],
            [[name, *row] for name, row in zip(names, counts, strict=True)],
        ),
        min_width=round(max(340, 150 + len(names) * MIN_CELL)),
    )


def _classes(
    field: str, word: str, names: Sequence[str], side: float, **more: Any
) -> dict[str, Any]:
    """An axis of all classes, also those without a track."""
    axis = {"domain": False, "ticks": False, "grid": False, "labelColor": INK, "labelLimit": 130}
    return {
        "field": field,
        "type": "nominal",
        "title": f"{field} {word}",
        "scale": {"domain": list(names), "paddingInner": 0.04, "paddingOuter": 0},
        "axis": {**axis, "labelFontSize": min(12, side - 1), "labelOverlap": False, **more},
    }


def _cell_text(i: int, j: int, names: Sequence[str], *, multi_label: bool) -> str:
    """What a cell counts, for its tooltip."""
    if not multi_label:
        return f"{names[i]} predicted as {names[j]}" if i != j else f"{names[i]} correct"
    if i == j:
        return f"{names[i]} found"
    return f"tracks with {names[i]} and without {names[j]}, {names[j]} predicted"


def _most_frequent_errors(counts: ConfusionCounts, names: Sequence[str], phrase: str) -> str:
    """The three most frequent errors in words, each by the `phrase` of its two classes."""
    wrong = [
        (count, names[i], names[j])
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if count and i != j
    ]
    if not wrong:
        return "There is no error."
    first = sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))[:3]
    errors = "; ".join(f"{phrase.format(true=a, predicted=b)}, {n} times" for n, a, b in first)
    return f"Most frequent errors: {errors}."
