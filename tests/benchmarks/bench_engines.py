"""Engine comparison: Chorale, Ray Tune with Lightning, and plain Optuna on the same search task.

    python -m tests.benchmarks.bench_engines [--architecture mlp|cnn] [--trials 64] [--epochs 12]
        [--seeds 0 1 2] [--arms chorale "ray, tuned" ...] [--target 0.8] [--cores 2]

Each arm runs in its own process (Ray as a private cluster), one after the other, in turn for each
seed. All train the same `nn.Module` on the same rows, search the same space, try the same
known-good points first, then the points of their sampler (TPE), and after a third of the epochs
continue with the best third of the trials. Only the engine differs:

chorale         the search stage of `chorale sweep`, with ledger, prediction bank and TensorBoard
ray, default    Tuner, OptunaSearch, ASHA, Lightning's Trainer, TuneReportCheckpointCallback
ray, tuned      actors reused, one thread, data put once, no checkpoints, Lightning's and Tune's
                loggers off, batches indexed instead of collated, as many trials at once as cores
optuna, default study.optimize in one process; threads, Trainer and DataLoader at their defaults
optuna, tuned   one forked process per core, one thread each, journal storage, extras off

Trials per hour count the search alone and, in the second column, with the start of the process, its
imports and Ray. A trial's overhead is the time from the end of the previous trial on the same slot
to its own end, without its training and validation. Chorale's `EpochEnd` callback times these; for
Lightning they last from `on_train_epoch_start` to `on_validation_end`, with the loggers and
progress bars in between, which thus are not counted as overhead. The first trial of each slot, with
its imports, has its own column. Memory is the peak PSS of the process tree, CPU s its CPU time from
start to end, which other load on the machine hardly changes. Time to target is from the begin of
the search to the first epoch with that validation accuracy. Goals, on 2 cores: at most 0.1 s of
overhead, at least 3 times (mlp) or 2 times (cnn) the tuned Ray arm's trials per hour.
"""

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from rich.console import Console

from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.search.config.resolve import resolve
from chorale.search.config.schema import SweepConfig
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import prepare
from tests.benchmarks.engines.events import Events, Figures, figures, mean, median
from tests.benchmarks.engines.task import FEATURES, NARROWED, Rows, Task

PACKAGE = "tests.benchmarks.engines"
ARMS: Mapping[str, tuple[str, ...]] = {
    "chorale": ("arm_chorale",),
    "ray, tuned": ("arm_ray", "tuned"),
    "optuna, tuned": ("arm_optuna", "tuned"),
    "ray, default": ("arm_ray", "default"),
    "optuna, default": ("arm_optuna", "default"),
}
TARGETS = {"mlp": 0.80, "cnn": 0.70}
SAMPLE_S = 1.0
LIMIT_S = 3600.0
N_COLUMNS, N_CLASSES, N_ROWS = 57, 10, 1250
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class ResourceSampler(threading.Thread):
    """Samples memory and CPU time of a process and its descendants.

    Shared pages of memory count once (PSS).
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._cpu_s: dict[int, float] = {}
        self._process = psutil.Process(pid)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all processes; of an ended one, up to its last sample."""
        return sum(self._cpu_s.values())

    def run(self) -> None:
        try:
            while self._process.is_running():
                tree = [self._process, *self._process.children(recursive=True)]
                pss = sum(map(_pss, tree))
                self.peak_mb = max(self.peak_mb, pss / 2**20)
                seen = {one.pid: _cpu_s(one) for one in tree}
                self._cpu_s |= {pid: cpu_s for pid, cpu_s in seen.items() if cpu_s is not None}
                time.sleep(SAMPLE_S)
        except psutil.NoSuchProcess:
            return


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _cpu_s(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return float(times.user + times.system)


def write_table(path: Path) -> None:
    """Writes a synthetic table: classes of three clusters each in 57 non-linear, noisy columns."""
    rng = np.random.default_rng(0)
    labels = np.arange(N_ROWS) % N_CLASSES
    centres = rng.normal(scale=1.6, size=(N_CLASSES, 3, 8))
    latent = centres[labels, rng.integers(3, size=N_ROWS)] + rng.normal(size=(N_ROWS, 8))
    bent = np.tanh(latent @ rng.normal(scale=0.5, size=(8, 32)))
    values = bent @ rng.normal(size=(32, N_COLUMNS)) + rng.normal(size=(N_ROWS, N_COLUMNS))
    frame = pd.DataFrame(values, columns=[f"c{i}" for i in range(N_COLUMNS)])
    frame.insert(0, "label", [f"class-{label}" for label in labels])
    frame.to_csv(path, index=False, float_format="%.5f")


def prepare_data(architecture: str, folder: Path) -> tuple[str, str]:
    """Prepares features and split as a sweep does; returns the paths of store and rows."""
    if architecture == "mlp":
        write_table(folder / "table.csv")
        dataset: dict[str, Any] = {"name": "table", "root": str(folder / "table.csv")}
    else:
        root = str(folder / "synthetic")
        dataset = {"name": "synthetic", "root": root, "n_tracks": 400, "clip_s": 3.0}
    features = FEATURES[architecture]
    sweep = SweepConfig(
        dataset=dataset,
        architectures=(architecture,),
        features={features: {"n_mels": 64} if features == "mel" else None},
        space=dict(NARROWED[architecture]),
        runs=str(folder / "runs"),
    )
    resolved = resolve(sweep, where="the benchmark")
    prepared = prepare(resolved, Progress(Console(quiet=True)), map)
    rows = Rows(
        labels=prepared.labels.astype(np.int64),
        train=prepared.rows(prepared.split.train_ids(SEARCH_FOLD)),
        valid=prepared.rows(prepared.split.valid_ids(SEARCH_FOLD)),
        class_names=prepared.class_names,
    )
    rows.write(folder / "rows.npz")
    print(f"{len(rows.train)} training and {len(rows.valid)} validation rows of {features}")
    return str(prepared.stores[features].resolve()), str(folder / "rows.npz")


def environment() -> dict[str, str]:
    """An arm's environment: no thread settings, no GPU, and token authentication for Ray."""
    inherited = {k: v for k, v in os.environ.items() if k not in THREADS}
    root = str(Path(__file__).resolve().parents[2])
    return {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")])),
        "CUDA_VISIBLE_DEVICES": "",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def run(arm: str, task: Task, *, target: float) -> Figures:
    """Runs one arm to its end.

    Raises:
        RuntimeError: it failed; the message ends with its last output.
    """
    folder = Path(task.folder)
    task.write(folder / "task.json")
    file, *more = ARMS[arm]
    command = [sys.executable, "-m", f"{PACKAGE}.{file}", str(folder / "task.json"), *more]
    log = folder / "output.txt"
    with log.open("w") as output:
        spawned_s = time.monotonic()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            cwd=folder,
            start_new_session=True,
        )
        sampler = ResourceSampler(process.pid)
        sampler.start()
        try:
            code = process.wait(LIMIT_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)  # only the processes of its own session
            process.wait(30)
            raise
    try:
        if code:
            raise RuntimeError(f"it ended with {code}")
        return figures(
            Events(str(folder / "events.jsonl")),
            spawned_s=spawned_s,
            target=target,
            memory_mb=sampler.peak_mb,
            cpu_s=sampler.cpu_s,
            trials=task.trials,
        )
    except RuntimeError as error:
        raise RuntimeError(f"{arm}: {error}; its output:\n{log.read_text()[-4000:]}") from None


def main() -> int:
    args = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the arm, too
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    found: dict[str, list[Figures]] = {arm: [] for arm in args.arms}
    with tempfile.TemporaryDirectory() as scratch:
        store, rows = prepare_data(args.architecture, Path(scratch))
        print(
            f"{args.architecture}: {args.trials} trials of at most {args.epochs} epochs, "
            f"{args.cores} cores, seeds {args.seeds}, target {args.target}\n{HEAD}",
            flush=True,
        )
        for seed in args.seeds:
            for arm in args.arms:
                folder = tempfile.mkdtemp(dir=scratch)
                ray = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # its sockets' paths are short
                try:
                    task = Task(
                        architecture=args.architecture,
                        trials=args.trials,
                        epochs=args.epochs,
                        seed=seed,
                        cores=args.cores,
                        store=store,
                        rows=rows,
                        folder=folder,
                        ray=ray,
                    )
                    done = run(arm, task, target=args.target)
                finally:
                    shutil.rmtree(ray, ignore_errors=True)
                found[arm].append(done)
                print(line(f"{arm}, seed {seed}", [done]), flush=True)
    print()
    for arm, each in found.items():
        print(line(f"{arm}, all", each))
    _print_ratios(found)
    return 0


HEAD = (
    f"{'arm':<24}{'epochs':>7}{'start':>7}{'search':>8}{'trials/h':>10}{'w. start':>9}"
    f"{'overhead s: mean':>18}{'median':>8}{'cold':>7}{'ms/epoch':>12}{'PSS MB':>8}{'CPU s':>7}"
    f"{'best':>7}{'to target':>11}"
)


def line(name: str, each: Sequence[Figures]) -> str:
    """One line of the table: means over seeds; of the times to target, the median and the count."""
    warm = [value for one in each for value in one.overhead_s]
    cold = [value for one in each for value in one.cold_s]
    hits = [one.to_target_s for one in each if one.to_target_s is not None]
    reached = f"{median(hits):.1f}" if hits else "never"
    if len(each) > 1:
        reached += f" ({len(hits)}/{len(each)})"
    epoch_ms = 1000 * sum(one.steps_s for one in each) / sum(one.epochs for one in each)
    return (
        f"{name:<24}{mean([one.epochs for one in each]):>7.0f}"
        f"{mean([one.start_s for one in each]):>7.1f}{mean([one.search_s for one in each]):>8.1f}"
        f"{mean([one.per_hour for one in each]):>10.0f}"
        f"{mean([one.per_hour_with_start for one in each]):>9.0f}"
        f"{mean(warm):>18.3f}{median(warm):>8.3f}{mean(cold):>7.2f}{epoch_ms:>12.1f}"
        f"{max(one.memory_mb for one in each):>8.0f}{mean([one.cpu_s for one in each]):>7.1f}"
        f"{mean([one.best for one in each]):>7.3f}"
        f"{reached:>11}"
    )


def _print_ratios(found: Mapping[str, Sequence[Figures]]) -> None:
    """Prints the ratios of Chorale's trials per hour and CPU time to those of the other arms."""
    ours = found.get("chorale")
    if not ours:
        return
    for arm, each in found.items():
        if arm != "chorale":
            search = mean([one.per_hour for one in ours]) / mean([one.per_hour for one in each])
            with_start = mean([one.per_hour_with_start for one in ours]) / mean(
                [one.per_hour_with_start for one in each]
            )
            cpu = mean([one.cpu_s for one in ours]) / mean([one.cpu_s for one in each])
            print(
                f"chorale / {arm:<16} {search:>6.2f} times, with the start {with_start:.2f} times, "
                f"in {cpu:.2f} times the CPU time"
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--architecture", choices=list(NARROWED), default="mlp")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", choices=list(ARMS), nargs="+", default=list(ARMS))
    parser.add_argument(
        "--target", type=float, help="validation accuracy; default 0.80 for mlp, 0.70 for cnn"
    )
    parser.add_argument("--cores", type=int, default=2)
    args = parser.parse_args()
    if args.target is None:
        args.target = TARGETS[args.architecture]
    return args


if __name__ == "__main__":
    sys.exit(main())
