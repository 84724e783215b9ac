"""The charts of the report page, drawn from the study's data; a chart without data is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chorale.search.console.progress import duration_text
from chorale.search.report.charts.accuracy_by_split import SplitAccuracies, accuracy_by_split
from chorale.search.report.charts.architectures import architectures
from chorale.search.report.charts.bars import BarRow, bars
from chorale.search.report.charts.chart import Chart
from chorale.search.report.charts.confusion import confusion
from chorale.search.report.charts.curves import Curve, curves
from chorale.search.report.charts.forest import Estimate, forest
from chorale.search.report.charts.history import HistoryPoint, history
from chorale.search.report.charts.parallel import Axis, TrialLine, parallel
from chorale.search.report.charts.pareto import ParetoPoint, pareto
from chorale.search.report.charts.reliability import ReliabilityBin, ReliabilityPanel, reliability
from chorale.search.report.charts.text import shortened
from chorale.search.report.charts.trial import TrialMark
from chorale.search.report.data.error_analysis import CalibrationBins
from chorale.search.report.data.study_data import StudyData
from chorale.search.report.data.trials import TrialSummary
from chorale.search.report.page.numbers import hours, params_line, signed_points
from chorale.search.statistics.main_score import main_score_of, metric_name

MAX_AXES = 7
"""Axes of parallel coordinates, besides architecture, features and objective."""

MAX_PARAMS_POINTED_AT = 6
"""Hyperparameters that a trial shows where it is pointed at, most important first."""

MAX_BARS = 15
"""Bars of a chart; the others are added up in one."""

MAX_PANELS = 8
"""Architectures, best first, that get parallel coordinates of their own parameters."""


@dataclass(frozen=True)
class Figures:
    """The charts by name, None for a chart without data."""

    forest: Chart | None = None
    accuracy_by_split: Chart | None = None
    members: Chart | None = None
    confusion_test: Chart | None = None
    confusion_oof: Chart | None = None
    reliability: Chart | None = None
    set_sizes: Chart | None = None
    pareto: Chart | None = None
    history: Chart | None = None
    architectures: Chart | None = None
    curves: Chart | None = None
    importance: Chart | None = None
    parallel: Chart | None = None
    parallel_each: Mapping[str, Chart] = field(default_factory=dict)
    cost: Chart | None = None


def draw_figures(study: StudyData) -> Figures:
    """Draws every chart that there is data for."""
    axes = _shared_axes(study)
    lines = _trial_lines(study, study.trials)
    return Figures(
        **(_score_figures(study.report) if study.report and "ensemble" in study.report else {}),
        **_error_figures(study),
        pareto=_pareto(study),
        history=_history(study) if study.trials else None,
        architectures=_architectures(study),
        curves=_curves(study),
        importance=_importance(study),
        parallel=parallel(lines, axes, key="all", objective=study.objective)
        if len(lines) > 1
        else None,
        parallel_each=_parallel_each(study),
        cost=_cost(study),
    )


def _score_figures(report: Mapping[str, Any]) -> dict[str, Chart | None]:
    chosen = report["ensemble"]["kind"]
    estimates, accuracies = [], []
    for name, one in report["ensembles"].items():
        low, high = one["test"]["ci95"]
        gain = "" if name == chosen else _gain(report, name)
        kind = "chosen" if name == chosen else "single" if name == "best_single" else "ensemble"
        estimates.append(Estimate(name, main_score_of(one["test"]), low, high, kind, gain))  # type: ignore[arg-type]
        parts = [main_score_of(one[part]) for part in ("validation", "out_of_fold", "test")]
        over = f"{signed_points(parts[0] - parts[2])} (oof {signed_points(parts[1] - parts[2])})"
        accuracies.append(SplitAccuracies(name, parts[0], parts[1], parts[2], over))
    for name, one in report["baselines"].items():
        low, high = one["test"]["ci95"]
        value, oof = main_score_of(one["test"]), main_score_of(one["out_of_fold"])
        estimates.append(Estimate(name, value, low, high, "baseline", _gain(report, name)))
        over = f"(oof {signed_points(oof - value)})"
        accuracies.append(SplitAccuracies(name, None, oof, value, over))
    metric = metric_name(report["ensemble"]["test"])
    return {
        "forest": forest(estimates, metric=metric),
        "accuracy_by_split": accuracy_by_split(accuracies, metric=metric),
        "members": _members(report["ensemble"]),
    }


def _gain(report: Mapping[str, Any], name: str) -> str:
    """By how many points the chosen ensemble is better, paired over the same tracks."""
    gain = report.get("gains", {}).get(name)
    if gain is None:
        gain = _gain_of_comparison(report, name)
    if gain is None:
        return ""
    low, high = (100 * end for end in gain["ci95"])
    return f"{100 * gain['difference']:+.1f} ({low:+.0f} to {high:+.0f})"


def _gain_of_comparison(report: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The same from `comparisons`, in whichever order the pair is listed."""
    chosen = report["ensemble"]["kind"]
    for one in report.get("comparisons", ()):
        if (one["first"], one["second"]) == (chosen, name):
            return {"difference": one["difference"], "ci95": one["ci95"]}
        if (one["first"], one["second"]) == (name, chosen):
            low, high = one["ci95"]  # subtracted from 0, as the negation of 0.0 is -0.0
            return {"difference": 0 - one["difference"], "ci95": [0 - high, 0 - low]}
    return None


def _members(ensemble: Mapping[str, Any]) -> Chart | None:
    weights: Mapping[str, float] = ensemble.get("params", {}).get("weights", {})
    total = sum(weights.values())
    if not weights or total <= 0:
        return None
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    shares = [(f"trial {n}" if n.isdecimal() else n, weight / total) for n, weight in ranked]
    return bars(_share_bars(shares), key="members", title="Weights of the ensemble's members")


def _share_bars(ranked: Sequence[tuple[str, float]]) -> list[BarRow]:
    """One bar for each share; those beyond `MAX_BARS` are added up in one."""
    rows = [BarRow(name, share, f"{share:.1%}") for name, share in ranked[:MAX_BARS]]
    if rest := ranked[MAX_BARS:]:
        share = sum(value for _, value in rest)
        rows.append(BarRow(f"{len(rest)} more", 0.0, f"{share:.1%}", rest=share))
    return rows


def _error_figures(study: StudyData) -> dict[str, Chart | None]:
    if study.errors is None:
        return {}
    names, counts, totals = study.errors.class_names, study.errors.counts, study.errors.totals
    multi_label = totals is not None
    test, oof = (
        confusion(counts[key], names, key=key, totals=None if totals is None else totals[key])
        for key in ("test", "out-of-fold")
    )
    panels = [_panel(one) for one in study.errors.reliability]
    figures: dict[str, Chart | None] = {
        "confusion_test": test,
        "confusion_oof": oof,
        "reliability": reliability(panels, multi_label=multi_label),
    }
    if sizes := study.errors.set_sizes:
        n = sum(sizes.values())
        rows = [
            BarRow(
                _set_size_text(size, multi_label=multi_label),
                count,
                f"{count} {'track' if count == 1 else 'tracks'} ({count / n:.0%})",
            )
            for size, count in sorted(sizes.items())
        ]
        title = "Test tracks by the size of their conformal set"
        figures["set_sizes"] = bars(rows, key="set-sizes", title=title)
    return figures


def _set_size_text(size: int, *, multi_label: bool) -> str:
    if not multi_label:
        return "1 class" if size == 1 else f"{size} classes"
    return {0: "no label", 1: "1 label"}.get(size, f"{size} labels")


def _panel(one: CalibrationBins) -> ReliabilityPanel:
    before, after = (
        [ReliabilityBin(b.confidence, b.right, b.n) for b in bins]
        for bins in (one.before, one.after)
    )
    return ReliabilityPanel(one.name, before, after)


def _pareto(study: StudyData) -> Chart | None:
    second = study.second
    if second == "none":
        return None
    points = [
        ParetoPoint(_mark(study, t), t.second, t.front)
        for t in study.trials
        if t.done and t.value is not None and t.second is not None and t.second > 0
    ]
    return pareto(points, objective=study.objective, second=second) if points else None


def _history(study: StudyData) -> Chart:
    points = [HistoryPoint(_mark(study, t), t.finalist) for t in study.trials]
    return history(points, objective=study.objective)


def _architectures(study: StudyData) -> Chart | None:
    values = {
        one.name: mine
        for one in study.architectures
        if (mine := [
            _mark(study, t)
            for t in study.trials
            if t.architecture == one.name and t.value is not None
        ])
    }  # fmt: skip
    return architectures(values, objective=study.objective) if values else None


def _curves(study: StudyData) -> Chart | None:
    best = {one.best_trial for one in study.architectures}
    panels = {
        one.name: mine
        for one in study.architectures
        if (mine := [
            Curve(_mark(study, t), t.curve, t.number in best)
            for t in study.trials
            if t.architecture == one.name and t.curve
        ])
    }  # fmt: skip
    return curves(panels, objective=study.objective) if panels else None


def _importance(study: StudyData) -> Chart | None:
    ranked = sorted(study.importance.shares.items(), key=lambda item: -item[1])
    if not ranked:
        return None
    return bars(_share_bars(ranked), key="importance", title="Hyperparameter importance")


def _trial_lines(study: StudyData, trials: Sequence[TrialSummary]) -> list[TrialLine]:
    return [
        TrialLine(
            _mark(study, t), {"architecture": t.architecture, "features": t.features, **t.params}
        )
        for t in trials
        if t.value is not None
    ]


def _shared_axes(study: StudyData) -> list[Axis]:
    """Architecture, features, and the training's hyperparameters, most important first."""
    names = {name for t in study.trials for name in t.params if name.startswith("train.")}
    wanted = _varied(study.trials, names, study.importance.shares)[:MAX_AXES]
    first = [Axis("architecture", "architecture")]
    if len({t.features for t in study.trials}) > 1:
        first.append(Axis("features", "features"))
    return [*first, *(Axis(n, n.removeprefix("train."), n in study.log_params) for n in wanted)]


def _parallel_each(study: StudyData) -> dict[str, Chart]:
    """Parallel coordinates of each architecture's own hyperparameters, from 3 trials on."""
    drawn: dict[str, Chart] = {}
    for one in study.architectures[:MAX_PANELS]:
        mine = [t for t in study.trials if t.architecture == one.name and t.value is not None]
        names = {name for t in mine for name in t.params if not name.startswith("train.")}
        shares = {
            name.removeprefix(f"{one.name}."): share
            for name, share in study.importance.shares.items()
        }
        wanted = _varied(mine, names, shares)[:MAX_AXES]
        if len(mine) > 2 and wanted:
            axes = [Axis(n, n, f"{one.name}.{n}" in study.log_params) for n in wanted]
            key = f"own-{len(drawn)}"
            lines = _trial_lines(study, mine)
            drawn[one.name] = parallel(lines, axes, key=key, objective=study.objective)
    return drawn


def _varied(
    trials: Sequence[TrialSummary], names: set[str], shares: Mapping[str, float]
) -> list[str]:
    """The hyperparameters with more than one value, most important first.

    Those without an importance keep the order in which they are sampled.
    """
    ordered = [n for n in dict.fromkeys(n for t in trials for n in t.params) if n in names]
    varied = [n for n in ordered if len({repr(t.params.get(n)) for t in trials}) > 1]
    return sorted(varied, key=lambda n: -shares.get(n, 0.0))


def _cost(study: StudyData) -> Chart | None:
    spent_s: dict[str, float] = {}
    for t in study.trials:
        spent_s[t.architecture] = spent_s.get(t.architecture, 0.0) + (t.elapsed_s or 0.0)
    rows = [
        BarRow(name, seconds, duration_text(seconds) if seconds < 3600 else hours(seconds))
        for name, seconds in sorted(spent_s.items(), key=lambda item: -item[1])
        if seconds
    ]
    return bars(rows, key="cost", title="Training time by architecture") if rows else None


def _mark(study: StudyData, t: TrialSummary) -> TrialMark:
    """A trial as all charts show it, with its most important parameters."""
    shares = {
        name.removeprefix(f"{t.architecture}."): share
        for name, share in study.importance.shares.items()
    }
    first = sorted(t.params.items(), key=lambda item: -shares.get(item[0], 0.0))
    return TrialMark(
        t.number,
        t.state,
        t.value,
        t.architecture,
        params_line(dict(first), MAX_PARAMS_POINTED_AT),
        shortened(t.reason, 90) if t.state == "FAIL" else "",
    )
