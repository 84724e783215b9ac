"""Estimates of a study whose finalists have different numbers of seeds, simulated; in points.

    python tests/benchmarks/bench_seeds.py [--studies 200] [--seeds 3 2 1 1 1]

Five members have 3, 2, 1, 1 and 1 seeds, or those that are named. Printed are the bias and mean
error of the expected test accuracy of their vote, with the selection bias of the configurations
taken from first seeds, as Chorale does, and from means over seeds; and how many new tracks are
flagged as out of distribution by the members' disagreement, with the threshold from rows of single
networks, as Chorale does, and from means over seeds.

Goals: absolute bias of the expected accuracy at most a point; as many flagged tracks as with one
seed each, and at most 1 %. Measured in 400 studies of two settings, 5 folds ("typical",
"configuration errors"): the bias is +0.3 and +0.2 with one seed each, +0.3 and +0.4 with 3, 2, 1, 1
and 1, +0.4 and +0.4 with three each (± 0.2); with means over seeds up to 0.3 more. Flagged are 0.3
and 0.5 %, 0.3 and 0.6 %, 0.2 and 0.6 %; with means over seeds 0.7 and 0.8 %, 1.0 and 1.0 %.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from bench_statistics import N_TEST, votes_by_fold  # type: ignore[import-not-found]
from simulated_studies import (  # type: ignore[import-not-found]
    SETTINGS,
    Finalist,
    SimulatedStudy,
    out_of_fold_vote,
    true_accuracy,
)

from chorale.search.bundle.disagreement import disagreement, ood_threshold_of_means
from chorale.search.statistics.expected_accuracy import expected_accuracy
from chorale.search.statistics.selection_bias import configuration_selection_bias

SEEDS = (3, 2, 1, 1, 1)
"""Of each member, the best one first."""


def members_of(study: SimulatedStudy, seeds: Sequence[int]) -> list[list[Finalist]]:
    """The best trials, each retrained with its number of seeds."""
    best = study.ranked()[: len(seeds)]
    return [[study.finalist(i) for _ in range(n)] for i, n in zip(best, seeds, strict=True)]


def mean_over_seeds(ones: Sequence[Finalist]) -> Finalist:
    """A member's mean predictions."""
    out_of_fold = np.mean([one.out_of_fold for one in ones], axis=0)
    return replace(
        ones[0], out_of_fold=out_of_fold, test=np.mean([one.test for one in ones], axis=0)
    )


def figures(study: SimulatedStudy, seeds: Sequence[int] = SEEDS) -> dict[str, float]:
    """Errors of the expected accuracy, and shares of flagged tracks."""
    every = members_of(study, seeds)
    means, firsts = [mean_over_seeds(ones) for ones in every], [ones[0] for ones in every]
    truth, on_test = true_accuracy(means, study.test_labels), votes_by_fold(means, n=N_TEST)
    found: dict[str, float] = {}
    for name, of in (("first seeds", firsts), ("means", means)):
        bias = configuration_selection_bias(
            [one.out_of_fold for one in of],
            [one.validation for one in of],
            study.labels,
            at=study.fold0,
        )
        estimate, _ = expected_accuracy(
            out_of_fold_vote(means),
            study.labels,
            on_test,
            on_test.mean(axis=0),
            configuration_bias=bias,
            kind_bias=0.0,
        )
        found[f"expected, {name}"] = estimate.accuracy - truth
    of_seed = [[ones[s % len(ones)] for ones in every] for s in range(max(seeds))]
    rows = [disagreement(np.stack([one.out_of_fold for one in ones])) for ones in of_seed]
    tests = [np.stack([one.test for one in ones], axis=1) for ones in of_seed]  # folds first
    each = np.stack([disagreement(proba) for test in tests for proba in test])
    is_flagged = each[:, N_TEST:].mean(axis=0)
    of_means = disagreement(np.stack([one.out_of_fold for one in means]))
    for name, known in (("single networks", np.concatenate(rows)), ("means", of_means)):
        threshold = ood_threshold_of_means(known, each[:, :N_TEST])
        found[f"flagged, {name}"] = float(np.mean(is_flagged > threshold))
    return found


def lines(n_studies: int, seeds: Sequence[int]) -> Iterator[str]:
    """A line for each setting and number of folds."""
    for (name, setting), n_folds in product(SETTINGS.items(), (3, 5)):
        ones = [
            figures(SimulatedStudy(replace(setting, n_folds=n_folds), seed=seed), seeds)
            for seed in range(n_studies)
        ]
        parts = []
        for key in ones[0]:
            values = 100 * np.array([one[key] for one in ones])
            text = f"{key} {values.mean():+.2f} ± {values.std(ddof=1) / np.sqrt(len(values)):.2f}"
            if key.startswith("expected"):
                text += f" ({np.abs(values).mean():.2f})"
            parts.append(text)
        yield f"{name}, {n_folds} folds: {', '.join(parts)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    args = parser.parse_args()
    for line in lines(args.studies, args.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
