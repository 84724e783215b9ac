"""A study's trials as the report shows them: what was tried, what it reached, how it learnt."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.report.leaderboard import leaderboard
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.paths import StudyPaths


@dataclass(frozen=True)
class Trial:
    """One trial. `value` is its objective, None where it failed before it had one.

    `second` is its second objective, where the study has one, and `front` whether no other beats
    it in both. `folds_accuracy` is the mean of a finalist over its folds. `curve` holds (epoch,
    objective) pairs.
    """

    number: int
    state: str
    reason: str
    architecture: str
    features: str
    origin: str
    value: float | None
    second: float | None
    front: bool
    folds_accuracy: float | None
    epoch: int | None
    n_parameters: int | None
    elapsed_s: float | None
    finalist: bool
    params: Mapping[str, Any]
    curve: tuple[tuple[int, float], ...]

    @property
    def done(self) -> bool:
        """Whether it came to its end."""
        return self.state == "COMPLETE"


def trials(
    ledger: LedgerReader, study: str, paths: StudyPaths, *, objective: str, second: str
) -> tuple[Trial, ...]:
    """Every trial that has ended, finished ones first, best first."""
    rows, finals = ledger.rows(study, "search"), ledger.rows(study, "finalists")
    finalists = {key.split("/")[0] for key in finals}
    reports = ledger.reports(study)
    lines = leaderboard(rows, finals, objective=objective, second=second)
    return tuple(
        _trial(
            rows[str(line["trial"])],
            line,
            objective=objective,
            second=second,
            finalist=str(line["trial"]) in finalists,
            curve=reports.get(line["trial"]) or _kept(paths, line["trial"], objective),
        )
        for line in lines
    )


def _trial(
    row: Row,
    line: Mapping[str, Any],
    *,
    objective: str,
    second: str,
    finalist: bool,
    curve: Sequence[tuple[int, float]],
) -> Trial:
    facts = row.facts
    own = f"{facts.get('architecture')}."
    params = {
        name.removeprefix(own): value
        for name, value in facts.get("params", {}).items()
        if name not in ("architecture", f"{own}features")
    }
    value = facts.get("metrics", {}).get(objective)
    also = None if second == "none" else facts.get(second)
    return Trial(
        number=int(row.key),
        state=row.state,
        reason=row.reason,
        architecture=str(facts.get("architecture") or "unknown"),
        features=str(facts.get("features") or ""),
        origin=str(facts.get("origin") or ""),
        value=_finite(value),
        second=_finite(also),
        front=bool(line.get("front")),
        folds_accuracy=_finite(line["folds_accuracy"]),
        epoch=facts.get("epoch"),
        n_parameters=facts.get("n_parameters"),
        elapsed_s=facts.get("elapsed_s"),
        finalist=finalist,
        params=params,
        curve=tuple(curve),
    )


def _kept(paths: StudyPaths, number: int, objective: str) -> list[tuple[int, float]]:
    """The curve that lies in the trial's folder; none where it left none."""
    try:
        with paths.trial(number).metrics_csv.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        return [(int(float(line["epoch"])), float(line[objective])) for line in lines]
    except (OSError, KeyError, ValueError, TypeError):
        return []


def _finite(value: Any) -> float | None:
    if value is None or value != value or abs(value) == float("inf"):
        return None
    return float(value)
