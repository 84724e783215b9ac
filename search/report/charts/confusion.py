"""Confusion matrix: the tracks of each true class by predicted class, or of sets of labels."""

from collections.abc import Sequence

from markupsafe import Markup

from chorale.search.report.charts import svg

MIN_CELL, MAX_CELL = 11, 46
"""Side of a cell in pixels."""

MIN_NUMBERED_CELL = 17

MIN_CHART_WIDTH = 340
"""In pixels, so that a matrix of few classes is not enlarged."""


ConfusionCounts = Sequence[Sequence[int]]


def confusion(
    counts: ConfusionCounts,
    names: Sequence[str],
    *,
    key: str,
    totals: ConfusionCounts | None = None,
) -> Markup:
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
    n = len(names)
    shown = [svg.shortened(name, 18) for name in names]
    side = min(max(520 / n, MIN_CELL), MAX_CELL)
    size = svg.TEXT_SIZE if side >= 16 else max(side - 2.0, 8.5)
    margin = svg.text_width(shown, size=size) * 1.08 + 12
    left, top = margin + 24, margin + 24
    marks = [
        svg.text(left + n * side / 2, 8, f"predicted {word}", anchor="middle", fill=svg.MUTED),
        svg.text(
            0, 0, f"true {word}", anchor="middle", fill=svg.MUTED,
            transform=f"translate(8 {top + n * side / 2:.1f}) rotate(-90)",
        ),
    ]  # fmt: skip
    for i, name in enumerate(shown):
        at = (i + 0.5) * side
        column = f"translate({left + at:.1f} {top - 6:.1f}) rotate(-90)"
        marks.append(svg.text(0, 0, name, transform=column, font_size=size))
        marks.append(svg.text(left - 6, top + at, name, anchor="end", font_size=size))
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            of = sum(row) if totals is None else totals[i][j]
            text = _cell_text(i, j, names, multi_label=multi_label)
            marks.append(_cell(i, j, count, of, text, side=side, left=left, top=top))
    edge = n * side
    marks.append(
        svg.element("rect", x=left, y=top, width=edge, height=edge, fill="none", stroke=svg.GRID)
    )
    n_correct = sum(counts[i][i] for i in range(n))
    if totals is None:
        n_tracks = sum(map(sum, counts))
        title = f"Confusion matrix of {n_tracks} {key} tracks"
        result = f"{n_correct} of {n_tracks} are correct."
        errors = _most_frequent_errors(counts, names, "{true} predicted as {predicted}")
    else:
        title = f"True and predicted labels of {key} tracks"
        result = f"{n_correct} of {sum(totals[i][i] for i in range(n))} labels are found."
        errors = _most_frequent_errors(counts, names, "{predicted} predicted beside {true}")
    return svg.chart(
        f"confusion-{key}",
        *marks,
        title=title,
        desc=f"{result} {errors}",
        height=top + edge + 4,
        width=max(left + edge + 4, MIN_CHART_WIDTH),
    )


def _cell_text(i: int, j: int, names: Sequence[str], *, multi_label: bool) -> str:
    """What a cell counts, for its tooltip."""
    if not multi_label:
        return f"{names[i]} predicted as {names[j]}" if i != j else f"{names[i]} correct"
    if i == j:
        return f"{names[i]} found"
    return f"tracks with {names[i]} and without {names[j]}, {names[j]} predicted"


def _cell(
    i: int,
    j: int,
    count: int,
    of: int,
    text: str,
    *,
    side: float,
    left: float,
    top: float,
) -> Markup:
    if not count:
        return Markup("")
    share = count / of
    x, y = left + j * side, top + i * side
    marks = [
        svg.tooltip(f"{text}: {count} of {of}"),
        svg.element(
            "rect", x=x + 0.5, y=y + 0.5, width=side - 1, height=side - 1,
            fill=svg.BLUE if i == j else svg.ORANGE, fill_opacity=f"{0.12 + 0.88 * share:.2f}",
        ),
    ]  # fmt: skip
    if side >= MIN_NUMBERED_CELL:
        ink = "var(--on-mark)" if share > 0.5 else svg.INK
        marks.append(
            svg.text(x + side / 2, y + side / 2, count, anchor="middle", fill=ink,
                     font_size=min(svg.TEXT_SIZE, side * 0.5))
        )  # fmt: skip
    return svg.group(*marks)


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
