"""How often, and by how much, the chosen ensemble is below the best that could have been chosen.

    python tests/benchmarks/bench_choice.py [--studies 40] [--seed 0]

Simulates studies whose trials and baselines err together on hard tracks and in hard groups, fits
every kind with the product's own functions on out-of-fold rows, lets
`search.statistics.selection.choose` choose, and looks at what each kind is worth on so many other
tracks that chance hardly matters. Other rules of choice are applied to the same figures beside it.
In points of accuracy.

The last column is by how much the accuracy of the chosen kind is too high on the rows that chose
it, beyond that of the same kinds when nothing chose them, and what the product says that it is.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from chorale.datasets.splitting.split import Split
from chorale.search.baselines.baselines import Baseline
from chorale.search.evaluation.candidates import admitted, as_member
from chorale.search.evaluation.member_names import BEST_BASELINE
from chorale.search.evaluation.members import Member, fit
from chorale.search.ledger.ground_truth import Truth
from chorale.search.statistics.selection import COMPARED_ONLY, SIMPLE, Nested, choose

KINDS = ("best_single", SIMPLE, "weighted_vote", "greedy", "stacking", BEST_BASELINE)
N_FOLDS = 3
N_TEST_GROUPS, N_TEST_SIZE = 400, 5


@dataclass(frozen=True)
class Setting:
    """A kind of study; `skill` and `edge` are how far a true class's logit lies above the others.

    `edge` is by how much baselines are better than trials (negative: worse), `hang` how much of the
    noise a group shares.
    """

    n_groups: int
    size: int = 5
    n_classes: int = 6
    n_trials: int = 4
    n_baselines: int = 5
    skill: float = 1.5
    edge: float = 0.0
    hang: float = 0.2


SETTINGS: Mapping[str, Setting] = {
    f"{name}, {n} groups": Setting(n, edge=edge)
    for n in (12, 60)
    for name, edge in (("trials better", -0.7), ("alike", 0.0), ("baselines better", 0.7))
}


@dataclass(frozen=True)
class Outcome:
    """Kind -> its true accuracy in one study, and its figures out of fold; and the choice."""

    worth: Mapping[str, float]
    figures: Mapping[str, Mapping[str, Any]]
    kind: str
    bias: float

    def regret(self, kind: str) -> float:
        """By how much a kind is below the best that could have been chosen."""
        best = max(share for one, share in self.worth.items() if one not in COMPARED_ONLY)
        return best - self.worth[kind]


def simulate(setting: Setting, *, seed: int) -> Outcome:
    """One study."""
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
    truth = Truth(
        tuple(f"c{i}" for i in range(setting.n_classes)),
        split,
        dict(zip(ids, labels.tolist(), strict=True)),
        {name: f"g{g}" for name, g in zip(ids, group, strict=True)},
    )
    draw = Drawing(setting, labels, group, rng)
    trials, baselines = [], []
    family, other = draw.shared(), draw.shared()
    for number in range(setting.n_trials):
        networks = draw.proba(family, edge=0.0, n=N_FOLDS)
        oof, test = networks[0, :n_dev], networks[:, n_dev:].mean(axis=0)
        valid = [i for i in range(n_dev) if group[i] % N_FOLDS == 0]
        trials.append(Member(number, oof[valid], oof, test, "cnn"))
    for number in range(setting.n_baselines):
        (said,) = draw.proba(other, edge=setting.edge, n=1)
        baselines.append(Baseline(f"b{number}", {}, said[:n_dev], said[n_dev:]))
    allies = admitted(trials, baselines, truth)
    alone = [as_member(one, truth) for one in baselines]
    members = {"best_single": trials, BEST_BASELINE: alone}
    fitted = {k: fit(k, members.get(k, [*trials, *allies]), truth, seed=0) for k in KINDS}
    nested = {kind: Nested(one.out_of_fold, one.fitted) for kind, one in fitted.items()}
    choice = choose(nested, labels[:n_dev], group[:n_dev], seed=seed)
    true = labels[n_dev:]
    worth = {kind: float((f.test.argmax(axis=1) == true).mean()) for kind, f in fitted.items()}
    return Outcome(worth, choice.figures, choice.kind, choice.bias)


@dataclass(frozen=True)
class Drawing:
    """Draws what models say: noise of the track, of the group, of the family, and of their own."""

    setting: Setting
    labels: np.ndarray
    group: np.ndarray
    rng: np.random.Generator

    def shared(self) -> np.ndarray:
        """What all models of a family find misleading: (n_tracks, n_classes)."""
        share = self.setting.hang
        n_classes = self.setting.n_classes
        of_group = self.rng.normal(size=(int(self.group.max()) + 1, n_classes))[self.group]
        of_track = self.rng.normal(size=(len(self.labels), n_classes))
        return np.asarray(np.sqrt(share) * of_group + np.sqrt(1 - share) * of_track)

    def proba(self, family: np.ndarray, *, edge: float, n: int) -> np.ndarray:
        """`n` trainings of one configuration: (n, n_tracks, n_classes)."""
        skill = self.setting.skill + edge + 0.3 * self.rng.normal()
        mine = self.rng.normal(size=family.shape)
        own = self.rng.normal(size=(n, *family.shape))
        logits = skill * np.eye(self.setting.n_classes)[self.labels] + 0.7 * family
        logits = logits + 0.5 * mine + 0.5 * own
        raised = np.exp(1.5 * logits)
        return np.asarray(raised / raised.sum(axis=2, keepdims=True), np.float32)


def simple_always(one: Outcome) -> str:
    """Nothing is chosen."""
    return SIMPLE


def highest(one: Outcome) -> str:
    """The highest accuracy out of fold, ties by log loss, whatever the error of the difference."""
    kinds = [kind for kind in one.figures if kind not in COMPARED_ONLY]
    figures = one.figures
    return min(kinds, key=lambda k: (-figures[k]["accuracy"], figures[k]["log_loss"]))


def by_a_standard_error(one: Outcome) -> str:
    """The most accurate of those that are better than soft vote by a standard error, if any is."""
    kinds = [k for k in one.figures if k not in COMPARED_ONLY]
    better = [k for k in kinds if one.figures[k]["gain"] > one.figures[k]["gain_se"]]
    return max(better, key=lambda k: float(one.figures[k]["accuracy"]), default=SIMPLE)


def too_high(found: Sequence[Outcome], choice: Callable[[Outcome], str]) -> float:
    """By how much more than unchosen ones the chosen kinds claim out of fold."""

    def gap(one: Outcome, kind: str) -> float:
        return float(one.figures[kind]["accuracy"]) - one.worth[kind]

    usual = {kind: np.mean([gap(one, kind) for one in found]) for kind in found[0].worth}
    return float(np.mean([gap(one, choice(one)) - usual[choice(one)] for one in found]))


PRODUCT = "the product's"
RULES: Mapping[str, Callable[[Outcome], str]] = {
    PRODUCT: lambda one: one.kind,
    "soft_vote always": simple_always,
    "highest out of fold": highest,
    "by a standard error": by_a_standard_error,
}


def outcomes(setting: Setting, *, n: int, seed: int) -> Iterator[Outcome]:
    """`n` studies."""
    for i in range(n):
        yield simulate(setting, seed=1000 * seed + i)


def bench() -> None:
    """Prints a table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--studies", type=int, default=40)
    words.add_argument("--seed", type=int, default=0)
    given = words.parse_args()
    table = Table(title=f"points below the best kind, {given.studies} studies each")
    columns = ("studies", "rule", "below by > 1", "by > 3", "mean", "worst", "chosen", "too high")
    for column in columns:
        table.add_column(column, justify="left" if column in ("studies", "rule") else "right")
    for name, setting in SETTINGS.items():
        found = list(outcomes(setting, n=given.studies, seed=given.seed))
        told = f" (told {100 * np.mean([one.bias for one in found]):.2f})"
        for rule, choice in RULES.items():
            kinds = [choice(one) for one in found]
            below = 100 * np.array([o.regret(k) for o, k in zip(found, kinds, strict=True)])
            often = max(set(kinds), key=kinds.count)
            table.add_row(
                name,
                rule,
                f"{np.mean(below > 1):.0%}",
                f"{np.mean(below > 3):.0%}",
                f"{below.mean():.2f}",
                f"{below.max():.1f}",
                f"{often} ({kinds.count(often) / len(kinds):.0%})",
                f"{100 * too_high(found, choice):+.2f}{told if rule == PRODUCT else ''}",
            )
        table.add_section()
    Console(width=130).print(table)


if __name__ == "__main__":
    bench()
