"""A confusion matrix: what tracks of each class were taken for."""

from collections.abc import Sequence

from markupsafe import Markup

from chorale.search.report.charts import svg

LEAST, MOST = 11, 46
"""Sides of a cell in pixels."""

ROOM_FOR_A_NUMBER = 17

LEAST_WIDTH = 340
"""Of the drawing: that of a few classes is not blown up."""


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str], *, key: str) -> Markup:
    """Draws (n_classes, n_classes) counts; a row is a true class, a column what was said.

    A cell is the darker the larger its share of the row; hits are blue, mistakes orange.

    Args:
        counts: how many tracks.
        names: of the classes.
        key: which tracks these are: "test", "out-of-fold"; it also names the drawing.
    """
    n = len(names)
    shown = [svg.shortened(name, 18) for name in names]
    side = min(max(520 / n, LEAST), MOST)
    size = svg.SIZE if side >= 16 else max(side - 2.0, 8.5)
    margin = svg.breadth(shown, size=size) * 1.08 + 12
    left, top = margin + 24, margin + 24
    marks = [
        svg.text(left + n * side / 2, 8, "what was said", anchor="middle", fill=svg.MUTED),
        svg.text(
            0, 0, "what is true", anchor="middle", fill=svg.MUTED,
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
    right = sum(counts[i][i] for i in range(n))
    return svg.chart(
        f"confusion-{key}",
        *marks,
        title=f"Confusion matrix of {n_tracks} {key} tracks",
        desc=f"{right} of {n_tracks} are on the diagonal. " + _worst(counts, names),
        height=top + edge + 4,
        width=max(left + edge + 4, LEAST_WIDTH),
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
    said = f"{names[i]} taken for {names[j]}: {count} of {of}"
    marks = [
        svg.tip(said if i != j else f"{names[i]} found: {count} of {of}"),
        svg.element(
            "rect", x=x + 0.5, y=y + 0.5, width=side - 1, height=side - 1,
            fill=svg.BLUE if i == j else svg.ORANGE, fill_opacity=f"{0.12 + 0.88 * share:.2f}",
        ),
    ]  # fmt: skip
    if side >= ROOM_FOR_A_NUMBER:
        ink = "var(--on-mark)" if share > 0.5 else svg.INK
        marks.append(
            svg.text(x + side / 2, y + side / 2, count, anchor="middle", fill=ink,
                     font_size=min(svg.SIZE, side * 0.5))
        )  # fmt: skip
    return svg.group(*marks)


def _worst(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The most frequent mistakes in words."""
    wrong = [
        (count, names[i], names[j])
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if count and i != j
    ]
    if not wrong:
        return "There is no mistake."
    first = sorted(wrong, key=lambda one: (-one[0], one[1], one[2]))[:3]
    return "Most often: " + "; ".join(f"{a} taken for {b}, {n} times" for n, a, b in first) + "."
