"""Crash-test driver: runs tiny sweeps, in forked processes that are killed. No tests in here.

`Driver` sends its cases to this file as a script, one per line, which imports everything once and
forks a process for each sweep; that saves ten seconds per case. (Not forked from pytest: once
autograd has started its threads, a forked process cannot train.) With an argument the script runs
one sweep in its own process, as Ray needs it: `driver.py CASE_AS_JSON`.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent))

SAMPLE_RATE = 8000

SWEEP = """
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 16}}
architectures: [cnn]
space:
  cnn: {{n_layers: 2, width: 16, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, n_masks: 0, mixup_alpha: 0.0, center: false, batch_size: 16}}
train: {{crop_s: 0.2, crops_per_track: 4}}
search: {{pruner: none}}
budget: {{trials: 3, max_epochs: 3}}
finalists: {{configs: 1, folds: 2}}
ensemble: {{kinds: [soft_vote, weighted_vote, stacking]}}
cluster: {{address: none}}
runs: {runs}
"""


def make_corpus(root: Path) -> None:
    """Three labels x 4 groups x 3 tracks of 0.3 s, tones whose pitch depends on the label."""
    rng = np.random.default_rng(0)
    time_s = np.arange(int(0.3 * SAMPLE_RATE)) / SAMPLE_RATE
    for pitch, label in enumerate(("low", "mid", "high")):
        (root / label).mkdir(parents=True)
        for group in range(4):
            for take in range(3):
                tone_hz = 300 * 2**pitch * rng.uniform(0.9, 1.1)
                wave = 0.3 * np.sin(2 * np.pi * tone_hz * time_s)
                wave += 0.05 * rng.standard_normal(len(time_s))
                name = f"{label}-artist{group}-{take}.wav"
                soundfile.write(root / label / name, wave.astype(np.float32), SAMPLE_RATE)


def write_sweep(file: Path, *, corpus: Path, runs: Path) -> None:
    """Writes the sweep file of one case."""
    file.write_text(SWEEP.format(corpus=corpus, runs=runs))


def self_killing_work(case: dict[str, Any]) -> Any:
    """The work function of a worker that leaves its pid in a file, and may kill itself once.

    It does so after the epoch `die_at`. Where `nodes` are given (pids of Ray's nodes), it kills the
    node that it runs on.
    """
    folder, die_at, sign = case["folder"], case.get("die_at"), case.get("signal", 0)
    stage, nodes = case.get("die_in", ""), case.get("nodes")

    def work(spec: Any, report: Any) -> Any:
        import os
        import signal
        import time
        from pathlib import Path

        from chorale.lightning_models.training import resume
        from chorale.search.training.run_trial import run_trial

        resume.SAVE_INTERVAL_S = 0.0

        worker = Path(folder) / f"worker-{os.getpid()}"
        worker.touch()

        def report_and_die(step: int, metrics: Any) -> Any:
            decision = report(step, metrics)
            if step == die_at and stage in spec.payload["plan"].folder:
                try:
                    (Path(folder) / "died").touch(exist_ok=False)
                except FileExistsError:
                    return decision
                if nodes is not None and os.getppid() not in nodes:
                    raise RuntimeError(f"{os.getppid()} is not one of {nodes}")
                if nodes is not None:
                    os.kill(os.getppid(), sign)
                if nodes is None or sign == signal.SIGKILL:  # a killed node's workers end, too
                    os.kill(os.getpid(), sign)
                time.sleep(60 if nodes is not None else 0)  # until the terminating node ends it
            return decision

        try:
            return run_trial(spec, report_and_die)
        finally:
            worker.unlink()

    return work


LATE_IMPORTS = (
    "chorale.lightning_models.patches.lean_lightning",  # before anything else imports Lightning
    "alembic.command",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.svm",
    "chorale.datasets.dsp.mel_power",
    "chorale.search.report.tensorboard_finalists",
    "chorale.search.sweep.run",
    "chorale.lightning_models.training.fit",
    "chorale.search.commands.resume",
    "chorale.search.commands.sweep",
)
"""What a sweep imports only when it is needed: half of the time of a tiny one."""


def prepare() -> None:
    """Imports all that a sweep needs; forked processes have one thread."""
    for module in LATE_IMPORTS:
        import_module(module)
    import torch

    from chorale.datasets.features import mel

    torch.set_num_threads(1)
    config = mel.Config(sample_rate=SAMPLE_RATE, n_fft=256, hop_length=128, n_mels=16)
    mel.extract(np.ones(SAMPLE_RATE, dtype=np.float32), config)  # loads what Numba has compiled


def run(case: dict[str, Any]) -> int:
    """Runs the command of a case; returns its exit code."""
    from chorale.search.cli import main

    with pytest.MonkeyPatch.context() as patch:
        install_faults(case, patch)
        return main(case["args"])


def install_faults(case: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
    """Injects the faults of a case. Sweeps save after each epoch and fit one baseline, quickly."""
    from chorale.lightning_models.training import resume
    from chorale.search.baselines.classifiers import GRIDS
    from chorale.search.sweep import context

    patch.setattr(resume, "SAVE_INTERVAL_S", 0.0)
    for name in GRIDS.keys() - {"logistic_regression"}:
        patch.delitem(GRIDS, name)
    patch.setitem(GRIDS, "logistic_regression", {"statistics": ("mean_std",), "C": (0.1, 1.0)})
    if case.get("point"):
        from points import POINTS, install  # type: ignore[import-not-found]

        victim = case["nodes"][0] if "nodes" in case else os.getpid()
        install(POINTS[case["point"]], case["signal"], victim)
    if "nodes" in case:
        stay_on_loopback()
    if "full" in case:
        from full import DiskFull, install  # type: ignore[import-not-found]

        install(DiskFull(**case["full"]))
    if "max_file_bytes" in case:
        resource.setrlimit(resource.RLIMIT_FSIZE, (case["max_file_bytes"], resource.RLIM_INFINITY))
    if "folder" in case:
        patch.setattr(context, "run_trial", self_killing_work(case))
    if "acks" in case:
        log_acknowledgements(case["acks"], patch)


def stay_on_loopback() -> None:
    """Keeps Ray on 127.0.0.1; it would look for a cluster at this machine's network address."""
    import ray.util

    for module in (ray._private.services, ray.util):
        vars(module)["get_node_ip_address"] = lambda *_: "127.0.0.1"


def log_acknowledgements(file: str, patch: pytest.MonkeyPatch) -> None:
    """Appends to `file` each run that the ledger has acknowledged, whatever happens afterwards."""
    from chorale.search.ledger.ledger import Ledger

    original = Ledger.record

    def record(self: Ledger, study: str, stage: str, row: Any) -> None:
        original(self, study, stage, row)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, f"{stage} {row.key}\n".encode())
        os.close(handle)

    patch.setattr(Ledger, "record", record)


class Driver:
    """A process, started for the first of them, that runs sweeps, each in a forked process."""

    _process: "subprocess.Popen[str] | None" = None

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run(self, args: list[str], *, log: Path, **case: Any) -> int:
        """Runs one command, which is killed as `case` says; its exit code, or minus the signal.

        With `in_driver` it is not forked, so that later ones find warm what it has loaded.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the driver has no pipes")
        self._process.stdin.write(json.dumps({"args": args, "log": str(log), **case}) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))

    @staticmethod
    def run_here(args: list[str], *, log: Path, **case: Any) -> int:
        """Runs one command in this process; its exit code."""
        prepare()
        with log.open("a") as file, redirect_stdout(file), redirect_stderr(file):
            return run({"args": args, **case})

    @staticmethod
    def run_alone(args: list[str], *, log: Path, **case: Any) -> "subprocess.Popen[bytes]":
        """Starts one command in a new process."""
        with log.open("ab") as file:
            command = [sys.executable, __file__, json.dumps({"args": args, **case})]
            return subprocess.Popen(command, stdout=file, stderr=file, env=environment())


def environment() -> dict[str, str]:
    """A new process's environment: one thread, so that results are the same to the bit."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def child(case: dict[str, Any]) -> NoReturn:
    """Runs a case in a forked process; never returns."""
    code = 99
    try:
        log = os.open(case["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = run(case)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int, case: dict[str, Any]) -> int:
    """Waits for a forked process, and kills it after `after_s`; the exit code as of subprocess."""
    kill_at = time.monotonic() + case.get("after_s", float("inf"))
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= kill_at:
            os.kill(pid, case["signal"])
            kill_at = float("inf")
        time.sleep(0.005)


def serve() -> None:
    """Reads cases from stdin, one per line, and prints the exit code of each."""
    from read_once import read_once  # type: ignore[import-not-found]

    read_once(pytest.MonkeyPatch())  # of this process, which only runs sweeps
    for line in sys.stdin:
        case = json.loads(line)
        if case.get("in_driver"):
            with Path(case["log"]).open("a") as log, redirect_stdout(log), redirect_stderr(log):
                code = run(case)
        elif (pid := os.fork()) == 0:
            child(case)
        else:
            code = wait(pid, case)
        print(json.dumps(code), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare()
    if len(sys.argv) > 1:
        sys.exit(run(json.loads(sys.argv[1])))
    serve()
