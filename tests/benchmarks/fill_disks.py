"""Fault injection: fails each write of a sweep in turn with "disk full", and checks the result.

    python tests/benchmarks/fill_disks.py                    # every write, once and permanently
    python tests/benchmarks/fill_disks.py --every 10         # every tenth write
    python tests/benchmarks/fill_disks.py --disks --every 4  # small disks in steps of 4 pages

The k-th write fails for growing k, until a sweep completes without a failure; `--disks` mounts (as
root) disks of growing size instead. A sweep that stops must print one error line. It is resumed
with free space, and must end as if the disk had never been full: each acknowledged run exactly
once, the same weights and predictions. Exits with 1 on any difference.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

CRASH = Path(__file__).parents[1] / "search" / "crash"
ROOMY = 64 * 2**20


def load(name: str) -> ModuleType:
    """A file of the crash tests as a module."""
    spec = importlib.util.spec_from_file_location(f"crash_{name}", CRASH / f"{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(CRASH / f"{name}.py")
    module = sys.modules[f"crash_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class DiskFullRuns:
    """The sweeps of one run of this script, and their counts."""

    def __init__(self, root: Path, driver: Any, cases: ModuleType) -> None:
        self.root, self.driver, self.cases, self.disks = root, driver, cases, load("disks")
        self.script = load("driver")
        self.script.make_corpus(root / "corpus")
        self.counts: Counter[str] = Counter()
        self.uninterrupted = self._sandbox("uninterrupted")
        if driver.run(self.uninterrupted.command(), log=self.uninterrupted.log):
            raise SystemExit(self.uninterrupted.log.read_text())

    def writes(self, *, every: int, permanent: bool) -> None:
        """Fails the first write, then the one `every` later, and so on."""
        k, failed = 1, "-"
        while failed:
            sandbox = self._sandbox("case")
            log = sandbox.root / "write-log"
            full = {
                "root": str(sandbox.runs),
                "k": k,
                "permanent": permanent,
                "write_log": str(log),
            }
            code = self._run(sandbox, full=full)
            writes = log.read_text().splitlines() if log.exists() else []
            failed = next((line[1:] for line in writes if line.startswith("!")), "")
            if failed:
                what = f"write {k}, {'permanently' if permanent else 'once'}: {failed}"
                self._check(sandbox, code, what)
            shutil.rmtree(sandbox.root)
            k += every

    def small_disks(self, *, every: int) -> None:
        """Runs sweeps on disks of `every` pages, twice as many, and so on."""
        n_pages, code = every, 1
        while code:
            sandbox = self._sandbox("case")
            with self.disks.small_disk(sandbox.runs, n_pages * self.disks.PAGE):
                code = self._run(sandbox)
                self.disks.grow(sandbox.runs, ROOMY)
                self._check(sandbox, code, f"a disk of {n_pages} pages")
            shutil.rmtree(sandbox.root)
            n_pages += every

    def _run(self, sandbox: Any, **case: Any) -> int:
        return int(
            self.driver.run(sandbox.command(), log=sandbox.log, acks=str(sandbox.acks), **case)
        )

    def _check(self, sandbox: Any, code: int, what: str) -> None:
        log = sandbox.log.read_text()
        failures = self.disks.message_problems(code, log)
        before = sandbox.rows()
        ended = "stopped" if code else "continued"
        if code and self._run(sandbox):
            failures.append(f"it cannot be resumed: {sandbox.log.read_text()[len(log) :]}")
        else:
            failures += self.disks.differences(self.cases, sandbox, self.uninterrupted, before)
        self.counts[ended] += 1
        self.counts["failed"] += bool(failures)
        lines = log.splitlines()
        messages = [one for one in lines if self.disks.has_advice(one) or "disk full" in one]
        print(f"{what}; {ended}{': ' if messages else ''}{' '.join(messages[:1])}", flush=True)
        for one in failures:
            print(f"  FAILED: {one}", flush=True)

    def _sandbox(self, name: str) -> Any:
        sandbox = self.cases.Sandbox(self.root / name, self.root / "corpus")
        sandbox.set_up(self.script.write_sweep, cache=None)
        return sandbox


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="step of writes, or of pages")
    parser.add_argument("--disks", action="store_true", help="small disks instead of single writes")
    args = parser.parse_args()
    cases = load("cases")
    root = Path(tempfile.mkdtemp(prefix="full-"))
    os.environ["TMPDIR"] = str(root)
    with load("driver").Driver() as driver:
        runs = DiskFullRuns(root, driver, cases)
        if args.disks:
            runs.small_disks(every=args.every)
        else:
            for permanent in (False, True):
                runs.writes(every=args.every, permanent=permanent)
    shutil.rmtree(root)
    counts = runs.counts
    print(f"\n{counts['stopped']} sweeps stopped, {counts['continued']} continued; failures: "
          f"{counts['failed']}")  # fmt: skip
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
