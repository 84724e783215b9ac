"""Gathered facts -> the page's charts; a chart without facts is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from chorale.search.console.progress import duration
from chorale.search.report.charts import svg
from chorale.search.report.charts.architectures import architectures
from chorale.search.report.charts.bars import Bar, bars
from chorale.search.report.charts.confusion import confusion
from chorale.search.report.charts.curves import Curve, curves
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.history import STATES, Tried, history
from chorale.search.report.charts.parallel import Axis, Setting, parallel
from chorale.search.report.charts.pareto import Pair, pareto
from chorale.search.report.charts.reliability import Bin, Panel, reliability
from chorale.search.report.charts.side_by_side import Believed, side_by_side
from chorale.search.report.data.data import Gathered
from chorale.search.report.data.errors import Sureness
from chorale.search.report.data.trials import Trial
from chorale.search.report.page.numbers import hours, points, short

MOST_AXES = 7
"""Of parallel coordinates, besides the architecture and the objective."""

MOST_BARS = 15
MOST_PANELS = 8
"""So many architectures get parallel coordinates of their own, the best ones."""


@dataclass(frozen=True)
class Drawings:
    """The charts by name, None where there is nothing to draw."""

    forest: Markup | None = None
    side_by_side: Markup | None = None
    members: Markup | None = None
    confusion_test: Markup | None = None
    confusion_oof: Markup | None = None
    reliability: Markup | None = None
    set_sizes: Markup | None = None
    pareto: Markup | None = None
    history: Markup | None = None
    architectures: Markup | None = None
    curves: Markup | None = None
    importance: Markup | None = None
    parallel: Markup | None = None
    parallel_each: Mapping[str, Markup] = field(default_factory=dict)
    parallel_width: int = 0
    cost: Markup | None = None


def drawings(g: Gathered) -> Drawings:
    """Draws all that can be drawn."""
    axes = _shared_axes(g)
    settings = _settings(g.trials)
    return Drawings(
        **(_of_scores(g.found) if g.found and "ensemble" in g.found else {}),
        **_of_errors(g),
        pareto=_pareto(g),
        history=_history(g) if g.trials else None,
        architectures=_architectures(g),
        curves=_curves(g),
        importance=_importance(g),
        parallel=parallel(settings, axes, key="all", objective=g.objective)
        if len(settings) > 1
        else None,
        parallel_each=_each(g),
        parallel_width=92 * (len(axes) + 1),
        cost=_cost(g),
    )


def _of_scores(found: Mapping[str, Any]) -> dict[str, Markup | None]:
    chosen = found["ensemble"]["kind"]
    rows, believed = [], []
    for name, one in found["ensembles"].items():
        low, high = one["test"]["ci95"]
        lead = "" if name == chosen else _lead(found, name)
        kind = "chosen" if name == chosen else "single" if name == "best_single" else "ensemble"
        rows.append(Estimate(name, one["test"]["accuracy"], low, high, kind, lead))  # type: ignore[arg-type]
        parts = [one[part]["accuracy"] for part in ("validation", "out_of_fold", "test")]
        over = f"{points(parts[0] - parts[2])} (oof {points(parts[1] - parts[2])})"
        believed.append(Believed(name, parts[0], parts[1], parts[2], over))
    for name, one in found["baselines"].items():
        low, high = one["test"]["ci95"]
        accuracy = one["test"]["accuracy"]
        rows.append(Estimate(name, accuracy, low, high, "baseline", _lead(found, name)))
        oof = one["out_of_fold"]["accuracy"]
        believed.append(Believed(name, None, oof, accuracy, f"(oof {points(oof - accuracy)})"))
    return {
        "forest": forest(rows),
        "side_by_side": side_by_side(believed),
        "members": _members(found["ensemble"]),
    }


def _lead(found: Mapping[str, Any], name: str) -> str:
    """By how many points the chosen ensemble is better, paired over the same tracks."""
    gain = found.get("gains", {}).get(name)
    if gain is None:
        gain = _compared(found, name)
    if gain is None:
        return ""
    low, high = (100 * end for end in gain["ci95"])
    return f"{100 * gain['difference']:+.1f} ({low:+.0f} to {high:+.0f})"


def _compared(found: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The same from the pairs that were compared, whichever of the two came first."""
    chosen = found["ensemble"]["kind"]
    for one in found.get("comparisons", ()):
        if (one["first"], one["second"]) == (chosen, name):
            return {"difference": one["difference"], "ci95": one["ci95"]}
        if (one["first"], one["second"]) == (name, chosen):
            low, high = one["ci95"]  # taken from 0, which has no sign then
            return {"difference": 0 - one["difference"], "ci95": [0 - high, 0 - low]}
    return None


def _members(ensemble: Mapping[str, Any]) -> Markup | None:
    weights: Mapping[str, float] = ensemble.get("params", {}).get("weights", {})
    total = sum(weights.values())
    if not weights or total <= 0:
        return None
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    rows = [
        Bar(f"trial {name}" if name.isdecimal() else name, weight / total, f"{weight / total:.1%}")
        for name, weight in ranked[:MOST_BARS]
    ]
    if rest := ranked[MOST_BARS:]:
        share = sum(weight for _, weight in rest) / total
        rows.append(Bar(f"{len(rest)} more", 0.0, f"{share:.1%}", rest=share))
    return bars(rows, key="members", title="Weights of the ensemble's members")


def _of_errors(g: Gathered) -> dict[str, Markup | None]:
    if g.errors is None:
        return {}
    names = g.errors.class_names
    found: dict[str, Markup | None] = {
        "confusion_test": confusion(g.errors.counts["test"], names, key="test"),
        "confusion_oof": confusion(g.errors.counts["out-of-fold"], names, key="out-of-fold"),
        "reliability": reliability([_panel(one) for one in g.errors.sureness]),
    }
    if sizes := g.errors.set_sizes:
        n = sum(sizes.values())
        rows = [
            Bar(
                "1 class" if size == 1 else f"{size} classes",
                count,
                f"{count} {'track' if count == 1 else 'tracks'} ({count / n:.0%})",
            )
            for size, count in sorted(sizes.items())
        ]
        found["set_sizes"] = bars(
            rows, key="set-sizes", title="Test tracks by the size of their set"
        )
    return found


def _panel(one: Sureness) -> Panel:
    before, after = (
        [Bin(b.confidence, b.right, b.n) for b in bins] for bins in (one.before, one.after)
    )
    return Panel(one.name, before, after)


def _pareto(g: Gathered) -> Markup | None:
    if g.second == "none":
        return None
    pairs = [
        Pair(t.number, t.value, t.second, t.front, f"{_called(t)}, {g.second} {short(t.second)}")
        for t in g.trials
        if t.done and t.value is not None and t.second is not None and t.second > 0
    ]
    return pareto(pairs, objective=g.objective, second=g.second) if pairs else None


def _history(g: Gathered) -> Markup:
    tried = [Tried(t.number, t.value, t.state, _called(t), t.finalist) for t in g.trials]
    return history(tried, objective=g.objective)


def _architectures(g: Gathered) -> Markup | None:
    reached = {one.name: one.reached for one in g.abilities if one.reached}
    return architectures(reached, objective=g.objective) if reached else None


def _curves(g: Gathered) -> Markup | None:
    best = {one.best_trial for one in g.abilities}
    panels = {
        one.name: mine
        for one in g.abilities
        if (mine := [
            Curve(t.number, t.state, t.curve, t.number in best)
            for t in g.trials
            if t.architecture == one.name and t.curve
        ])
    }  # fmt: skip
    return curves(panels, objective=g.objective) if panels else None


def _importance(g: Gathered) -> Markup | None:
    ranked = sorted(g.importance.shares.items(), key=lambda item: -item[1])
    if not ranked:
        return None
    rows = [Bar(name, share, f"{share:.1%}") for name, share in ranked[:MOST_BARS]]
    if rest := ranked[MOST_BARS:]:
        share = sum(value for _, value in rest)
        rows.append(Bar(f"{len(rest)} more", 0.0, f"{share:.1%}", rest=share))
    return bars(rows, key="importance", title="Importance of the parameters")


def _settings(trials: Sequence[Trial]) -> list[Setting]:
    return [
        Setting(
            t.number,
            t.value,
            {"architecture": t.architecture, "features": t.features, **t.params},
            _called(t),
        )
        for t in trials
        if t.value is not None
    ]


def _shared_axes(g: Gathered) -> list[Axis]:
    """Architecture, features, and the training's parameters, those that matter most first."""
    names = {name for t in g.trials for name in t.params if name.startswith("train.")}
    wanted = _varied(g.trials, names, g.importance.shares)[:MOST_AXES]
    first = [Axis("architecture", "architecture")]
    if len({t.features for t in g.trials}) > 1:
        first.append(Axis("features", "features"))
    return [*first, *(Axis(n, n.removeprefix("train."), n in g.logs) for n in wanted)]


def _each(g: Gathered) -> dict[str, Markup]:
    """Parallel coordinates of an architecture's own parameters, where it has trials enough."""
    found: dict[str, Markup] = {}
    for one in g.abilities[:MOST_PANELS]:
        mine = [t for t in g.trials if t.architecture == one.name and t.value is not None]
        names = {name for t in mine for name in t.params if not name.startswith("train.")}
        shares = {name.removeprefix(f"{one.name}."): s for name, s in g.importance.shares.items()}
        wanted = _varied(mine, names, shares)[:MOST_AXES]
        if len(mine) > 2 and wanted:
            axes = [Axis(n, n, f"{one.name}.{n}" in g.logs) for n in wanted]
            key = f"own-{len(found)}"
            found[one.name] = parallel(_settings(mine), axes, key=key, objective=g.objective)
    return found


def _varied(trials: Sequence[Trial], names: set[str], shares: Mapping[str, float]) -> list[str]:
    """The parameters of which there is more than one value, those that matter most first.

    Where nothing is known of that they stand in the order in which they are drawn.
    """
    drawn = [name for name in dict.fromkeys(n for t in trials for n in t.params) if name in names]
    varied = [n for n in drawn if len({repr(t.params.get(n)) for t in trials}) > 1]
    return sorted(varied, key=lambda n: -shares.get(n, 0.0))


def _cost(g: Gathered) -> Markup | None:
    spent: dict[str, float] = {}
    for t in g.trials:
        spent[t.architecture] = spent.get(t.architecture, 0.0) + (t.elapsed_s or 0.0)
    rows = [
        Bar(name, seconds, duration(seconds) if seconds < 3600 else hours(seconds))
        for name, seconds in sorted(spent.items(), key=lambda item: -item[1])
        if seconds
    ]
    return bars(rows, key="cost", title="Time by architecture") if rows else None


def _called(t: Trial) -> str:
    """A trial in a few words."""
    value = "" if t.value is None else f", {t.value:.3f}"
    why = f": {svg.shortened(t.reason, 90)}" if t.state == "FAIL" else ""
    return f"trial {t.number}, {t.architecture}{value}, {STATES.get(t.state, t.state)}{why}"
