"""Whether the figures of a report keep their promise: simulated studies, the product's functions.

    python tests/benchmarks/bench_statistics.py [--only intervals leads studies choice curse
        flags] [--studies 20] [--sets 600]

Prints a line for each cell with its goal: coverage of the intervals of an accuracy and of a lead at
least 0.94; absolute bias of the expected test accuracy at most a point, and its mean error not
above that of the plain out-of-fold accuracy; average coverage of conformal sets at least what was
wanted; what choosing on fold 0 costs under several protocols; how many tracks like the others are
flagged as none of the classes. Ends with the cells that miss.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from simulated_studies import (  # type: ignore[import-not-found]
    WORLDS,
    Finalist,
    Simulated,
    accuracy_of_all,
    right,
    vote,
)

from chorale.lightning_models.metrics import expected_calibration_error
from chorale.search.bundle.disagreement import (
    disagreement,
    entropy,
    usual_limit,
    usual_limit_of_means,
)
from chorale.search.ledger.ledger import Row
from chorale.search.statistics.calibration import calibrate, calibrated_log_loss, honest_temperature
from chorale.search.statistics.conformal import covers, fit_conformal
from chorale.search.statistics.expected_accuracy import Expected, expected_accuracy
from chorale.search.statistics.fold_averaging import Averaged
from chorale.search.statistics.group_cuts import cut
from chorale.search.statistics.intervals import of_difference, of_share
from chorale.search.statistics.selection_bias import of_configurations
from chorale.search.study.finalists import choose

Rng = np.random.Generator
MEMBERS = (1, 2, 5, 10, 20)
WANTED = 0.9
N_TEST = 200
"""So many test rows are looked at before they are opened; the truth is that of all."""


def sizes(n_groups: int, *, even: bool, rng: Rng) -> np.ndarray:
    """Tracks of each group: ten, or ten on average."""
    if even:
        return np.full(n_groups, 10)
    return np.maximum(1, rng.lognormal(np.log(10) - 0.32, 0.8, n_groups)).astype(int)


def coverage_of_share(
    accuracy: float, icc: float, n_groups: int, *, n_sets: int, rng: Rng
) -> tuple[float, float]:
    """Coverage and mean width of the interval of an accuracy, groups even and uneven in turn."""
    inside, widths = [], []
    for i in range(n_sets):
        n = sizes(n_groups, even=i % 2 == 0, rng=rng)
        more = (1 - icc) / max(icc, 1e-9)
        skill = rng.beta(accuracy * more, (1 - accuracy) * more, n_groups)
        groups = np.repeat(np.arange(n_groups), n)
        low, high = of_share((rng.random(len(groups)) < skill[groups]).astype(float), groups)
        inside.append(low <= accuracy <= high)
        widths.append(high - low)
    return float(np.mean(inside)), float(np.mean(widths))


def coverage_of_lead(
    apart: float, side: float, icc: float, n_groups: int, *, n_sets: int, rng: Rng
) -> tuple[float, float]:
    """The same of a lead: on `apart` of the tracks one is right; on `side` of these the first."""
    shares = np.array([apart * side, apart * (1 - side), 1 - apart])
    truth, inside, widths = shares[0] - shares[1], [], []
    for i in range(n_sets):
        n = sizes(n_groups, even=i % 2 == 0, rng=rng)
        more = (1 - icc) / max(icc, 1e-9)
        drawn = rng.standard_gamma(shares * more, (n_groups, 3)) + 1e-300
        edges = (drawn / drawn.sum(axis=1, keepdims=True)).cumsum(axis=1)
        groups = np.repeat(np.arange(n_groups), n)
        where = (rng.random((len(groups), 1)) > edges[groups, :2]).sum(axis=1)
        low, high = of_difference(np.array([1.0, -1.0, 0.0])[where], groups)
        inside.append(low - 1e-12 <= truth <= high + 1e-12)
        widths.append(high - low)
    return float(np.mean(inside)), float(np.mean(widths))


def intervals(n_sets: int) -> Iterator[str]:
    """A line for each number of groups and correlation: the worst accuracy of five."""
    rng = np.random.default_rng(0)
    for n_groups, icc in product((3, 5, 10, 20, 60), (0.0, 0.1, 0.2, 0.3)):
        cells = {
            accuracy: coverage_of_share(accuracy, icc, n_groups, n_sets=n_sets, rng=rng)
            for accuracy in (0.6, 0.8, 0.9, 0.95, 0.98)
        }
        yield line("accuracy", n_groups, icc, cells)


def leads(n_sets: int) -> Iterator[str]:
    """The same of leads."""
    rng = np.random.default_rng(0)
    for n_groups, icc in product((3, 5, 10, 20, 60), (0.0, 0.1, 0.3)):
        cells = {
            (apart, side): coverage_of_lead(apart, side, icc, n_groups, n_sets=n_sets, rng=rng)
            for apart, side in product((0.02, 0.08, 0.3), (0.5, 0.75, 1.0))
        }
        yield line("lead", n_groups, icc, cells)


def line(what: str, n_groups: int, icc: float, cells: dict) -> str:  # type: ignore[type-arg]
    worst = min(cells, key=lambda cell: cells[cell][0])
    width = np.mean([width for _, width in cells.values()])
    coverage = cells[worst][0]
    return (
        f"{what:9} {n_groups:3} groups, ICC {icc:.1f}: coverage {coverage:.3f} or more "
        f"(at {worst}), mean width {width:.3f}{'' if coverage >= 0.94 else '  MISSES'}"
    )


def beliefs(study: Simulated, finalists: Sequence[Finalist]) -> dict[str, float]:
    """What is believed of a vote before the test set is opened, less what is true."""
    truth = accuracy_of_all(finalists, study.test_labels)
    plain = right(vote(finalists), study.labels)
    return {
        "validation": right(np.mean([one.validation for one in finalists], axis=0),
                            study.labels[study.fold0]) - truth,
        "out of fold": plain - truth,
    }  # fmt: skip


def configuration_bias(study: Simulated, every: Sequence[Finalist]) -> float:
    """By how much the finalists' out-of-fold accuracy is too high, as a sweep estimates it."""
    return of_configurations(
        [one.out_of_fold for one in every],
        [one.validation for one in every],
        study.labels,
        at=study.fold0,
    )


def by_fold(finalists: Sequence[Finalist], *, n: int | None = None) -> np.ndarray:
    """What the vote of the networks of each fold says of the first `n` test rows."""
    return np.asarray(np.mean([one.test[:, :n] for one in finalists], axis=0))


def expected(
    study: Simulated, every: Sequence[Finalist], mine: Sequence[Finalist]
) -> tuple[Expected, Averaged]:
    """What the product says of the vote of `mine`, of `every` finalist."""
    on_test = by_fold(mine, n=N_TEST)
    return expected_accuracy(
        vote(mine),
        study.labels,
        on_test,
        on_test.mean(axis=0),
        configuration_bias=configuration_bias(study, every),
        kind_bias=0.0,
    )


def expectation(study: Simulated, every: Sequence[Finalist], n_members: int) -> tuple[float, float]:
    """The expected test accuracy of the vote of the first so many, less what is true; and the gain.

    The gain of averaging over folds, less what it truly is on the same test tracks, is the error of
    the method without that of the few development tracks.
    """
    mine = every[:n_members]
    told, _ = expected(study, every, mine)
    truth = accuracy_of_all(mine, study.test_labels)
    before = np.mean([right(one, study.test_labels) for one in by_fold(mine)])
    return told.accuracy - truth, told.gain - (truth - float(before))


def sets_of(study: Simulated, every: Sequence[Finalist], n_members: int) -> dict[str, float]:
    """Coverage and size of conformal sets, and the calibration error before and after."""
    finalists = every[:n_members]
    _, averaged = expected(study, every, finalists)
    cuts = cut(study.labels, study.groups, seed=0)
    at, after = honest_temperature(vote(finalists), study.labels, cuts)
    test = np.mean([one.test.mean(axis=0) for one in finalists], axis=0)
    told = calibrate(test, at * averaged.temperature_ratio)
    fitted = fit_conformal(after, study.labels, study.groups, coverage=WANTED)
    sets = fitted.sets(told)
    return {
        "coverage": float(covers(sets, study.test_labels).mean()),
        "size": float(sets.sum(axis=1).mean()),
        "before": expected_calibration_error(test, study.test_labels),
        "after": expected_calibration_error(told, study.test_labels),
    }


def studies(n_studies: int) -> Iterator[str]:
    """Bias and mean error of what is believed, coverage of sets; all in points."""
    for (name, world), n_folds in product(WORLDS.items(), (3, 5)):
        world = replace(world, n_folds=n_folds)
        found: dict[int, list[dict[str, float]]] = {n: [] for n in MEMBERS}
        for seed in range(n_studies):
            study = Simulated(world, seed=seed)
            every = [study.finalist(number) for number in study.ranked()[: max(MEMBERS)]]
            for n in MEMBERS:
                one = beliefs(study, every[:n])
                one["expected"], one["gain"] = expectation(study, every[: max(n, 8)], n)
                found[n].append(one | sets_of(study, every[: max(n, 8)], n))
        for n, ones in found.items():
            yield f"{name}, {n_folds} folds, {n:2} members: {believed(ones)}"
            yield f"{name}, {n_folds} folds, {n:2} members: {covering(ones)}"


def believed(ones: Sequence[dict[str, float]]) -> str:
    """Bias (mean absolute error) of each belief."""
    told, errors = [], {}
    for key in ("validation", "out of fold", "expected", "gain"):
        values = 100 * np.array([one[key] for one in ones])
        se = values.std(ddof=1) / np.sqrt(len(values))
        errors[key] = float(np.abs(values).mean())
        told.append(f"{key} {values.mean():+.2f} ± {se:.2f} ({errors[key]:.2f})")
    # of the gain, as the others hold what the few development tracks happen to be
    worse = 100 * np.array([abs(one["expected"]) - abs(one["out of fold"]) for one in ones])
    missed = abs(values.mean()) > 1 or worse.mean() > 2 * worse.std(ddof=1) / np.sqrt(len(worse))
    return ", ".join(told) + ("  MISSES" if missed else "")


def covering(ones: Sequence[dict[str, float]]) -> str:
    """Average coverage, in how many studies it is more than a point short, size, calibration."""
    values = np.array([one["coverage"] for one in ones])
    mean = {key: np.mean([one[key] for one in ones]) for key in ("size", "before", "after")}
    se = values.std(ddof=1) / np.sqrt(len(values))
    return (
        f"sets cover {values.mean():.3f} ± {se:.3f}, {np.mean(values < WANTED - 0.01):.0%} of "
        f"studies a point short, 5 % below {np.quantile(values, 0.05):.3f}, size "
        f"{mean['size']:.2f}; calibration error {mean['before']:.3f}, calibrated "
        f"{mean['after']:.3f}{'' if values.mean() >= WANTED - 2 * se else '  MISSES'}"
    )


def choice(n_studies: int) -> Iterator[str]:
    """What the choice on fold 0 adds to the out-of-fold accuracy, beside trials drawn by lot."""
    for name, n_folds, n_trials in product(("typical", "own errors"), (3, 5), (30, 100)):
        world = replace(WORLDS[name], n_folds=n_folds, n_trials=n_trials)
        found: dict[str, list[float]] = {}
        for seed in range(n_studies):
            for key, value in choice_of(Simulated(world, seed=seed), 6, seed=seed).items():
                found.setdefault(key, []).append(100 * value)
        told = ", ".join(
            f"{key} {np.mean(v):+.2f} ± {np.std(v) / np.sqrt(len(v)):.2f}"
            for key, v in found.items()
        )
        left = np.array(found["less the bias"])
        missed = abs(left.mean()) > 0.5 + 2 * left.std() / np.sqrt(len(left))
        yield (
            f"{name}, {n_folds} folds, {n_trials} trials: a vote of 6 is too high by {told}"
            f"{'  MISSES' if missed else ''}"
        )


def choice_of(study: Simulated, n: int, *, seed: int) -> dict[str, float]:
    """By how much more than that of `n` trials drawn by lot the figure of the `n` best is too high.

    By what a study may do about its choice; "less the bias" is what
    `search.statistics.expected_accuracy` does.
    """
    rng = np.random.default_rng(seed)
    lot = [int(i) for i in rng.choice(study.world.n_trials, n, replace=False)]
    best = too_high(study, [study.finalist(i) for i in study.ranked()[:n]])
    drawn = too_high(study, [study.finalist(i) for i in lot])
    alike = drawn | {"less the bias": drawn["fresh seeds"]}  # what was drawn had none
    return {key: value - alike[key] for key, value in best.items()}


def too_high(study: Simulated, finalists: Sequence[Finalist]) -> dict[str, float]:
    """The vote's accuracy by each way to say it, less the true one of such a vote's networks."""
    rest, fresh = study.fold != 0, vote(finalists)
    same = fresh.copy()
    same[study.fold0] = np.mean([one.validation for one in finalists], axis=0)
    out_of_fold = right(fresh, study.labels)
    said = {
        "same seeds": right(same, study.labels),
        "fresh seeds": out_of_fold,
        "without fold 0": right(fresh[rest], study.labels[rest]),
        "less the bias": out_of_fold - configuration_bias(study, finalists),
    }
    test = np.mean([each.test for each in finalists], axis=0)
    truth = float(np.mean([right(fold, study.test_labels) for fold in test]))
    return {key: value - truth for key, value in said.items()}


def curse(n_studies: int) -> Iterator[str]:
    """What is lost as finalists are the best of noisy results, and what a second look brings."""
    for n_groups, n_trials in product((10, 20, 60), (30, 100)):
        world = replace(WORLDS["typical"], n_groups=n_groups, n_trials=n_trials)
        found: dict[str, list[float]] = {}
        for seed in range(n_studies):
            for key, value in curse_of(Simulated(world, seed=seed), 6).items():
                found.setdefault(key, []).append(100 * value)
        told = ", ".join(
            f"{key} {np.mean(v):+.2f} ± {np.std(v) / np.sqrt(len(v)):.2f}"
            for key, v in found.items()
        )
        yield f"{n_groups * 10} tracks, {n_trials} trials: {told}"


def curse_of(study: Simulated, n: int) -> dict[str, float]:
    """Accuracy of the vote of `n` by each way to choose them, less that by the objective alone."""

    # configurations differ in how sure they are, which calibration takes away
    rng, truths = np.random.default_rng(0), study.labels[study.fold0]
    losses = [
        calibrated_log_loss(calibrate(one, float(np.exp(0.35 * rng.standard_normal()))), truths)
        for one in study.trials
    ]

    def chosen(
        metric: Sequence[float], among: Sequence[int], *, by_loss: bool = False
    ) -> list[int]:
        rows = {
            str(i): Row(str(i), "COMPLETE", "", {
                "architecture": "cnn", "params": {"i": i}, "metrics": {"accuracy": metric[i]},
            } | ({"calibrated_log_loss": losses[i]} if by_loss else {}))
            for i in among
        }  # fmt: skip
        return choose(rows, n=n, objective="accuracy")

    every = range(study.world.n_trials)
    now = chosen(study.validation.tolist(), every)
    twice, thrice = study.validation.copy(), study.validation.copy()
    shortlist = study.ranked()[: 2 * n]
    for i in shortlist:
        other = study.again(i, 1)
        twice[i] = (study.validation[i] + other) / 2
        thrice[i] = (study.validation[i] + other + study.again(i, 2)) / 3
    ways = {
        "calibrated loss, too": chosen(study.validation.tolist(), every, by_loss=True),
        "a fold more": chosen(twice.tolist(), shortlist),
        "two folds more": chosen(thrice.tolist(), shortlist),
        "twice as many finalists": study.ranked()[: 2 * n],
        "the truly best": [int(i) for i in np.argsort(-study.signals)[:n]],
    }
    needed = sorted({*now, *(i for way in ways.values() for i in way)})
    finalists = {i: study.finalist(i) for i in needed}

    def truth(numbers: Sequence[int]) -> float:
        return float(accuracy_of_all([finalists[i] for i in numbers], study.test_labels))

    believed = float(np.mean(study.validation[now]))
    alone = float(np.mean([right(t, study.test_labels) for i in now for t in finalists[i].test]))
    return {"a member is believed too good by": believed - alone} | {
        key: truth(numbers) - truth(now) for key, numbers in ways.items()
    }


def flags(n_studies: int) -> Iterator[str]:
    """How often a new track like the others is flagged as none of the classes: wanted, 1 %."""
    for (name, world), n_folds in product(WORLDS.items(), (3, 5)):
        found: dict[str, list[float]] = {}
        for seed in range(n_studies):
            study = Simulated(replace(world, n_folds=n_folds), seed=seed)
            every = [study.finalist(number) for number in study.ranked()[:8]]
            for key, share in flags_of(study, every).items():
                found.setdefault(key, []).append(share)
        told = ", ".join(f"{key} {np.mean(shares):.2%}" for key, shares in found.items())
        yield f"{name}, {n_folds} folds: {told}"


def flags_of(study: Simulated, every: Sequence[Finalist]) -> dict[str, float]:
    """The flagged share of new tracks, by the disagreement of six and by the entropy of one.

    Limits come from 20 and from 80 test tracks; "one network's" are those of out-of-fold rows.
    """
    alone = every[:1]
    _, averaged = expected(study, every, alone)
    cuts = cut(study.labels, study.groups, seed=0)
    at, _ = honest_temperature(vote(alone), study.labels, cuts)
    at *= averaged.temperature_ratio
    found = {}
    for key, members, measure in (
        ("disagreement", every[:6], disagreement),
        ("entropy", alone, lambda said: entropy(calibrate(said[0], at))),
    ):
        out_of_fold = measure(np.stack([one.out_of_fold for one in members]))
        test = np.stack([one.test for one in members], axis=1)  # folds first
        each = np.stack([measure(said) for said in test])
        means = each.mean(axis=0)
        for n in (20, 80):
            limit = usual_limit_of_means(out_of_fold, each[:, :n])
            found[f"{key}, {n} tracks"] = float(np.mean(means[n:] > limit))
        found[f"{key}, one network's"] = float(np.mean(means > usual_limit(out_of_fold)))
    return found


def main() -> None:
    parts = {
        "intervals": intervals, "leads": leads, "studies": studies, "choice": choice,
        "curse": curse, "flags": flags,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description="Whether the figures of a report are right")
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--sets", type=int, default=600)
    asked = parser.parse_args()
    missed = []
    for part in asked.only:
        began_s = time.perf_counter()
        print(f"\n{part}", flush=True)
        for told in parts[part](asked.sets if part in ("intervals", "leads") else asked.studies):
            print(f"  {told}", flush=True)
            missed += [told] if told.endswith("MISSES") else []
        print(f"  took {time.perf_counter() - began_s:.0f} s")
    print(f"\n{len(missed)} cells miss their goal")


if __name__ == "__main__":
    main()
