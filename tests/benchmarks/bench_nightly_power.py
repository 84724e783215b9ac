"""Power and false-alarm rate of the nightly drift check and of the promotion gate.

    python tests/benchmarks/bench_nightly_power.py [--only accuracy maps gate] [--nights 2000]

Simulates nights with a known truth and runs `drift_check.assess_drop` and `gate.decide` on each.
A prediction is correct where a latent sum is below a threshold: the difficulty of the group, the
difficulty of the track, and what the random seed of a training run changes for all tracks, for a
group and for each track. So two training runs of the same settings agree on most tracks, as real
ones do, and tracks of a group are correlated in difficulty and in what a run changes. The drift
check repeats the best of several equally good finalists, as in a real night. Of several labels
(`maps`), a label's score is higher where it is present, by a skill that a run changes a little, and
has errors like those of `simulated_labels`. Rates have a 95 % interval by Clopper and Pearson.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm
from simulated_labels import LabelSetting, draw  # type: ignore[import-not-found]

from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search.champion.registry.gate import Contender, Gate, Verdict, decide_promotion
from chorale.search.nightly import drift_check
from chorale.search.statistics.jackknife import deleted_blocks
from chorale.search.statistics.multi_label_scores import block_values

CONFIDENCE = 0.995
"""The drift check's confidence: the default of `changes.confidence`."""

N_RIVALS = 6
"""Finalists of a sweep, by default."""


@dataclass(frozen=True)
class Nights:
    """Nights over `n_tracks` held-out tracks of `n_groups` groups.

    Shares of the latent variance: `hard` by track, in all training runs alike; `icc` by group;
    `moves` by group and run. `seed_sd` is the standard deviation of the accuracy over the seeds of
    a run (of the mean of all folds' networks).
    """

    n_tracks: int
    n_groups: int
    accuracy: float = 0.7
    icc: float = 0.2
    hard: float = 0.55
    moves: float = 0.02
    seed_sd: float = 0.007

    def groups(self) -> NDArray[np.int64]:
        """(n_tracks,) groups whose sizes differ by up to a factor of three."""
        sizes = np.linspace(1, 3, self.n_groups)
        at = np.cumsum(sizes) / sizes.sum() * self.n_tracks
        return np.searchsorted(at, np.arange(self.n_tracks), side="right").clip(
            max=self.n_groups - 1
        )

    def correct(
        self, rng: np.random.Generator, n_nights: int, accuracies: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether each training run predicts each track correctly: (n_nights, n_runs, n_tracks)."""
        groups = self.groups()
        shape = (n_nights, len(accuracies))
        shared = np.sqrt(self.icc) * rng.standard_normal((n_nights, self.n_groups))[:, groups]
        shared = shared + np.sqrt(self.hard) * rng.standard_normal((n_nights, self.n_tracks))
        moved = np.sqrt(self.moves) * rng.standard_normal((*shape, self.n_groups))[..., groups]
        rest = 1 - self.icc - self.hard - self.moves
        own = np.sqrt(rest) * rng.standard_normal((*shape, self.n_tracks))
        level = norm.ppf(
            np.clip(accuracies + self.seed_sd * rng.standard_normal(shape), 0.001, 0.999)
        )
        return np.asarray(shared[:, None] + moved + own < level[..., None])


def alarms(
    nights: Nights, *, drop: float, n_nights: int, seed: int, n_rivals: int = N_RIVALS
) -> tuple[int, NDArray[np.float64]]:
    """In how many nights the drift check raises an alarm, and the observed drops: (n_nights,).

    Args:
        nights: their parameters.
        drop: the true drop in accuracy; 0.1 is ten percentage points.
        n_nights: how many.
        seed: of the random numbers.
        n_rivals: the number of equally good finalists, of which the best is repeated.
    """
    rng, groups = np.random.default_rng(seed), nights.groups()
    level = np.append(np.full(n_rivals, nights.accuracy), nights.accuracy - drop)
    n_moved, seen = 0, []
    for chunk in range(0, n_nights, 100):
        correct = nights.correct(rng, min(100, n_nights - chunk), level)
        for one in correct:
            then, now = one[:-1][one[:-1].sum(axis=1).argmax()] * 1.0, one[-1] * 1.0
            found = drift_check.assess_drop(
                then, now, groups, source="s/1", confidence=CONFIDENCE, n_rivals=n_rivals
            )
            n_moved += found.moved
            seen.append(float(then.mean() - now.mean()))
    return n_moved, np.array(seen)


@dataclass(frozen=True)
class LabelNights:
    """Nights over held-out tracks of several labels, of `labels.n_groups` groups of about ten.

    Shares of the variance of a score's errors: `moves` by group and run, `own` by track and run.
    `seed_sd` is the relative standard deviation of the skill for a label over the seeds of a run;
    at 0.05 the mAP of four labels differs by about 1.2 points, that of ten by 0.7.
    """

    labels: LabelSetting
    moves: float = 0.05
    own: float = 0.3
    seed_sd: float = 0.05


def label_alarms(
    nights: LabelNights, *, weaker: float, n_nights: int, seed: int, n_rivals: int = N_RIVALS
) -> tuple[int, NDArray[np.float64]]:
    """As `alarms` for several labels; the drops are below the mean of all finalists, (n_nights,).

    Args:
        nights: their parameters.
        weaker: the share of the skill that tonight's run has lost.
        n_nights: how many.
        seed: of the random numbers.
        n_rivals: the number of equally good finalists, of which the best is repeated.
    """
    rng, one = np.random.default_rng(seed), nights.labels
    n_moved, seen = 0, []
    for _ in range(n_nights):
        tracks = draw(one, rng)
        truth = tracks.labels
        shape = (int(tracks.groups.max()) + 1, one.n_labels)
        runs = []
        for skill in (*[one.skill] * n_rivals, (1 - weaker) * one.skill):
            of_label = skill * (1 + nights.seed_sd * rng.standard_normal(one.n_labels))
            errors = np.sqrt(1 - nights.moves - nights.own) * tracks.errors
            errors += np.sqrt(nights.moves) * rng.standard_normal(shape)[tracks.groups]
            errors += np.sqrt(nights.own) * rng.standard_normal(truth.shape)
            runs.append(of_label * truth + errors)
        scores = [mean_average_precision(run, truth) for run in runs]
        blocks = deleted_blocks(tracks.groups)
        then, now = (
            block_values(run, truth, blocks)
            for run in (runs[int(np.argmax(scores[:-1]))], runs[-1])
        )
        found = drift_check.assess_drop(
            then,
            now,
            np.arange(blocks.n),
            source="s/1",
            confidence=CONFIDENCE,
            n_rivals=n_rivals,
            margin=drift_check.MAP_SEED_MARGIN,
        )
        n_moved += found.moved
        seen.append(float(np.mean(scores[:-1])) - scores[-1])
    return n_moved, np.array(seen)


def promotions(nights: Nights, *, gain: float, n_nights: int, seed: int, gate: Gate) -> int:
    """In how many nights the gate promotes a challenger that is truly better by `gain`.

    Without variance over seeds: the gate compares two given models, not their training runs.
    """
    rng, groups = np.random.default_rng(seed), nights.groups()
    no_seed_variance = Nights(
        nights.n_tracks, nights.n_groups, nights.accuracy, nights.icc, seed_sd=0.0
    )
    levels = np.array([nights.accuracy + gain, nights.accuracy])
    labels, n_promoted = np.zeros(nights.n_tracks, np.int64), 0
    for chunk in range(0, n_nights, 100):
        for one in no_seed_variance.correct(rng, min(100, n_nights - chunk), levels):
            challenger, champion = (
                Contender(np.where(correct[:, None], [0.9, 0.1], [0.1, 0.9])) for correct in one
            )
            decision = decide_promotion(challenger, champion, labels, groups, ("a", "b"), gate)
            n_promoted += decision.verdict is Verdict.PROMOTED
    return n_promoted


def interval(n: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a rate, after Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404."""
    low = 0.0 if n == 0 else float(beta.ppf(0.025, n, of - n + 1))
    high = 1.0 if n == of else float(beta.ppf(0.975, n + 1, of - n))
    return low, high


def corpora() -> Iterator[Nights]:
    """The nights of each row of the tables."""
    for n_tracks in (150, 400, 750):
        for n_groups in (20, 60, n_tracks):
            for icc in (0.0, 0.2) if n_groups < n_tracks else (0.0,):
                yield Nights(n_tracks, n_groups, icc=icc, moves=0.02 if icc else 0.0)


def _rate(n: int, of: int) -> str:
    low, high = interval(n, of)
    return f"{n / of:6.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parts = {"accuracy": accuracy_table, "maps": map_table, "gate": gate_table}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--nights", type=int, default=2000)
    args = parser.parse_args()
    for part in args.only:
        parts[part](args.nights)


def map_table(n: int) -> None:
    """Prints false alarms, and for two losses of skill the mean drop and the alarms."""
    print(f"drift check of several labels, best of {N_RIVALS} finalists, {n} nights a cell")
    for n_groups in (5, 10, 20, 60):
        for n_labels in (4, 10):
            for skill in (1.5, 3.0):
                nights = LabelNights(LabelSetting(n_groups, n_labels, 0.2, skill))
                cells = []
                for weaker, m in ((0.0, n), (0.25, n // 4), (0.5, n // 4)):
                    moved, drops = label_alarms(nights, weaker=weaker, n_nights=m, seed=1)
                    cells.append(f"{100 * drops.mean():5.1f} points: {_rate(moved, m)}")
                print(
                    f"{n_groups:3} groups, {n_labels:2} labels, skill {skill}: {', '.join(cells)}",
                    flush=True,
                )


def accuracy_table(n: int) -> None:
    """Prints false alarms, and the power at two true drops of the accuracy."""
    print(
        f"drift check, confidence {CONFIDENCE:.1%}, best of {N_RIVALS} finalists, {n} nights a cell"
    )
    print("tracks groups  ICC   a true drop of 0             10 points            20 points")
    for one in corpora():
        rates = [
            _rate(alarms(one, drop=drop, n_nights=m, seed=1)[0], m)
            for drop, m in ((0.0, n), (0.1, n // 4), (0.2, n // 4))
        ]
        print(f"{one.n_tracks:6}{one.n_groups:7}{one.icc:5.1f}   {'  '.join(rates)}", flush=True)


def gate_table(n: int) -> None:
    """Prints false promotions, and the power at two true gains."""
    gate = Gate()
    print(f"\ngate, confidence {gate.confidence:.0%}")
    print("tracks groups  ICC   a true gain of 0             5 points             10 points")
    for one in corpora():
        rates = [
            _rate(promotions(one, gain=gain, n_nights=m, seed=2, gate=gate), m)
            for gain, m in ((0.0, n), (0.05, n // 4), (0.1, n // 4))
        ]
        print(f"{one.n_tracks:6}{one.n_groups:7}{one.icc:5.1f}   {'  '.join(rates)}", flush=True)


if __name__ == "__main__":
    main()
