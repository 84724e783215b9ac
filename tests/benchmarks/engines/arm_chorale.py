"""The Chorale arm: the search stage of `chorale sweep`, with its study, ledger and worker pool.

python -m tests.benchmarks.engines.arm_chorale TASK.json
"""

import os
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from chorale.datasets.config import to_plain_values
from chorale.lightning_models.base import load_architecture
from chorale.lightning_models.train_config import TrainConfig
from chorale.search.config.schema import BudgetConfig, ClusterConfig, SearchConfig
from chorale.search.config.space import Candidate
from chorale.search.console.events import StudyListeners
from chorale.search.console.progress import TrialsDisplay
from chorale.search.ledger import predictions
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.paths import StudyPaths
from chorale.search.report.tensorboard import HParamsWriter
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.study import SearchStage, StudyTrials
from chorale.search.sweep.worker_pool import worker_pool
from chorale.search.training.trial_plan import TrialPlan, TrialResult
from tests.benchmarks.engines.events import Events
from tests.benchmarks.engines.task import FIXED, Rows, Task
from tests.benchmarks.engines.timed_trial import timed_trial

SPLIT = "benchmark"


def main() -> None:
    task = Task.read(sys.argv[1])
    events = Events(f"{task.folder}/events.jsonl")
    rows = Rows.read(task.rows)
    paths = StudyPaths(Path(task.folder) / "study")
    valid_ids = tuple(map(str, rows.valid.tolist()))

    def plan(candidate: Candidate, number: int) -> TrialPlan:
        architecture = load_architecture(candidate.architecture)
        train = {**FIXED, "max_epochs": task.epochs, **candidate.train}
        return TrialPlan(
            architecture=candidate.architecture,
            config=to_plain_values(architecture.Config(**candidate.config)),
            features=candidate.features,
            features_config={},
            train=to_plain_values(TrainConfig(**train)),
            store=task.store,
            labels=rows.labels,
            class_names=rows.class_names,
            train_rows=rows.train,
            valid_rows=rows.valid,
            extra_rows=rows.valid[:0],
            seed=1000 * task.seed + number,
            keep="best",
            objective="accuracy",
            folder=str(paths.trial(number).root),
        )

    def keep(number: int, result: TrialResult) -> None:
        part = PredictionPart(valid_ids, result.valid_proba)
        predictions.write_predictions(paths.trial(number).predictions, {"valid": part}, split=SPLIT)

    ledger = Ledger(f"sqlite:///{task.folder}/chorale.db")
    ledger.create(SPLIT, {})
    with worker_pool(ClusterConfig(trials_at_once=task.cores), runs=Path("runs")) as pool:
        meter = BudgetMeter(
            BudgetConfig(trials=task.trials, max_epochs=task.epochs),
            resources=pool.resources,
            n_at_once=pool.trials_at_once,
        )
        study = SearchStage(
            name=SPLIT,
            space=task.space(),
            search=SearchConfig(seed=task.seed),
            meter=meter,
            plan=plan,
            keep=keep,
            files=paths.trial,
        )
        events.record("search", "begin")
        console = Console(stderr=True)
        display = TrialsDisplay(
            console, "trial", task.trials, objective="accuracy", forecast_s=meter.forecast_s
        )
        hparams = HParamsWriter(lambda number: paths.trial(number).root)
        trials = StudyTrials(study, ledger, StudyListeners((display, hparams)))
        with display:
            pool.runner.run(trials, partial(timed_trial, events=events))
        trials.finish()
        events.record("search", "end")
    ledger.release(SPLIT, "complete", spent_s=1.0)
    ledger.close()


if __name__ == "__main__":
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    main()
