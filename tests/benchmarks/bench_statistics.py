"""Statistics of a report, tested on simulated studies: coverage, bias, calibration, selection.

    python tests/benchmarks/bench_statistics.py [--only intervals leads studies choice curse
        flags maps label_sets thresholds expected_maps label_kinds label_temperatures]
        [--studies 20] [--sets 600]

Prints a line per cell, and where it misses its goal. `intervals` and `leads`: coverage of the 95 %
intervals of an accuracy and of a difference of accuracies, at least 0.94. `studies`: absolute bias
of the expected test accuracy at most a percentage point, and its mean error not above that of the
plain out-of-fold accuracy; average coverage of conformal sets at least the nominal one. `choice`:
selection bias of choosing on fold 0, under several protocols. `curse`: accuracy of finalists chosen
in several ways (the winner's curse). `flags`: the share of in-distribution tracks that are flagged
as none of the classes. Of several labels: `maps`, coverage of the 95 % intervals of an mAP, 0.93 to
0.985, and of a difference of mAPs, at least 0.93, of the mean over test sets of that size;
`label_sets`, coverage of conformal sets at 0.8 and 0.9, at least the nominal one; `thresholds`,
macro-F1 on new tracks of each label's threshold, at least that of 0.5 and of a common one;
`expected_maps`, the expected test mAP, absolute bias at most a point, mean error not above that of
the plain out-of-fold mAP; `label_kinds`, the selection bias of the kind of ensemble, within a point
of the truth; `label_temperatures`, log loss and calibration error with the temperature ratio of
averaging over folds, not above those without it. Ends with the number of cells that miss.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from simulated_label_studies import (  # type: ignore[import-not-found]
    kind_biases,
    map_errors,
    studies_of,
    temperature_gains,
)
from simulated_labels import (  # type: ignore[import-not-found]
    LabelSetting,
    map_coverage,
    set_coverage,
    threshold_gains,
)
from simulated_studies import (  # type: ignore[import-not-found]
    SETTINGS,
    Finalist,
    SimulatedStudy,
    accuracy,
    out_of_fold_vote,
    true_accuracy,
)

from chorale.lightning_models.metrics import expected_calibration_error
from chorale.search.bundle.disagreement import (
    disagreement,
    ood_threshold,
    ood_threshold_of_means,
    predictive_entropy,
)
from chorale.search.ledger.ledger import Row
from chorale.search.statistics.calibration import (
    calibrate,
    calibrated_log_loss,
    validated_temperature,
)
from chorale.search.statistics.conformal import covers, fit_conformal
from chorale.search.statistics.expected_accuracy import ExpectedAccuracy, expected_accuracy
from chorale.search.statistics.fold_averaging import FoldAveraging
from chorale.search.statistics.inner_folds import inner_folds
from chorale.search.statistics.intervals import difference_interval, proportion_interval
from chorale.search.statistics.selection_bias import configuration_selection_bias
from chorale.search.study.finalist_choice import choose_finalists

Rng = np.random.Generator
MEMBERS = (1, 2, 5, 10, 20)
OF_SETS = ("intervals", "leads", "maps", "label_sets", "thresholds")
"""Parts whose cells have `--sets` simulated sets each; the others have `--studies` studies."""

UNSEEN_SEED = 1000
"""Of the first study of `expected_maps`, whose estimator was chosen on those from 0 on."""

COVERAGE = 0.9
N_TEST = 200
"""Unlabelled test rows that the estimate may use; the true accuracy is that of all test rows."""


def sizes(n_groups: int, *, even: bool, rng: Rng) -> np.ndarray:
    """Tracks of each group: ten, or ten on average."""
    if even:
        return np.full(n_groups, 10)
    return np.maximum(1, rng.lognormal(np.log(10) - 0.32, 0.8, n_groups)).astype(int)


def coverage_of_share(
    accuracy: float, icc: float, n_groups: int, *, n_sets: int, rng: Rng
) -> tuple[float, float]:
    """Coverage and mean width of an accuracy's interval, with even and uneven groups in turn."""
    inside, widths = [], []
    for i in range(n_sets):
        n = sizes(n_groups, even=i % 2 == 0, rng=rng)
        more = (1 - icc) / max(icc, 1e-9)
        skill = rng.beta(accuracy * more, (1 - accuracy) * more, n_groups)
        groups = np.repeat(np.arange(n_groups), n)
        low, high = proportion_interval(
            (rng.random(len(groups)) < skill[groups]).astype(float), groups
        )
        inside.append(low <= accuracy <= high)
        widths.append(high - low)
    return float(np.mean(inside)), float(np.mean(widths))


def coverage_of_lead(
    apart: float, side: float, icc: float, n_groups: int, *, n_sets: int, rng: Rng
) -> tuple[float, float]:
    """The same for a difference of two accuracies.

    `apart` is the share of tracks on which only one of the two is correct, `side` the share of
    these on which it is the first.
    """
    shares = np.array([apart * side, apart * (1 - side), 1 - apart])
    truth, inside, widths = shares[0] - shares[1], [], []
    for i in range(n_sets):
        n = sizes(n_groups, even=i % 2 == 0, rng=rng)
        more = (1 - icc) / max(icc, 1e-9)
        drawn = rng.standard_gamma(shares * more, (n_groups, 3)) + 1e-300
        edges = (drawn / drawn.sum(axis=1, keepdims=True)).cumsum(axis=1)
        groups = np.repeat(np.arange(n_groups), n)
        where = (rng.random((len(groups), 1)) > edges[groups, :2]).sum(axis=1)
        low, high = difference_interval(np.array([1.0, -1.0, 0.0])[where], groups)
        inside.append(low - 1e-12 <= truth <= high + 1e-12)
        widths.append(high - low)
    return float(np.mean(inside)), float(np.mean(widths))


def intervals(n_sets: int) -> Iterator[str]:
    """A line per number of groups and intra-class correlation: the worst of five accuracies."""
    rng = np.random.default_rng(0)
    for n_groups, icc in product((3, 5, 10, 20, 60), (0.0, 0.1, 0.2, 0.3)):
        cells = {
            accuracy: coverage_of_share(accuracy, icc, n_groups, n_sets=n_sets, rng=rng)
            for accuracy in (0.6, 0.8, 0.9, 0.95, 0.98)
        }
        yield line("accuracy", n_groups, icc, cells)


def leads(n_sets: int) -> Iterator[str]:
    """The same for differences."""
    rng = np.random.default_rng(0)
    for n_groups, icc in product((3, 5, 10, 20, 60), (0.0, 0.1, 0.3)):
        cells = {
            (apart, side): coverage_of_lead(apart, side, icc, n_groups, n_sets=n_sets, rng=rng)
            for apart, side in product((0.02, 0.08, 0.3), (0.5, 0.75, 1.0))
        }
        yield line("difference", n_groups, icc, cells)


def line(what: str, n_groups: int, icc: float, cells: dict) -> str:  # type: ignore[type-arg]
    worst = min(cells, key=lambda cell: cells[cell][0])
    width = np.mean([width for _, width in cells.values()])
    coverage = cells[worst][0]
    return (
        f"{what:10} {n_groups:3} groups, ICC {icc:.1f}: coverage {coverage:.3f} or more "
        f"(at {worst}), mean width {width:.3f}{'' if coverage >= 0.94 else '  MISSES'}"
    )


def plain_errors(study: SimulatedStudy, finalists: Sequence[Finalist]) -> dict[str, float]:
    """Errors of a vote's validation and out-of-fold accuracy, as estimates of its test accuracy."""
    truth = true_accuracy(finalists, study.test_labels)
    plain = accuracy(out_of_fold_vote(finalists), study.labels)
    return {
        "validation": accuracy(np.mean([one.validation for one in finalists], axis=0),
                            study.labels[study.fold0]) - truth,
        "out of fold": plain - truth,
    }  # fmt: skip


def configuration_bias(study: SimulatedStudy, every: Sequence[Finalist]) -> float:
    """The selection bias of the finalists' out-of-fold accuracy, as a sweep estimates it."""
    return configuration_selection_bias(
        [one.out_of_fold for one in every],
        [one.validation for one in every],
        study.labels,
        at=study.fold0,
    )


def votes_by_fold(finalists: Sequence[Finalist], *, n: int | None = None) -> np.ndarray:
    """The vote of each fold's networks for the first `n` test rows."""
    return np.asarray(np.mean([one.test[:, :n] for one in finalists], axis=0))


def expected(
    study: SimulatedStudy, every: Sequence[Finalist], mine: Sequence[Finalist]
) -> tuple[ExpectedAccuracy, FoldAveraging]:
    """Chorale's estimate for the vote of `mine`, out of `every` finalist."""
    on_test = votes_by_fold(mine, n=N_TEST)
    return expected_accuracy(
        out_of_fold_vote(mine),
        study.labels,
        on_test,
        on_test.mean(axis=0),
        configuration_bias=configuration_bias(study, every),
        kind_bias=0.0,
    )


def expected_errors(
    study: SimulatedStudy, every: Sequence[Finalist], n_members: int
) -> tuple[float, float]:
    """Errors of the expected test accuracy of the first members' vote, and of its gain.

    The gain is that of averaging over folds. Its error, against the true gain on the same test
    tracks, does not contain the sampling error of the few development tracks.
    """
    mine = every[:n_members]
    estimate, _ = expected(study, every, mine)
    truth = true_accuracy(mine, study.test_labels)
    before = np.mean([accuracy(one, study.test_labels) for one in votes_by_fold(mine)])
    return estimate.accuracy - truth, estimate.gain - (truth - float(before))


def conformal_figures(
    study: SimulatedStudy, every: Sequence[Finalist], n_members: int
) -> dict[str, float]:
    """Coverage and size of conformal sets, and the calibration error before and after."""
    finalists = every[:n_members]
    _, averaged = expected(study, every, finalists)
    cuts = inner_folds(study.labels, study.groups, seed=0)
    temperature, after = validated_temperature(out_of_fold_vote(finalists), study.labels, cuts)
    test = np.mean([one.test.mean(axis=0) for one in finalists], axis=0)
    calibrated = calibrate(test, temperature * averaged.temperature_ratio)
    fitted = fit_conformal(after, study.labels, study.groups, coverage=COVERAGE)
    sets = fitted.sets(calibrated)
    return {
        "coverage": float(covers(sets, study.test_labels).mean()),
        "size": float(sets.sum(axis=1).mean()),
        "before": expected_calibration_error(test, study.test_labels),
        "after": expected_calibration_error(calibrated, study.test_labels),
    }


def studies(n_studies: int) -> Iterator[str]:
    """Bias and mean error of the accuracy estimates, and coverage of conformal sets; in points."""
    for (name, setting), n_folds in product(SETTINGS.items(), (3, 5)):
        setting = replace(setting, n_folds=n_folds)
        found: dict[int, list[dict[str, float]]] = {n: [] for n in MEMBERS}
        for seed in range(n_studies):
            study = SimulatedStudy(setting, seed=seed)
            every = [study.finalist(number) for number in study.ranked()[: max(MEMBERS)]]
            for n in MEMBERS:
                one = plain_errors(study, every[:n])
                one["expected"], one["gain"] = expected_errors(study, every[: max(n, 8)], n)
                found[n].append(one | conformal_figures(study, every[: max(n, 8)], n))
        for n, ones in found.items():
            yield f"{name}, {n_folds} folds, {n:2} members: {format_errors(ones)}"
            yield f"{name}, {n_folds} folds, {n:2} members: {format_coverage(ones)}"


def format_errors(ones: Sequence[dict[str, float]]) -> str:
    """Bias (mean absolute error) of each estimate."""
    texts, errors = [], {}
    for key in ("validation", "out of fold", "expected", "gain"):
        values = 100 * np.array([one[key] for one in ones])
        se = values.std(ddof=1) / np.sqrt(len(values))
        errors[key] = float(np.abs(values).mean())
        texts.append(f"{key} {values.mean():+.2f} ± {se:.2f} ({errors[key]:.2f})")
    # of the gain: the others contain the sampling error of the few development tracks
    worse = 100 * np.array([abs(one["expected"]) - abs(one["out of fold"]) for one in ones])
    missed = abs(values.mean()) > 1 or worse.mean() > 2 * worse.std(ddof=1) / np.sqrt(len(worse))
    return ", ".join(texts) + ("  MISSES" if missed else "")


def format_coverage(ones: Sequence[dict[str, float]]) -> str:
    """Average coverage, share of studies more than a point below the nominal one, size, ECE."""
    values = np.array([one["coverage"] for one in ones])
    mean = {key: np.mean([one[key] for one in ones]) for key in ("size", "before", "after")}
    se = values.std(ddof=1) / np.sqrt(len(values))
    return (
        f"sets cover {values.mean():.3f} ± {se:.3f}, {np.mean(values < COVERAGE - 0.01):.0%} of "
        f"studies a point short, 5th percentile {np.quantile(values, 0.05):.3f}, size "
        f"{mean['size']:.2f}; calibration error {mean['before']:.3f}, calibrated "
        f"{mean['after']:.3f}{'' if values.mean() >= COVERAGE - 2 * se else '  MISSES'}"
    )


def choice(n_studies: int) -> Iterator[str]:
    """Selection bias of the out-of-fold accuracy by the choice on fold 0, against random trials."""
    for name, n_folds, n_trials in product(("typical", "configuration errors"), (3, 5), (30, 100)):
        setting = replace(SETTINGS[name], n_folds=n_folds, n_trials=n_trials)
        found: dict[str, list[float]] = {}
        for seed in range(n_studies):
            for key, value in choice_biases(
                SimulatedStudy(setting, seed=seed), 6, seed=seed
            ).items():
                found.setdefault(key, []).append(100 * value)
        text = ", ".join(
            f"{key} {np.mean(v):+.2f} ± {np.std(v) / np.sqrt(len(v)):.2f}"
            for key, v in found.items()
        )
        left = np.array(found["bias subtracted"])
        missed = abs(left.mean()) > 0.5 + 2 * left.std() / np.sqrt(len(left))
        yield (
            f"{name}, {n_folds} folds, {n_trials} trials: a vote of 6 is too high by {text}"
            f"{'  MISSES' if missed else ''}"
        )


def choice_biases(study: SimulatedStudy, n: int, *, seed: int) -> dict[str, float]:
    """Overestimation of the `n` best trials' vote, less that of `n` random ones, by protocol.

    `search.statistics.expected_accuracy` uses "bias subtracted".
    """
    rng = np.random.default_rng(seed)
    random = [int(i) for i in rng.choice(study.setting.n_trials, n, replace=False)]
    best = overestimation(study, [study.finalist(i) for i in study.ranked()[:n]])
    drawn = overestimation(study, [study.finalist(i) for i in random])
    random_ones = drawn | {"bias subtracted": drawn["fresh seeds"]}  # random trials have none
    return {key: value - random_ones[key] for key, value in best.items()}


def overestimation(study: SimulatedStudy, finalists: Sequence[Finalist]) -> dict[str, float]:
    """The vote's accuracy by each protocol, less the true accuracy of its networks."""
    rest, fresh = study.fold != 0, out_of_fold_vote(finalists)
    same = fresh.copy()
    same[study.fold0] = np.mean([one.validation for one in finalists], axis=0)
    out_of_fold = accuracy(fresh, study.labels)
    accuracies = {
        "same seeds": accuracy(same, study.labels),
        "fresh seeds": out_of_fold,
        "without fold 0": accuracy(fresh[rest], study.labels[rest]),
        "bias subtracted": out_of_fold - configuration_bias(study, finalists),
    }
    test = np.mean([each.test for each in finalists], axis=0)
    truth = float(np.mean([accuracy(fold, study.test_labels) for fold in test]))
    return {key: value - truth for key, value in accuracies.items()}


def curse(n_studies: int) -> Iterator[str]:
    """The winner's curse: optimism of the chosen finalists, gains of other ways to choose them."""
    for n_groups, n_trials in product((10, 20, 60), (30, 100)):
        setting = replace(SETTINGS["typical"], n_groups=n_groups, n_trials=n_trials)
        found: dict[str, list[float]] = {}
        for seed in range(n_studies):
            for key, value in finalist_choices(SimulatedStudy(setting, seed=seed), 6).items():
                found.setdefault(key, []).append(100 * value)
        text = ", ".join(
            f"{key} {np.mean(v):+.2f} ± {np.std(v) / np.sqrt(len(v)):.2f}"
            for key, v in found.items()
        )
        yield f"{n_groups * 10} tracks, {n_trials} trials: {text}"


def finalist_choices(study: SimulatedStudy, n: int) -> dict[str, float]:
    """Accuracy of the vote of `n` by each way to choose them, less that by the objective alone."""

    # configurations differ in confidence, which calibration removes
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
        return choose_finalists(rows, n=n, objective="accuracy")

    every = range(study.setting.n_trials)
    now = chosen(study.validation.tolist(), every)
    twice, thrice = study.validation.copy(), study.validation.copy()
    shortlist = study.ranked()[: 2 * n]
    for i in shortlist:
        other = study.rerun_accuracy(i, 1)
        twice[i] = (study.validation[i] + other) / 2
        thrice[i] = (study.validation[i] + other + study.rerun_accuracy(i, 2)) / 3
    ways = {
        "objective and calibrated loss": chosen(study.validation.tolist(), every, by_loss=True),
        "one more fold": chosen(twice.tolist(), shortlist),
        "two more folds": chosen(thrice.tolist(), shortlist),
        "twice as many finalists": study.ranked()[: 2 * n],
        "by true skill": [int(i) for i in np.argsort(-study.signals)[:n]],
    }
    needed = sorted({*now, *(i for way in ways.values() for i in way)})
    finalists = {i: study.finalist(i) for i in needed}

    def truth(numbers: Sequence[int]) -> float:
        return float(true_accuracy([finalists[i] for i in numbers], study.test_labels))

    validation = float(np.mean(study.validation[now]))
    single = float(
        np.mean([accuracy(t, study.test_labels) for i in now for t in finalists[i].test])
    )
    return {"optimism of a single member": validation - single} | {
        key: truth(numbers) - truth(now) for key, numbers in ways.items()
    }


def flags(n_studies: int) -> Iterator[str]:
    """How often an in-distribution track is flagged as none of the classes; the goal is 1 %."""
    for (name, setting), n_folds in product(SETTINGS.items(), (3, 5)):
        found: dict[str, list[float]] = {}
        for seed in range(n_studies):
            study = SimulatedStudy(replace(setting, n_folds=n_folds), seed=seed)
            every = [study.finalist(number) for number in study.ranked()[:8]]
            for key, share in flagged_shares(study, every).items():
                found.setdefault(key, []).append(share)
        text = ", ".join(f"{key} {np.mean(shares):.2%}" for key, shares in found.items())
        yield f"{name}, {n_folds} folds: {text}"


def flagged_shares(study: SimulatedStudy, every: Sequence[Finalist]) -> dict[str, float]:
    """The flagged share of new tracks, by the disagreement of six members and the entropy of one.

    Thresholds come from 20 and 80 test tracks; "one network's" is that of out-of-fold rows.
    """
    alone = every[:1]
    _, averaged = expected(study, every, alone)
    cuts = inner_folds(study.labels, study.groups, seed=0)
    temperature, _ = validated_temperature(out_of_fold_vote(alone), study.labels, cuts)
    temperature *= averaged.temperature_ratio
    found = {}
    for key, members, measure in (
        ("disagreement", every[:6], disagreement),
        ("entropy", alone, lambda proba: predictive_entropy(calibrate(proba[0], temperature))),
    ):
        out_of_fold = measure(np.stack([one.out_of_fold for one in members]))
        test = np.stack([one.test for one in members], axis=1)  # folds first
        each = np.stack([measure(proba) for proba in test])
        means = each.mean(axis=0)
        for n in (20, 80):
            threshold = ood_threshold_of_means(out_of_fold, each[:, :n])
            found[f"{key}, {n} tracks"] = float(np.mean(means[n:] > threshold))
        found[f"{key}, one network's"] = float(np.mean(means > ood_threshold(out_of_fold)))
    return found


def maps(n_sets: int) -> Iterator[str]:
    """A line per number of groups and labels, correlation and skill."""
    for n_groups, n_labels, icc, skill in product(
        (5, 10, 20, 60, 150), (4, 10), (0.1, 0.3), (1.5, 3.0)
    ):
        setting = LabelSetting(n_groups, n_labels, icc, skill)
        found = map_coverage(setting, n_sets=n_sets, seed=n_groups)
        both = found["interval"], found["difference"]
        kept = 0.93 <= both[0] <= 0.985 and both[1] >= 0.93
        yield (
            f"{n_groups} groups, {n_labels} labels, ICC {icc}, skill {skill}, mAP "
            f"{found['mAP']:.3f}: interval covers {both[0]:.3f} (width {found['width']:.3f}), "
            f"difference {both[1]:.3f} (width {found['difference_width']:.3f})"
            f"{'' if kept else '  MISSES'}"
        )


def label_sets(n_sets: int) -> Iterator[str]:
    """A line per number of groups, correlation and requested coverage."""
    for n_groups, icc, wanted in product((5, 10, 20, 60, 150), (0.1, 0.3), (0.8, 0.9)):
        share, error, size = set_coverage(
            LabelSetting(n_groups, icc=icc), wanted, n_sets=n_sets, seed=n_groups
        )
        yield (
            f"{n_groups} groups, ICC {icc}, wanted {wanted}: {share:.3f} ± {2 * error:.3f} of a "
            f"track's labels, {size:.1f} labels of 6 in a set"
            f"{'' if share >= wanted - 2 * error else '  MISSES'}"
        )


def thresholds(n_sets: int) -> Iterator[str]:
    """A line per number of groups and skill: F1 in points above that of other thresholds."""
    for n_groups, skill in product((5, 10, 20, 60, 150), (1.5, 3.0)):
        found = threshold_gains(
            LabelSetting(n_groups, skill=skill), n_sets=max(2, n_sets // 6), seed=n_groups
        )
        gains = {key: 100 * (found["each"] - found[key]) for key in ("half", "common")}
        reach = {key: 1.96 * one.std() / np.sqrt(len(one)) for key, one in gains.items()}
        yield (
            f"{n_groups} groups, skill {skill}: macro-F1 {found['each'].mean():.3f}, "
            + ", ".join(
                f"{one.mean():+.2f} ± {reach[key]:.2f} points to {name}"
                for (key, one), name in zip(gains.items(), ("0.5", "a common one"), strict=True)
            )
            + ("" if all(gains[key].mean() > -reach[key] for key in gains) else "  MISSES")
        )


def expected_maps(n_studies: int) -> Iterator[str]:
    """A line per number of groups, labels, skill and members; errors in points."""
    for n_groups, n_labels, skill in product((5, 10, 20, 60), (4, 10), (1.0, 2.0)):
        setting = studies_of(n_groups, n_labels, skill)
        ones = [
            map_errors(setting, n_members=(1, 6), seed=UNSEEN_SEED + i) for i in range(n_studies)
        ]
        for n in (1, 6):
            mean = {key: np.array([one[n][key] for one in ones]) for key in ones[0][n]}
            bias = 100 * mean["bias"]
            before, after = (100 * np.abs(mean[key]) for key in ("out of fold", "expected"))
            worse, root = after - before, np.sqrt(len(ones))
            missed = abs(bias.mean()) > 1 or worse.mean() > 2 * worse.std() / root
            yield (
                f"{n_groups} groups, {n_labels} labels, skill {skill}, {n} members, mAP "
                f"{mean['mAP'].mean():.3f}: out of fold {100 * mean['out of fold'].mean():+.1f} "
                f"({before.mean():.1f}), expected {bias.mean():+.2f} ± {bias.std() / root:.2f} "
                f"({after.mean():.1f}), gain {100 * mean['gain'].mean():+.2f}"
                f"{'  MISSES' if missed else ''}"
            )


def label_kinds(n_studies: int) -> Iterator[str]:
    """A line per number of groups, labels and skill; biases in points."""
    for n_groups, n_labels, skill in product((5, 10, 20, 60), (4, 10), (1.0, 2.0)):
        setting = studies_of(n_groups, n_labels, skill)
        ones = [kind_biases(setting, seed=UNSEEN_SEED + i) for i in range(n_studies)]
        estimate, truth = (100 * np.array([one[key] for one in ones]) for key in ones[0])
        error, root = estimate - truth, np.sqrt(len(ones))
        yield (
            f"{n_groups} groups, {n_labels} labels, skill {skill}: bias {truth.mean():+.2f}, "
            f"estimate {estimate.mean():+.2f}, error {error.mean():+.2f} ± "
            f"{error.std() / root:.2f}{'  MISSES' if abs(error.mean()) > 1 else ''}"
        )


def label_temperatures(n_studies: int) -> Iterator[str]:
    """A line per number of groups, skill, scale of the logits and members."""
    for n_groups, skill, scale in product((5, 10, 20, 60), (1.0, 2.0), (0.7, 1.5)):
        setting = replace(studies_of(n_groups, 6, skill), scale=scale, n_trials=8)
        ones = [
            temperature_gains(setting, n_members=(1, 6), seed=seed) for seed in range(n_studies)
        ]
        for n in (1, 6):
            of = {key: np.array([one[n][key] for one in ones]) for key in ones[0][n]}
            reach = {key: 1.96 * one.std() / np.sqrt(len(one)) for key, one in of.items()}
            yield (
                f"{n_groups} groups, skill {skill}, scale {scale}, {n} members: ratio "
                f"{of['ratio'].mean():.2f}, "
                + ", ".join(f"{key} {of[key].mean():+.4f} ± {reach[key]:.4f}"
                            for key in ("log_loss", "ece"))
                + ("" if all(of[key].mean() <= reach[key] for key in ("log_loss", "ece"))
                   else "  MISSES")
            )  # fmt: skip


def main() -> None:
    parts = {
        "intervals": intervals, "leads": leads, "studies": studies, "choice": choice,
        "curse": curse, "flags": flags, "maps": maps, "label_sets": label_sets,
        "thresholds": thresholds, "expected_maps": expected_maps,
        "label_kinds": label_kinds,
        "label_temperatures": label_temperatures,
    }  # fmt: skip
    parser = argparse.ArgumentParser(
        description="Statistics of a report, tested on simulated studies"
    )
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--sets", type=int, default=600)
    args = parser.parse_args()
    missed = []
    for part in args.only:
        began_s = time.perf_counter()
        print(f"\n{part}", flush=True)
        for text in parts[part](args.sets if part in OF_SETS else args.studies):
            print(f"  {text}", flush=True)
            missed += [text] if text.endswith("MISSES") else []
        print(f"  took {time.perf_counter() - began_s:.0f} s")
    print(f"\n{len(missed)} cells miss their goal")


if __name__ == "__main__":
    main()
