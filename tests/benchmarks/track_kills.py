"""Kills processes that write a study to a real MLflow server, and counts lost and doubled runs.

    python -m tests.benchmarks.track_kills --kills 100 --seed 0

It needs the program `mlflow` on the PATH, or its path in CHORALE_MLFLOW (of a venv of its own).
The studies are made up: 50 trials with curves, in an SQLite ledger; the server keeps its data in
SQLite, too. Each kill is a SIGKILL at a random instant of a sync, after which one trial goes on, as
a retried one does. A study whose kills are over is synced once more, and its runs are read from the
server and compared with what was recorded. Exits with 1 if a run is lost, doubled or wrong.
"""

import argparse
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import requests

from chorale.datasets.atomic import write_text
from chorale.search.config.track_config import TrackConfig
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.paths import Runs
from chorale.search.tracking.sync import StudySync, Written, open_tracker
from tests.search.tracking.mlflow_server import mlflow_program, mlflow_server

N_TRIALS, N_EPOCHS = 50, 12
KILLS_A_STUDY = 10
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class MadeUp:
    """One study: what was recorded of each trial is also kept here."""

    def __init__(self, runs: Runs, name: str, rng: np.random.Generator) -> None:
        self.runs, self.name, self.rng = runs, name, rng
        self.recorded: dict[int, tuple[str, list[float]]] = {}
        with Ledger(runs.ledger_url) as ledger:
            ledger.create(name, {"dataset": "made up"}, about={"dataset": "made up"})
            ledger.release(name, "interrupted", spent_s=1.0)
        runs.study(name).root.mkdir(parents=True)
        self.end(range(N_TRIALS))

    def end(self, numbers: Any) -> None:
        """Ends trials, or lets them go on: a curve only gets longer."""
        with Ledger(self.runs.ledger_url) as ledger:
            ledger.reopen(self.name, {"dataset": "made up"})
            for number in map(int, numbers):
                _, curve = self.recorded.get(number, ("", []))
                state = str(self.rng.choice(list(STATUS)))
                if state != "FAIL" or curve:
                    n = int(self.rng.integers(1, N_EPOCHS))
                    curve = [*curve, *np.round(self.rng.random(n), 5).tolist()]
                self.recorded[number] = (state, curve)
                lines = [f"{epoch},{one}" for epoch, one in enumerate(curve, start=1)]
                csv = self.runs.study(self.name).trial(number).metrics_csv
                write_text(csv, "\n".join(["epoch,accuracy", *lines]) + "\n", durable=False)
                facts = {"params": {"lr": 0.1 * number}, "elapsed_s": 1.5, "epoch": len(curve)}
                ledger.record(self.name, "search", Row(str(number), state, "", facts))
            ledger.release(self.name, "interrupted", spent_s=1.0)

    def sync(self, address: str) -> Written:
        """One sync, as `chorale track sync` does it."""
        tracker = open_tracker(TrackConfig(uri=address))
        try:
            with LedgerReader(self.runs.ledger_url) as ledger:
                paths = self.runs.study(self.name)
                return StudySync(self.name, paths, tracker).run(ledger, closing=True)
        finally:
            tracker.close()

    def kill_a_sync(self, address: str, after_s: float) -> bool:
        """Kills a process that syncs; False where it had ended before."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self.sync(address)
                code = 0
            finally:
                os._exit(code)
        time.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise SystemExit(f"a sync failed by itself with {os.WEXITSTATUS(status)}")
        return os.WIFSIGNALED(status)


def runs_of(address: str) -> list[dict[str, Any]]:
    """Every run of the experiment that is not deleted."""
    api, found = f"{address}/api/2.0/mlflow", list[dict[str, Any]]()
    more: dict[str, str] = {}
    query = {"experiment_name": "chorale"}
    answer = requests.get(f"{api}/experiments/get-by-name", params=query, timeout=60)
    number = answer.json()["experiment"]["experiment_id"]
    while True:
        body = {"experiment_ids": [number], "max_results": 500, **more}
        answer = requests.post(f"{api}/runs/search", json=body, timeout=60)
        found += answer.json().get("runs", [])
        if not (token := answer.json().get("next_page_token")):
            return found
        more = {"page_token": token}


def check(address: str, studies: list[MadeUp], counts: Counter[str]) -> None:
    """Compares all runs on the server with what was recorded."""
    by_study: dict[str, list[dict[str, Any]]] = {}
    for run in runs_of(address):
        tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        by_study.setdefault(tags["chorale.study"], []).append({**run, "tags": tags})
    counts["studies on the server beside those"] = len(by_study) - len(studies)
    names = {
        next(run["info"]["run_name"] for run in runs if run["tags"]["chorale.key"] == "study"): runs
        for runs in by_study.values()
    }
    for study in studies:
        runs = names[study.name]
        keys = Counter(run["tags"]["chorale.key"] for run in runs)
        wanted = {"study", *(f"search/{number}" for number in study.recorded)}
        counts["runs"] += len(wanted)
        counts["lost"] += len(wanted - keys.keys())
        counts["doubled"] += sum(keys.values()) - len(keys)
        counts["of no trial"] += len(keys.keys() - wanted)
        for run in runs:
            key = run["tags"]["chorale.key"]
            if key != "study":
                state, curve = study.recorded[int(key.partition("/")[2])]
                stored = history(address, run["info"]["run_id"]) if curve else []
                is_equal = stored == list(enumerate(curve, start=1))
                counts["of another state"] += run["info"]["status"] != STATUS[state]
                counts["of another curve"] += not is_equal
                counts["values of curves"] += len(stored)


def history(address: str, run_id: str) -> list[tuple[int, float]]:
    """Everything that was ever logged as a run's accuracy."""
    query = {"run_id": run_id, "metric_key": "accuracy"}
    path = f"{address}/api/2.0/mlflow/metrics/get-history"
    found = requests.get(path, params=query, timeout=60).json().get("metrics", [])
    return sorted((one["step"], one["value"]) for one in found)


def main() -> int:
    """Prints the counts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    program = mlflow_program()
    if program is None:
        raise SystemExit("the program mlflow is not installed; name it in CHORALE_MLFLOW")
    rng, counts = np.random.default_rng(given.seed), Counter[str]()
    studies: list[MadeUp] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "server").mkdir()
        with mlflow_server(program, Path(folder) / "server") as address:
            longest_s = 0.0
            while counts["kills"] < given.kills:
                study = MadeUp(Runs(Path(folder) / "runs"), f"study-{len(studies)}", rng)
                studies.append(study)
                n_here = 0
                while n_here < min(KILLS_A_STUDY, given.kills - counts["kills"] + n_here):
                    # a whole sync takes `longest_s`, which the first studies measure
                    after_s = float(rng.uniform(0, min(max(2.0, longest_s), 20.0) / 3))
                    if study.kill_a_sync(address, after_s):
                        n_here += 1
                        counts["kills"] += 1
                    else:
                        counts["syncs that ended before their kill"] += 1
                    study.end([rng.integers(N_TRIALS)])
                began = time.perf_counter()
                written = study.sync(address)
                longest_s = max(longest_s, time.perf_counter() - began)
                counts["doubles removed by a sync"] += written.doubles_removed
                counts["runs created after the kills"] += written.created
                print(f"{study.name}: {counts['kills']} kills, then {written}", flush=True)
                if study.sync(address) != Written(unchanged=N_TRIALS + 1):
                    counts["syncs that had to be repeated"] += 1
            check(address, studies, counts)
    for name, n in counts.items():
        print(f"{n:8} {name}")
    bad = ("lost", "doubled", "of no trial", "of another state", "of another curve")
    return int(any(counts[name] for name in (*bad, "studies on the server beside those")))


if __name__ == "__main__":
    raise SystemExit(main())
