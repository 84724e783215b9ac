"""Warm start: the best trials of earlier studies on the same data as initial points of a new one.

Compares the ledger's record of each earlier study with the new one, and gives the reason for
everything that is not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.lightning_models.distributions import Distribution
from chorale.search.config.narrowing import contains, describe
from chorale.search.config.space import ARCHITECTURE, TRAIN, SearchSpace, default_value
from chorale.search.ledger.ledger import Row
from chorale.search.study.finalist_choice import choose_finalists
from chorale.search.study.initial_points import WarmPoint

N_BEST_TRIALS = 8
"""The number of best trials of each earlier study that are considered."""

COMPARABLE = ("split", "features", "number of epochs")
"""Fingerprint entries, besides the data, that must be equal to compare objectives at a rung."""


@dataclass(frozen=True)
class EarlierStudy:
    """An earlier study: its fingerprint in the ledger, and its search trials.

    `rung` maps a trial's number to its objective at the pruner's rung, if it was reached.
    """

    name: str
    fingerprint: Mapping[str, Any]
    rows: Mapping[str, Row]
    rung: Mapping[int, float]


@dataclass(frozen=True)
class WarmStart:
    """Points to try, best first, and one line per reason why others are not tried."""

    points: tuple[WarmPoint, ...] = ()
    left_out: tuple[str, ...] = ()


def warm_start(
    space: SearchSpace,
    fingerprint: Mapping[str, Any],
    earlier: Sequence[EarlierStudy],
    *,
    objective: str,
) -> WarmStart:
    """The best distinct trials of `earlier` that are points of `space`, best first."""
    found: list[tuple[float, WarmPoint]] = []
    left_out: list[str] = []
    for study in earlier:
        if study.fingerprint.get("dataset") != fingerprint.get("dataset"):
            left_out.append(f"warm start: {study.name} is left out: it used other data")
            continue
        if not _has(study.rows, objective):
            left_out.append(
                f"warm start: {study.name} is left out: its trials were not scored by {objective}"
            )
            continue
        numbers = choose_finalists(study.rows, n=N_BEST_TRIALS, objective=objective)
        if not numbers:
            left_out.append(f"warm start: {study.name} is left out: none of its trials finished")
        differs = [k for k in COMPARABLE if study.fingerprint.get(k) != fingerprint.get(k)]
        if numbers and differs:
            left_out.append(
                f"warm start: {study.name} is not used for pruning: it had another "
                f"{', another '.join(differs)}"
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


def _has(rows: Mapping[str, Row], objective: str) -> bool:
    """Whether finished trials have the objective; those of tracks of one class have no mAP."""
    done = [row for row in rows.values() if row.state == "COMPLETE"]
    return all(objective in row.facts["metrics"] for row in done)


class _MisfitError(Exception):
    """Why an earlier trial is not a point of the space."""


def _translated(
    space: SearchSpace, facts: Mapping[str, Any], fingerprint: Mapping[str, Any]
) -> dict[str, Any]:
    """The earlier trial as a point of `space`.

    Parameters that were fixed in the earlier study keep their value there; those that it did not
    have get their default.
    """
    architecture = str(facts[ARCHITECTURE])
    if architecture not in space.architectures:
        raise _MisfitError(f"{architecture} is not searched now")
    had = {ARCHITECTURE: architecture, f"{architecture}.features": facts["features"]}
    had |= {f"{architecture}.{name}": value for name, value in facts["config"].items()}
    trained = {**fingerprint.get("train", {}), **facts["train"]}
    had |= {f"{TRAIN}.{name}": value for name, value in trained.items()}
    if facts["features"] not in space.features[architecture]:
        raise _MisfitError(f"it used {facts['features']}, which this sweep does not compute")
    for name, value in facts["train"].items():
        if name in space.fixed and space.fixed[name] != value:
            raise _MisfitError(
                f"{TRAIN}.{name} was {value!r} and is fixed at {space.fixed[name]!r}"
            )
    point: dict[str, Any] = {}

    def pick(name: str, distribution: Distribution) -> Any:
        value = had[name] if name in had else default_value(name)
        if not contains(distribution, value):
            raise _MisfitError(f"{name} was {value!r}, now it is {describe(distribution)}")
        point[name] = value
        return value

    space.candidate(pick)
    if unused := sorted(
        name for name in facts["params"] if name not in point and _searched(space, name)
    ):
        raise _MisfitError(f"{unused[0]} does not exist now with its other values")
    return point


def _searched(space: SearchSpace, name: str) -> bool:
    owner, _, parameter = name.partition(".")
    return owner in space.spaces and parameter in space.spaces[owner]
