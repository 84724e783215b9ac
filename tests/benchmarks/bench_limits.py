"""Trials until a model within a hard limit is as good as it gets: limit, or second objective.

    python tests/benchmarks/bench_limits.py [--seeds 10] [--trials 100] [--limit-mb 0.1 0.4 2]

Both arms search the real space of `mlp` on 57 columns with the sampler that a sweep uses. The size
of each proposal is that of its network, which is built; its accuracy is a known function of its
parameters, saturating in the size of the network, so that the best networks exceed the limit. The
arm `second` has `search.second: n_parameters` and trains whatever is proposed; the arm `limit` has
`limit.size_mb`: what exceeds it is a constraint, and is refused, not trained. The goal of a seed is
the accuracy within the limit that `second` has at the end, less `NEAR`. Printed are the mean
trained trials until then, their ratio with a 95 % interval over paired seeds, and the mean
accuracies at the end.

Goal: at most 60 % of the trials.
"""

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import TrialState, create_trial

from chorale.lightning_models.base import load_architecture
from chorale.search.config.schema import SearchConfig
from chorale.search.config.space import Candidate, SearchSpace, make_space
from chorale.search.study.initial_points import make_initial_points
from chorale.search.study.proposals import Measured, Proposals
from chorale.search.training.model_cost import ModelLimit, NetworkCost

N_COLUMNS, N_CLASSES, N_NETWORKS = 57, 10, 5
NEAR = 0.001
"""A tenth of a point of accuracy."""

ACTIVATIONS: Mapping[str, float] = {"relu": 0.0, "gelu": 0.004, "silu": 0.008, "elu": -0.01}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--limit-mb", nargs="+", type=float, default=[0.1, 0.4, 2.0])
    parser.add_argument("--sampler", default="tpe")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(
        "limit         trials: second   limit   ratio (95 % CI)        at the end: second   limit"
    )
    for limit_mb in args.limit_mb:
        limit = ModelLimit(size_mb=limit_mb, n_networks=N_NETWORKS)
        curves = {
            arm: [
                best_within(arm, limit, sampler=args.sampler, seed=seed, n_trials=args.trials)
                for seed in range(args.seeds)
            ]
            for arm in ("second", "limit")
        }
        goals = [curve[-1] - NEAR for curve in curves["second"]]
        needed = {
            arm: [trials_until(curve, goal) for curve, goal in zip(each, goals, strict=True)]
            for arm, each in curves.items()
        }
        low, ratio, high = ratio_interval(needed["limit"], needed["second"])
        means = {arm: np.mean(each) for arm, each in needed.items()}
        ends = {arm: np.mean([curve[-1] for curve in each]) for arm, each in curves.items()}
        print(
            f"{limit_mb:>5g} MB{means['second']:>20.1f}{means['limit']:>8.1f}"
            f"{ratio:>8.2f} ({low:.2f} to {high:.2f}){ends['second']:>24.3f}{ends['limit']:>8.3f}",
            flush=True,
        )


def best_within(
    arm: str, limit: ModelLimit, *, sampler: Any, seed: int, n_trials: int
) -> list[float]:
    """The best accuracy within the limit after each trained trial; 0 before there is one."""
    space, problems = make_space(["mlp"], ["stats57"], {}, fixed={})
    if space is None:
        raise ValueError(problems)
    second = "n_parameters" if arm == "second" else "none"
    search = SearchConfig(sampler=sampler, second=second, seed=seed)  # type: ignore[arg-type]
    proposals = Proposals(space, search, make_initial_points(space, search, n_trials=n_trials))
    best, curve = 0.0, list[float]()
    for number in itertools.count():
        if len(curve) == n_trials:
            break
        params, distributions = proposals.propose()
        candidate = candidate_of(space, params)
        n_parameters = size_of(candidate)
        cost = NetworkCost("stats57", 0.0, 0.0, 0.0, 4 * n_parameters / 1e6)
        excesses = limit.excesses(cost)
        refused = any(excess > 0 for excess in excesses.values())
        score = accuracy(candidate, n_parameters)
        if not refused:
            best = max(best, score)
        refused &= arm == "limit"
        if not refused:
            curve.append(best)
        trial = create_trial(
            state=TrialState.FAIL if refused else TrialState.COMPLETE,
            params=params,
            distributions=distributions,
            value=None if refused else score,
        )
        trial.number = number
        known = Measured(is_worst=refused, excesses=excesses)
        proposals.end(trial, known if arm == "limit" else Measured(float(n_parameters)))
    return curve


def candidate_of(space: SearchSpace, params: Mapping[str, Any]) -> Candidate:
    return space.candidate(lambda name, _: params[name])


def size_of(candidate: Candidate) -> int:
    """The number of parameters of the candidate's network."""
    module = load_architecture("mlp")
    with torch.device("meta"):
        network = module.build(module.Config(**candidate.config), (1, N_COLUMNS, 1), N_CLASSES)
    return sum(parameter.numel() for parameter in network.parameters())


def accuracy(candidate: Candidate, n_parameters: int) -> float:
    """A known accuracy of a configuration, of a shape as sweeps of real tables have it."""
    config, train = candidate.config, candidate.train
    found = 0.75 - 0.25 * (n_parameters / 3_000) ** -0.35  # more parameters, less and less gain
    found += ACTIVATIONS[config["activation"]] + 0.01 * config["batch_norm"]
    found -= 0.03 * (config["dropout"] - 0.3) ** 2 / 0.09
    rate = train.get("lr", train.get("sgd_lr", 1e-3) / 30)
    found -= 0.01 * math.log10(rate / 1e-3) ** 2
    found -= 0.005 * (train["optimizer"] == "rmsprop") + 0.01 * (train["schedule"] == "constant")
    return float(found - 0.02 * (train["label_smoothing"] - 0.1) ** 2 / 0.01)


def trials_until(curve: Sequence[float], goal: float) -> int:
    """After how many trials the goal was reached; one more than all where it was not."""
    return next((n for n, best in enumerate(curve, start=1) if best >= goal), len(curve) + 1)


def ratio_interval(ours: Sequence[int], theirs: Sequence[int]) -> tuple[float, float, float]:
    """The ratio of the means with its 95 % interval, by a bootstrap over paired seeds."""
    a, b = np.array(ours, float), np.array(theirs, float)
    at = np.random.default_rng(0).integers(len(a), size=(10_000, len(a)))
    low, high = np.quantile(a[at].mean(axis=1) / b[at].mean(axis=1), [0.025, 0.975])
    return float(low), float(a.mean() / b.mean()), float(high)


if __name__ == "__main__":
    main()
