"""Named points at which a sweep is killed, and how its code is made to do it. No test."""

import functools
import importlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Point:
    """Before, after, or in the midst of a call: the k-th of the function at `place`.

    `torn` means: when the `n_files`-th file that the call writes is half on the disk, under its
    temporary name. `fresh` says that features have to be extracted first.
    """

    place: str
    when: Literal["before", "after", "torn"]
    k: int
    n_files: int = 1
    fresh: bool = False


EXTRACT = "chorale.datasets.store.cache:extract_chunk"
TELL, ASK = (
    "chorale.search.study.study:StudyTrials.tell",
    "chorale.search.study.study:StudyTrials.ask",
)
FINAL_ASK, FINAL_TELL = (
    "chorale.search.study.finalists:FinalistTrials.ask",
    "chorale.search.study.finalists:FinalistTrials.tell",
)
STEP = "chorale.lightning_models.training.module:GenreClassifier.training_step"
STATE, STATE_NUMBERS = (
    "chorale.lightning_models.training.resume:save",
    "chorale.lightning_models.training.resume:write_json",
)
RECORD, BANK = (
    "chorale.search.ledger.ledger:Ledger.record",
    "chorale.search.ledger.predictions:write",
)
CARD = "chorale.lightning_models.training.checkpoint:write_json"

N_TRIALS, N_EPOCHS, N_STEPS = 3, 3, 2
"""Of the sweep in `driver.SWEEP`; the finalists' second fold has more steps in an epoch."""
IN_TRIAL_1 = N_EPOCHS * N_STEPS + N_STEPS + 2
IN_FINAL_1 = (N_TRIALS + 1) * N_EPOCHS * N_STEPS + 7
"""The second epoch of the second run of each stage, in training steps."""
SECOND_FINAL = N_TRIALS + 2
"""The call for the second finalist, of what both stages call once a run."""

POINTS: Mapping[str, Point] = {
    # the data
    "audit": Point("chorale.datasets.audit.findings:Findings.save", "torn", 1, fresh=True),
    "features of some tracks": Point(EXTRACT, "torn", 1, fresh=True),
    "cache written": Point("chorale.datasets.store.cache:publish", "before", 1, fresh=True),
    "cache half synced": Point(
        "chorale.datasets.store.cache:publish", "torn", 1, n_files=2, fresh=True
    ),
    "cache published": Point("chorale.datasets.store.cache:publish", "after", 1, fresh=True),
    # the search
    "study made": Point("chorale.search.ledger.ledger:Ledger.create", "after", 1),
    "sweep file": Point("chorale.search.sweep.sitting:write_text", "torn", 1),
    "trial made": Point("chorale.search.ledger.trials:TrialsStorage.create_new_trial", "after", 2),
    "before ask": Point(ASK, "before", 2),
    "after ask": Point(ASK, "after", 2),
    "mid-epoch": Point(STEP, "before", IN_TRIAL_1),
    "before report": Point("chorale.search.study.study:StudyTrials.report", "before", 5),
    "after report": Point("chorale.search.study.study:StudyTrials.report", "after", 5),
    "state": Point(STATE, "torn", 4),
    "state, between its files": Point(STATE_NUMBERS, "before", 4),
    "state, second file": Point(STATE, "torn", 4, n_files=2),
    "state, before the old one goes": Point(STATE_NUMBERS, "after", 4),
    "before tell": Point(TELL, "before", 2),
    "bank": Point(BANK, "torn", 2),
    "bank written": Point(BANK, "after", 2),
    "row written": Point(RECORD, "after", 2),
    "state forgotten": Point("chorale.search.study.study:forget_state", "after", 2),
    "after tell": Point(TELL, "after", 2),
    # between stages, and the finalists
    "search over": Point("chorale.search.study.study:StudyTrials.finish", "after", 1),
    "finalist asked": Point(FINAL_ASK, "after", 2),
    "finalist mid-epoch": Point(STEP, "before", IN_FINAL_1),
    "checkpoint": Point("chorale.lightning_models.training.checkpoint:save", "torn", 2),
    "checkpoint, before its card": Point(CARD, "before", 2),
    "checkpoint, card": Point(
        "chorale.lightning_models.training.checkpoint:save", "torn", 2, n_files=2
    ),
    "before finalist told": Point(FINAL_TELL, "before", 2),
    "finalist's bank": Point(BANK, "torn", SECOND_FINAL),
    "finalist's row written": Point(RECORD, "after", SECOND_FINAL),
    "after finalist told": Point(FINAL_TELL, "after", 2),
    # the end
    "finalists over": Point("chorale.search.sweep.sitting:run_baselines", "before", 1),
    "baselines over": Point("chorale.search.sweep.sitting:run_baselines", "after", 1),
    "test set looked at": Point("chorale.search.ledger.ledger:Ledger.look", "after", 1),
    "ensemble": Point("chorale.search.evaluation.final_evaluation:write_json", "torn", 2),
    "leaderboard": Point("chorale.search.report.report:write", "torn", 1),
    "report": Point("chorale.search.report.report:write", "torn", 1, n_files=2),
    "before leaving": Point("chorale.search.ledger.ledger:Ledger.leave", "before", 1),
}


def install(point: Point, sign: int, victim: int) -> None:
    """From now on this process kills process `victim`, itself or another, at `point`."""

    def die() -> None:
        os.kill(victim, sign)

    _wrap(point, _Nth(point.k, die))


class _Nth:
    """Counts calls; the k-th one counts."""

    def __init__(self, k: int, die: Callable[[], None]) -> None:
        self.die = die
        self._left = k

    def __call__(self) -> bool:
        self._left -= 1
        return self._left == 0


def _wrap(point: Point, counted: _Nth) -> None:
    module, _, path = point.place.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    original = getattr(owner, name)

    @functools.wraps(original)  # Lightning looks at what a step takes
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        this_one = counted()
        if this_one and point.when == "before":
            counted.die()
        if this_one and point.when == "torn":
            _tear(point.n_files, counted.die)
        result = original(*args, **kwargs)
        if this_one and point.when == "after":
            counted.die()
        return result

    setattr(owner, name, wrapped)


def _tear(n_files: int, die: Callable[[], None]) -> None:
    """At the n-th file that is synced next, cuts it in half and dies."""
    sync, left = os.fsync, n_files

    def torn(handle: Any) -> None:
        nonlocal left
        if stat.S_ISREG(os.fstat(handle).st_mode):
            left -= 1
            if left == 0:
                path = f"/proc/self/fd/{handle}"
                os.truncate(path, os.fstat(handle).st_size // 2)
                die()
        sync(handle)

    vars(os)["fsync"] = torn
