"""Who may become a member of an ensemble: the best finalists, and baselines that keep up with them.

Decided on out-of-fold rows alone, before anything is combined; `search.evaluation.final_evaluation`
asks here.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import SEARCH_FOLD, Split
from chorale.lightning_models.metrics import correct
from chorale.search.baselines.baselines import Baseline
from chorale.search.evaluation.members import Member, read_member
from chorale.search.ledger.ground_truth import Truth
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths
from chorale.search.statistics.selection import group_error


def read_members(
    paths: StudyPaths, split: Split, jobs: Mapping[int, Sequence[Job]]
) -> tuple[list[Member], list[str]]:
    """The finalists that the bank knows, and a line for each that is left out.

    Args:
        paths: the study's files.
        split: what they must be about.
        jobs: a trial's number -> its retrainings, all of them finished.

    Raises:
        UserError: none is left; the first one's reason is told.
    """
    members, left_out = [], []
    for number, mine in jobs.items():
        try:
            members.append(read_member(paths, split, number, mine))
        except UserError as error:
            left_out.append(f"trial {number} is left out: {error}")
    if not members:
        raise UserError(
            f"the bank holds none of {len(left_out)} finalists, so there is nothing to combine: "
            f"{left_out[0]}; or start a study of another --name"
        )
    return members, left_out


def best(members: Sequence[Member], truth: Truth, *, n: int) -> list[Member]:
    """The `n` finalists with the highest out-of-fold accuracy, best first."""
    labels = truth.labels(truth.split.development_ids)

    def rank(member: Member) -> tuple[float, int]:
        return -float(correct(member.out_of_fold, labels).mean()), int(member.name)

    return sorted(members, key=rank)[:n]


def admitted(
    finalists: Sequence[Member], baselines: Sequence[Baseline], truth: Truth
) -> list[Member]:
    """The baselines whose out-of-fold accuracy is within a standard error of the best finalist's.

    The error is that of their difference, by group. A member that is clearly worse may still help
    where it errs elsewhere, but so few rows do not show it, and whoever weighs all members pays for
    it.

    Args:
        finalists: the members that they would join.
        baselines: all there are.
        truth: about the development tracks.
    """
    ids = truth.split.development_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    rival = correct(best(finalists, truth, n=1)[0].out_of_fold, labels)
    found = []
    for one in baselines:
        behind = rival - correct(one.oof_proba, labels)
        if behind.mean() <= group_error(behind, groups):
            found.append(as_member(one, truth))
    return found


def as_member(baseline: Baseline, truth: Truth) -> Member:
    """A baseline as ensembles read it."""
    split, said = truth.split, baseline.oof_proba
    valid = np.array([split.fold_of[track] == SEARCH_FOLD for track in split.development_ids])
    return Member(
        baseline.name,
        said[valid],
        said,
        baseline.test_proba,
        baseline.name,
        test_by_network=baseline.test_by_fold,
    )
