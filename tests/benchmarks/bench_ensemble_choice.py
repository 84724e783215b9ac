"""Regret of the ensemble selection: how far the chosen ensemble kind is below the best one.

    python tests/benchmarks/bench_ensemble_choice.py [--studies 40] [--seed 0]

Simulates studies whose trials and baselines make correlated errors on hard tracks and in hard
groups, fits every kind with Chorale's own functions on out-of-fold rows, lets
`search.statistics.selection.choose_kind` choose, and computes each kind's true accuracy on 2,000
other tracks. Other selection rules are applied to the same figures. In percentage points.

The last column is the selection bias: by how much the chosen kind's out-of-fold accuracy is too
high, beyond that of the same kinds without a selection; and Chorale's own estimate of it.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from chorale.datasets.splitting.split import Split
from chorale.search.baselines.fitted_baselines import Baseline
from chorale.search.evaluation.candidates import admit_members, baseline_member
from chorale.search.evaluation.member_names import BEST_BASELINE
from chorale.search.evaluation.members import Member, fit_ensemble
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.statistics.selection import (
    COMPARED_ONLY,
    REFERENCE_KIND,
    NestedPredictions,
    choose_kind,
)

KINDS = ("best_single", REFERENCE_KIND, "weighted_vote", "greedy", "stacking", BEST_BASELINE)
N_FOLDS = 3
N_TEST_GROUPS, N_TEST_SIZE = 400, 5


@dataclass(frozen=True)
class Setting:
    """A kind of study; `skill` is by how much the true class's logit exceeds the others.

    `edge` is added to the skill of baselines (negative: they are worse than trials); `group_share`
    is the share of the noise variance that a group has in common.
    """

    n_groups: int
    size: int = 5
    n_classes: int = 6
    n_trials: int = 4
    n_baselines: int = 5
    skill: float = 1.5
    edge: float = 0.0
    group_share: float = 0.2


SETTINGS: Mapping[str, Setting] = {
    f"{name}, {n} groups": Setting(n, edge=edge)
    for n in (12, 60)
    for name, edge in (("trials better", -0.7), ("alike", 0.0), ("baselines better", 0.7))
}


@dataclass(frozen=True)
class Outcome:
    """One study: true accuracy and out-of-fold figures by kind; the chosen kind and its bias."""

    accuracy: Mapping[str, float]
    figures: Mapping[str, Mapping[str, Any]]
    kind: str
    bias: float

    def regret(self, kind: str) -> float:
        """By how much the accuracy of a kind is below that of the best kind."""
        best = max(accuracy for one, accuracy in self.accuracy.items() if one not in COMPARED_ONLY)
        return best - self.accuracy[kind]


def simulate(setting: Setting, *, seed: int) -> Outcome:
    """Simulates one study."""
    rng = np.random.default_rng(seed)
    n_dev = setting.n_groups * setting.size
    group = np.concatenate(
        [
            np.repeat(np.arange(setting.n_groups), setting.size),
            setting.n_groups + np.repeat(np.arange(N_TEST_GROUPS), N_TEST_SIZE),
        ]
    )
    labels = (np.arange(len(group)) % setting.size + group) % setting.n_classes
    ids = [f"t{i:05d}" for i in range(len(group))]
    split = Split(
        tuple(ids[n_dev:]), {ids[i]: int(group[i] % N_FOLDS) for i in range(n_dev)}, "", N_FOLDS, 0
    )
    truth = GroundTruth(
        tuple(f"c{i}" for i in range(setting.n_classes)),
        split,
        dict(zip(ids, labels.tolist(), strict=True)),
        {name: f"g{g}" for name, g in zip(ids, group, strict=True)},
    )
    draw = PredictionSampler(setting, labels, group, rng)
    trials, baselines = [], []
    family, other = draw.shared(), draw.shared()
    for number in range(setting.n_trials):
        networks = draw.proba(family, edge=0.0, n=N_FOLDS)
        oof, test = networks[0, :n_dev], networks[:, n_dev:].mean(axis=0)
        valid = [i for i in range(n_dev) if group[i] % N_FOLDS == 0]
        trials.append(Member(number, oof[valid], oof, test, "cnn"))
    for number in range(setting.n_baselines):
        (proba,) = draw.proba(other, edge=setting.edge, n=1)
        baselines.append(Baseline(f"b{number}", {}, proba[:n_dev], proba[n_dev:]))
    admitted = admit_members(trials, baselines, truth)
    alone = [baseline_member(one, truth) for one in baselines]
    members = {"best_single": trials, BEST_BASELINE: alone}
    fitted = {k: fit_ensemble(k, members.get(k, admitted), truth, seed=0) for k in KINDS}
    nested = {kind: NestedPredictions(one.out_of_fold, one.fitted) for kind, one in fitted.items()}
    choice = choose_kind(nested, labels[:n_dev], group[:n_dev], seed=seed)
    true = labels[n_dev:]
    accuracy = {kind: float((f.test.argmax(axis=1) == true).mean()) for kind, f in fitted.items()}
    return Outcome(accuracy, choice.figures, choice.kind, choice.bias)


@dataclass(frozen=True)
class PredictionSampler:
    """Draws models' predictions: noise by track and group, shared by a family or a model's own."""

    setting: Setting
    labels: np.ndarray
    group: np.ndarray
    rng: np.random.Generator

    def shared(self) -> np.ndarray:
        """The noise that all models of a family share: (n_tracks, n_classes)."""
        share = self.setting.group_share
        n_classes = self.setting.n_classes
        of_group = self.rng.normal(size=(int(self.group.max()) + 1, n_classes))[self.group]
        of_track = self.rng.normal(size=(len(self.labels), n_classes))
        return np.asarray(np.sqrt(share) * of_group + np.sqrt(1 - share) * of_track)

    def proba(self, family: np.ndarray, *, edge: float, n: int) -> np.ndarray:
        """Probabilities of `n` training runs of one configuration: (n, n_tracks, n_classes)."""
        skill = self.setting.skill + edge + 0.3 * self.rng.normal()
        mine = self.rng.normal(size=family.shape)
        own = self.rng.normal(size=(n, *family.shape))
        logits = skill * np.eye(self.setting.n_classes)[self.labels] + 0.7 * family
        logits = logits + 0.5 * mine + 0.5 * own
        raised = np.exp(1.5 * logits)
        return np.asarray(raised / raised.sum(axis=2, keepdims=True), np.float32)


def always_reference(one: Outcome) -> str:
    """Always the reference kind."""
    return REFERENCE_KIND


def highest_accuracy(one: Outcome) -> str:
    """The highest out-of-fold accuracy, ties by log loss, whatever the standard error."""
    kinds = [kind for kind in one.figures if kind not in COMPARED_ONLY]
    figures = one.figures
    return min(kinds, key=lambda k: (-figures[k]["accuracy"], figures[k]["log_loss"]))


def one_standard_error(one: Outcome) -> str:
    """The most accurate kind that is better than soft vote by a standard error, else soft vote."""
    kinds = [k for k in one.figures if k not in COMPARED_ONLY]
    better = [k for k in kinds if one.figures[k]["gain"] > one.figures[k]["gain_se"]]
    return max(better, key=lambda k: float(one.figures[k]["accuracy"]), default=REFERENCE_KIND)


def selection_bias(found: Sequence[Outcome], choice: Callable[[Outcome], str]) -> float:
    """By how much more the chosen kinds overestimate their accuracy than unchosen ones do."""

    def gap(one: Outcome, kind: str) -> float:
        return float(one.figures[kind]["accuracy"]) - one.accuracy[kind]

    usual = {kind: np.mean([gap(one, kind) for one in found]) for kind in found[0].accuracy}
    return float(np.mean([gap(one, choice(one)) - usual[choice(one)] for one in found]))


CHORALE = "Chorale's"
RULES: Mapping[str, Callable[[Outcome], str]] = {
    CHORALE: lambda one: one.kind,
    "soft_vote always": always_reference,
    "highest out-of-fold": highest_accuracy,
    "one standard error": one_standard_error,
}


def outcomes(setting: Setting, *, n: int, seed: int) -> Iterator[Outcome]:
    """The outcomes of `n` studies."""
    for i in range(n):
        yield simulate(setting, seed=1000 * seed + i)


def bench() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    table = Table(title=f"points below the best kind, {args.studies} studies each")
    columns = (
        "studies",
        "rule",
        "below by > 1",
        "by > 3",
        "mean",
        "worst",
        "chosen",
        "selection bias",
    )
    for column in columns:
        table.add_column(column, justify="left" if column in ("studies", "rule") else "right")
    for name, setting in SETTINGS.items():
        found = list(outcomes(setting, n=args.studies, seed=args.seed))
        estimate = f" (estimated {100 * np.mean([one.bias for one in found]):.2f})"
        for rule, choice in RULES.items():
            kinds = [choice(one) for one in found]
            below = 100 * np.array([o.regret(k) for o, k in zip(found, kinds, strict=True)])
            most = max(set(kinds), key=kinds.count)
            table.add_row(
                name,
                rule,
                f"{np.mean(below > 1):.0%}",
                f"{np.mean(below > 3):.0%}",
                f"{below.mean():.2f}",
                f"{below.max():.1f}",
                f"{most} ({kinds.count(most) / len(kinds):.0%})",
                f"{100 * selection_bias(found, choice):+.2f}{estimate if rule == CHORALE else ''}",
            )
        table.add_section()
    Console(width=130).print(table)


if __name__ == "__main__":
    bench()
