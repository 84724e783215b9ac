"""Ctrl-C, SIGTERM and SIGKILL in the middle of a sweep: completed trials are kept on resume."""

import json
import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, cast

import pytest

from chorale.search.baselines.classifiers import GRIDS
from chorale.search.cli import main
from chorale.search.sweep.worker_pool import PRELOADED

N_TRIALS = 10
CHANGES = [
    *("--cluster.address", "none", "--search.pruner", "none"),
    *("--budget.trials", str(N_TRIALS), "--budget.max_epochs", "1", "--finalists.configs", "3"),
    *("--ensemble.kinds", "[soft_vote]", "--ensemble.baselines", "none"),
]
TIMEOUT_S = 120
IMPORTED = (
    *PRELOADED,
    "alembic.command",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.svm",
    "chorale.datasets.dsp.mel_power",
    "chorale.search.commands.sweep",
    "chorale.search.report.tensorboard_finalists",
    "chorale.search.sweep.run",
)
"""What a sweep imports, once for all processes that are interrupted."""


def _recorded_trials(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "runs" / "chorale.db"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as db:
        try:
            rows = db.execute("select key, facts from chorale_trials where stage = 'search'")
            return dict(rows.fetchall())
        except sqlite3.OperationalError:  # the tables are being created
            return {}


def _wait_for_trials(tmp_path: Path, n: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while len(_recorded_trials(tmp_path)) < n and time.monotonic() < deadline:
        time.sleep(0.02)


def _run(args: Sequence[str], grids: Mapping[str, Any], output: Path) -> None:
    ours = cast("dict[str, Any]", GRIDS)
    ours.clear()
    ours.update(grids)  # the quick ones of the process of the tests
    with output.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        code = main(args)
    sys.exit(code)


def _interrupt(args: Sequence[str], tmp_path: Path, kind: signal.Signals) -> tuple[int, str]:
    """Sends a signal to a process after one more trial; returns its exit code and output."""
    n_before, output = len(_recorded_trials(tmp_path)), tmp_path / "output"
    multiprocessing.set_forkserver_preload(list(IMPORTED))
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_run, args=(args, dict(GRIDS), output))
    process.start()
    assert process.pid is not None
    _wait_for_trials(tmp_path, n_before + 1)
    os.kill(process.pid, kind)
    process.join(TIMEOUT_S)
    assert process.exitcode is not None
    return process.exitcode, output.read_text()


@pytest.mark.slow
def test_an_interrupted_sweep_keeps_its_trials_and_resumes(tiny: list[str], tmp_path: Path) -> None:
    """It is interrupted by each of the signals, one after the other."""
    args, kept = ["sweep", *tiny, *CHANGES], dict[str, str]()
    for kind, expected in (
        (signal.SIGINT, 130),
        (signal.SIGTERM, 130),
        (signal.SIGKILL, -signal.SIGKILL),
    ):
        code, output = _interrupt([*args, "--resume"] if kept else args, tmp_path, kind)
        found = _recorded_trials(tmp_path)
        assert len(kept) < len(found) < N_TRIALS, output
        assert {key: found[key] for key in kept} == kept
        kept = found
        assert code == expected, output
        if kind != signal.SIGKILL:
            assert "--resume" in output
            assert "Traceback" not in output

    assert main([*args, "--resume"]) == 0
    after = _recorded_trials(tmp_path)
    assert len(after) == N_TRIALS
    assert {key: after[key] for key in kept} == kept
    report = json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text())
    assert report["trials"]["complete"] == N_TRIALS
