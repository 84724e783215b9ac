"""A fake MLflow server, and a study whose rows are made up, without training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.atomic import write_json, write_text
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import Row
from chorale.search.paths import Runs, StudyPaths
from tests.search.tracking.fake_mlflow import FakeMlflow, serving

NAME = "tones"
FINGERPRINT = {
    "dataset": "f00d",
    "split": "5eed",
    "search": {"seed": 3, "sampler": "tpe", "pruner": "median"},
    "number of epochs": 8,
}
ABOUT = {
    "dataset": "gtzan",
    "objective": "accuracy",
    "budget": {"trials": 4, "minutes": None},
    "commit": "c0ffee",
}


@dataclass
class MadeUpStudy:
    """A study in a ledger of its own, whose rows tests write."""

    runs: Runs

    def __post_init__(self) -> None:
        """Starts it."""
        self.ledger = Ledger(self.runs.ledger_url)
        self.ledger.create(NAME, FINGERPRINT, about=ABOUT)
        self.paths.root.mkdir(parents=True)

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return self.runs.study(NAME)

    def end(
        self,
        stage: str,
        key: str,
        state: str,
        *,
        curve: Sequence[float] = (),
        reason: str = "",
        **facts: Any,
    ) -> None:
        """Records the end of a training run with the accuracies of its epochs."""
        if curve:
            self.write_curve(stage, key, curve)
            facts |= {"metrics": {"accuracy": max(curve)}, "epoch": len(curve)}
        if stage == "search":
            facts.setdefault("params", {"architecture": "cnn", "train.lr": 0.001, "cnn.width": 16})
        facts.setdefault("elapsed_s", 2.0)
        self.ledger.record(NAME, stage, Row(key, state, reason, facts))

    def write_curve(self, stage: str, key: str, curve: Sequence[float]) -> None:
        """Writes the file of a run's epochs."""
        number, *job = map(int, key.split("/"))
        files = self.paths.trial(number)
        if stage == "finalists":
            files = self.paths.finalist(number, fold=job[0], seed=job[1])
        lines = [f"{epoch},{1 / epoch:.6g},{one:.6g}" for epoch, one in enumerate(curve, start=1)]
        write_text(files.metrics_csv, "\n".join(["epoch,train_loss,accuracy", *lines]) + "\n")

    def report(self, scores: Mapping[str, Any], *, n_trials: int = 4) -> None:
        """Writes a report."""
        part = {"accuracy": 0.5, "n": 30, "few_groups": False, "ci95": [0.4, 0.6], **scores}
        parts = dict.fromkeys(("validation", "out_of_fold", "test"), part)
        ensemble = {"kind": "greedy", "members": [0, "svm"], **parts}
        trials = {"complete": n_trials, "pruned": 0, "failed": 0}
        write_json(self.paths.report_json, {"ensemble": ensemble, "trials": trials})
        write_text(self.paths.report_html, f"<p>{scores}</p>")

    def complete(self) -> None:
        """Ends it."""
        self.ledger.release(NAME, "complete", spent_s=9.0)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[MadeUpStudy]:
    """A study that runs, with no row yet."""
    made = MadeUpStudy(Runs(tmp_path / "runs"))
    yield made
    made.ledger.close()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMlflow]:
    """A server that works; MLFLOW_TRACKING_URI names it."""
    made = FakeMlflow()
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    with serving(made) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield made
