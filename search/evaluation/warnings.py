"""Data warnings of the final evaluation (classes missing from a fold), and leak detection.

`search.evaluation.final_evaluation` puts the warnings into the report, beside the scores.
"""

from collections.abc import Sequence

import numpy as np

from chorale.datasets.errors import UserError, join_first
from chorale.search.evaluation.members import Member
from chorale.search.ledger.ground_truth import GroundTruth

TEST_SIDE = -1
"""The test set, among the numbers of folds."""


def refuse_leaks(truth: GroundTruth, *, by: str) -> None:
    """Refuses a group on two sides of the split (leakage), where the split is by group.

    A sweep never makes such a split, but its files may be changed afterwards.

    Raises:
        UserError: a group is in two folds, or in the test set and in a fold.
    """
    if by != "group":
        return
    sides: dict[str, set[int]] = {}
    for track, side in sides_of_tracks(truth).items():
        sides.setdefault(truth.group_of[track], set()).add(side)
    leaking = sorted(group for group, found in sides.items() if len(found) > 1)
    if leaking:
        raise UserError(
            f"{len(leaking)} groups are on two sides of the split ({join_first(leaking)}), so "
            f"they would be both trained and scored on; restore truth.json and split.json of the "
            f"study from a backup, or start a study of another --name"
        )


def data_warnings(finalists: Sequence[Member], truth: GroundTruth) -> list[str]:
    """One line per property of the data that a reader of the scores should know.

    Args:
        finalists: the members that are trials.
        truth: of all tracks.
    """
    lines = []
    if len(finalists) == 1:
        lines.append(
            f"there is only one finalist, trial {finalists[0].name}, so no ensemble of trials can "
            f"be better"
        )
    folds = range(truth.split.n_folds)
    word, words = ("label", "labels") if truth.multi_label else ("class", "classes")
    side_of = sides_of_tracks(truth)
    scored, tests = truth.scored_classes, truth.labels(truth.split.test_ids)
    unscored = [f"'{n}'" for n, is_one in zip(truth.class_names, scored, strict=True) if not is_one]
    if unscored:
        classes = f"1 {word} is" if len(unscored) == 1 else f"{len(unscored)} {words} are"
        lines.append(
            f"{classes} only trained on, so no score says how well a model knows them: "
            f"{join_first(unscored)}"
        )
    if n_unknown := sum(map(len, truth.unknown_of.values())):
        lines.append(
            f"of {len(truth.label_of) * len(truth.class_names)} pairs of a track and a label "
            f"{n_unknown} are unknown: all scores are of the others"
        )
    for label in np.flatnonzero(scored).tolist():
        name = truth.class_names[label]
        mine = {side for track, side in side_of.items() if label in truth.classes_of(track)}
        lacking = [str(fold) for fold in folds if fold not in mine]
        if truth.split.by_time:
            untrained = [str(fold) for fold in folds if max(mine) <= fold]
            if untrained:
                lines.append(
                    f"{word} '{name}' begins after the first tracks, so the networks of fold "
                    f"{', '.join(untrained)} were not trained on it"
                )
        elif len(lacking) == len(folds):
            lines.append(f"{word} '{name}' has test tracks only, so no model could learn it")
        elif len(lacking) == len(folds) - 1:
            (only,) = mine - {TEST_SIDE}
            lines.append(
                f"{word} '{name}' is in fold {only} only, so the networks that predict it out of "
                f"fold were not trained on it"
            )
        elif lacking:
            lines.append(f"{word} '{name}' has no track in fold {', '.join(lacking)}")
        if truth.unknown_of and TEST_SIDE in mine and not (tests[:, label] == 0).any():
            lines.append(
                f"{word} '{name}' is known to be absent from no test track, so that its average "
                f"precision there is 1 whatever is predicted"
            )
        if TEST_SIDE not in mine:
            lines.append(f"{word} '{name}' has no test track: its test score is unknown")
    return lines


def sides_of_tracks(truth: GroundTruth) -> dict[str, int]:
    """Track -> `TEST_SIDE`, its fold, or the number of folds if it is only trained on."""
    split = truth.split
    return {**dict.fromkeys(split.test_ids, TEST_SIDE), **split.fold_of, **split.train_only}
