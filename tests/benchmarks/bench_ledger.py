"""Overhead of the ledger per trial, in milliseconds by part, compared with Optuna's own storage.

    python tests/benchmarks/bench_ledger.py [--trials 10 100 1000] [--postgres URL]

Each trial is asked (12 parameters, sampled at random so that the sampler's own time is small),
reports 10 epochs to a successive-halving pruner, is recorded and ended (`tell`). Prints a
table.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, RDBStorage

from chorale.search.ledger.ledger import Ledger, Row

N_PARAMS = 12
N_REPORTS = 10
PARTS = ("ask", "report", "record", "tell")
FACTS = {
    "architecture": "cnn",
    "config": {f"p{i}": 0.123456789 for i in range(N_PARAMS)},
    "metrics": {"accuracy": 0.5, "macro_f1": 0.5, "log_loss": 1.0},
}


class Stopwatch:
    """Wall time by part, and total CPU time, which other load on the machine hardly changes."""

    def __init__(self) -> None:
        self.spent_s = dict.fromkeys(PARTS, 0.0)
        self.cpu_s = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began, cpu_began = time.perf_counter(), time.process_time()
        yield
        self.spent_s[name] += time.perf_counter() - began
        self.cpu_s += time.process_time() - cpu_began


def run(
    storage: BaseStorage, *, n: int, flush: Callable[[], None], record: Callable[[Row], None]
) -> Stopwatch:
    """Runs `n` trials of one study."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3)
    study = optuna.create_study(
        storage=storage,
        study_name=f"s{n}",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=pruner,
    )
    watch = Stopwatch()
    for number in range(n):
        with watch.part("ask"):
            trial = study.ask()
            for i in range(N_PARAMS):
                trial.suggest_float(f"p{i}", 0.0, 1.0)
            flush()
        for step in range(1, N_REPORTS + 1):
            with watch.part("report"):
                trial.report(step / N_REPORTS, step)
                trial.should_prune()
        with watch.part("record"):
            record(Row(str(number), "COMPLETE", facts=FACTS))
        with watch.part("tell"):
            study.tell(trial, 0.5)
    return watch


def show(name: str, n: int, watch: Stopwatch) -> None:
    """One line of the table."""
    ms = {part: 1000 * watch.spent_s[part] / n for part in PARTS}
    cells = "".join(f"{ms[part]:>9.2f}" for part in PARTS)
    print(
        f"{name:<28}{n:>7}{cells}{sum(ms.values()):>9.2f}{1000 * watch.cpu_s / n:>9.2f}", flush=True
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument(
        "--postgres", help="postgresql+psycopg://USER@HOST/DATABASE, an empty database"
    )
    parser.add_argument(
        "--folder", type=Path, help="a folder on the disk to measure; default: TMPDIR"
    )
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(
        f"{'ms per trial':<28}{'trials':>7}"
        + "".join(f"{p:>9}" for p in PARTS)
        + f"{'sum':>9}{'cpu':>9}"
    )
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        urls = {"ledger, SQLite": f"sqlite:///{folder}/chorale.db"}
        if args.postgres:
            urls["ledger, PostgreSQL"] = args.postgres
        for n in args.trials:
            for name, url in urls.items():
                ledger = Ledger(url)
                study = f"s{n}"
                ledger.create(study, {})
                record = partial(ledger.record, study, "search")
                watch = run(ledger.optuna, n=n, flush=ledger.flush, record=record)
                ledger.release(study, "complete", spent_s=1.0)
                ledger.close()
                show(name, n, watch)
        n = args.trials[0]
        plain = RDBStorage(f"sqlite:///{folder}/optuna.db")
        watch = run(plain, n=n, flush=lambda: None, record=lambda row: None)
        show("Optuna's own, SQLite", n, watch)


if __name__ == "__main__":
    main()
