"""User mistakes are reported before heavy imports and before any worker is started."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

HEAVY = (
    "torch",
    "torchvision",
    "pytorch_lightning",
    "ray",
    "scipy",
    "sklearn",
    "pandas",
    "optuna",
    "numba",
    "aiohttp",
)
RUN = """
import json, sys
from chorale.search import cli
code = cli.main(json.loads(sys.argv[1]))
heavy = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
print("\\n" + json.dumps([code, heavy]))
"""


def typed(folder: Path, *args: str, forbidden: tuple[str, ...] = HEAVY) -> tuple[int, str]:
    """Runs a command in a process of its own; returns its exit code and its stderr.

    Nothing of `forbidden` may have been imported.
    """
    call = [sys.executable, "-c", RUN, json.dumps(args), json.dumps(forbidden)]
    done = subprocess.run(
        call, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout, done.stderr
    code, heavy = json.loads(done.stdout.splitlines()[-1])
    assert not heavy, f"imported {heavy} for: {' '.join(args)}"
    return code, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with audio of two labels, an empty folder, and invalid sweep files."""
    for label in ("jazz", "rock"):
        (tmp_path / "audio" / label).mkdir(parents=True)
        for i in range(3):
            wave = np.zeros(2000, np.float32)
            soundfile.write(tmp_path / "audio" / label / f"{i}.wav", wave, 8000)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("dataset: {name: folder\nbudget: [")
    (tmp_path / "good.yaml").write_text("dataset: {name: folder, root: audio}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("swep", "unknown command 'swep'"),
        ("sweep nothing.yaml", "there is no sweep file 'nothing.yaml'"),
        ("sweep bad.yaml", "not YAML"),
        ("sweep good.yaml --dataset.root /nowhere", "'/nowhere' does not exist"),
        ("sweep good.yaml --dataset.root empty", "no audio in any label's folder"),
        ("sweep good.yaml --dataset.name foldr", "unknown dataset 'foldr'"),
        ("sweep good.yaml --buget.trials 3", "did you mean 'budget'"),
        ("sweep good.yaml --budget.trials many", "budget.trials"),
        ("sweep good.yaml --architectures [cn]", "unknown architecture 'cn'"),
        ("sweep good.yaml --space.cnn.widht 3", "unknown parameter 'widht'"),
        ("sweep good.yaml --space.cnn.width 100000", "is outside what is declared"),
        ("sweep good.yaml --space.resnet18.weights no.pth", "there is no file"),
        ("sweep good.yaml --features.mel.n_mels 1", "features.mel.n_mels"),
        ("sweep good.yaml --train.lr fast", "train.lr"),
        ("sweep good.yaml --search.sampler grid", "a grid needs single values"),
        ("sweep good.yaml --budget.trials", "needs a value"),
        ("sweep good.yaml --resume", "there is no study 'good' to resume"),
        ("sweep good.yaml --search.warm_start [other]", "unknown study 'other'"),
        ("sweep gtzan_features --dataset.root /nowhere", "'/nowhere' does not exist"),
        ("status other", "there is no ledger"),
        ("resume other", "there is no ledger"),
        ("report other", "there is no ledger"),
        ("predict x.wav --bundle empty", "empty"),
        ("predict x.wav --budle empty", "unknown option '--budle'"),
        ("predict empty --bundle empty", "no audio below 'empty'"),
        ("data check folder", "needs root"),
        ("data check folder --root /nowhere", "'/nowhere' does not exist"),
        ("data leak good.yaml --dataset.root /nowhere", "'/nowhere' does not exist"),
    ],
)
def test_a_mistake_is_reported_without_importing_training_libraries(
    place: Path, args: str, expected: str
) -> None:
    code, error = typed(place, *args.split())
    assert code in (1, 2)
    assert expected in error


def test_an_unknown_study_is_reported_without_importing_training_libraries(place: Path) -> None:
    from chorale.search.ledger.ledger import Ledger

    (place / "runs").mkdir()
    ledger = Ledger(f"sqlite:///{place}/runs/chorale.db")
    ledger.create("mine", {})
    ledger.release("mine", "interrupted", spent_s=1.0)
    ledger.close()
    for args in (["status", "mne"], ["resume", "mne"], ["report", "mne"]):
        code, error = typed(place, *args)
        assert code == 1
        assert "did you mean 'mine'" in error
    code, error = typed(place, "sweep", "good.yaml", "--name", "mine")
    assert code == 1
    assert "study 'mine' exists already (interrupted)" in error


def test_a_mistake_leaves_no_files(place: Path) -> None:
    before = sorted(place.rglob("*"))
    assert typed(place, "sweep", "good.yaml", "--dataset.root", "/nowhere")[0] == 1
    assert sorted(place.rglob("*")) == before


def test_few_tracks_are_checked_in_this_process_without_ray(place: Path) -> None:
    forbidden = ("torch", "ray", "optuna", "sklearn.ensemble")
    code, error = typed(place, "data", "check", "folder", "--root", "audio", forbidden=forbidden)
    assert (code, error) == (1, "")  # all are silent


def test_no_worker_is_started_for_unusable_tracks(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    from chorale.datasets.errors import UserError
    from chorale.search.config.resolve import resolve
    from chorale.search.config.schema import load_sweep_config
    from chorale.search.sweep import worker_pool
    from chorale.search.sweep.run import run_sweep

    def started(*_: Any, **__: Any) -> Any:
        raise AssertionError("workers were started")

    monkeypatch.setattr(worker_pool, "worker_pool", started)
    monkeypatch.chdir(place)
    for changed, expected in (
        ({"dataset.root": "/nowhere"}, "does not exist"),
        ({"dataset.group": "(.)"}, "group"),  # one group for all: nothing can be held out
    ):
        resolved = resolve(load_sweep_config("good.yaml", changed), where="good.yaml")
        with pytest.raises(UserError, match=expected):
            run_sweep(resolved, resume=False, console=Console(quiet=True))


def test_a_runs_folder_that_cannot_be_created_is_reported_before_tracks_are_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chorale.datasets.errors import UserError
    from chorale.search.config.schema import load_sweep_config
    from chorale.search.sweep.preflight import check_start

    monkeypatch.chdir(place)
    (place / "file").write_text("")
    sweep = load_sweep_config("good.yaml", {"runs": "file/runs"})
    with pytest.raises(UserError, match="cannot be opened"):
        check_start(sweep, resume=False, take_over=False)


def test_a_read_only_runs_folder_is_reported_with_the_option_that_fixes_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chorale.datasets.errors import UserError
    from chorale.search.config.schema import load_sweep_config
    from chorale.search.sweep.preflight import check_start

    monkeypatch.chdir(place)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).absolute() != place)  # not root
    sweep = load_sweep_config("good.yaml", {"runs": "runs"})
    with pytest.raises(UserError, match=f"may not write in '{place}'; give .* --runs FOLDER"):
        check_start(sweep, resume=False, take_over=False)
    assert not (place / "runs").exists()
