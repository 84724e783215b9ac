"""What the tracks of a study cannot bear out, in plain lines, and what is refused outright.

`search.evaluation.final_evaluation` puts the lines into the report; they take nothing back that can
still be said.
"""

from collections.abc import Sequence

from chorale.datasets.errors import UserError, shown
from chorale.search.evaluation.members import Member
from chorale.search.ledger.ground_truth import Truth

TEST = -1
"""Stands for the test set among the numbers of folds."""


def refuse_leaks(truth: Truth, *, by: str) -> None:
    """Refuses a group on two sides of the split, where the split is one of groups.

    A sweep cannot come to that; a file that was changed afterwards can.

    Raises:
        UserError: a group is in two folds, or in the test set and in a fold.
    """
    if by != "group":
        return
    sides: dict[str, set[int]] = {}
    for track, side in _side_of(truth).items():
        sides.setdefault(truth.group_of[track], set()).add(side)
    leaking = sorted(group for group, found in sides.items() if len(found) > 1)
    if leaking:
        raise UserError(
            f"{len(leaking)} groups are on two sides of the split ({shown(leaking)}), so that what "
            f"is learnt of them would be scored on them; bring truth.json and split.json of the "
            f"study back from a copy, or start a study of another --name"
        )


def cautions(finalists: Sequence[Member], truth: Truth) -> list[str]:
    """A line for each thing that a reader of the scores should know.

    Args:
        finalists: the members that are trials.
        truth: about all tracks.
    """
    lines = []
    if len(finalists) == 1:
        lines.append(
            f"there is one finalist, trial {finalists[0].name}: no ensemble of trials can be better"
        )
    folds = range(truth.split.n_folds)
    side_of = _side_of(truth)
    for label, name in enumerate(truth.class_names):
        mine = {side for track, side in side_of.items() if truth.label_of[track] == label}
        lacking = [str(fold) for fold in folds if fold not in mine]
        if len(lacking) == len(folds):
            lines.append(f"class '{name}' has no track but in the test set: nothing could learn it")
        elif len(lacking) == len(folds) - 1:
            (only,) = mine - {TEST}
            lines.append(
                f"class '{name}' is in fold {only} alone: what judged it out of fold never heard it"
            )
        elif lacking:
            lines.append(f"class '{name}' has no track in fold {', '.join(lacking)}")
        if TEST not in mine:
            lines.append(f"class '{name}' has no test track: its test score is unknown")
    return lines


def _side_of(truth: Truth) -> dict[str, int]:
    return dict.fromkeys(truth.split.test_ids, TEST) | dict(truth.split.fold_of)
