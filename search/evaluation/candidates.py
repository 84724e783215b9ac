"""Candidate members of the ensembles: the best finalists, and baselines of comparable accuracy.

They are chosen by out-of-fold accuracy, before anything is combined.
`search.evaluation.final_evaluation` calls this.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import SEARCH_FOLD, Split
from chorale.lightning_models.metrics import correct
from chorale.search.baselines.baselines import Baseline
from chorale.search.evaluation.members import Member, read_member
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths
from chorale.search.statistics.selection import group_standard_error


def read_members(
    paths: StudyPaths, split: Split, jobs: Mapping[int, Sequence[Job]]
) -> tuple[list[Member], list[str]]:
    """Reads the finalists from the prediction bank, and a line for each that is left out.

    Args:
        paths: the study's files.
        split: the one that their predictions must be of.
        jobs: a trial's number -> its retrainings, all of them finished.

    Raises:
        UserError: there were some and all are left out; the error names the first one's reason.
    """
    members, left_out = [], []
    for number, mine in jobs.items():
        try:
            members.append(read_member(paths, split, number, mine))
        except UserError as error:
            left_out.append(f"trial {number} is left out: {error}")
    if left_out and not members:
        raise UserError(
            f"no predictions of the {len(left_out)} finalists can be read, so there is nothing to "
            f"combine: {left_out[0]}; or start a study of another --name"
        )
    return members, left_out


def best_finalists(members: Sequence[Member], truth: GroundTruth, *, n: int) -> list[Member]:
    """The `n` finalists with the highest out-of-fold accuracy, best first."""
    labels = truth.labels(truth.split.development_ids)

    def rank(member: Member) -> tuple[float, int]:
        return -float(correct(member.out_of_fold, labels).mean()), int(member.name)

    return sorted(members, key=rank)[:n]


def admit_baselines(
    finalists: Sequence[Member], baselines: Sequence[Baseline], truth: GroundTruth
) -> list[Member]:
    """The baselines whose out-of-fold accuracy is within a standard error of the best finalist's.

    Without finalists, those within a standard error of the best baseline.

    The standard error is that of the paired difference, by group. A clearly worse member may still
    help if its errors differ, but so few rows cannot show that, and ensembles that weight all
    members suffer from it.

    Args:
        finalists: the members that the baselines would join.
        baselines: all baselines.
        truth: of the development tracks.
    """
    ids = truth.split.development_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    rivals = [one.out_of_fold for one in best_finalists(finalists, truth, n=1)]
    rivals = rivals or [one.oof_proba for one in baselines]
    rival = max((correct(proba, labels) for proba in rivals), key=np.mean, default=np.zeros(0))
    found = []
    for one in baselines:
        behind = rival - correct(one.oof_proba, labels)
        if behind.mean() <= group_standard_error(behind, groups):
            found.append(baseline_member(one, truth))
    return found


def baseline_member(baseline: Baseline, truth: GroundTruth) -> Member:
    """A baseline as a member of ensembles."""
    split, out_of_fold = truth.split, baseline.oof_proba
    valid = np.array([split.fold_of[track] == SEARCH_FOLD for track in split.development_ids])
    return Member(
        baseline.name,
        out_of_fold[valid],
        out_of_fold,
        baseline.test_proba,
        baseline.name,
        test_by_network=baseline.test_by_fold,
    )
