"""User mistakes are reported before heavy imports and before any worker is started."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
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
import contextlib, io, json, sys
from chorale.search import cli
commands, forbidden = map(json.loads, sys.argv[1:])
for args in commands:
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        code = cli.main(args)
    heavy = [name for name in forbidden if name in sys.modules]
    print("\\n" + json.dumps([code, stderr.getvalue(), heavy]))
"""


def typed(
    folder: Path, *commands: Sequence[str], forbidden: tuple[str, ...] = HEAVY
) -> list[tuple[int, str]]:
    """Runs commands in one process of their own; returns their exit codes and stderr.

    Nothing of `forbidden` may have been imported.
    """
    call = [sys.executable, "-c", RUN, json.dumps(commands), json.dumps(forbidden)]
    done = subprocess.run(
        call, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    for args, (_, _, heavy) in zip(commands, found, strict=True):
        assert not heavy, f"imported {heavy} for: {' '.join(args)}"
    return [(code, error) for code, error, _ in found]


def make_place(folder: Path) -> Path:
    """A folder with audio of two labels, an empty folder, and invalid sweep files."""
    for label in ("jazz", "rock"):
        (folder / "audio" / label).mkdir(parents=True)
        for i in range(3):
            wave = np.zeros(2000, np.float32)
            soundfile.write(folder / "audio" / label / f"{i}.wav", wave, 8000)
    (folder / "empty").mkdir()
    (folder / "bad.yaml").write_text("dataset: {name: folder\nbudget: [")
    (folder / "good.yaml").write_text("dataset: {name: folder, root: audio}\n")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


MISTAKES = [
    ("swep", "unknown command 'swep'"),
    ("sweep nothing.yaml", "there is no sweep file 'nothing.yaml'"),
    ("sweep bad.yaml", "not YAML"),
    ("sweep good.yaml --dataset.root /nowhere", "'/nowhere' does not exist"),
    ("sweep good.yaml --dataset.root empty", "no audio in any label's folder"),
    ("sweep good.yaml --dataset.name foldr", "unknown dataset 'foldr'"),
    ("sweep good.yaml --buget.trials 3", "did you mean 'budget'"),
    ("sweep good.yaml --budget.trials many", "budget.trials"),
    ("sweep good.yaml --architectures [cn]", "unknown architecture 'cn'"),
    ("sweep good.yaml --architectures mlp,cn", "unknown architecture 'cn'; did you mean 'cnn'?"),
    ("predict other song.wav", "type: chorale predict song.wav --study other"),
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
    ("status mne --runs used", "did you mean 'mine'"),
    ("resume mne --runs used", "did you mean 'mine'"),
    ("report mne --runs used", "did you mean 'mine'"),
    (
        "sweep good.yaml --name mine --runs used",
        "study 'mine' exists already (interrupted)",
    ),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and stderr of each of `MISTAKES`, which leave no files.

    The folder `used` has a ledger with the interrupted study `mine`.
    """
    from chorale.search.ledger.ledger import Ledger

    folder = make_place(tmp_path_factory.mktemp("mistakes"))
    (folder / "used").mkdir()
    ledger = Ledger(f"sqlite:///{folder}/used/chorale.db")
    ledger.create("mine", {})
    ledger.release("mine", "interrupted", spent_s=1.0)
    ledger.close()

    def files() -> list[Path]:  # reading a ledger creates files beside it
        return sorted(path for path in folder.rglob("*") if path.parent.name != "used")

    before = files()
    found = typed(folder, *[args.split() for args, _ in MISTAKES])
    assert files() == before
    return {args: outcome for (args, _), outcome in zip(MISTAKES, found, strict=True)}


@pytest.mark.parametrize(("args", "expected"), MISTAKES)
def test_a_mistake_is_reported_without_files_and_without_importing_training_libraries(
    outcomes: dict[str, tuple[int, str]], args: str, expected: str
) -> None:
    code, error = outcomes[args]
    assert code in (1, 2)
    assert expected in error


def test_few_tracks_are_checked_in_this_process_without_ray(place: Path) -> None:
    forbidden = ("torch", "ray", "optuna", "sklearn.ensemble")
    words = ["data", "check", "folder", "--root", "audio"]
    assert typed(place, words, forbidden=forbidden) == [(1, "")]  # all are silent


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
