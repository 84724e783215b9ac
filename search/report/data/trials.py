"""The trials of a study as the report shows them: parameters, objective and learning curve."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.paths import StudyPaths
from chorale.search.report.leaderboard import leaderboard


@dataclass(frozen=True)
class TrialSummary:
    """One trial. `value` is its objective, None if it failed before the first evaluation.

    `second` is its second objective, if the study has one; `front` is true on the Pareto front.
    `folds_accuracy` is a finalist's mean accuracy (or mAP) over folds, `curve` holds (epoch,
    objective).
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
        """Whether the trial finished: neither pruned nor failed."""
        return self.state == "COMPLETE"


def trial_summaries(
    ledger: LedgerReader, study: str, paths: StudyPaths, *, objective: str, second: str
) -> tuple[TrialSummary, ...]:
    """All ended trials, finished ones first, best first."""
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
            curve=reports.get(line["trial"]) or _curve_of_csv(paths, line["trial"], objective),
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
) -> TrialSummary:
    facts = row.facts
    own = f"{facts.get('architecture')}."
    params = {
        name.removeprefix(own): value
        for name, value in facts.get("params", {}).items()
        if name not in ("architecture", f"{own}features")
    }
    value = facts.get("metrics", {}).get(objective)
    also = None if second == "none" else facts.get(second)
    return TrialSummary(
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


def _curve_of_csv(paths: StudyPaths, number: int, objective: str) -> list[tuple[int, float]]:
    """The learning curve in the trial's `metrics.csv`; empty if there is none."""
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
