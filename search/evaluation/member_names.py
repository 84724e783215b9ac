"""How the members of an ensemble are named for people: trials by number, baselines by name.

Terminal, pages, model cards and nights say it with these words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

BEST_BASELINE = "best_baseline"
"""The kind of ensemble that is one baseline alone."""


def parted(members: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """The numbers of trials, and the names of baselines."""
    names = [str(member) for member in members]
    return [n for n in names if n.isdecimal()], [n for n in names if not n.isdecimal()]


def listed(members: Sequence[int | str]) -> str:
    """All of them: "trials 3, 7 and baselines svm, knn"."""
    return _both(parted(members), lambda what, names: f"{what} {', '.join(names)}")


def counted(members: Sequence[int | str]) -> str:
    """How many: "2 trials and 1 baseline"."""
    return _both(parted(members), lambda what, names: f"{len(names)} {what}")


def named(ensemble: Mapping[str, Any]) -> str:
    """A report's ensemble: "soft_vote ensemble of 2 trials and 1 baseline", "baseline svm"."""
    kind, members = ensemble["kind"], ensemble["members"]
    if kind == BEST_BASELINE:
        return f"baseline {', '.join(map(str, members))}"
    _, baselines = parted(members)
    return f"{kind} ensemble of {counted(members) if baselines else len(members)}"


def _both(members: tuple[list[str], list[str]], say: Any) -> str:
    each = zip(("trial", "baseline"), members, strict=True)
    return " and ".join(say(what + "s" * (len(n) != 1), n) for what, n in each if n) or "none"
