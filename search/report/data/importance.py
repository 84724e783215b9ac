"""Which parameters set the best trials apart: Optuna's PED-ANOVA over the conditional space."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chorale.search.ledger.reader import Row

FEWEST = 20
"""With fewer trials chance decides which are the best."""

FEWEST_TOP = 5
"""So many trials should be among the best, as Optuna's documentation advises."""

TOP_SHARE = 0.1

FEWEST_WITH = 10
"""A parameter that fewer trials have is not measured: a good one among three says nothing."""


@dataclass(frozen=True)
class Importance:
    """Shares of importance that sum to 1, largest first; or why there are none.

    `n_top` of the `n` trials are the best ones that the others are compared with; `n_left_out`
    parameters are not measured, as too few trials have them.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    n_top: int = 0
    n_left_out: int = 0
    why_not: str = ""


def importance(
    rows: Mapping[str, Row], distributions: Mapping[str, str], *, objective: str
) -> Importance:
    """Asks Optuna what the best tenth of the trials, and at least five, have in common.

    Pruned trials take part with what they had reached: that they were pruned says that they are
    not among the best. Parameters that exist only under some choices are weighed by how often they
    do.

    Args:
        rows: the search's, by trial number.
        distributions: parameter -> its range, as Optuna's JSON.
        objective: what was made large.

    Source: Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter
    Importance in Arbitrary Subspaces", arXiv:2304.10255; in conditional spaces arXiv:2601.20800.
    """
    measured = [row for row in rows.values() if _value(row, objective) is not None]
    n = len(measured)
    if n < FEWEST:
        return Importance(n=n, why_not=f"{_trials(n)} too few to say: it takes {FEWEST} or more.")
    if not distributions:
        return Importance(n=n, why_not="The ledger does not hold the ranges that were searched.")
    if len({_value(row, objective) for row in measured}) == 1:
        return Importance(n=n, why_not="All trials reached the same.")
    quantile = max(TOP_SHARE, FEWEST_TOP / n)
    having = Counter(name for row in measured for name in row.facts["params"])
    known = [name for name in having if name in distributions]
    names = sorted(name for name in known if having[name] >= FEWEST_WITH)
    if not names:
        return Importance(n=n, why_not=f"No parameter was in {FEWEST_WITH} trials or more.")
    ranges = {name: distributions[name] for name in known}
    shares = _shares(measured, ranges, names, objective=objective, quantile=quantile)
    return Importance(shares, n, math.ceil(quantile * n), len(known) - len(names))


def _shares(
    measured: Sequence[Row],
    distributions: Mapping[str, str],
    names: Sequence[str],
    *,
    objective: str,
    quantile: float,
) -> dict[str, float]:
    import optuna
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    ranges = {name: json_to_distribution(text) for name, text in distributions.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for row in measured:
        params: dict[str, Any] = {k: v for k, v in row.facts["params"].items() if k in ranges}
        study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=_value(row, objective),
                params=params,
                distributions={name: ranges[name] for name in params},
            )
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
    with warnings.catch_warnings():
        # that a choice was made by a trial or two only: it weighs next to nothing then
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=[*names])
    return {name: float(share) for name, share in found.items() if share > 0}


def _value(row: Row, objective: str) -> float | None:
    value = row.facts.get("metrics", {}).get(objective)
    return float(value) if value is not None and math.isfinite(value) else None


def _trials(n: int) -> str:
    return "One trial is" if n == 1 else f"{n} trials are"
