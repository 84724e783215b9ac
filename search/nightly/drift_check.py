"""Data drift check: re-trains the champion's configuration on tonight's data and compares it.

The configuration has not changed, so if it does clearly worse than it did, the data has. Both sides
are finalists, whose checkpoints were selected by the same rule, or the same baseline, which every
night fits; each track was held out from the model that predicted it. Both are compared on the same
recordings, so their difficulty cancels. Where tracks have several labels, by the mAP of the labels
that both nights have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.lightning_models.metrics import correct
from chorale.search.champion.registry.gate import sign_flips
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.reader import LedgerReader
from chorale.search.nightly.earlier_nights import StudyMember
from chorale.search.nightly.held_out import (
    HeldOut,
    NightStudy,
    not_kept,
    of_baseline,
    of_trial,
    rows_of,
    same_recordings,
)
from chorale.search.statistics.arrays import Groups
from chorale.search.statistics.jackknife import deleted_blocks
from chorale.search.statistics.multi_label_scores import block_values

MUST_BE_SAME = ("features", "number of epochs", "train")
"""Fingerprint entries that must be equal: else another configuration was trained."""

SEED_MARGIN = 0.01
"""The drop in accuracy that a training's random seed alone may cause, which all its tracks share:
one point. Only a larger drop is tested."""

MAP_SEED_MARGIN = 0.02
"""The same of an mAP, which few rows of few labels decide. With one point 12 of 400 simulated
nights of 60 groups and four labels without drift gave an alarm, where seeds differ by 1.2 points;
with two 5, and at most one in each of 15 other cells (`tests/benchmarks/bench_nightly_power.py
--only maps`)."""

N_SIGN_DRAWS = 20_000
"""Draws of the groups' signs: the levels of the test are a thousandth and less."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class DriftCheck:
    """The accuracies (or mAPs) of the champion's configuration, `then` and `now`, held out.

    `moved` is true if the drop is significant; `reason` is a sentence. `then` and `now` are
    those on the `n_tracks` recordings that both nights have, None where nothing could be
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
        return DriftCheck(not_kept(origin))
    if (n_then := truths[0].split.n_folds) != (n_now := truths[1].split.n_folds):
        return DriftCheck(f"no drift check: there were {n_then} folds, and now {n_now}")
    sides = (before, truths[0]), (tonight, truths[1])
    if isinstance(origin.member, int):
        found = of_trial(origin, origin.member, *sides, ledger)
    else:
        found = of_baseline(origin, origin.member, *sides)
    if isinstance(found, str):
        return DriftCheck(found)
    then, now = found
    pairs = same_recordings(then.tracks, now.tracks, before.snapshot, tonight.snapshot)
    if not pairs:
        return DriftCheck(f"no drift check: {origin.source} and tonight have no tracks in common")
    scored = _paired_values(then, now, pairs, truths[1].groups(b for _, b in pairs))
    if isinstance(scored, str):
        return DriftCheck(scored)
    return assess_drop(
        *scored,
        source=origin.source,
        confidence=confidence,
        n_rivals=then.n_rivals,
        seed=seed,
        n_tracks=len(pairs),
        margin=MAP_SEED_MARGIN if truths[1].multi_label else SEED_MARGIN,
    )


def assess_drop(
    then: Values,
    now: Values,
    groups: Groups,
    *,
    source: str,
    confidence: float,
    n_rivals: int = 1,
    seed: int = 0,
    n_tracks: int | None = None,
    margin: float = SEED_MARGIN,
) -> DriftCheck:
    """Tests whether a drop in accuracy on the same tracks is significant: a group sign-flip test.

    A group's drop beyond `margin` is as likely a rise if the data has not drifted. The best of
    `n_rivals` was chosen partly by chance, so the level is divided among them (Bonferroni).

    Args:
        then: (n,) 1.0 where the earlier network classified the track correctly, else 0.0. Of
            several labels, values with the mAP as their mean: `block_values`.
        now: (n,) the same for tonight's network.
        groups: (n,) the tracks' groups, or the blocks.
        source: what is compared, for the sentence.
        confidence: the confidence level.
        n_rivals: how many finalists `then` is the best of.
        seed: the seed of the sign draws.
        n_tracks: by default one for each value.
        margin: the drop that a random seed alone may cause.

    Source: sign changes of whole groups after Fisher 1935, "The Design of Experiments", section
    21; as a cluster test in Canay, Romano and Shaikh 2017, "Randomization Tests under an
    Approximate Symmetry Assumption", doi:10.3982/ECTA13081.
    """
    drop = then - now
    level = (1 - confidence) / n_rivals
    p_value, chance = sign_flips(
        drop - margin, groups, level=level, seed=seed, n_draws=N_SIGN_DRAWS
    )
    seen_from = None if chance is None else margin + chance
    a, b = float(then.mean()), float(now.mean())
    n = len(then) if n_tracks is None else n_tracks
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


def _paired_values(
    then: HeldOut, now: HeldOut, pairs: Sequence[tuple[str, str]], groups: Groups
) -> tuple[Values, Values, Groups] | str:
    """The values of `assess_drop` and their units for the pairs; or why there are none.

    `groups` (n_pairs,) are those of tonight.
    """
    (proba_a, labels_a), (proba_b, labels_b) = (
        rows_of(one, [pair[side] for pair in pairs]) for side, one in enumerate((then, now))
    )
    if labels_a.ndim != labels_b.ndim:
        both = ("one class", "several labels")
        was, is_now = both if labels_a.ndim == 1 else both[::-1]
        return f"no drift check: tracks had {was}, and now {is_now}"
    if labels_a.ndim == 1:
        return correct(proba_a, labels_a), correct(proba_b, labels_b), groups
    common = [name for name in now.class_names if name in then.class_names]
    if not common:
        return "no drift check: none of the labels then exists tonight"
    of_a, of_b = ([one.class_names.index(name) for name in common] for one in (then, now))
    blocks = deleted_blocks(groups)
    return (
        block_values(proba_a[:, of_a], labels_a[:, of_a], blocks),
        block_values(proba_b[:, of_b], labels_b[:, of_b], blocks),
        np.arange(blocks.n),
    )
