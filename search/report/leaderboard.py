"""The leaderboard of a study: one row per trial, best first, from the ledger alone.

`search.report.report` writes it at the end of a sweep, `chorale leaderboard` shows it at any time.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from chorale.search.ledger.reader import Row
from chorale.search.statistics.main_score import metric_name

STATE_ORDER = ("COMPLETE", "PRUNED", "FAIL")
COST_COLUMNS = ("n_parameters", "latency_ms", "epoch", "train_s", "valid_s", "elapsed_s")
LIMITED_COLUMNS = ("network_ms", "network_mb")
"""What one network costs, in studies that limit it; without its features."""

LeaderboardRow = dict[str, Any]
"""Column -> value; a column without a value for this trial is missing or None."""


def leaderboard(
    rows: Mapping[str, Row], finals: Mapping[str, Row], *, objective: str, second: str = "none"
) -> list[LeaderboardRow]:
    """One row per trial: finished ones first, best first; finalists have their mean over folds too.

    Each fold counts once, however many seeds of it have ended.

    It is in the column `folds_accuracy`; of several labels, that is the mean of their mAP.

    Args:
        rows: the search's, by trial number.
        finals: the finalists', by "number/fold/seed".
        objective: the metric that is maximised.
        second: the second objective, which is minimised, or "none"; with one, the column `front`
            is true for the trials on the Pareto front.
    """
    folds: dict[str, dict[str, list[float]]] = {}
    for key, row in finals.items():
        metrics = row.facts.get("metrics", {})
        score = metrics.get(metric_name(metrics))
        if row.state == "COMPLETE" and score is not None:
            number, fold, _ = key.split("/")
            folds.setdefault(number, {}).setdefault(fold, []).append(score)
    front = set() if second == "none" else _front(rows, objective=objective, second=second)
    ranked = sorted(rows.values(), key=lambda row: _rank(row, objective))
    means = {number: [fmean(one) for one in each.values()] for number, each in folds.items()}
    return [_line(row, means.get(row.key, []), front, second=second) for row in ranked]


def to_csv(lines: Sequence[LeaderboardRow]) -> str:
    """The rows as CSV text, with every column that any of them has."""
    columns = dict.fromkeys(column for line in lines for column in line)
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    return text.getvalue()


def _line(row: Row, folds: Sequence[float], front: set[str], *, second: str) -> LeaderboardRow:
    facts = row.facts
    return {
        "trial": int(row.key),
        "state": row.state,
        **({} if second == "none" else {"front": row.key in front}),
        "architecture": facts.get("architecture"),
        "features": facts.get("features"),
        **{f"validation_{name}": value for name, value in facts.get("metrics", {}).items()},
        "folds_accuracy": fmean(folds) if folds else None,
        **{name: facts.get(name) for name in COST_COLUMNS},
        **{name: facts["cost"][name] for name in LIMITED_COLUMNS if "cost" in facts},
        "reason": row.reason,
        **facts.get("params", {}),
    }


def _rank(row: Row, objective: str) -> tuple[int, bool, float, int]:
    value = row.facts.get("metrics", {}).get(objective)
    none = value is None or value != value
    return STATE_ORDER.index(row.state), none, 0.0 if none else -value, int(row.key)


def _front(rows: Mapping[str, Row], *, objective: str, second: str) -> set[str]:
    from chorale.search.ledger.pareto import pareto_front

    return set(pareto_front(rows, objective=objective, second=second))
