"""What each architecture can do: its trials on one line, with their median and best."""

from collections.abc import Mapping, Sequence
from statistics import median

from markupsafe import Markup

from chorale.search.report.charts import svg

ROW, TOP = 28, 30

Reached = tuple[float, bool]
"""What a trial reached, and whether it came to its end."""


def architectures(found: Mapping[str, Sequence[Reached]], *, objective: str) -> Markup:
    """Draws a line for each architecture, in the order given, each with at least one trial.

    A bar marks the median of the finished trials; the best of them is a diamond.
    """
    names = [svg.shortened(name) for name in found]
    left = svg.breadth(names) + 20
    ends = svg.around([value for trials in found.values() for value, _ in trials])
    x = svg.Scale(*ends, left, svg.WIDTH - 20)
    bottom = TOP + ROW * len(names)
    marks = [_legend(left)]
    for at in svg.ticks(*ends, 7):
        marks.append(svg.line(x(at), TOP, x(at), bottom))
        marks.append(svg.text(x(at), bottom + 13, f"{at:.2f}", anchor="middle", fill=svg.MUTED))
    said = []
    for i, (name, trials) in enumerate(found.items()):
        y = TOP + ROW * (i + 0.5)
        marks.append(svg.text(left - 12, y, names[i], anchor="end"))
        marks += [_trial(value, x(value), y, done=done) for value, done in sorted(trials)]
        done = [value for value, is_done in trials if is_done]
        if done:
            at = x(median(done))
            marks.append(svg.line(at, y - 9, at, y + 9, stroke=svg.INK, stroke_width=2))
            marks.append(_best(x(max(done)), y))
            said.append(f"{name}: best {max(done):.3f}, median {median(done):.3f}")
        else:
            said.append(f"{name}: no trial came to its end")
    return svg.chart(
        "architectures",
        *marks,
        title=f"What each architecture reached ({objective} on validation tracks)",
        desc="; ".join(said) + ".",
        height=bottom + 28,
    )


def _trial(value: float, x: float, y: float, *, done: bool) -> Markup:
    said = f"{value:.3f}, {'done' if done else 'pruned'}"
    if done:
        return svg.element("circle", svg.tip(said), cx=x, cy=y, r=4, fill=svg.BLUE,
                           fill_opacity="0.55")  # fmt: skip
    return svg.element("circle", svg.tip(said), cx=x, cy=y, r=3, fill="none", stroke=svg.MUTED)


def _best(x: float, y: float) -> Markup:
    at = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
    return svg.element("polygon", points=at, fill=svg.ORANGE)


def _legend(left: float) -> Markup:
    marks = [
        svg.element("circle", cx=left + 6, cy=10, r=4, fill=svg.BLUE, fill_opacity="0.55"),
        svg.element("circle", cx=left + 74, cy=10, r=3, fill="none", stroke=svg.MUTED),
        svg.line(left + 150, 2, left + 150, 18, stroke=svg.INK, stroke_width=2),
        _best(left + 296, 10),
    ]
    words = (("done", 16), ("pruned", 84), ("median of those done", 158), ("best", 310))
    marks += [svg.text(left + at, 10, word, fill=svg.MUTED, font_size=11) for word, at in words]
    return svg.group(*marks)
