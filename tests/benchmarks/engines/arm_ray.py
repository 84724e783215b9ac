"""The Ray arm: Ray Tune with OptunaSearch, ASHA and Lightning, as documented or tuned.

python -m tests.benchmarks.engines.arm_ray TASK.json default|tuned
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from tests.benchmarks.engines.events import Events
from tests.benchmarks.engines.loop import ACCURACY, Clock, fit
from tests.benchmarks.engines.task import Arrays, Task


def train(config: dict[str, Any], data: Arrays | None, *, task: Task, tuned: bool) -> None:
    """Runs one trial; without `data` it reads the data itself, as the examples do."""
    events = Events(f"{task.folder}/events.jsonl")
    trial = tune.get_context().get_trial_id()
    events.record(trial, "begin")
    if tuned:
        torch.set_num_threads(1)
    fit(
        task,
        task.candidate(config),
        Arrays.read(task) if data is None else data,
        clock=Clock(events, trial),
        callbacks=[TuneReportCheckpointCallback([ACCURACY], save_checkpoints=not tuned)],
        tuned=tuned,
        quiet=True,
    )
    events.record(trial, "end")


def suggest(task: Task, trial: Any) -> None:
    """Defines the search space, as OptunaSearch expects it."""
    task.suggest(trial)


def trainable(task: Task, *, tuned: bool) -> Callable[..., Any]:
    if not tuned:
        return lambda config: train(config, None, task=task, tuned=False)
    trained: Callable[..., Any] = tune.with_parameters(
        partial(train, task=task, tuned=True), data=Arrays.read(task)
    )
    return trained


def main() -> None:
    task, tuned = Task.read(sys.argv[1]), sys.argv[2] == "tuned"
    events = Events(f"{task.folder}/events.jsonl")
    options: dict[str, Any] = {}
    if tuned:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=task.cores, _temp_dir=task.ray, **options)
    try:
        events.record("search", "begin")
        search = OptunaSearch(
            partial(suggest, task),
            metric=ACCURACY,
            mode="max",
            points_to_evaluate=task.first_points(),
            seed=task.seed,
        )
        scheduler = ASHAScheduler(
            metric=ACCURACY,
            mode="max",
            max_t=task.epochs,
            grace_period=task.rung,
            reduction_factor=task.reduction,
        )
        more = {"reuse_actors": True, "max_concurrent_trials": task.cores} if tuned else {}
        results = tune.Tuner(
            trainable(task, tuned=tuned),
            tune_config=tune.TuneConfig(
                search_alg=search, scheduler=scheduler, num_samples=task.trials, **more
            ),
            run_config=tune.RunConfig(
                storage_path=f"{task.folder}/results", **({"verbose": 0} if tuned else {})
            ),
        ).fit()
        events.record("search", "end")
        if results.num_errors:
            raise RuntimeError(f"{results.num_errors} trials failed: {results.errors[0]}")
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
