"""The sentinel: the champion's settings, trained again on tonight's data.

They have not changed, so where they do clearly worse than they did, the data has. Both sides are
finalists, so their weights were kept by the same rule, or the same baseline, which every night
fits; each track was held out from the model that named it. Both are about the same recordings, so
what is hard for both cancels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.lightning_models.metrics import correct
from chorale.search.champion.registry.gate import sign_flips
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.baseline_predictions import read_banked
from chorale.search.ledger.ground_truth import Truth, read_truth
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import SEARCH
from chorale.search.nightly.changes import Snapshot
from chorale.search.nightly.earlier import Origin
from chorale.search.paths import StudyPaths
from chorale.search.report import report
from chorale.search.study import finalists

MUST_BE_SAME = ("features", "number of epochs", "train")
"""Where these are others, others settings were trained."""

MARGIN = 0.01
"""So much a training may lose by its random seed alone, which all its tracks share: a point.
Only a fall by more than that is asked about."""

N_DRAWS = 20_000
"""Of the signs of groups: the levels that are asked for are of a thousandth and less."""

Right = NDArray[np.float64]


@dataclass(frozen=True)
class Sentinel:
    """What the champion's settings reached `then` and reach `now`, on tracks held out from them.

    `moved` says that the fall is more than chance; `reason` is a sentence. `then` and `now` are
    accuracies on the `n_tracks` recordings that both are about, None where nothing could be
    compared. `seen_from` is the smallest fall that would have been more than chance, None where no
    fall would have been; `p_value` is how likely so large a fall is where the data has not moved.
    """

    reason: str
    then: float | None = None
    now: float | None = None
    moved: bool = False
    n_tracks: int = 0
    seen_from: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Night:
    """A study, and its tracks as they were found; None where that is not known any more."""

    name: str
    paths: StudyPaths
    snapshot: Snapshot | None = None


def compare(
    origin: Origin | None,
    before: Night | None,
    tonight: Night,
    *,
    ledger: LedgerReader,
    confidence: float,
    seed: int = 0,
) -> Sentinel:
    """Compares the sentinel of tonight's study with the finalist that it repeats.

    Args:
        origin: the champion's best trial, or where it has none a baseline; None where neither is
            known.
        before: the study of that.
        tonight: tonight's study.
        ledger: knows both studies.
        confidence: how sure it must be that it fell.
        seed: of the draws.
    """
    if origin is None or before is None:
        return Sentinel("no sentinel: there is no champion whose settings are known")
    told, now_told = ledger.fingerprint(before.name), ledger.fingerprint(tonight.name)
    if differs := [key for key in MUST_BE_SAME if told.get(key) != now_told.get(key)]:
        return Sentinel(
            f"no sentinel: the champion was trained with another {', another '.join(differs)}"
        )
    truths = read_truth(before.paths), read_truth(tonight.paths)
    if truths[0] is None or truths[1] is None:
        return Sentinel(_not_kept(origin))
    if (n_then := truths[0].split.n_folds) != (n_now := truths[1].split.n_folds):
        return Sentinel(f"no sentinel: there were {n_then} folds, and are {n_now}")
    sides = (before, truths[0]), (tonight, truths[1])
    if isinstance(origin.member, int):
        found = _of_trial(origin, origin.member, *sides, ledger)
    else:
        found = _of_baseline(origin, origin.member, *sides)
    if isinstance(found, str):
        return Sentinel(found)
    then, now, n_rivals = found
    pairs = _same_recordings(then, now, before.snapshot, tonight.snapshot)
    if not pairs:
        return Sentinel(f"no sentinel: {origin.source} and tonight have no tracks in common")
    return judge(
        np.array([then[a] for a, _ in pairs]),
        np.array([now[b] for _, b in pairs]),
        truths[1].groups(b for _, b in pairs),
        source=origin.source,
        confidence=confidence,
        n_rivals=n_rivals,
        seed=seed,
    )


def judge(
    then: Right,
    now: Right,
    groups: NDArray[Any],
    *,
    source: str,
    confidence: float,
    n_rivals: int = 1,
    seed: int = 0,
) -> Sentinel:
    """Whether a fall of the same tracks is more than chance: signs of whole groups, exchanged.

    A group's fall above `MARGIN` is as likely a rise where the data has not moved. What was taken
    as the best of `n_rivals` was so by luck, too, so the level is divided among them (Bonferroni).

    Args:
        then: (n,) 1.0 where the earlier network named the track rightly, else 0.0.
        now: the same of tonight's.
        groups: (n,) the tracks' groups.
        source: what is compared, for people.
        confidence: how sure it must be.
        n_rivals: how many finalists `then` is the best of.
        seed: of the draws.

    Source: sign changes of whole groups after Fisher 1935, "The Design of Experiments", section
    21; as a cluster test in Canay, Romano and Shaikh 2017, "Randomization Tests under an
    Approximate Symmetry Assumption", doi:10.3982/ECTA13081.
    """
    fall = then - now
    level = (1 - confidence) / n_rivals
    p_value, chance = sign_flips(fall - MARGIN, groups, level=level, seed=seed, n_draws=N_DRAWS)
    seen_from = None if chance is None else MARGIN + chance
    a, b, n = float(then.mean()), float(now.mean()), len(then)
    said = (
        f"the champion's settings ({source}) reached {a:.1%} and reach {b:.1%} tonight on the same "
        f"{n} held-out tracks"
    )
    if p_value <= level:
        verdict = f"that is more than chance (p = {p_value:.4f}): the data moved"
    elif seen_from is None:
        verdict = f"{len(np.unique(groups))} groups are too few to see any fall"
    else:
        verdict = f"within chance (up to {100 * seen_from:.1f} points)"
    return Sentinel(f"{said}: {verdict}", a, b, p_value <= level, n, seen_from, p_value)


Side = tuple[Night, Truth]
Rights = tuple[dict[str, float], dict[str, float], int]
"""Track -> whether it was named rightly, then and now; and of how many the first is the best."""


def _not_kept(origin: Origin) -> str:
    return f"no sentinel: what {origin.source} reached is not kept any more"


def _of_trial(
    origin: Origin, number: int, before: Side, tonight: Side, ledger: LedgerReader
) -> Rights | str:
    """A finalist, and the one that repeats it; or why they cannot be compared."""
    again = finalists.repeated(ledger.rows(tonight[0].name, SEARCH), origin.source)
    done = [_finished(ledger, side[0].name) for side in (before, tonight)]
    seeds = done[0].get(number, set()) & done[1].get(-1 if again is None else again, set())
    if again is None or not seeds:
        return f"no sentinel: {origin.source} was not trained again to its end"
    then = _right(before[0].paths, before[1], number, seeds)
    now = _right(tonight[0].paths, tonight[1], again, seeds)
    return _not_kept(origin) if then is None or now is None else (then, now, len(done[0]))


def _of_baseline(origin: Origin, name: str, before: Side, tonight: Side) -> Rights | str:
    """A baseline, and the same one fitted tonight; or why they cannot be compared."""
    if (then := _baseline_right(before, name)) is None:
        return _not_kept(origin)
    if (now := _baseline_right(tonight, name)) is None:
        return f"no sentinel: the baseline {name} was not fitted tonight"
    if then.features != now.features:
        return f"no sentinel: the baseline {name} read {then.features}, and reads {now.features}"
    return then.right, now.right, then.n_baselines


@dataclass(frozen=True)
class _BaselineRight:
    """Track -> whether a baseline named it rightly out of fold, of which features, of how many."""

    right: dict[str, float]
    features: str
    n_baselines: int


def _baseline_right(side: Side, name: str) -> _BaselineRight | None:
    (night, truth), ids = side, side[1].split.development_ids
    file = night.paths.baseline(name)
    if not file.is_file() or not night.paths.report_json.is_file():
        return None
    right = correct(read_banked(file, truth.split).out_of_fold, truth.labels(ids))
    found = report.read(night.paths)
    features = str(found["baselines_made"]["features"])
    return _BaselineRight(
        dict(zip(ids, right.tolist(), strict=True)), features, len(found["baselines"])
    )


def _finished(ledger: LedgerReader, study: str) -> dict[int, set[int]]:
    """Number -> the seeds of the finalists of a study that came to their end on every fold."""
    folds: dict[tuple[int, int], list[bool]] = {}
    for key, row in ledger.rows(study, stages.FINALISTS).items():
        number, _, seed = map(int, key.split("/"))
        folds.setdefault((number, seed), []).append(row.state == "COMPLETE")
    found: dict[int, set[int]] = {}
    for (number, seed), ended in folds.items():
        if all(ended):
            found.setdefault(number, set()).add(seed)
    return found


def _right(
    paths: StudyPaths, truth: Truth, number: int, seeds: set[int]
) -> dict[str, float] | None:
    """Track -> whether a finalist named it rightly while it was held out; None where that is gone.

    What several seeds said is averaged.
    """
    found: dict[str, float] = {}
    for fold in range(truth.split.n_folds):
        ids = truth.split.valid_ids(fold)
        said = []
        for seed in sorted(seeds):
            file = paths.finalist(number, fold=fold, seed=seed).predictions
            if not file.is_file():
                return None
            said.append(
                predictions.read(file, {"valid": ids}, split=truth.split.hash)["valid"].proba
            )
        right = np.mean(said, axis=0).argmax(axis=1) == truth.labels(ids)
        found |= dict(zip(ids, right.astype(np.float64).tolist(), strict=True))
    return found


def _same_recordings(
    then: Mapping[str, float],
    now: Mapping[str, float],
    before: Snapshot | None,
    tonight: Snapshot | None,
) -> list[tuple[str, str]]:
    """The ids, then and now, of the recordings that both are about.

    By what is in the files, where both nights know it: one that was moved to another label's folder
    is the recording that it was. Of a content that comes twice none is taken.
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
