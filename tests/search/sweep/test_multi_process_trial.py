"""Data-parallel trials: two processes on a private Ray give the results of one process."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.cluster.base import Decision, End, Failure, Outcome, Report, Resources, TrialSpec
from chorale.cluster.local import LocalRunner
from chorale.datasets.audio import content_hash
from chorale.datasets.features import mfcc
from chorale.datasets.store import cache
from chorale.search.study.retries import Retries
from chorale.search.training.run_trial import run_trial
from chorale.search.training.trial_plan import TrialPlan

pytestmark = [pytest.mark.ray, pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(600)]

N_TRACKS, N_EPOCHS = 30, 6
RATE = 8000
CONFIG = mfcc.Config(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=24, n_mfcc=12)


def work(spec: TrialSpec, report: Report) -> Any:
    """A trial in float32 that is killed or stopped where its payload says so."""
    import torch

    from chorale.lightning_models.training import resume, speed
    from chorale.search.training.run_trial import run_trial

    vars(speed)["precision"] = lambda kind: torch.float32
    resume.SAVE_INTERVAL_S = 0.0  # save after each epoch

    def report_and_die(step: int, metrics: Mapping[str, float]) -> Decision:
        decision = report(step, metrics)
        once = Path(spec.payload["once"])
        if (
            spec.payload["do"] == "die"
            and spec.process_group.rank == 1
            and step == 3
            and not once.exists()
        ):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return decision

    return run_trial(spec, report_and_die)


class Script:
    """Trials that are retried when a process was lost, as in both stages of a sweep."""

    def __init__(self, plans: Mapping[str, TrialPlan], once: Path) -> None:
        self.specs = {
            number: TrialSpec(number, {"plan": plan, "do": do, "once": str(once)})
            for number, (do, plan) in enumerate(plans.items())
        }
        self.left = list(self.specs)
        self.running = 0
        self.retries = Retries()
        self.steps: dict[int, list[int]] = {number: [] for number in self.specs}
        self.outcomes: dict[int, list[Outcome]] = {number: [] for number in self.specs}

    def done(self) -> bool:
        return not self.left and not self.running

    def ask(self, n: int) -> list[TrialSpec]:
        now, self.left = self.left[:n], self.left[n:]
        self.running += len(now)
        return [self.specs[number] for number in now]

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self.steps[trial_id].append(step)
        stop = self.specs[trial_id].payload["do"] == "stop" and step == 2
        return Decision.STOP if stop else Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.running -= 1
        self.outcomes[trial_id].append(outcome)
        if self.retries.again(trial_id, outcome):
            self.left.insert(0, trial_id)


def plans(root: Path, store: Path) -> dict[str, TrialPlan]:
    """The same training three times: undisturbed, with a killed process, and stopped."""
    rows = np.arange(N_TRACKS)
    base = TrialPlan(
        architecture="cnn",
        config={"n_layers": 2, "width": 8, "dense": 16, "dropout": 0.0},
        features="mfcc",
        features_config={},
        train={"crop_s": 0.3, "batch_size": 7, "max_epochs": N_EPOCHS, "mixup_alpha": 0.3},
        store=str(store),
        labels=rows % 3,
        class_names=("a", "b", "c"),
        train_rows=rows[:15],
        valid_rows=rows[15:24],
        extra_rows=rows[24:],
        seed=5,
        keep="last",
        objective="accuracy",
        folder="",
    )
    return {do: replace(base, folder=str(root / do)) for do in ("go", "die", "stop")}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    found = []
    for i in range(N_TRACKS):
        path, time_s = folder / f"{i:02}.wav", np.arange(RATE // 2) / RATE
        wave = 0.1 * rng.standard_normal(len(time_s))
        wave += 0.2 * np.sin(2 * np.pi * 300 * 2 ** (i % 3) * time_s)
        soundfile.write(path, wave, RATE)
        found.append((f"{i:02}", str(path), content_hash(path), 0.5))
    tracks = pd.DataFrame(found, columns=["track_id", "path", "content", "duration_s"])
    return cache.build_feature_store(tracks, "mfcc", CONFIG, root=folder / "cache").folder


@pytest.fixture(scope="module")
def one_process(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, Path]:
    root = tmp_path_factory.mktemp("one_process")
    script = Script(plans(root, store), root / "once")
    with pytest.MonkeyPatch.context() as patch:
        import torch

        from chorale.lightning_models.training import speed

        patch.setattr(speed, "fastest_precision", lambda kind: torch.float32)
        LocalRunner().run(script, run_trial)
    return script, root


@pytest.fixture(scope="module")
def two_processes(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, Path]:
    from ray import cloudpickle

    from chorale.cluster.connection.connect import connect
    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    root = tmp_path_factory.mktemp("two_processes")
    script = Script(plans(root, store), root / "once")
    with connect(num_cpus=2):
        pair = Resources(cpus=2, workers=2)
        storage = tmp_path_factory.mktemp("tune")
        TuneRunner(pair, max_concurrent=None, storage=storage).run(script, work)
    return script, root


@pytest.mark.parametrize(
    ("number", "end"), [(0, End.FINISHED), (1, End.FINISHED), (2, End.STOPPED)]
)
def test_two_processes_give_the_results_of_one(
    one_process: tuple[Script, Path], two_processes: tuple[Script, Path], number: int, end: End
) -> None:
    one, two = one_process[0].outcomes[number][-1], two_processes[0].outcomes[number][-1]
    assert one.end is two.end is end, two
    assert two.value.metrics == pytest.approx(one.value.metrics, rel=1e-3)
    for name in ("valid_proba", "extra_proba", "extra_embeddings", "valid_embeddings"):
        np.testing.assert_allclose(
            getattr(two.value, name), getattr(one.value, name), atol=2e-3, rtol=1e-2
        )
    assert two.value.n_parameters == one.value.n_parameters


def test_a_trial_that_lost_a_process_resumes_from_its_state(
    two_processes: tuple[Script, Path],
) -> None:
    script, _ = two_processes
    lost, done = script.outcomes[1]
    assert lost.failure is Failure.LOST
    assert lost.reason.startswith("worker lost: ")
    assert done.value.resumed_after >= 2
    assert script.steps[1] in ([1, 2, 3, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(done.value.valid_proba, script.outcomes[0][-1].value.valid_proba)


def test_both_leave_the_same_files(
    one_process: tuple[Script, Path], two_processes: tuple[Script, Path]
) -> None:
    def files(root: Path) -> set[str]:
        names = {str(path.relative_to(root / "go")) for path in (root / "go").rglob("*")}
        return {
            name for name in names if not name.startswith(("state", "events", "weights/weights"))
        }

    assert files(two_processes[1]) == files(one_process[1])
    assert len(list((two_processes[1] / "go").glob("events*"))) == 1
    card = json.loads((two_processes[1] / "go" / "weights" / "card.json").read_text())
    assert (two_processes[1] / "go" / "weights" / card["weights"]).exists()


def test_peak_memory_is_measured(two_processes: tuple[Script, Path]) -> None:
    facts = two_processes[0].outcomes[0][-1].value.facts()
    assert facts["peak_bytes"] > 50 * 2**20
    assert "device_bytes" not in facts
