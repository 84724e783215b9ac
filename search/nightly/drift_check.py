"""Data drift check: re-trains the champion's configuration on tonight's data and compares it.

The configuration has not changed, so if it does clearly worse than it did, the data has. Both sides
are finalists, whose checkpoints were selected by the same rule, or the same baseline, which every
night fits; each track was held out from the model that predicted it. Both are compared on the same
recordings, so their difficulty cancels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.lightning_models.metrics import correct
from chorale.search.champion.registry.gate import sign_flips
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.baseline_predictions import read_baseline_predictions
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import SEARCH
from chorale.search.nightly.changes import Snapshot
from chorale.search.nightly.earlier_nights import StudyMember
from chorale.search.paths import StudyPaths
from chorale.search.report import report
from chorale.search.study import finalists

MUST_BE_SAME = ("features", "number of epochs", "train")
"""Fingerprint entries that must be equal: else another configuration was trained."""

SEED_MARGIN = 0.01
"""The drop in accuracy that a training's random seed alone may cause, which all its tracks share:
one point. Only a larger drop is tested."""

N_SIGN_DRAWS = 20_000
"""Draws of the groups' signs: the levels of the test are a thousandth and less."""

Correct = NDArray[np.float64]


@dataclass(frozen=True)
class DriftCheck:
    """The accuracies of the champion's configuration, `then` and `now`, on held-out tracks.

    `moved` is true if the drop is significant; `reason` is a sentence. `then` and `now` are
    accuracies on the `n_tracks` recordings that both nights have, None where nothing could be
    compared. `seen_from` is the smallest drop that would have been significant, None if none could
    have been; `p_value` is that of the drop under the hypothesis that the data has not drifted.
    """

    reason: str
    then: float | None = None
    now: float | None = None
    moved: bool = False
    n_tracks: int = 0
    seen_from: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class NightStudy:
    """A night's study, and the snapshot of its tracks, if it still exists."""

    name: str
    paths: StudyPaths
    snapshot: Snapshot | None = None


def check_drift(
    origin: StudyMember | None,
    before: NightStudy | None,
    tonight: NightStudy,
    *,
    ledger: LedgerReader,
    confidence: float,
    seed: int = 0,
) -> DriftCheck:
    """Compares tonight's re-trained configuration with the champion's member that it repeats.

    Args:
        origin: the champion's best trial, or where it has none a baseline; None where neither is
            known.
        before: the study of that member.
        tonight: tonight's study.
        ledger: holds both studies.
        confidence: the confidence level for a drop.
        seed: the seed of the sign draws.
    """
    if origin is None or before is None:
        return DriftCheck("no drift check: there is no champion whose configuration is known")
    settings_then, settings_now = (ledger.fingerprint(one.name) for one in (before, tonight))
    differs = [key for key in MUST_BE_SAME if settings_then.get(key) != settings_now.get(key)]
    if differs:
        return DriftCheck(
            f"no drift check: the champion was trained with another {', another '.join(differs)}"
        )
    truths = read_ground_truth(before.paths), read_ground_truth(tonight.paths)
    if truths[0] is None or truths[1] is None:
        return DriftCheck(_not_kept(origin))
    if (n_then := truths[0].split.n_folds) != (n_now := truths[1].split.n_folds):
        return DriftCheck(f"no drift check: there were {n_then} folds, and now {n_now}")
    sides = (before, truths[0]), (tonight, truths[1])
    if isinstance(origin.member, int):
        found = _of_trial(origin, origin.member, *sides, ledger)
    else:
        found = _of_baseline(origin, origin.member, *sides)
    if isinstance(found, str):
        return DriftCheck(found)
    then, now, n_rivals = found
    pairs = _same_recordings(then, now, before.snapshot, tonight.snapshot)
    if not pairs:
        return DriftCheck(f"no drift check: {origin.source} and tonight have no tracks in common")
    return assess_drop(
        np.array([then[a] for a, _ in pairs]),
        np.array([now[b] for _, b in pairs]),
        truths[1].groups(b for _, b in pairs),
        source=origin.source,
        confidence=confidence,
        n_rivals=n_rivals,
        seed=seed,
    )


def assess_drop(
    then: Correct,
    now: Correct,
    groups: NDArray[Any],
    *,
    source: str,
    confidence: float,
    n_rivals: int = 1,
    seed: int = 0,
) -> DriftCheck:
    """Tests whether a drop in accuracy on the same tracks is significant: a group sign-flip test.

    A group's drop beyond `SEED_MARGIN` is as likely a rise if the data has not drifted. The best of
    `n_rivals` was chosen partly by chance, so the level is divided among them (Bonferroni).

    Args:
        then: (n,) 1.0 where the earlier network classified the track correctly, else 0.0.
        now: (n,) the same for tonight's network.
        groups: (n,) the tracks' groups.
        source: what is compared, for the sentence.
        confidence: the confidence level.
        n_rivals: how many finalists `then` is the best of.
        seed: the seed of the sign draws.

    Source: sign changes of whole groups after Fisher 1935, "The Design of Experiments", section
    21; as a cluster test in Canay, Romano and Shaikh 2017, "Randomization Tests under an
    Approximate Symmetry Assumption", doi:10.3982/ECTA13081.
    """
    drop = then - now
    level = (1 - confidence) / n_rivals
    p_value, chance = sign_flips(
        drop - SEED_MARGIN, groups, level=level, seed=seed, n_draws=N_SIGN_DRAWS
    )
    seen_from = None if chance is None else SEED_MARGIN + chance
    a, b, n = float(then.mean()), float(now.mean()), len(then)
    result = (
        f"the champion's configuration ({source}) reached {a:.1%}, and {b:.1%} tonight on the same "
        f"{n} held-out tracks"
    )
    if p_value <= level:
        verdict = f"a significant drop (p = {p_value:.4f}): the data has drifted"
    elif seen_from is None:
        verdict = f"{len(np.unique(groups))} groups are too few to detect any drop"
    else:
        verdict = f"within chance (up to {100 * seen_from:.1f} points)"
    return DriftCheck(f"{result}: {verdict}", a, b, p_value <= level, n, seen_from, p_value)


Side = tuple[NightStudy, GroundTruth]
CorrectPair = tuple[dict[str, float], dict[str, float], int]
"""Track -> whether it was classified correctly, then and now; how many the first is the best of."""


def _not_kept(origin: StudyMember) -> str:
    return f"no drift check: the predictions of {origin.source} are no longer kept"


def _of_trial(
    origin: StudyMember, number: int, before: Side, tonight: Side, ledger: LedgerReader
) -> CorrectPair | str:
    """The results of a finalist and of the one that repeats it; or why there are none."""
    again = finalists.find_repeat(ledger.rows(tonight[0].name, SEARCH), origin.source)
    done = [_finished(ledger, side[0].name) for side in (before, tonight)]
    seeds = done[0].get(number, set()) & done[1].get(-1 if again is None else again, set())
    if again is None or not seeds:
        return f"no drift check: the re-training of {origin.source} did not finish"
    then = _finalist_correct(before[0].paths, before[1], number, seeds)
    now = _finalist_correct(tonight[0].paths, tonight[1], again, seeds)
    return _not_kept(origin) if then is None or now is None else (then, now, len(done[0]))


def _of_baseline(origin: StudyMember, name: str, before: Side, tonight: Side) -> CorrectPair | str:
    """The results of a baseline, then and tonight; or why there are none."""
    if (then := _baseline_correct(before, name)) is None:
        return _not_kept(origin)
    if (now := _baseline_correct(tonight, name)) is None:
        return f"no drift check: the baseline {name} was not fitted tonight"
    if then.features != now.features:
        return (
            f"no drift check: the baseline {name} used the features {then.features}, and now "
            f"{now.features}"
        )
    return then.correct, now.correct, then.n_baselines


@dataclass(frozen=True)
class _BaselineCorrect:
    """Track -> whether a baseline was correct out of fold; its features; how many baselines."""

    correct: dict[str, float]
    features: str
    n_baselines: int


def _baseline_correct(side: Side, name: str) -> _BaselineCorrect | None:
    (night, truth), ids = side, side[1].split.development_ids
    file = night.paths.baseline(name)
    if not file.is_file() or not night.paths.report_json.is_file():
        return None
    is_correct = correct(
        read_baseline_predictions(file, truth.split).out_of_fold, truth.labels(ids)
    )
    found = report.read_report(night.paths)
    features = str(found["baselines_made"]["features"])
    return _BaselineCorrect(
        dict(zip(ids, is_correct.tolist(), strict=True)), features, len(found["baselines"])
    )


def _finished(ledger: LedgerReader, study: str) -> dict[int, set[int]]:
    """Number -> the seeds for which a study's finalist finished on every fold."""
    folds: dict[tuple[int, int], list[bool]] = {}
    for key, row in ledger.rows(study, stages.FINALISTS).items():
        number, _, seed = map(int, key.split("/"))
        folds.setdefault((number, seed), []).append(row.state == "COMPLETE")
    found: dict[int, set[int]] = {}
    for (number, seed), ended in folds.items():
        if all(ended):
            found.setdefault(number, set()).add(seed)
    return found


def _finalist_correct(
    paths: StudyPaths, truth: GroundTruth, number: int, seeds: set[int]
) -> dict[str, float] | None:
    """Track -> whether a finalist was correct out of fold; None where its predictions are missing.

    The predictions of several seeds are averaged.
    """
    found: dict[str, float] = {}
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
        is_correct = np.mean(by_seed, axis=0).argmax(axis=1) == truth.labels(ids)
        found |= dict(zip(ids, is_correct.astype(np.float64).tolist(), strict=True))
    return found


def _same_recordings(
    then: Mapping[str, float],
    now: Mapping[str, float],
    before: Snapshot | None,
    tonight: Snapshot | None,
) -> list[tuple[str, str]]:
    """The ids, then and now, of the recordings that both nights have.

    Matched by content hash where both nights have a snapshot, so a track that was moved to another
    label's folder is the same recording. Contents that occur twice are left out.
    """
    if before is None or tonight is None:
        return [(name, name) for name in now if name in then]
    was, is_now = _by_content(then, before), _by_content(now, tonight)
    return [(was[content], name) for content, name in is_now.items() if content in was]


def _by_content(tracks: Mapping[str, float], snapshot: Snapshot) -> dict[str, str]:
    names: dict[str, list[str]] = {}
    for name in tracks:
        if name in snapshot.tracks:
            names.setdefault(snapshot.tracks[name][0], []).append(name)
    return {content: found[0] for content, found in names.items() if len(found) == 1}
