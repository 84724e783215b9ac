"""What earlier studies on the same data teach a new one: points to try first.

Compares what the ledger knows of each study with the new one, and says of everything that it does
not use why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.lightning_models.distributions import Distribution
from chorale.search.config.narrowing import contains, describe
from chorale.search.config.space import ARCHITECTURE, TRAIN, SearchSpace, default_of
from chorale.search.ledger.ledger import Row
from chorale.search.study import finalists
from chorale.search.study.initial_points import WarmPoint

N_BEST = 8
"""The best trials of each earlier study that are looked at."""

COMPARABLE = ("split", "features", "number of epochs")
"""What must be the same, besides the data, for values at the rung to be compared."""


@dataclass(frozen=True)
class Earlier:
    """An earlier study: what it must not change (`Ledger` keeps it), its search trials.

    `rung` maps a trial's number to its objective at the pruner's rung, where it got so far.
    """

    name: str
    fingerprint: Mapping[str, Any]
    rows: Mapping[str, Row]
    rung: Mapping[int, float]


@dataclass(frozen=True)
class WarmStart:
    """Points to try, best first, and why the others are not tried, one line each."""

    points: tuple[WarmPoint, ...] = ()
    left_out: tuple[str, ...] = ()


def warm_start(
    space: SearchSpace,
    fingerprint: Mapping[str, Any],
    earlier: Sequence[Earlier],
    *,
    objective: str,
) -> WarmStart:
    """The best distinct trials of `earlier` that are points of `space`, best first."""
    found: list[tuple[float, WarmPoint]] = []
    left_out: list[str] = []
    for study in earlier:
        if study.fingerprint.get("dataset") != fingerprint.get("dataset"):
            left_out.append(f"warm start: {study.name} is left out: it was about other data")
            continue
        numbers = finalists.choose(study.rows, n=N_BEST, objective=objective)
        if not numbers:
            left_out.append(f"warm start: {study.name} is left out: none of its trials finished")
        differs = [k for k in COMPARABLE if study.fingerprint.get(k) != fingerprint.get(k)]
        if numbers and differs:
            left_out.append(
                f"warm start: {study.name} sets no hurdle: it had another {', '.join(differs)}"
            )
        reasons: dict[str, list[int]] = {}
        for number in numbers:
            facts = study.rows[str(number)].facts
            try:
                params = _translated(space, facts, study.fingerprint)
            except _MisfitError as error:
                reasons.setdefault(str(error), []).append(number)
                continue
            rung = None if differs else study.rung.get(number)
            point = WarmPoint(
                params, f"{study.name}/{number}", rung, int(facts.get("seed_number", number))
            )
            found.append((float(facts["metrics"][objective]), point))
        for reason, those in reasons.items():
            names = ", ".join(map(str, those))
            left_out.append(f"warm start: {study.name}, trial {names} is left out: {reason}")
    points: list[WarmPoint] = []
    for _, point in sorted(found, key=lambda one: -one[0]):
        if all(point.params != other.params for other in points):
            points.append(point)
    return WarmStart(tuple(points), tuple(left_out))


class _MisfitError(Exception):
    """Why an earlier trial is no point of the space."""


def _translated(
    space: SearchSpace, facts: Mapping[str, Any], fingerprint: Mapping[str, Any]
) -> dict[str, Any]:
    """The earlier trial as a point of `space`.

    What the earlier study had fixed, or did not know, stands as it was there, or at its default.
    """
    architecture = str(facts[ARCHITECTURE])
    if architecture not in space.architectures:
        raise _MisfitError(f"{architecture} is not searched now")
    had = {ARCHITECTURE: architecture, f"{architecture}.features": facts["features"]}
    had |= {f"{architecture}.{name}": value for name, value in facts["config"].items()}
    trained = {**fingerprint.get("train", {}), **facts["train"]}
    had |= {f"{TRAIN}.{name}": value for name, value in trained.items()}
    if facts["features"] not in space.features[architecture]:
        raise _MisfitError(f"it ate {facts['features']}, which this sweep does not compute")
    for name, value in facts["train"].items():
        if name in space.fixed and space.fixed[name] != value:
            raise _MisfitError(
                f"{TRAIN}.{name} was {value!r} and is fixed at {space.fixed[name]!r}"
            )
    point: dict[str, Any] = {}

    def pick(name: str, distribution: Distribution) -> Any:
        value = had[name] if name in had else default_of(name)
        if not contains(distribution, value):
            raise _MisfitError(f"{name} was {value!r}, now it is {describe(distribution)}")
        point[name] = value
        return value

    space.candidate(pick)
    if gone := sorted(
        name for name in facts["params"] if name not in point and _searched(space, name)
    ):
        raise _MisfitError(f"{gone[0]} no longer exists under its other values")
    return point


def _searched(space: SearchSpace, name: str) -> bool:
    owner, _, parameter = name.partition(".")
    return owner in space.spaces and parameter in space.spaces[owner]
