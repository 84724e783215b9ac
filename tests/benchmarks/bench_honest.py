"""How honest and how good ensembles are: ten sweeps, five on spoken digits, five on music.

    python tests/benchmarks/bench_honest.py --runs FOLDER --fsdd FOLDER_OR_ZIP [--seeds 0 1 2 3 4]
        [--arms synthetic fsdd] [--key.sub value ...]

Each sweep is a shipped one (`demo`, artists disjoint; `fsdd`, speakers disjoint) with a seed and a
test set of its own. FOLDER keeps them: a sweep that is there is not run again, one that was broken
off goes on, and the ensembles of all are made anew from the bank. Prints test accuracies, whether
out-of-fold figures foretell them, and how often conformal sets hold the true class; means have a
95 % interval of Student's t over the sweeps.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from chorale.search.cli import main as chorale
from chorale.search.paths import Runs
from chorale.search.report import read

KINDS = ("best_single", "soft_vote", "weighted_vote", "greedy", "stacking", "fusion")
SPEAKERS = (
    ("theo", "nicolas"),
    ("george", "jackson"),
    ("lucas", "yweweler"),
    ("george", "theo"),
    ("jackson", "lucas"),
)
"""Who is locked away, seed by seed: everybody at least once."""


@dataclass(frozen=True)
class Sweep:
    """One of the ten."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.seed}"

    def words(self, *, runs: Path, fsdd: str | None, more: Sequence[str]) -> list[str]:
        """What is typed after `chorale`."""
        words = ["--name", self.name, "--runs", str(runs), "--search.seed", str(self.seed), *more]
        if self.arm == "synthetic":
            words += ["--dataset.root", str(runs / "corpus"), "--split.seed", str(self.seed)]
            return ["sweep", "demo", *words]
        pair = ", ".join(SPEAKERS[self.seed % len(SPEAKERS)])
        words += ["--dataset.root", str(fsdd), "--split.test_groups", f"[{pair}]"]
        return ["sweep", "fsdd", *words]


def run(sweep: Sweep, *, runs: Path, fsdd: str | None, more: Sequence[str]) -> dict[str, Any]:
    """The report of the sweep, its ensembles made anew where it was there already."""
    paths = Runs(runs).study(sweep.name)
    if paths.report_json.exists():
        code = chorale(["ensemble", sweep.name, "--runs", str(runs)])
    else:
        again = ["--resume"] if paths.sweep_yaml.exists() else []
        words = [*sweep.words(runs=runs, fsdd=fsdd, more=more), *again]
        code = subprocess.run(
            [sys.executable, "-m", "chorale.search", *words], check=False
        ).returncode
    if code:
        raise SystemExit(f"{sweep.name} ended with {code}")
    return read(paths)


def interval(values: Sequence[float]) -> str:
    """The mean in points, with its 95 % interval."""
    each = 100 * np.asarray(values)
    if len(each) < 2:
        return f"{each.mean():+.1f}"
    low, high = stats.t.interval(0.95, len(each) - 1, each.mean(), stats.sem(each) or 1e-12)
    return f"{each.mean():.1f} ({low:.1f} to {high:.1f})"


def show(found: Mapping[Sweep, Mapping[str, Any]]) -> None:
    """The tables."""
    print(f"\n{'test accuracy':<14}" + "".join(f"{kind:>14}" for kind in KINDS) + "  chosen")
    for sweep, report in found.items():
        tests = {kind: report["ensembles"][kind]["test"]["accuracy"] for kind in KINDS}
        chosen = report["ensemble"]
        low, high = chosen["test"]["ci95"]
        print(
            f"{sweep.name:<14}"
            + "".join(f"{100 * tests[kind]:>14.1f}" for kind in KINDS)
            + f"  {chosen['kind']} {chosen['test']['accuracy']:.1%} ({low:.1%} to {high:.1%})"
        )
    groups = [("all", list(found))]
    groups += [(arm, [s for s in found if s.arm == arm]) for arm in {s.arm: 0 for s in found}]
    for name, sweeps in groups:
        reports = [found[sweep] for sweep in sweeps]
        print(f"\n{name}: means over {len(reports)} sweeps, in points, 95 % interval")
        for kind in (*KINDS, "chosen"):
            ones = [r["ensemble"] if kind == "chosen" else r["ensembles"][kind] for r in reports]
            right = [float(one["test"]["accuracy"]) for one in ones]
            singles = [float(r["best_single"]["test"]["accuracy"]) for r in reports]
            leads = [test - single for test, single in zip(right, singles, strict=True)]
            told = [float(one["out_of_fold"]["accuracy"]) for one in ones]
            gaps = [test - before for test, before in zip(right, told, strict=True)]
            beside = f"test - out of fold {interval(gaps)}"
            if kind == "chosen":
                foretold = [float(r["foretold"]["accuracy"]) for r in reports]
                beside += ", test - foretold "
                beside += interval([a - b for a, b in zip(right, foretold, strict=True)])
            print(
                f"  {kind:<14} test {interval(right):<22} above best single "
                f"{interval(leads):<22} {beside}"
            )
        covered = [r["conformal"]["coverage"] for r in reports]
        print(f"  sets of the chosen one hold the true class: {interval(covered)}")
    print("\nThe chosen one above best single, with the paired interval over groups:")
    for sweep, report in found.items():
        gain = report["gains"]["best_single"]
        low, high = gain["ci95"]
        worse = "  WORSE" if high < 0 else ""
        print(
            f"  {sweep.name:<14}{100 * gain['difference']:+6.1f} "
            f"({100 * low:+.1f} to {100 * high:+.1f}){worse}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=Path, required=True, help="keeps the sweeps")
    parser.add_argument("--fsdd", help="the Free Spoken Digit Dataset: its folder or zip")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", choices=("synthetic", "fsdd"))
    given, more = parser.parse_known_args()
    arms = given.arms or (["synthetic", "fsdd"] if given.fsdd else ["synthetic"])
    if "fsdd" in arms and not given.fsdd:
        parser.error("the arm fsdd needs --fsdd FOLDER_OR_ZIP")
    found = {}
    for seed in given.seeds:
        for arm in arms:
            sweep = Sweep(arm, seed)
            found[sweep] = run(sweep, runs=given.runs, fsdd=given.fsdd, more=more)
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
