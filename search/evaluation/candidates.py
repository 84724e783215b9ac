"""Candidate members of the ensembles: finalists and baselines that are about as good as the best.

They are chosen by out-of-fold accuracy, before anything is combined.
`search.evaluation.final_evaluation` calls this.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import SEARCH_FOLD, Split
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.baselines.fitted_baselines import Baseline
from chorale.search.evaluation.members import Member, read_member
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths

MAX_BEHIND = 0.15
"""How far behind the best member's out-of-fold accuracy or mAP another may be. A standard error, as
before, left out members that help: on a table of 2,000 tracks 51 % were correct instead of 58 %,
and where baselines are as good as trials 2.3 to 3.9 points fewer (`bench_ensemble_choice`, 20 and
60 groups); where they are better this costs 0.2 to 0.3 points."""


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
        return -main_score(member.out_of_fold, labels), int(member.name)

    return sorted(members, key=rank)[:n]


def admit_members(
    finalists: Sequence[Member], baselines: Sequence[Baseline], truth: GroundTruth
) -> list[Member]:
    """The members that may be combined: those at most `MAX_BEHIND` less accurate than the best.

    By out-of-fold accuracy. A worse member often helps, as its errors differ, but one that is far
    behind only costs ensembles that weight all members. The best finalist is always admitted.

    Args:
        finalists: trials, retrained on every fold.
        baselines: all baselines that may be members.
        truth: of the development tracks.
    """
    labels = truth.labels(truth.split.development_ids)
    every = [*finalists, *(baseline_member(one, truth) for one in baselines)]
    accuracies = [main_score(one.out_of_fold, labels) for one in every]
    enough = max(accuracies, default=0.0) - MAX_BEHIND
    best = {one.name for one in best_finalists(finalists, truth, n=1)}
    return [
        one
        for one, accuracy in zip(every, accuracies, strict=True)
        if accuracy >= enough or one.name in best
    ]


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
