"""What the drift check compares: one model's out-of-fold predictions, then and tonight.

`search.nightly.drift_check` scores them. They are matched by recording, as a track's id may change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chorale.search.baselines.names import baseline_name, split_name
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.baseline_predictions import read_baseline_predictions
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import SEARCH
from chorale.search.nightly.changes import Snapshot
from chorale.search.nightly.earlier_nights import StudyMember
from chorale.search.paths import StudyPaths
from chorale.search.report import report
from chorale.search.statistics.arrays import Labels, Proba
from chorale.search.study.finalist_choice import find_repeat


@dataclass(frozen=True)
class HeldOut:
    """A model's predictions for `n` tracks that it was not trained on, with their labels then.

    `proba` is (n, n_classes), `labels` (n,) or, of several labels, (n, n_classes). `n_rivals` is
    how many models of the night it was chosen among.
    """

    tracks: tuple[str, ...]
    proba: Proba
    labels: Labels
    class_names: tuple[str, ...]
    n_rivals: int


@dataclass(frozen=True)
class NightStudy:
    """A night's study, and the snapshot of its tracks, if it still exists."""

    name: str
    paths: StudyPaths
    snapshot: Snapshot | None = None


Side = tuple[NightStudy, GroundTruth]


def of_trial(
    origin: StudyMember, number: int, before: Side, tonight: Side, ledger: LedgerReader
) -> tuple[HeldOut, HeldOut] | str:
    """The results of a finalist and of the one that repeats it; or why there are none."""
    again = find_repeat(ledger.rows(tonight[0].name, SEARCH), origin.source)
    done = [
        stages.complete_seeds(ledger.rows(night.name, stages.FINALISTS), truth.split.n_folds)
        for night, truth in (before, tonight)
    ]
    seeds = set(done[0].get(number, ())) & set(done[1].get(-1 if again is None else again, ()))
    if again is None or not seeds:
        return f"no drift check: the re-training of {origin.source} did not finish"
    then = _finalist_held_out(before[0].paths, before[1], number, seeds, len(done[0]))
    now = _finalist_held_out(tonight[0].paths, tonight[1], again, seeds, len(done[1]))
    return not_kept(origin) if then is None or now is None else (then, now)


def of_baseline(
    origin: StudyMember, name: str, before: Side, tonight: Side
) -> tuple[HeldOut, HeldOut] | str:
    """The results of a baseline, then and tonight; or why there are none."""
    if (then := _baseline_held_out(before, name)) is None:
        return not_kept(origin)
    (features_then, was), now = then, _baseline_held_out(tonight, name)
    if now is None or now[0] != features_then:  # the one of these features may have another name
        kind = split_name(name)[0]
        for other in (kind, baseline_name(kind, features_then)):
            found = _baseline_held_out(tonight, other)
            if found is not None and found[0] == features_then:
                return was, found[1]
    if now is None:
        return f"no drift check: the baseline {name} was not fitted tonight"
    features_now, is_now = now
    if features_then != features_now:
        return (
            f"no drift check: the baseline {name} used the features {features_then}, and now "
            f"{features_now}"
        )
    return was, is_now


def _baseline_held_out(side: Side, name: str) -> tuple[str, HeldOut] | None:
    """A baseline's features and out-of-fold predictions; None where they are missing."""
    (night, truth), ids = side, side[1].split.development_ids
    file = night.paths.baseline(name)
    if not file.is_file() or not night.paths.report_json.is_file():
        return None
    proba = read_baseline_predictions(file, truth.split).out_of_fold
    found = report.read_report(night.paths)
    held_out = HeldOut(ids, proba, truth.labels(ids), truth.class_names, len(found["baselines"]))
    return split_name(name)[1] or str(found["baselines_made"]["features"]), held_out


def _finalist_held_out(
    paths: StudyPaths, truth: GroundTruth, number: int, seeds: set[int], n_rivals: int
) -> HeldOut | None:
    """A finalist's out-of-fold predictions; None where they are missing.

    The predictions of several seeds are averaged.
    """
    tracks: list[str] = []
    found = []
    for fold in range(truth.split.n_folds):
        ids = truth.split.valid_ids(fold)
        by_seed = []
        for seed in sorted(seeds):
            file = paths.finalist(number, fold=fold, seed=seed).predictions
            if not file.is_file():
                return None
            by_seed.append(
                predictions.read_predictions(file, {"valid": ids}, split=truth.split.hash)[
                    "valid"
                ].proba
            )
        tracks += ids
        found.append(np.mean(by_seed, axis=0))
    proba = np.concatenate(found)
    return HeldOut(tuple(tracks), proba, truth.labels(tracks), truth.class_names, n_rivals)


def same_recordings(
    then: Sequence[str],
    now: Sequence[str],
    before: Snapshot | None,
    tonight: Snapshot | None,
) -> list[tuple[str, str]]:
    """The ids, then and now, of the recordings that both nights have.

    Matched by content hash where both nights have a snapshot, so a track that was moved to another
    label's folder is the same recording. Contents that occur twice are left out.
    """
    if before is None or tonight is None:
        known = set(then)
        return [(name, name) for name in now if name in known]
    was, is_now = _by_content(then, before), _by_content(now, tonight)
    return [(was[content], name) for content, name in is_now.items() if content in was]


def _by_content(tracks: Sequence[str], snapshot: Snapshot) -> dict[str, str]:
    names: dict[str, list[str]] = {}
    for name in tracks:
        if name in snapshot.tracks:
            names.setdefault(snapshot.tracks[name][0], []).append(name)
    return {content: found[0] for content, found in names.items() if len(found) == 1}


def not_kept(origin: StudyMember) -> str:
    return f"no drift check: the predictions of {origin.source} are no longer kept"


def rows_of(one: HeldOut, tracks: Sequence[str]) -> tuple[Proba, Labels]:
    row_of = {track: row for row, track in enumerate(one.tracks)}
    rows = [row_of[track] for track in tracks]
    return one.proba[rows], one.labels[rows]
