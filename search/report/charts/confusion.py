"""Confusion matrix: the tracks of each true class by predicted class."""

from collections.abc import Sequence

from markupsafe import Markup

from chorale.search.report.charts import svg

MIN_CELL, MAX_CELL = 11, 46
"""Side of a cell in pixels."""

MIN_NUMBERED_CELL = 17

MIN_CHART_WIDTH = 340
"""In pixels, so that a matrix of few classes is not enlarged."""


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str], *, key: str) -> Markup:
    """Draws (n_classes, n_classes) counts; a row is a true class, a column a predicted class.

    The darker a cell, the larger its share of the row; correct ones are blue, errors orange.

    Args:
        counts: numbers of tracks.
        names: of the classes.
        key: which tracks: "test" or "out-of-fold"; also the name of the chart.
    """
    n = len(names)
    shown = [svg.shortened(name, 18) for name in names]
    side = min(max(520 / n, MIN_CELL), MAX_CELL)
    size = svg.TEXT_SIZE if side >= 16 else max(side - 2.0, 8.5)
    margin = svg.text_width(shown, size=size) * 1.08 + 12
    left, top = margin + 24, margin + 24
    marks = [
        svg.text(left + n * side / 2, 8, "predicted class", anchor="middle", fill=svg.MUTED),
        svg.text(
            0, 0, "true class", anchor="middle", fill=svg.MUTED,
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
            marks.append(_cell(i, j, count, sum(row), names, side=side, left=left, top=top))
    edge = n * side
    marks.append(
        svg.element("rect", x=left, y=top, width=edge, height=edge, fill="none", stroke=svg.GRID)
    )
    n_tracks = sum(map(sum, counts))
    n_correct = sum(counts[i][i] for i in range(n))
    return svg.chart(
        f"confusion-{key}",
        *marks,
        title=f"Confusion matrix of {n_tracks} {key} tracks",
        desc=f"{n_correct} of {n_tracks} are correct. " + _most_frequent_errors(counts, names),
        height=top + edge + 4,
        width=max(left + edge + 4, MIN_CHART_WIDTH),
    )


def _cell(
    i: int,
    j: int,
    count: int,
    of: int,
    names: Sequence[str],
    *,
    side: float,
    left: float,
    top: float,
) -> Markup:
    if not count:
        return Markup("")
    share = count / of
    x, y = left + j * side, top + i * side
    error = f"{names[i]} predicted as {names[j]}: {count} of {of}"
    marks = [
        svg.tooltip(error if i != j else f"{names[i]} correct: {count} of {of}"),
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


def _most_frequent_errors(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The three most frequent errors in words."""
    wrong = [
        (count, names[i], names[j])
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if count and i != j
    ]
    if not wrong:
        return "There is no error."
    first = sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))[:3]
    errors = "; ".join(f"{a} predicted as {b}, {n} times" for n, a, b in first)
    return f"Most frequent errors: {errors}."
