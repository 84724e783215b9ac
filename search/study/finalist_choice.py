"""The choice of finalists: the best distinct trials of a search, from the ledger's rows.

`search.study.finalists` retrains them.
"""

import math
from collections.abc import Mapping, Sequence

from chorale.search.ledger.ledger import Row
from chorale.search.study.schedule import COMPETITIVE_SHARE
from chorale.search.study.trial_outcome import OUT_OF_TIME


def choose_finalists(
    rows: Mapping[str, Row], *, n: int, objective: str, only_near: bool = False
) -> list[int]:
    """The numbers of at most `n` finished trials, best first, no two with the same configuration.

    Those that ran out of time count by what they had reached: the best one may be among them.

    Trials are ranked by the sum of their ranks in the objective and in the calibrated log loss, as
    a single fold of few tracks orders the best accuracies by luck. In simulations this is worth as
    much as training twice as many finalists on another fold before they are chosen. Where trials
    of older versions lack the loss, the objective alone decides.

    As far as `n` allows, the best trial of every architecture comes before any second one, as an
    ensemble needs members with different errors. Architectures that are far behind the best one
    come last. With `only_near`, no trial that is so far behind is chosen.
    """
    ranked = _ranked([row for row in rows.values() if _is_candidate(row)], objective)
    distinct: dict[str, Row] = {}
    for row in ranked:
        distinct.setdefault(_configuration(row), row)
    firsts: dict[str, Row] = {}
    for row in distinct.values():
        firsts.setdefault(row.facts["architecture"], row)
    enough = COMPETITIVE_SHARE * max(
        (row.facts["metrics"][objective] for row in ranked), default=0.0
    )
    if only_near:
        distinct = {k: r for k, r in distinct.items() if r.facts["metrics"][objective] >= enough}
    near = [row for row in firsts.values() if row.facts["metrics"][objective] >= enough]
    chosen = near[:n]
    chosen += [row for row in distinct.values() if row not in chosen][: n - len(chosen)]
    order = {row.key: rank for rank, row in enumerate(ranked)}
    return [int(row.key) for row in sorted(chosen, key=lambda row: order[row.key])]


def find_repeat(rows: Mapping[str, Row], source: str) -> int | None:
    """The number of the trial that repeats `source`, "study/number"; None if there is none.

    A pruned trial counts as a repetition, too.
    """
    numbers = [
        int(key)
        for key, row in rows.items()
        if row.state in ("COMPLETE", "PRUNED")
        and str(row.facts.get("origin", "")).endswith(f"from {source}")
    ]
    return min(numbers, default=None)


def _is_candidate(row: Row) -> bool:
    return row.state == "COMPLETE" or (row.state == "PRUNED" and row.reason == OUT_OF_TIME)


def _ranked(rows: Sequence[Row], objective: str) -> list[Row]:
    """Best first: by the sum of a trial's ranks, then by the objective, then the earlier one."""
    values = [-float(row.facts["metrics"][objective]) for row in rows]
    losses = [row.facts.get("calibrated_log_loss", math.nan) for row in rows]
    ranks = [sum(other < mine for other in values) for mine in values]
    if not any(math.isnan(loss) for loss in losses):
        by_loss = [sum(other < mine for other in losses) for mine in losses]
        ranks = [a + b for a, b in zip(ranks, by_loss, strict=True)]
    keys = [
        (rank, value, int(row.key)) for rank, value, row in zip(ranks, values, rows, strict=True)
    ]
    return [rows[i] for i in sorted(range(len(rows)), key=keys.__getitem__)]


def _configuration(row: Row) -> str:
    """The identity of a configuration, with numbers rounded to two digits."""
    params = sorted(row.facts["params"].items())
    return repr([(k, f"{v:.1e}" if isinstance(v, float) else v) for k, v in params])
