"""Hyperparameter importance: Optuna's PED-ANOVA over the conditional search space."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chorale.search.ledger.reader import Row

MIN_TRIALS = 20
"""With fewer trials, which of them are the best is mostly chance."""

MIN_TOP_TRIALS = 5
"""Trials among the best at least, as Optuna's documentation advises."""

TOP_SHARE = 0.1

MIN_TRIALS_PER_PARAM = 10
"""A parameter that fewer trials have gets no importance: one good trial of three proves nothing."""


@dataclass(frozen=True)
class Importance:
    """Importance shares that sum to 1, largest first; or the reason why there are none.

    The best `n_top` of `n` trials are compared with all; `n_left_out` parameters have too few
    trials.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    n_top: int = 0
    n_left_out: int = 0
    why_not: str = ""


def hyperparameter_importance(
    rows: Mapping[str, Row], distributions: Mapping[str, str], *, objective: str
) -> Importance:
    """Which hyperparameters distinguish the best tenth of the trials, at least five, from all.

    Pruned trials take part with their last value: being pruned, they are not among the best.
    Conditional parameters are weighted by how often they are active.

    Args:
        rows: the search's, by trial number.
        distributions: parameter -> its range, as Optuna's JSON.
        objective: the metric that is maximised.

    Source: Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter
    Importance in Arbitrary Subspaces", arXiv:2304.10255; in conditional spaces arXiv:2601.20800.
    """
    measured = [row for row in rows.values() if _value(row, objective) is not None]
    n = len(measured)
    if n < MIN_TRIALS:
        return Importance(n=n, why_not=f"{_trials(n)} too few: at least {MIN_TRIALS} are needed.")
    if not distributions:
        return Importance(n=n, why_not="The ledger does not hold the ranges of the search space.")
    if len({_value(row, objective) for row in measured}) == 1:
        return Importance(n=n, why_not="All trials have the same value.")
    quantile = max(TOP_SHARE, MIN_TOP_TRIALS / n)
    having = Counter(name for row in measured for name in row.facts["params"])
    known = [name for name in having if name in distributions]
    names = sorted(name for name in known if having[name] >= MIN_TRIALS_PER_PARAM)
    if not names:
        why_not = f"No parameter was in {MIN_TRIALS_PER_PARAM} trials or more."
        return Importance(n=n, why_not=why_not)
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
        # about choices that only one or two trials made: their weight is next to nothing
        warnings.simplefilter("ignore")
        shares = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=[*names]
        )
    return {name: float(share) for name, share in shares.items() if share > 0}


def _value(row: Row, objective: str) -> float | None:
    value = row.facts.get("metrics", {}).get(objective)
    return float(value) if value is not None and math.isfinite(value) else None


def _trials(n: int) -> str:
    return "One trial is" if n == 1 else f"{n} trials are"
