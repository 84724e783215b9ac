"""Best objective so far: one line for each of several studies, by the number of ended trials."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from chorale.search.report.charts import svg

LEFT, TOP, TALL, RIGHT = 54, 20, 260, 150
COLOURS = (svg.BLUE, svg.ORANGE, svg.GREEN, svg.PURPLE)
DASHES = (None, "7 3", "2 3", "9 3 2 3")
"""Of the lines; the next four have the same colours, each with the next dashes, and so on."""

END = 6.0
"""Pixels by which a line goes on after the last trial."""

LEAST_GAP = 15.0
"""Pixels between two names at the lines' ends."""


def best_so_far(studies: Mapping[str, Sequence[float | None]], *, objective: str) -> Markup:
    """Draws a line of steps for each study, with its name at the end.

    `studies` maps each name to the best value after each trial, None before the first one.
    """
    values = [one for line in studies.values() for one in line if one is not None] or [0.0, 1.0]
    ends = svg.padded_range(values)
    n = max((len(line) for line in studies.values()), default=1)
    x = svg.AxisScale(0, max(n, 1), LEFT + 8, svg.CHART_WIDTH - RIGHT)
    y = svg.AxisScale(*ends, TOP + TALL, TOP)
    marks = []
    for at in svg.ticks(*ends):
        marks.append(svg.line(LEFT, y(at), svg.CHART_WIDTH - RIGHT, y(at)))
        marks.append(svg.text(LEFT - 8, y(at), f"{at:.2f}", anchor="end", fill=svg.MUTED))
    for tick in {round(at) for at in svg.ticks(0, n, 8)}:
        marks.append(svg.text(x(tick), TOP + TALL + 16, tick, anchor="middle", fill=svg.MUTED))
    middle = (LEFT + svg.CHART_WIDTH - RIGHT) / 2
    marks.append(svg.text(middle, TOP + TALL + 36, "trials", anchor="middle", fill=svg.MUTED))
    names: list[tuple[float, str, int]] = []
    described = []
    for i, (name, line) in enumerate(studies.items()):
        marks.append(_line(name, line, i, x, y))
        known = [value for value in line if value is not None]
        described.append(
            f"{name}: {known[-1]:.3f} after {len(line)} trials" if known else f"{name}: none"
        )
        names.append((y(known[-1]) if known else float(TOP + TALL), name, i))
    at = -LEAST_GAP
    for height, name, i in sorted(names):
        at = max(height, at + LEAST_GAP)
        marks.append(
            svg.text(
                svg.CHART_WIDTH - RIGHT + 8,
                at,
                svg.shortened(name, 20),
                fill=COLOURS[i % len(COLOURS)],
            )
        )
    bottom = max(TOP + TALL + 46.0, at + 10)
    return svg.chart(
        "best-so-far",
        *marks,
        title=f"Best {objective} on validation tracks by the number of trials",
        desc="; ".join(described) + ".",
        height=bottom,
    )


def _line(
    name: str, line: Sequence[float | None], i: int, x: svg.AxisScale, y: svg.AxisScale
) -> Markup:
    steps: list[tuple[float, float]] = []
    best = None
    for n, value in enumerate(line, start=1):
        if value is None or value == best:
            continue
        steps += [] if best is None else [(x(n), y(best))]
        best = value
        steps.append((x(n), y(best)))
    if best is not None:
        steps.append((x(len(line)) + END, y(best)))  # so that one trial is visible, too
    dash = DASHES[(i + i // len(COLOURS)) % len(DASHES)]
    return svg.group(
        svg.tooltip(name),
        svg.polyline(
            steps, stroke=COLOURS[i % len(COLOURS)], stroke_width=2.0, stroke_dasharray=dash
        ),
    )
