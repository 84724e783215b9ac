"""The sentences of the page: what the figures mean, and what could not be said."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.console.progress import duration
from chorale.search.evaluation.member_names import BEST_BASELINE, parted
from chorale.search.report.data.data import Gathered
from chorale.search.report.page.numbers import DASH, hours, points

Facts = Mapping[str, Any]

SHOWN = 0.0005
"""Less than this is not told: it would be 0.0 points."""


@dataclass(frozen=True)
class Tile:
    """One large figure: what it is, and how sure."""

    what: str
    figure: str
    sure: str


def unscored(g: Gathered) -> str:
    """The first sentence about a study that has no scores yet."""
    best = next((t for t in g.trials if t.done and t.value is not None), None)
    n = len(g.trials)
    ended = (
        "No trial has ended yet"
        if not n
        else f"{n} {'trial has' if n == 1 else 'trials have'} ended"
    )
    reached = (
        "none came to its end"
        if best is None
        else f"the best, trial {best.number} ({best.architecture}), reached {best.value:.3f} "
        f"{g.objective} on the validation fold"
    )
    said = f"{ended}; {reached}. " if n else f"{ended}. "
    return (
        said + "Nothing has been scored on the locked test set, so nobody knows yet how good it is."
    )


def notes(g: Gathered) -> list[str]:
    """What a reader must know before believing a figure."""
    found, said = g.found, []
    if found is not None and g.is_stale:
        said.append(
            f"The study has gone on since it was scored: the scores are of an earlier state, the "
            f"{len(g.trials)} trials below are all that there are by now."
        )
    if g.info.state != "complete" and found is None:
        said.append(f"The study is not over: it is {g.info.state}.")
    if found is None or "ensemble" not in found:
        return said
    looks = found.get("test_looks", 1)
    if looks > 1:
        said.append(
            f"This test set has been looked at {looks} times. Who chose anything between two looks "
            f"has fitted a little on it, and its figures flatter a little."
        )
    if (made := found.get("baselines_made")) is not None:
        read = f"Baselines read the feature set {made['features']} ({made['why']})"
        said.append("; ".join([read, *made["left_out"]]) + ".")
    if (rival := _better_baseline(found)) is not None:
        said.append(
            f"The baseline {rival} does at least as well on the same test tracks: here the search "
            f"has found nothing that is worth its cost, or had too little of a budget."
        )
    if (
        over := found["ensemble"].get("optimism", {}).get("out_of_fold")
    ) is not None and over > 0.1:
        said.append(
            f"The out-of-fold figure is {100 * over:.1f} points above the test's: the locked "
            f"groups are harder than the others, or too few to tell."
        )
    return said


def tiles(found: Facts) -> list[Tile]:
    """The figures that count."""
    ensemble, single = found["ensemble"], found["best_single"]
    test = ensemble["test"]
    low, high = test["ci95"]
    made = [
        Tile(
            f"test accuracy, {ensemble['kind']}",
            f"{test['accuracy']:.1%}",
            f"{low:.1%} {DASH} {high:.1%} with 95 % confidence",
        ),
        Tile("best single trial", f"{single['test']['accuracy']:.1%}", _lead(found, "best_single")),
    ]
    rivals = {name: one["test"]["accuracy"] for name, one in found["baselines"].items()}
    if rivals:
        best = max(rivals, key=lambda name: rivals[name])
        made.append(Tile(f"best baseline, {best}", f"{rivals[best]:.1%}", _lead(found, best)))
    over = ensemble.get("optimism")
    if over:
        made.append(
            Tile(
                "believed too much",
                f"{points(over['validation'])} pts",
                f"by the search; out of fold {points(over['out_of_fold'])}",
            )
        )
    looks = found.get("test_looks")
    if looks is not None:
        once = "the honest number" if looks == 1 else "every look more is worth a little less"
        made.append(Tile("looks at the test set", str(looks), once))
    return made


def _better_baseline(found: Facts) -> str | None:
    """The best baseline, where the chosen ensemble does not beat it."""
    rivals = {name: one["test"]["accuracy"] for name, one in found["baselines"].items()}
    best: str | None = max(rivals, key=lambda name: rivals[name], default=None)
    if best is None or found["ensemble"]["kind"] == BEST_BASELINE:
        return None
    if rivals[best] < found["ensemble"]["test"]["accuracy"]:
        return None
    return best


def _lead(found: Facts, name: str) -> str:
    gain = found.get("gains", {}).get(name)
    if gain is None:
        return ""
    low, high = gain["ci95"]
    if low == high == 0:
        return "no lead at all"
    sure = "" if low > 0 or high < 0 else ", which may be chance"
    return f"lead {points(gain['difference'])} ({points(low)} to {points(high)}){sure}"


def _gained(ensemble: Facts, n_folds: int) -> str:
    """What test rows are said by, and out-of-fold rows are not."""
    trials, baselines = parted(ensemble.get("members", []))
    each = [f"the mean of {n_folds} networks a trial"] if trials or not baselines else []
    each += ["baselines that learn from all development tracks"] if baselines else []
    return " and ".join(each)


def optimism(found: Facts) -> str:
    """By how much too good the beliefs were."""
    over = found["ensemble"].get("optimism")
    looks = found.get("test_looks")
    said = ""
    if over:
        parts = [
            f"{name} {_more(over[key])}"
            for key, name in (
                ("validation", "the validation fold"),
                ("out_of_fold", "out-of-fold rows"),
            )
        ]
        said = f"Of the chosen ensemble, {' and '.join(parts)}. "
    if told := found.get("expected"):
        said += (
            f"The expected test accuracy, worked out before the test set was opened, was "
            f"{told['accuracy']:.1%}: {told['out_of_fold']:.1%} out of fold, and "
            f"{100 * told['gain']:.1f} points for {_gained(found['ensemble'], told['n_folds'])}. "
        )
        # studies of older versions did not look for selection bias
        if (bias := told.get("configuration_bias", 0.0)) >= SHOWN:
            said += (
                f"{100 * bias:.1f} points of selection bias were taken off: configurations were "
                f"chosen on the first of these folds, and did less well there with other seeds. "
            )
        if (bias := told.get("kind_bias", 0.0)) >= SHOWN:
            said += (
                f"{100 * bias:.1f} points of selection bias were taken off: the ensemble was "
                f"chosen by these rows. "
            )
    if looks is not None:
        times = "once" if looks == 1 else f"{looks} times"
        said += f"The test set has been looked at {times}; the ledger counts."
    return said


def _more(over: float) -> str:
    if abs(over) < SHOWN:
        return "claimed exactly what was true"
    return f"claimed {abs(100 * over):.1f} points {'too much' if over > 0 else 'too little'}"


def calibration(found: Facts) -> str:
    """What the temperature did."""
    one = found["calibration"]
    at, test = one["temperature"], one["test"]
    if at == 1:
        return (
            f"No temperature made it better on held-out groups, so its probabilities stay as they "
            f"are: calibration error {test['before']['ece']:.3f}, log loss "
            f"{test['before']['log_loss']:.3f} on the test tracks."
        )
    side = "surer" if at < 1 else "more timid"
    return (
        f"A temperature of {at:.2f} makes it {side}. On the test tracks the calibration error goes "
        f"from {test['before']['ece']:.3f} to {test['after']['ece']:.3f}, the log loss from "
        f"{test['before']['log_loss']:.3f} to {test['after']['log_loss']:.3f}; out of fold from "
        f"{one['out_of_fold']['before']['ece']:.3f} to {one['out_of_fold']['after']['ece']:.3f}."
    )


def conformal(found: Facts) -> str:
    """How the sets of classes do."""
    one = found["conformal"]
    low, high = one["ci95"]
    by = "a new group" if one["by_group"] else "tracks like the old ones (there are few groups)"
    least = one.get("guaranteed")
    proven = (
        ""
        if least is None
        else f" That is an average over studies like this one, which may be some points off; "
        f"out-of-fold rows prove {least:.0%}."
    )
    return (
        f"A set of every class of at least {one['least_proba']:.1%} probability should hold the "
        f"true one for {one['wanted']:.0%} of tracks of {by}.{proven} On the test set it does "
        f"for {one['coverage']:.1%} (95 % interval {low:.1%} to {high:.1%}). It names "
        f"{one['mean_size']:.2f} classes on average; {one['single']:.0%} of the sets name just one."
    )


def importance(g: Gathered) -> str:
    """How the importance is to be read."""
    one = g.importance
    left_out = (
        f" {one.n_left_out} parameters that too few trials have are left out."
        if one.n_left_out
        else ""
    )
    return (
        f"How much each parameter sets the best {one.n_top} of {one.n} trials apart from all "
        f"(PED-ANOVA); the shares sum to 1. Pruned trials take part with what they had reached. "
        f"It says what mattered in this search, not what would matter elsewhere.{left_out}"
    )


def counted(g: Gathered) -> str:
    """How the trials ended."""
    states = Counter(t.state for t in g.trials)
    parts = [
        f"{states[state]} {word}"
        for state, word in (
            ("COMPLETE", "came to their end"),
            ("PRUNED", "were pruned"),
            ("FAIL", "failed"),
        )
        if states[state]
    ]
    n = len(g.trials)
    running = f", and {g.n_running} are not over yet" if g.n_running else ""
    return f"{n} {'trial' if n == 1 else 'trials'}: {', '.join(parts)}{running}."


def hardest_classes(per_class: Facts, most: int = 12) -> list[tuple[str, Facts]]:
    """The classes with the lowest F1; those of which nothing can be said are no such."""
    known = [(name, one) for name, one in per_class.items() if one["f1"] is not None]
    return sorted(known, key=lambda item: (item[1]["f1"], item[0]))[:most]


def audited(problems: Sequence[Mapping[str, str]]) -> str:
    """What the audit found, by kind."""
    counts = Counter((one.get("problem", ""), one.get("outcome", "")) for one in problems)
    return "; ".join(f"{n} {what} ({outcome})" for (what, outcome), n in counts.most_common()) + "."


def costs(g: Gathered) -> list[tuple[str, str]]:
    """What the study cost; what nobody measured is said to be so."""
    cost = (g.found or {}).get("cost")
    busy_s = sum(g.busy_s.values())
    wall_s = cost["wall_s"] if cost else g.info.spent_s
    made = [("wall time", duration(wall_s))]
    if cost:
        made.append(("core-hours", hours(cost["core_s"])))
        made.append(
            ("GPU-hours", hours(cost["gpu_s"]) if cost["gpu_s"] else "none: no GPU was used")
        )
        made.append(("trials an hour", f"{cost['trials_per_hour']:.1f}"))
    if busy_s:
        each = [f"{stage} {duration(seconds)}" for stage, seconds in g.busy_s.items() if seconds]
        made.append(("inside training runs", f"{duration(busy_s)} ({', '.join(each)})"))
    made.append(("energy", "not measured"))
    return made


def dateline(g: Gathered) -> str:
    """Dataset, size, protocol, date."""
    found = g.found or {}
    dataset, split = found.get("dataset"), found.get("split")
    parts = [str(dataset["name"] if dataset else g.about.get("dataset") or "")]
    if dataset:
        parts.append(f"{dataset['n_tracks']:,} tracks, {len(dataset['labels'])} classes, "
                     f"{dataset['n_groups']:,} groups")  # fmt: skip
    if split:
        parts.append(str(split["protocol"]))
    parts.append(f"begun {g.info.created_utc[:10]}")
    parts.append(g.info.state)
    return " · ".join(part for part in parts if part)
