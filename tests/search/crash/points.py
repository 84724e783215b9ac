"""Crash points: named code positions at which a sweep is killed, and their fault injection."""

import functools
import importlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Point:
    """A point before, after or within the k-th call of a function, "module:path".

    `torn` is within: when the `n_files`-th file that the call writes is half written, under its
    temporary name. `fresh` is for sweeps that have to extract their features first.
    """

    function: str
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
    "chorale.lightning_models.training.resume:save_state",
    "chorale.lightning_models.training.resume:write_json",
)
RECORD, PREDICTIONS = (
    "chorale.search.ledger.ledger:Ledger.record",
    "chorale.search.ledger.predictions:write_predictions",
)
BASELINES = "chorale.search.evaluation.stored_baselines:write_baselines"
CARD = "chorale.lightning_models.training.checkpoint:write_json"

N_TRIALS, N_EPOCHS, N_STEPS = 3, 3, 2
"""Trials, epochs, steps per epoch of `driver.SWEEP`; the finalists' second fold has more steps."""
IN_TRIAL_1 = N_EPOCHS * N_STEPS + N_STEPS + 2
IN_FINAL_1 = (N_TRIALS + 1) * N_EPOCHS * N_STEPS + 7
"""The second epoch of the second run of each stage, in training steps."""
SECOND_FINAL = N_TRIALS + 2
"""The second finalist's call of functions that are called once per run in both stages."""

POINTS: Mapping[str, Point] = {
    # the data
    "audit": Point("chorale.datasets.audit.findings:FindingsCache.save", "torn", 1, fresh=True),
    "feature chunk": Point(EXTRACT, "torn", 1, fresh=True),
    "cache written": Point("chorale.datasets.store.cache:publish_folder", "before", 1, fresh=True),
    "cache half synced": Point(
        "chorale.datasets.store.cache:publish_folder", "torn", 1, n_files=2, fresh=True
    ),
    "cache published": Point("chorale.datasets.store.cache:publish_folder", "after", 1, fresh=True),
    # the baselines
    "fitted baseline": Point(BASELINES, "torn", 1),
    "baselines' predictions": Point(BASELINES, "torn", 1, n_files=2),
    "list of baselines": Point(BASELINES, "torn", 1, n_files=3),
    "baselines written": Point(BASELINES, "after", 1),
    # the search
    "study created": Point("chorale.search.ledger.ledger:Ledger.create", "after", 1),
    "sweep file": Point("chorale.search.sweep.stages:write_text", "torn", 1),
    "trial created": Point(
        "chorale.search.ledger.trials:TrialsStorage.create_new_trial", "after", 2
    ),
    "before ask": Point(ASK, "before", 2),
    "after ask": Point(ASK, "after", 2),
    "mid-epoch": Point(STEP, "before", IN_TRIAL_1),
    "before report": Point("chorale.search.study.study:StudyTrials.report", "before", 5),
    "after report": Point("chorale.search.study.study:StudyTrials.report", "after", 5),
    "state": Point(STATE, "torn", 4),
    "state, between its files": Point(STATE_NUMBERS, "before", 4),
    "state, second file": Point(STATE, "torn", 4, n_files=2),
    "state, before the old one is removed": Point(STATE_NUMBERS, "after", 4),
    "before tell": Point(TELL, "before", 2),
    "predictions": Point(PREDICTIONS, "torn", 2),
    "predictions written": Point(PREDICTIONS, "after", 2),
    "row written": Point(RECORD, "after", 2),
    "state removed": Point("chorale.search.study.study:remove_state", "after", 2),
    "after tell": Point(TELL, "after", 2),
    # between stages, and the finalists
    "search over": Point("chorale.search.study.study:StudyTrials.finish", "after", 1),
    "finalist asked": Point(FINAL_ASK, "after", 2),
    "finalist mid-epoch": Point(STEP, "before", IN_FINAL_1),
    "checkpoint": Point("chorale.lightning_models.training.checkpoint:save_checkpoint", "torn", 2),
    "checkpoint, before its card": Point(CARD, "before", 2),
    "checkpoint, card": Point(
        "chorale.lightning_models.training.checkpoint:save_checkpoint", "torn", 2, n_files=2
    ),
    "before finalist tell": Point(FINAL_TELL, "before", 2),
    "finalist's predictions": Point(PREDICTIONS, "torn", SECOND_FINAL),
    "finalist's row written": Point(RECORD, "after", SECOND_FINAL),
    "after finalist tell": Point(FINAL_TELL, "after", 2),
    # the end
    "finalists over": Point("chorale.search.sweep.stages:fit_baselines", "before", 2),
    "baselines over": Point("chorale.search.sweep.stages:fit_baselines", "after", 2),
    "test set evaluated": Point("chorale.search.ledger.ledger:Ledger.count_test_look", "after", 1),
    "ensemble": Point("chorale.search.evaluation.final_evaluation:write_json", "torn", 2),
    "leaderboard": Point("chorale.search.report.report:write_report", "torn", 1),
    "report": Point("chorale.search.report.report:write_report", "torn", 1, n_files=2),
    "before release": Point("chorale.search.ledger.ledger:Ledger.release", "before", 1),
}


def install(point: Point, sign: int, victim: int) -> None:
    """Makes this process kill process `victim`, itself or another, at `point`."""

    def kill() -> None:
        os.kill(victim, sign)

    _wrap(point, _Countdown(point.k, kill))


class _Countdown:
    """True at the k-th call."""

    def __init__(self, k: int, kill: Callable[[], None]) -> None:
        self.kill = kill
        self._left = k

    def __call__(self) -> bool:
        self._left -= 1
        return self._left == 0


def _wrap(point: Point, countdown: _Countdown) -> None:
    module, _, path = point.function.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    original = getattr(owner, name)

    @functools.wraps(original)  # Lightning inspects the signature of a step
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        is_due = countdown()
        if is_due and point.when == "before":
            countdown.kill()
        if is_due and point.when == "torn":
            _tear(point.n_files, countdown.kill)
        result = original(*args, **kwargs)
        if is_due and point.when == "after":
            countdown.kill()
        return result

    setattr(owner, name, wrapped)


def _tear(n_files: int, kill: Callable[[], None]) -> None:
    """Truncates the n-th file that is synced from now on to half, and kills."""
    sync, left = os.fsync, n_files

    def torn(handle: Any) -> None:
        nonlocal left
        if stat.S_ISREG(os.fstat(handle).st_mode):
            left -= 1
            if left == 0:
                path = f"/proc/self/fd/{handle}"
                os.truncate(path, os.fstat(handle).st_size // 2)
                kill()
        sync(handle)

    vars(os)["fsync"] = torn
