"""Expected accuracy and alarm of served answers, on shifted mixes of real recordings.

    python tests/benchmarks/bench_health.py --fsdd FOLDER [--by recording] [--splits 12] [--seed 0]

FOLDER holds the wav files of the Free Spoken Digit Dataset. For each split two thirds of the takes
(or, `--by speaker`, of the speakers) are the study: a vote of a regression, trees and neighbours on
mean and standard deviation of MFCCs, calibrated out of fold, with a threshold of disagreement, as a
sweep makes them. The rest is served, as it is and shifted: noise of three levels, a low-pass
filter, slower, few digits, and digits that the members were not trained on.

Printed are the expected accuracy and its error; the share of 95 % intervals with the true share of
these answers; the answers that are flagged; what would be expected if flagged ones counted as
others (`unflagged`); and how many answers an alarm takes, after 300 usual ones, where so many are
shifted that the accuracy falls by 10 points (inf: none in 2,000). Quiet days are 300 days of 1,000
answers, drawn from the usual ones.

Goals: 3 points on average; a loss of 10 points in 200 answers; one false alarm in 30 quiet days.
`swapped digits` is what no statistic without labels can notice: the sounds are the same, and two
digits have changed their meaning.
"""

import argparse
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import butter, resample, sosfilt
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chorale.datasets.features import mfcc
from chorale.search.bundle.disagreement import (
    IN_DISTRIBUTION_SHARE,
    disagreement,
    ood_threshold,
)
from chorale.search.champion.health.alarm import ConfidenceAlarm
from chorale.search.champion.health.estimate import estimate_accuracy
from chorale.search.statistics.calibration import calibrate, validated_temperature
from chorale.search.statistics.confidence import fit_confidence_reference
from chorale.search.statistics.confidence_reference import ConfidenceReference

GAP_S = 86.4
"""Seconds between two answers: 1,000 a day."""

QUIET_DAYS = 300
N_BEFORE = 300
N_AFTER = 2_000
RATE = 8_000
N_MEMBERS = 3
UNKNOWN_DIGITS = (8, 9)
Sound = np.ndarray
Change = Callable[[Sound, np.random.Generator], Sound]


def noisy(snr_db: float) -> Change:
    def change(x: Sound, rng: np.random.Generator) -> Sound:
        noise = rng.standard_normal(len(x)) * np.sqrt(np.mean(x**2))
        return np.asarray(x + noise * 10 ** (-snr_db / 20), np.float32)

    return change


def muffled(x: Sound, rng: np.random.Generator) -> Sound:
    del rng
    return np.asarray(sosfilt(butter(4, 1_200, fs=RATE, output="sos"), x), np.float32)


def slow(x: Sound, rng: np.random.Generator) -> Sound:
    del rng
    return np.asarray(resample(x, len(x) * 4 // 3), np.float32)


CHANGES: dict[str, Change] = {
    "noise 30 dB": noisy(30), "noise 20 dB": noisy(20), "noise 10 dB": noisy(10),
    "low-pass": muffled, "slower": slow,
}  # fmt: skip
USUAL = "as it is"


def features(folder: Path, cache: Path | None) -> tuple[dict[str, np.ndarray], list[str]]:
    """Kind of change -> (n, 40) statistics of each file; and the files' names."""
    paths = sorted(folder.rglob("*.wav"))
    names = [path.stem for path in paths]
    if cache is not None and cache.is_file():
        return dict(np.load(cache)), names
    config = mfcc.Config(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=40, n_mfcc=20)
    found: dict[str, list[np.ndarray]] = {name: [] for name in (USUAL, *CHANGES)}
    for path in paths:
        wave, _ = soundfile.read(path, dtype="float32")
        rng = np.random.default_rng(zlib.crc32(path.stem.encode()))
        for name, rows in found.items():
            one = wave if name not in CHANGES else CHANGES[name](wave, rng)
            frames = mfcc.extract(one, config)  # (n_mfcc, n_frames)
            rows.append(np.concatenate([frames.mean(axis=1), frames.std(axis=1)]))
    arrays = {name: np.stack(rows) for name, rows in found.items()}
    if cache is not None:
        np.savez(cache, **arrays)  # type: ignore[arg-type]
    return arrays, names


def fitted(x: np.ndarray, labels: np.ndarray, seed: int) -> list[Any]:
    """The members: a regression, trees and nearest neighbours."""
    members = (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=300)),
        ExtraTreesClassifier(100, min_samples_leaf=2, random_state=seed),
        make_pipeline(StandardScaler(), KNeighborsClassifier(8, weights="distance")),
    )
    return [member.fit(x, labels) for member in members]


def predicted(members: list[Any], x: np.ndarray) -> np.ndarray:
    """(n_members, n, n_classes)."""
    return np.stack([member.predict_proba(x) for member in members])


@dataclass(frozen=True)
class Served:
    """`confidence`, `credit` and whether each answer is `right`, (n,) each."""

    confidence: np.ndarray
    credit: np.ndarray
    right: np.ndarray


class Study:
    """The classifier of one split, its reference, and the recordings that are served."""

    def __init__(
        self,
        data: dict[str, np.ndarray],
        digits: np.ndarray,
        groups: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        names, known = rng.permutation(np.unique(groups)), ~np.isin(digits, UNKNOWN_DIGITS)
        chosen = np.isin(groups, names[: len(names) * 2 // 3])
        self.data, self.digits = data, digits
        self.served = np.flatnonzero(~chosen & known)
        self.unknown = np.flatnonzero(~chosen & ~known)
        rows = np.flatnonzero(chosen & known)
        of_study = np.unique(groups[rows])
        n_folds = min(5, len(of_study))
        fold_of = {name: at % n_folds for at, name in enumerate(of_study)}
        folds = np.array([fold_of[name] for name in groups[rows]])
        x, labels = data[USUAL][rows], digits[rows]
        proba = np.zeros((N_MEMBERS, len(rows), len(np.unique(labels))))
        for fold in range(n_folds):
            held = folds == fold
            proba[:, held] = predicted(fitted(x[~held], labels[~held], fold), x[held])
        self.temperature, after = validated_temperature(proba.mean(axis=0), labels, folds)
        self.reference = fit_confidence_reference(
            after, labels, groups[rows], flagged=1 - IN_DISTRIBUTION_SHARE
        )
        self.most_disagreement = ood_threshold(disagreement(proba))
        self.members = fitted(x, labels, 0)

    def answers(self, kind: str, rows: np.ndarray) -> Served:
        """The answers for some recordings."""
        each = predicted(self.members, self.data[kind][rows])
        proba = calibrate(each.mean(axis=0), self.temperature)
        confidence, outside = proba.max(axis=1), disagreement(each) > self.most_disagreement
        right = proba.argmax(axis=1) == self.digits[rows]
        return Served(confidence, np.where(outside, 0.0, confidence), right)

    def shifted(self) -> dict[str, Served]:
        """Each shift -> the answers for all that is served so."""
        found = {kind: self.answers(kind, self.served) for kind in self.data}
        few = self.served[self.digits[self.served] < 3]
        found["three digits only"] = self.answers(USUAL, few)
        found["unknown digits"] = self.answers(USUAL, self.unknown)
        swapped = np.isin(self.digits[self.served], (0, 1))
        right = found[USUAL].right & ~swapped
        found["swapped digits"] = replace(found[USUAL], right=right)
        return found


def delay(
    reference: ConfidenceReference,
    quiet: np.ndarray,
    shifted: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> float:
    """Answers until an alarm, where a share is shifted after `N_BEFORE`; infinite without one."""
    alarm = ConfidenceAlarm(reference)
    for at, one in enumerate(rng.choice(quiet, N_BEFORE)):
        alarm.observe(at * GAP_S, one)
    is_shifted = rng.random(N_AFTER) < share
    mixed = np.where(is_shifted, rng.choice(shifted, N_AFTER), rng.choice(quiet, N_AFTER))
    for at, one in enumerate(mixed, 1):
        if alarm.observe((N_BEFORE + at) * GAP_S, one):
            return at
    return float("inf")


def quiet_alarms(
    reference: ConfidenceReference, quiet: np.ndarray, rng: np.random.Generator
) -> float:
    """False alarms in 30 days."""
    alarm, n = ConfidenceAlarm(reference), int(QUIET_DAYS * 86_400 / GAP_S)
    for at, one in enumerate(rng.choice(quiet, n)):
        alarm.observe(at * GAP_S, one)
    return alarm.state.n_alarms * 30 / QUIET_DAYS


@dataclass(frozen=True)
class Row:
    """One shift of one split; shares, and the answers until an alarm, None without a loss."""

    true: float
    expected: float
    low: float
    high: float
    plain: float
    flagged: float
    delay: float | None

    @property
    def error(self) -> float:
        return self.expected - self.true


def measure(study: Study, rng: np.random.Generator) -> dict[str, Row]:
    """A row for each shift."""
    reference, every, rows = study.reference, study.shifted(), {}
    usual = every[USUAL]
    for kind, one in every.items():
        found, true = estimate_accuracy(one.credit, reference), float(one.right.mean())
        assert found is not None
        loss = float(usual.right.mean()) - true
        took = None
        if loss > 0.1:
            took = delay(reference, usual.credit, one.credit, 0.1 / loss, rng)
        plain = float(one.confidence.mean()) - reference.overconfidence
        flagged = float(np.mean(one.credit == 0))
        rows[kind] = Row(true, found.accuracy, found.low, found.high, plain, flagged, took)
    return rows


def show(splits: list[dict[str, Row]]) -> None:
    """Prints a line for each shift."""
    print(f"{'served':<19}{'true':>7}{'expected':>10}{'error':>8}{'|error|':>9}{'covered':>9}"
          f"{'width':>7}{'flagged':>9}{'unflagged':>11}  answers to alarm")  # fmt: skip
    for kind in splits[0]:
        rows = [split[kind] for split in splits]
        took = sorted(row.delay for row in rows if row.delay is not None)
        late = ""
        if took:
            late = f"{took[len(took) // 2]:.0f}, 90 %: {took[int(0.9 * (len(took) - 1))]:.0f}"
        error = np.array([row.error for row in rows])
        covered = np.mean([row.low <= row.true <= row.high for row in rows])
        print(
            f"{kind:<19}{np.mean([row.true for row in rows]):7.1%}"
            f"{np.mean([row.expected for row in rows]):10.1%}{error.mean():+8.1%}"
            f"{np.abs(error).mean():9.1%}{covered:9.0%}"
            f"{np.mean([row.high - row.low for row in rows]):7.1%}"
            f"{np.mean([row.flagged for row in rows]):9.1%}"
            f"{np.mean([row.plain for row in rows]):11.1%}  {late}"
        )
    errors = [abs(split[kind].error) for split in splits for kind in CHANGES]
    halves = [
        abs(split[kind].error + split[USUAL].error) / 2 for split in splits for kind in CHANGES
    ]
    print(f"mean |error| of changed sounds {np.mean(errors):.1%}, where half are changed "
          f"{np.mean(halves):.1%}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fsdd", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="a file .npz for the features")
    parser.add_argument("--by", choices=("speaker", "recording"), default="recording")
    parser.add_argument("--splits", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data, names = features(given.fsdd, given.cache)
    parts = [name.split("_") for name in names]
    digits = np.array([int(digit) for digit, *_ in parts])
    groups = np.array([one[1] if given.by == "speaker" else "_".join(one[1:]) for one in parts])
    splits, alarms, below, margins = [], [], 0, []
    for split in range(given.splits):
        rng = np.random.default_rng([given.seed, split])
        study = Study(data, digits, groups, rng)
        splits.append(measure(study, rng))
        usual = study.answers(USUAL, study.served).credit
        below += bool(usual.mean() < ConfidenceAlarm(study.reference).least_mean)
        alarms.append(quiet_alarms(study.reference, usual, rng))
        margins.append(study.reference.confidence_margin)
    show(splits)
    print(f"false alarms in 30 quiet days {np.mean(alarms):.2f}, at most {np.max(alarms):.1f} in "
          f"one split; splits whose usual answers are below the alarm's level {below}; margin of "
          f"that level {np.mean(margins):.1%}")  # fmt: skip


if __name__ == "__main__":
    main()
