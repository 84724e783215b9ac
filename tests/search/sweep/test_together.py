"""A training run by two processes on a private Ray finds and leaves what one process would."""

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
from chorale.search.training.run_trial import TrialPlan, run_trial

pytestmark = [pytest.mark.ray, pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(600)]

N_TRACKS, N_EPOCHS = 30, 6
RATE = 8000
CONFIG = mfcc.Config(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=24, n_mfcc=12)


def work(spec: TrialSpec, report: Report) -> Any:
    """A trial in float32, which dies or is stopped where its payload says so."""
    import torch

    from chorale.lightning_models.training import resume, speed
    from chorale.search.training.run_trial import run_trial

    vars(speed)["precision"] = lambda kind: torch.float32
    resume.SAVE_S = 0.0  # save after each epoch

    def told(step: int, metrics: Mapping[str, float]) -> Decision:
        decision = report(step, metrics)
        once = Path(spec.payload["once"])
        if spec.payload["do"] == "die" and spec.group.rank == 1 and step == 3 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return decision

    return run_trial(spec, told)


class Script:
    """Runs that are tried again when a process was lost, as both stages of a sweep do it."""

    def __init__(self, plans: Mapping[str, TrialPlan], once: Path) -> None:
        self.specs = {
            number: TrialSpec(number, {"plan": plan, "do": do, "once": str(once)})
            for number, (do, plan) in enumerate(plans.items())
        }
        self.left = list(self.specs)
        self.running = 0
        self.retries = Retries()
        self.steps: dict[int, list[int]] = {number: [] for number in self.specs}
        self.told: dict[int, list[Outcome]] = {number: [] for number in self.specs}

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
        self.told[trial_id].append(outcome)
        if self.retries.again(trial_id, outcome):
            self.left.insert(0, trial_id)


def plans(root: Path, store: Path) -> dict[str, TrialPlan]:
    """The same training, to be let go on, to lose a process, and to be stopped."""
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
    return cache.build(tracks, "mfcc", CONFIG, root=folder / "cache").folder


@pytest.fixture(scope="module")
def alone(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, Path]:
    root = tmp_path_factory.mktemp("alone")
    script = Script(plans(root, store), root / "once")
    with pytest.MonkeyPatch.context() as patch:
        import torch

        from chorale.lightning_models.training import speed

        patch.setattr(speed, "precision", lambda kind: torch.float32)
        LocalRunner().run(script, run_trial)
    return script, root


@pytest.fixture(scope="module")
def together(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Script, Path]:
    from ray import cloudpickle

    from chorale.cluster.connection.connect import connect
    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    root = tmp_path_factory.mktemp("together")
    script = Script(plans(root, store), root / "once")
    with connect(num_cpus=2):
        pair = Resources(cpus=2, workers=2)
        storage = tmp_path_factory.mktemp("tune")
        TuneRunner(pair, max_concurrent=None, storage=storage).run(script, work)
    return script, root


@pytest.mark.parametrize(
    ("number", "end"), [(0, End.FINISHED), (1, End.FINISHED), (2, End.STOPPED)]
)
def test_two_processes_find_what_one_finds(
    alone: tuple[Script, Path], together: tuple[Script, Path], number: int, end: End
) -> None:
    one, two = alone[0].told[number][-1], together[0].told[number][-1]
    assert one.end is two.end is end, two
    assert two.value.metrics == pytest.approx(one.value.metrics, rel=1e-3)
    for name in ("valid_proba", "extra_proba", "extra_embeddings", "valid_embeddings"):
        np.testing.assert_allclose(
            getattr(two.value, name), getattr(one.value, name), atol=2e-3, rtol=1e-2
        )
    assert two.value.n_parameters == one.value.n_parameters


def test_a_run_that_lost_a_process_goes_on_from_its_state(together: tuple[Script, Path]) -> None:
    script, _ = together
    lost, done = script.told[1]
    assert lost.failure is Failure.LOST
    assert lost.reason.startswith("worker lost: ")
    assert done.value.resumed_after >= 2
    assert script.steps[1] in ([1, 2, 3, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(done.value.valid_proba, script.told[0][-1].value.valid_proba)


def test_the_same_files_are_left(alone: tuple[Script, Path], together: tuple[Script, Path]) -> None:
    def left(root: Path) -> set[str]:
        names = {str(path.relative_to(root / "go")) for path in (root / "go").rglob("*")}
        return {
            name for name in names if not name.startswith(("state", "events", "weights/weights"))
        }

    assert left(together[1]) == left(alone[1])
    assert len(list((together[1] / "go").glob("events*"))) == 1
    card = json.loads((together[1] / "go" / "weights" / "card.json").read_text())
    assert (together[1] / "go" / "weights" / card["weights"]).exists()


def test_how_much_memory_was_held_is_measured(together: tuple[Script, Path]) -> None:
    facts = together[0].told[0][-1].value.facts()
    assert facts["peak_bytes"] > 50 * 2**20
    assert "device_bytes" not in facts
