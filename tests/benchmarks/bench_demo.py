"""Cost of the README's first command: wall time, memory of all processes, overhead per trial.

    python tests/benchmarks/bench_demo.py [--key.sub value ...]

Runs the demo sweep in a temporary folder, in its own process, and prints a table.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from chorale.search.ledger.ledger import Ledger
from chorale.search.paths import Runs

SAMPLE_S = 0.5


class MemorySampler(threading.Thread):
    """Samples the memory of a process and its descendants; shared pages count once (PSS)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self.peak_rss_mb = 0.0
        self._process = psutil.Process(pid)

    def run(self) -> None:
        while self._process.is_running():
            pss = rss = 0
            try:
                for process in [self._process, *self._process.children(recursive=True)]:
                    try:
                        info = process.memory_full_info()
                    except (psutil.NoSuchProcess, psutil.AccessDenied):
                        continue
                    pss, rss = pss + info.pss, rss + info.rss
            except psutil.NoSuchProcess:
                return
            self.peak_mb = max(self.peak_mb, pss / 2**20)
            self.peak_rss_mb = max(self.peak_rss_mb, rss / 2**20)
            time.sleep(SAMPLE_S)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "chorale.search", "sweep", *sys.argv[1:]]
        command += ["--runs", f"{folder}/runs", "--dataset.root", f"{folder}/synthetic"]
        began = time.perf_counter()
        process = subprocess.Popen(command)
        sampler = MemorySampler(process.pid)
        sampler.start()
        if process.wait() != 0:
            return process.returncode
        wall_s = time.perf_counter() - began
        [report] = Path(folder).glob("runs/*/report.json")
        found = json.loads(report.read_text())
        ledger = Ledger(Runs(Path(folder) / "runs").ledger_url)
        rows = ledger.rows(found["study"], "search").values()
        warm = [row for row in rows if "train_s" in row.facts][2:]
        overhead_s = sorted(
            row.facts["elapsed_s"] - row.facts["train_s"] - row.facts["valid_s"] for row in warm
        )
        median = overhead_s[len(overhead_s) // 2]
        single, ensemble = found["best_single"]["test"], found["ensemble"]["test"]
        table = {
            "wall time, s": f"{wall_s:.0f}",
            "trials": f"{sum(found['trials'][s] for s in ('complete', 'pruned', 'failed'))}",
            "peak memory of all processes (PSS), MB": f"{sampler.peak_mb:.0f}",
            "  the same as a sum of RSS, MB": f"{sampler.peak_rss_mb:.0f}",
            "overhead of a warm trial beyond its steps, s, median": f"{median:.2f}",
            "  the same, maximum": f"{overhead_s[-1]:.2f}",
            "best single, test": f"{single['accuracy']:.3f} {single['ci95']}",
            "ensemble, test": f"{ensemble['accuracy']:.3f} {ensemble['ci95']}",
        }
        width = max(map(len, table))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in table.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
