"""The Optuna arm: a plain Optuna loop around Lightning, in one process or one per core.

python -m tests.benchmarks.engines.arm_optuna TASK.json default|tuned
"""

import multiprocessing
import sys
from functools import partial
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
from optuna.pruners import SuccessiveHalvingPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.benchmarks.engines.events import Events
from tests.benchmarks.engines.loop import ACCURACY, Clock, fit
from tests.benchmarks.engines.task import Arrays, Task

STUDY = "benchmark"


class PruningCallback(pl.Callback):
    """Does what Optuna's own Lightning callback does in one process."""

    def __init__(self, trial: optuna.Trial, n_epochs: int) -> None:
        self.trial, self.n_epochs = trial, n_epochs

    def on_validation_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.sanity_checking:
            return
        step = trainer.current_epoch + 1
        self.trial.report(float(trainer.callback_metrics[ACCURACY]), step)
        if step < self.n_epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def objective(trial: optuna.Trial, *, task: Task, data: Arrays, tuned: bool) -> float:
    events = Events(f"{task.folder}/events.jsonl")
    events.record(trial.number, "begin")
    try:
        return fit(
            task,
            task.suggest(trial),
            data,
            clock=Clock(events, trial.number),
            callbacks=[PruningCallback(trial, task.epochs)],
            tuned=tuned,
        )
    finally:
        events.record(trial.number, "end")


def make_study(task: Task, *, tuned: bool, worker: int = 0) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(f"{task.folder}/journal")) if tuned else None
    # with one seed, two processes would propose the same points
    sampler = optuna.samplers.TPESampler(seed=10 * task.seed + worker, constant_liar=tuned)
    pruner = SuccessiveHalvingPruner(min_resource=task.rung, reduction_factor=task.reduction)
    return optuna.create_study(
        study_name=STUDY,
        storage=storage,
        sampler=sampler,
        pruner=pruner,
        direction="maximize",
        load_if_exists=tuned,
    )


def work(worker: int, task: Task, data: Arrays, left: Any) -> None:
    """One process of the tuned arm: runs trials until none are `left`."""
    torch.set_num_threads(1)
    study = make_study(task, tuned=True, worker=worker)
    training = partial(objective, task=task, data=data, tuned=True)
    while True:
        with left.get_lock():
            if not left.value:
                return
            left.value -= 1
        study.optimize(training, n_trials=1)


def main() -> None:
    task, tuned = Task.read(sys.argv[1]), sys.argv[2] == "tuned"
    events = Events(f"{task.folder}/events.jsonl")
    events.record("search", "begin")
    data = Arrays.read(task)
    study = make_study(task, tuned=tuned)
    for point in task.first_points():
        study.enqueue_trial(point)
    if tuned:
        torch.set_num_threads(1)
        # forked, so that imports and data are shared
        fork = multiprocessing.get_context("fork")
        left = fork.Value("i", task.trials)
        processes = [
            fork.Process(target=work, args=(i, task, data, left)) for i in range(task.cores)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            if process.exitcode:
                raise RuntimeError(f"a process of the tuned arm ended with {process.exitcode}")
    else:
        study.optimize(partial(objective, task=task, data=data, tuned=False), n_trials=task.trials)
    events.record("search", "end")


if __name__ == "__main__":
    main()
