"""Ctrl-C, SIGTERM and SIGKILL in the middle of a sweep: completed trials are kept on resume."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chorale.search.cli import main

SLOW = ["--cluster.address", "none", "--search.pruner", "none", "--budget.trials", "6"]
TIMEOUT_S = 120


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_sweep_keeps_its_trials_and_resumes(
    tiny: list[str], tmp_path: Path, kind: signal.Signals
) -> None:
    command = [sys.executable, "-m", "chorale.search", "sweep", *tiny, *SLOW]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + TIMEOUT_S
    while len(_recorded_trials(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(kind)
    out, err = process.communicate(timeout=TIMEOUT_S)
    kept = _recorded_trials(tmp_path)
    assert 2 <= len(kept) < 6, out + err
    if kind != signal.SIGKILL:
        assert process.returncode == 130, out + err
        assert "--resume" in out
        assert "Traceback" not in err

    assert main(["sweep", *tiny, *SLOW, "--resume"]) == 0
    after = _recorded_trials(tmp_path)
    assert len(after) == 6
    assert {key: after[key] for key in kept} == kept
    found = json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text())
    assert found["trials"]["complete"] == 6
