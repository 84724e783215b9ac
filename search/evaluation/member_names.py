"""Display names of an ensemble's members: trials by number, baselines by name.

Used by the terminal, report pages, model cards and nightly reports.
"""

from collections.abc import Mapping, Sequence
from typing import Any

BEST_BASELINE = "best_baseline"
"""The kind of ensemble that is a single baseline."""


def split_members(members: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """The numbers of trials, and the names of baselines."""
    names = [str(member) for member in members]
    return [n for n in names if n.isdecimal()], [n for n in names if not n.isdecimal()]


def list_members(members: Sequence[int | str]) -> str:
    """All of them: "trials 3, 7 and baselines svm, knn"."""
    return _both(split_members(members), lambda what, names: f"{what} {', '.join(names)}")


def count_members(members: Sequence[int | str]) -> str:
    """The number of each: "2 trials and 1 baseline"."""
    return _both(split_members(members), lambda what, names: f"{len(names)} {what}")


def list_seeds(seeds: Mapping[Any, Sequence[int]]) -> str:
    """How many seeds trials were trained with: "3 seeds of trial 9, 2 of trials 4, 18".

    "" where no trial has several.

    Args:
        seeds: trial number -> its seeds; none where it did not complete.
    """
    if max(map(len, seeds.values()), default=1) < 2:
        return ""
    by_count: dict[int, list[str]] = {}
    for number, of_trial in seeds.items():
        if of_trial:
            by_count.setdefault(len(of_trial), []).append(str(number))
    parts: list[str] = []
    for n, numbers in sorted(by_count.items(), reverse=True):
        of = f"of trial{'s' * (len(numbers) != 1)} {', '.join(numbers)}"
        parts.append(f"{n} {of}" if parts else f"{n} seeds {of}")
    return ", ".join(parts)


def name_ensemble(ensemble: Mapping[str, Any]) -> str:
    """The ensemble of a report: "soft_vote ensemble of 2 trials and 1 baseline", "baseline svm"."""
    kind, members = ensemble["kind"], ensemble["members"]
    if kind == BEST_BASELINE:
        return f"baseline {', '.join(map(str, members))}"
    _, baselines = split_members(members)
    return f"{kind} ensemble of {count_members(members) if baselines else len(members)}"


def best_trial(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A report's scores of the best single trial; None where time allowed only baselines."""
    single: Mapping[str, Any] = report["best_single"]
    trials, _ = split_members(single["members"])
    return single if trials else None


def baseline_features(made: Mapping[str, Any]) -> str:
    """A report's `baselines_made` in words: which feature sets the baselines read, and why."""
    sentence = f"Baselines use the feature set {made['features']} ({made['why']})"
    if others := made.get("other_features"):
        sentence += f"; those named with {' or '.join(others)} use that one"
    return sentence


def _both(members: tuple[list[str], list[str]], phrase: Any) -> str:
    each = zip(("trial", "baseline"), members, strict=True)
    return " and ".join(phrase(what + "s" * (len(n) != 1), n) for what, n in each if n) or "none"
