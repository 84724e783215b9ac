"""The sentences of the report page: scores, optimism, calibration, conformal sets, caveats."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.datasets.splitting.labels import LabelChanges
from chorale.search.console.progress import duration_text, durations_text
from chorale.search.evaluation.member_names import (
    BEST_BASELINE,
    baseline_features,
    best_trial,
    list_seeds,
    split_members,
)
from chorale.search.report.data.study_data import StudyData
from chorale.search.report.page.numbers import DASH, hours, percent, signed_points
from chorale.search.statistics.main_score import main_score_of, metric_name

ReportValues = Mapping[str, Any]

NEGLIGIBLE = 0.0005
"""A smaller difference in accuracy or mAP rounds to 0.0 points and is not reported."""


@dataclass(frozen=True)
class ScoreTile:
    """One large figure with its label, and its interval or another detail below."""

    label: str
    value: str
    detail: str


def unscored_summary(study: StudyData) -> str:
    """The first sentence about a study without a test score."""
    best = next((t for t in study.trials if t.done and t.value is not None), None)
    n = len(study.trials)
    ended = (
        "No trial has ended yet"
        if not n
        else f"{n} {'trial has' if n == 1 else 'trials have'} ended"
    )
    reached = (
        "none finished"
        if best is None
        else f"the best, trial {best.number} ({best.architecture}), has a validation "
        f"{study.objective} of {best.value:.3f}"
    )
    progress = f"{ended}; {reached}. " if n else f"{ended}. "
    nothing = f"Nothing has been evaluated on the locked test set yet: no test {study.metric}."
    return progress + nothing


def caveats(study: StudyData) -> list[str]:
    """What a reader must know before relying on the figures."""
    report, notes = study.report, []
    if report is not None and study.is_stale:
        notes.append(
            f"The study has run more trials since it was scored: the scores are of the earlier "
            f"state, the {len(study.trials)} trials below are all trials so far."
        )
    if study.info.state != "complete" and report is None:
        notes.append(f"The study is not finished; its state is {study.info.state}.")
    if report is None or "ensemble" not in report:
        return notes
    labels = "Labels" if study.multi_label else "Classes"
    notes += [f"{labels} {line}." for line in label_change_lines(report)]
    looks = report.get("test_looks", 1)
    if looks > 1:
        notes.append(
            f"The test set has been evaluated {looks} times. A choice made between two evaluations "
            f"is partly fitted to the test set, so its scores may be slightly too high."
        )
    if (made := report.get("baselines_made")) is not None:
        notes.append("; ".join([baseline_features(made), *made["left_out"]]) + ".")
    if (rival := _better_baseline(report)) is not None:
        good = "has at least the same mAP" if study.multi_label else "is at least as accurate"
        notes.append(
            f"The baseline {rival} {good} on the same test tracks: the search found nothing that "
            f"is worth its cost, or its budget was too small."
        )
    if (
        over := report["ensemble"].get("optimism", {}).get("out_of_fold")
    ) is not None and over > 0.1:
        notes.append(
            f"The out-of-fold {study.metric} is {100 * over:.1f} points above the test "
            f"{study.metric}: the test groups are harder than the others, or too few to be "
            f"representative."
        )
    return notes


def score_tiles(report: ReportValues) -> list[ScoreTile]:
    """The most important figures, for the tiles at the top of the page."""
    ensemble, single = report["ensemble"], best_trial(report)
    test = ensemble["test"]
    low, high = test["ci95"]
    tiles = [
        ScoreTile(
            f"test {metric_name(test)}, {ensemble['kind']}",
            f"{main_score_of(test):.1%}",
            f"95 % CI {low:.1%} {DASH} {high:.1%}",
        ),
    ]
    if single is not None:
        value = f"{main_score_of(single['test']):.1%}"
        tiles.append(ScoreTile("best single trial", value, _gain(report, "best_single")))
    rivals = {name: main_score_of(one["test"]) for name, one in report["baselines"].items()}
    if rivals:
        best = max(rivals, key=lambda name: rivals[name])
        tiles.append(
            ScoreTile(f"best baseline, {best}", f"{rivals[best]:.1%}", _gain(report, best))
        )
    over = ensemble.get("optimism")
    if over:
        tiles.append(
            ScoreTile(
                "optimism (validation minus test)",
                f"{signed_points(over['validation'])} pts",
                f"out-of-fold minus test {signed_points(over['out_of_fold'])}",
            )
        )
    looks = report.get("test_looks")
    if looks is not None:
        detail = "no choice depends on it" if looks == 1 else "each one more may bias the score"
        tiles.append(ScoreTile("test set evaluations", str(looks), detail))
    return tiles


def _better_baseline(report: ReportValues) -> str | None:
    """The best baseline, unless the selected ensemble has a higher score."""
    rivals = {name: main_score_of(one["test"]) for name, one in report["baselines"].items()}
    best: str | None = max(rivals, key=lambda name: rivals[name], default=None)
    if best is None or report["ensemble"]["kind"] == BEST_BASELINE:
        return None
    if rivals[best] < main_score_of(report["ensemble"]["test"]):
        return None
    return best


def _gain(report: ReportValues, name: str) -> str:
    """By how many points the selected ensemble is better than `name`, with the 95 % CI."""
    gain = report.get("gains", {}).get(name)
    if gain is None:
        return ""
    low, high = gain["ci95"]
    if low == high == 0:
        return "no difference to the ensemble"
    significance = "" if low > 0 or high < 0 else ", not significant"
    return (
        f"ensemble {signed_points(gain['difference'])} "
        f"({signed_points(low)} to {signed_points(high)}){significance}"
    )


def _reasons_for_gain(ensemble: ReportValues, n_folds: int) -> str:
    """Why test predictions should be better than out-of-fold predictions."""
    trials, baselines = split_members(ensemble.get("members", []))
    reasons = [f"averaging {n_folds} fold models per trial"] if trials or not baselines else []
    reasons += ["baselines trained on all development tracks"] if baselines else []
    return " and for ".join(reasons)


def seeds_text(report: ReportValues) -> str:
    """How many seeds finalists were trained with, after a space; "" where all have one."""
    seeds = list_seeds(report.get("seeds", {}))  # missing in older versions
    return f" Trained with several seeds, whose predictions are averaged: {seeds}." if seeds else ""


def optimism_text(report: ReportValues) -> str:
    """Optimism of the selected ensemble, and how its expected test score was estimated."""
    over = report["ensemble"].get("optimism")
    looks = report.get("test_looks")
    metric = "mAP" if is_multi_label_report(report) else "accuracy"
    text = ""
    if over:
        text = (
            f"Validation minus test {metric} of the selected ensemble: "
            f"{_difference(over['validation'])} points; out-of-fold minus test: "
            f"{_difference(over['out_of_fold'])} points. "
        )
    if expected := report.get("expected"):
        text += (
            f"The expected test {metric}, estimated before the test set was evaluated, was "
            f"{percent(main_score_of(expected))}: {percent(expected['out_of_fold'])} out-of-fold "
            f"{metric}, {_set_size_text(expected)}{_difference(expected['gain'])} points for "
            f"{_reasons_for_gain(report['ensemble'], expected['n_folds'])}. "
        )
        # older versions did not estimate selection bias
        if (bias := expected.get("configuration_bias", 0.0)) >= NEGLIGIBLE:
            text += (
                f"{100 * bias:.1f} points of selection bias were subtracted: configurations were "
                f"selected on the first of these folds, and scored lower there with other seeds. "
            )
        if (bias := expected.get("kind_bias", 0.0)) >= NEGLIGIBLE:
            text += (
                f"{100 * bias:.1f} points of selection bias were subtracted: the ensemble was "
                f"selected on these rows. "
            )
    elif metric == "mAP":
        text += (
            "The test mAP to expect was not estimated in this older study. An mAP of few tracks is "
            "higher than one of many, so that parts of different sizes are not quite comparable. "
        )
    if looks is not None:
        times = "once" if looks == 1 else f"{looks} times"
        text += f"The test set has been evaluated {times}, as counted in the ledger."
    return text


def _set_size_text(expected: ReportValues) -> str:
    """How much more the mAP of a set of the test set's size is; "" for an accuracy."""
    if "set_size" not in expected:
        return ""
    return (
        f"{_difference(expected['set_size'])} points as the mAP of fewer tracks "
        f"({expected['n_tracks']} test tracks) is higher, "
    )


def _difference(value: float) -> str:
    """Signed percentage points, 0 without a sign."""
    return "0.0" if abs(value) < NEGLIGIBLE else signed_points(value)


def calibration_text(report: ReportValues) -> str:
    """The effect of temperature scaling on calibration error and log loss."""
    one = report["calibration"]
    temperature, test = one["temperature"], one["test"]
    if temperature == 1:
        return (
            f"Temperature scaling did not improve the probabilities on held-out groups, so they "
            f"stay as they are: calibration error {test['before']['ece']:.3f}, log loss "
            f"{test['before']['log_loss']:.3f} on the test tracks."
        )
    if is_multi_label_report(report):
        effect = f"moves probabilities {'away from' if temperature < 1 else 'towards'} 0.5"
    else:
        effect = f"{'raises' if temperature < 1 else 'lowers'} the confidence"
    return (
        f"Temperature scaling (T = {temperature:.2f}) {effect}. On the test tracks the "
        f"calibration error goes from {test['before']['ece']:.3f} to "
        f"{test['after']['ece']:.3f}, the log loss from {test['before']['log_loss']:.3f} to "
        f"{test['after']['log_loss']:.3f}; the out-of-fold calibration error goes from "
        f"{one['out_of_fold']['before']['ece']:.3f} to {one['out_of_fold']['after']['ece']:.3f}."
    )


def conformal_text(report: ReportValues) -> str:
    """Threshold, wanted and measured coverage, and size of the conformal prediction sets."""
    one = report["conformal"]
    low, high = one["ci95"]
    if is_multi_label_report(report):
        return _label_sets_text(one)
    by = (
        "the tracks of a new group"
        if one["by_group"]
        else "tracks like the development tracks (too few groups for new groups)"
    )
    guaranteed = one.get("guaranteed")
    guarantee = (
        ""
        if guaranteed is None
        else f" That is an average over studies, and one study may be some points off; the proven "
        f"coverage is {percent(guaranteed, 0)}."
    )
    return (
        f"A set holds every class with a probability of {percent(one['least_proba'])} or more. It "
        f"should hold the true class for {percent(one['wanted'], 0)} of {by}.{guarantee} Coverage "
        f"on the test set: {percent(one['coverage'])} (95 % CI {100 * low:.1f} to "
        f"{100 * high:.1f}). A set holds {one['mean_size']:.2f} classes on average; "
        f"{percent(one['single'], 0)} of the sets hold one class."
    )


def _label_sets_text(one: ReportValues) -> str:
    """`conformal_text` where tracks have several labels."""
    low, high = one["ci95"]
    by = (
        "the tracks of new groups"
        if one["by_group"]
        else "tracks like the development tracks (too few groups for new groups)"
    )
    return (
        f"A set holds every label with a probability of {percent(one['least_proba'])} or more. "
        f"Sets should hold on average {percent(one['wanted'], 0)} of a track's labels, for {by}. "
        f"That is an average over studies, and one study may be some points off; the proven share "
        f"is {percent(one['guaranteed'], 0)}. On the test set they hold "
        f"{percent(one['coverage'])} (95 % CI {100 * low:.1f} to {100 * high:.1f}). A set holds "
        f"{one['mean_size']:.2f} labels on average."
    )


def is_multi_label_report(report: ReportValues) -> bool:
    """Whether a report is of tracks with several labels."""
    return report.get("task") == "multi_label"


def importance_text(study: StudyData) -> str:
    """What the hyperparameter importance measures."""
    one = study.importance
    left_out = (
        f" {one.n_left_out} parameters with too few trials are left out." if one.n_left_out else ""
    )
    return (
        f"How strongly each hyperparameter distinguishes the best {one.n_top} of {one.n} trials "
        f"from all (PED-ANOVA); the shares sum to 1. Pruned trials count with their last value. "
        f"It holds for this search, not for other datasets or search spaces.{left_out}"
    )


def trial_counts_text(study: StudyData) -> str:
    """How many trials are done, pruned, failed and running."""
    states = Counter(t.state for t in study.trials)
    parts = [
        f"{states[state]} {word}"
        for state, word in (("COMPLETE", "done"), ("PRUNED", "pruned"), ("FAIL", "failed"))
        if states[state]
    ]
    n = len(study.trials)
    running = f", and {study.n_running} not finished yet" if study.n_running else ""
    return f"{n} {'trial' if n == 1 else 'trials'}: {', '.join(parts)}{running}."


def hardest_classes(per_class: ReportValues, most: int = 12) -> list[tuple[str, ReportValues]]:
    """The classes with the lowest F1, without those that are not in the test set."""
    known = [(name, one) for name, one in per_class.items() if one["n"] and one["f1"] is not None]
    return sorted(known, key=lambda item: (item[1]["f1"], item[0]))[:most]


def audit_text(problems: Sequence[Mapping[str, str]]) -> str:
    """The number of audit findings by problem and outcome."""
    counts = Counter((one.get("problem", ""), one.get("outcome", "")) for one in problems)
    return "; ".join(f"{n} {what} ({outcome})" for (what, outcome), n in counts.most_common()) + "."


def label_change_lines(report: ReportValues) -> list[str]:
    """The classes that were left out, merged or split by track, one line for each kind."""
    changes = (report.get("dataset") or {}).get("label_changes", {})  # missing in older versions
    return LabelChanges(**changes).lines()


def cost_lines(study: StudyData) -> list[tuple[str, str]]:
    """What the study cost, as (name, value); an unmeasured cost is "not measured"."""
    cost = (study.report or {}).get("cost")
    busy_s = sum(study.busy_s.values())
    wall_s = cost["wall_s"] if cost else study.info.spent_s
    lines = [("wall time", duration_text(wall_s))]
    if cost:
        lines.append(("core-hours", hours(cost["core_s"])))
        lines.append(
            ("GPU-hours", hours(cost["gpu_s"]) if cost["gpu_s"] else "none: no GPU was used")
        )
        lines.append(("trials per hour", f"{cost['trials_per_hour']:.1f}"))
        if stages_s := cost.get("stages_s"):  # missing in older versions
            lines.append(("wall time by stage", durations_text(stages_s)))
    if busy_s:
        each = [
            f"{stage} {duration_text(seconds)}"
            for stage, seconds in study.busy_s.items()
            if seconds
        ]
        lines.append(("training runs", f"{duration_text(busy_s)} ({', '.join(each)})"))
    lines.append(("energy", "not measured"))
    return lines


def dateline(study: StudyData) -> str:
    """Dataset, size, split protocol, date and state."""
    report = study.report or {}
    dataset, split = report.get("dataset"), report.get("split")
    parts = [str(dataset["name"] if dataset else study.about.get("dataset") or "")]
    if dataset:
        classes = "labels" if study.multi_label else "classes"
        parts.append(f"{dataset['n_tracks']:,} tracks, {len(dataset['labels'])} {classes}, "
                     f"{dataset['n_groups']:,} groups")  # fmt: skip
    if split:
        parts.append(str(split["protocol"]))
    parts.append(f"started {study.info.created_utc[:10]}")
    parts.append(study.info.state)
    return " · ".join(part for part in parts if part)
