"""Fails every single write of a sweep in turn, as a full disk does, and counts what was lost.

    python tests/benchmarks/fill_disks.py                    # every write, once and for good
    python tests/benchmarks/fill_disks.py --every 10         # each tenth
    python tests/benchmarks/fill_disks.py --disks --every 4  # small disks, 4 pages more each time

The k-th write fails for growing k, until a sweep comes to its end untouched; likewise `--disks`
mounts disks (as root) that grow page by page. A sweep that stops must have said one line; then,
with room, it goes on, and everything must be as if the disk had never been full: every acknowledged
run once, the same weights and predictions. Exits with 1 if anything was otherwise.
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


class Filling:
    """All sweeps of one run of this script, and what was found."""

    def __init__(self, root: Path, driver: Any, cases: ModuleType) -> None:
        self.root, self.driver, self.cases, self.disks = root, driver, cases, load("disks")
        self.script = load("driver")
        self.script.make_corpus(root / "corpus")
        self.counts: Counter[str] = Counter()
        self.whole = self._place("whole")
        if driver.run(self.whole.command(), log=self.whole.log):
            raise SystemExit(self.whole.log.read_text())

    def writes(self, *, every: int, for_good: bool) -> None:
        """Fails the first write, the one `every` later, and so on."""
        k, failed = 1, "-"
        while failed:
            place = self._place("case")
            notes = place.root / "notes"
            full = {"root": str(place.runs), "k": k, "for_good": for_good, "notes": str(notes)}
            code = self._run(place, full=full)
            met = notes.read_text().splitlines() if notes.exists() else []
            failed = next((line[1:] for line in met if line.startswith("!")), "")
            if failed:
                what = f"write {k}, {'for good' if for_good else 'once'}: {failed}"
                self._judge(place, code, what)
            shutil.rmtree(place.root)
            k += every

    def small_disks(self, *, every: int) -> None:
        """A disk of a few pages, one of `every` more, and so on."""
        n_pages, code = every, 1
        while code:
            place = self._place("case")
            with self.disks.small_disk(place.runs, n_pages * self.disks.PAGE):
                code = self._run(place)
                self.disks.grow(place.runs, ROOMY)
                self._judge(place, code, f"a disk of {n_pages} pages")
            shutil.rmtree(place.root)
            n_pages += every

    def _run(self, place: Any, **case: Any) -> int:
        return int(self.driver.run(place.command(), log=place.log, acks=str(place.acks), **case))

    def _judge(self, place: Any, code: int, what: str) -> None:
        said = place.log.read_text()
        wrong = self.disks.ill_told(code, said)
        before = place.rows()
        ended = "stopped" if code else "went on"
        if code and self._run(place):
            wrong.append(f"it cannot go on: {place.log.read_text()[len(said) :]}")
        else:
            wrong += self.disks.unlike(self.cases, place, self.whole, before)
        self.counts[ended] += 1
        self.counts["wrong"] += bool(wrong)
        told = [line for line in said.splitlines() if "make room" in line or "disk full" in line]
        print(f"{what}; {ended}{': ' if told else ''}{' '.join(told[:1])}", flush=True)
        for one in wrong:
            print(f"  WRONG: {one}", flush=True)

    def _place(self, name: str) -> Any:
        place = self.cases.Place(self.root / name, self.root / "corpus")
        place.set_up(self.script.write_sweep, cache=None)
        return place


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="each so manyth write, or pages")
    parser.add_argument("--disks", action="store_true", help="small disks instead of single writes")
    given = parser.parse_args()
    cases = load("cases")
    root = Path(tempfile.mkdtemp(prefix="full-"))
    os.environ["TMPDIR"] = str(root)
    with cases.Driver() as driver:
        filling = Filling(root, driver, cases)
        if given.disks:
            filling.small_disks(every=given.every)
        else:
            for for_good in (False, True):
                filling.writes(every=given.every, for_good=for_good)
    shutil.rmtree(root)
    counts = filling.counts
    print(f"\n{counts['stopped']} sweeps stopped, {counts['went on']} went on; wrong: "
          f"{counts['wrong']}")  # fmt: skip
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
