"""The last stage: ensembles on out-of-fold rows, then one look at the test set.

All ensembles are fitted before the test set is opened; which of them the headline is about was
said in the sweep file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datasets.atomic import write_json
from search.baselines import Baseline
from search.combine import Member, fit, score_rows
from search.evaluate import paired_difference
from search.prepare import Prepared
from search.resolve import Resolved
from search.store import Ledger

SINGLE = "best_single"


@dataclass(frozen=True)
class Judged:
    """What the end of a sweep found, JSON-ready: each ensemble's and baseline's scores.

    `ensembles` maps a kind to `kind`, `members` (trial numbers), `params`, and the scores
    `validation`, `out_of_fold` and `test`; `baselines` a name to `params`, `out_of_fold`, `test`.
    `gains` says by how much the headline ensemble's test accuracy is above that of each rival
    (`difference` and `ci95`, paired over the same tracks and groups).
    `test_looks` is how often this test set has been looked at by now.
    """

    ensembles: dict[str, dict[str, Any]]
    baselines: dict[str, dict[str, Any]]
    gains: dict[str, dict[str, Any]]
    test_looks: int


def judge(
    resolved: Resolved,
    prepared: Prepared,
    ledger: Ledger,
    members: Sequence[Member],
    baselines: Sequence[Baseline],
) -> Judged:
    """Fits every ensemble of the sweep, looks at the test set once, and counts the look.

    Of the members only the best `ensemble.members` out of fold are combined. Writes
    `ensembles/<kind>.json`.
    """
    sweep, split = resolved.sweep, prepared.split
    seed = sweep.search.seed
    chosen = _best(members, prepared, n=sweep.ensemble.members)
    kinds = dict.fromkeys([SINGLE, sweep.ensemble.kind, *sweep.ensemble.kinds])
    fitted = {kind: fit(kind, chosen, prepared, seed=seed) for kind in kinds}

    looks = ledger.look(sweep.name, split.hash)
    ensembles = {}
    for kind, one in fitted.items():
        weights = {number: weight for number, weight in one.weights.items() if weight > 0}
        ensembles[kind] = {
            "kind": kind,
            "members": list(weights),
            "params": {"weights": {str(number): weight for number, weight in weights.items()}},
            "validation": score_rows(one.validation, split.valid_ids(0), prepared, seed=seed),
            "out_of_fold": score_rows(one.out_of_fold, split.development_ids, prepared, seed=seed),
            "test": score_rows(one.test, split.test_ids, prepared, seed=seed),
        }
        write_json(sweep.paths.ensemble(kind), ensembles[kind])
    scored = {
        baseline.name: {
            "params": baseline.params,
            "out_of_fold": score_rows(
                baseline.oof_proba, split.development_ids, prepared, seed=seed
            ),
            "test": score_rows(baseline.test_proba, split.test_ids, prepared, seed=seed),
        }
        for baseline in baselines
    }
    rivals = {SINGLE: fitted[SINGLE].test} | {b.name: b.test_proba for b in baselines}
    ours = fitted[sweep.ensemble.kind].test
    gains = {name: _gain(ours, theirs, prepared, seed=seed) for name, theirs in rivals.items()}
    return Judged(ensembles, scored, gains, looks)


def _gain(ours: np.ndarray, theirs: np.ndarray, prepared: Prepared, *, seed: int) -> dict[str, Any]:
    rows = prepared.rows(prepared.split.test_ids)
    labels, groups = prepared.labels[rows], prepared.groups(rows)
    difference, ci95 = paired_difference(ours, theirs, labels, groups, seed=seed)
    return {"difference": difference, "ci95": list(ci95)}


def _best(members: Sequence[Member], prepared: Prepared, *, n: int) -> list[Member]:
    labels = prepared.labels[prepared.rows(prepared.split.development_ids)]

    def accuracy(member: Member) -> float:
        return float(np.mean(member.out_of_fold.argmax(1) == labels))

    return sorted(members, key=lambda m: (-accuracy(m), m.number))[:n]
