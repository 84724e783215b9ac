"""Test and expected accuracy of ensembles in real sweeps, on spoken digits and synthetic music.

    python tests/benchmarks/bench_ensemble_sweeps.py --runs FOLDER --fsdd FOLDER_OR_ZIP
        [--seeds 0 1 2 3 4] [--arms demo fsdd statistics] [--as-they-are] [--key.sub value ...]

`demo` (artists disjoint) and `fsdd` (speakers disjoint) are the shipped sweeps, `statistics` trains
MLPs on 57 statistics of a track, in about a minute. Each sweep has its own seed and test set, for
music also its own corpus. They are kept in FOLDER: a complete sweep is not run again, an
interrupted one is resumed, and all ensembles are refitted from the bank (with `--as-they-are`: read
from the reports). Prints test accuracies, their difference from the expected ones, and the coverage
of conformal sets; means have a 95 % interval by Student's t over the sweeps.
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
from chorale.search.report.report import read_report

KINDS = ("best_single", "soft_vote", "weighted_vote", "greedy", "stacking", "fusion")
SPEAKERS = (
    ("theo", "nicolas"),
    ("george", "jackson"),
    ("lucas", "yweweler"),
    ("george", "theo"),
    ("jackson", "lucas"),
)
"""The speakers of the test set by seed; each speaker at least once."""

STATISTICS_FILE = "statistics.yaml"
STATISTICS = """\
dataset: {name: synthetic}
features: {stats57: {}}
architectures: [mlp]
train: {balance: none}
split: {test: 0.25}
budget: {trials: 24, max_epochs: 24}
finalists: {configs: 6, folds: 3}
"""


@dataclass(frozen=True)
class Sweep:
    """One sweep of the benchmark."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.seed}"

    def args(self, *, runs: Path, fsdd: str | None, more: Sequence[str]) -> list[str]:
        """Its command-line arguments after `chorale`."""
        seed = str(self.seed)
        args = ["--name", self.name, "--runs", str(runs), "--search.seed", seed, *more]
        if self.arm == "fsdd":
            pair = ", ".join(SPEAKERS[self.seed % len(SPEAKERS)])
            args += ["--dataset.root", str(fsdd), "--split.test_groups", f"[{pair}]"]
            return ["sweep", "fsdd", *args]
        args += ["--dataset.root", str(runs / f"corpus-{seed}"), "--dataset.seed", seed]
        args += ["--split.seed", seed]
        if self.arm == "demo":
            return ["sweep", "demo", *args]
        return ["sweep", str(runs / STATISTICS_FILE), *args]


def run(
    sweep: Sweep, *, runs: Path, fsdd: str | None, refit: bool, more: Sequence[str]
) -> dict[str, Any]:
    """Runs or resumes the sweep; returns its report. `refit` is for ensembles of a complete one."""
    paths = Runs(runs).study(sweep.name)
    code = 0
    if paths.report_json.exists():
        if refit:
            code = chorale(["ensemble", sweep.name, "--runs", str(runs)])
    else:
        resume = ["--resume"] if paths.sweep_yaml.exists() else []
        args = [*sweep.args(runs=runs, fsdd=fsdd, more=more), *resume]
        code = subprocess.run(
            [sys.executable, "-m", "chorale.search", *args], check=False
        ).returncode
    if code:
        raise SystemExit(f"{sweep.name} ended with {code}")
    return read_report(paths)


def interval(values: Sequence[float]) -> str:
    """The mean in percentage points, with its 95 % interval."""
    points = 100 * np.asarray(values)
    if len(points) < 2:
        return f"{points.mean():+.1f}"
    low, high = stats.t.interval(0.95, len(points) - 1, points.mean(), stats.sem(points) or 1e-12)
    return f"{points.mean():.1f} ({low:.1f} to {high:.1f})"


def show(found: Mapping[Sweep, Mapping[str, Any]]) -> None:
    """Prints the tables."""
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
            test = [float(one["test"]["accuracy"]) for one in ones]
            singles = [float(r["best_single"]["test"]["accuracy"]) for r in reports]
            leads = [a - b for a, b in zip(test, singles, strict=True)]
            out_of_fold = [float(one["out_of_fold"]["accuracy"]) for one in ones]
            gaps = [a - b for a, b in zip(test, out_of_fold, strict=True)]
            details = f"test - out of fold {interval(gaps)}"
            if kind == "chosen":
                expected = [float(r["expected"]["accuracy"]) for r in reports]
                details += ", test - expected "
                details += interval([a - b for a, b in zip(test, expected, strict=True)])
            print(
                f"  {kind:<14} test {interval(test):<22} above best single "
                f"{interval(leads):<22} {details}"
            )
        covered = [r["conformal"]["coverage"] for r in reports]
        print(f"  coverage of the chosen ensemble's conformal sets: {interval(covered)}")
    print("\nThe chosen ensemble above best single, with the paired interval over groups:")
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
    parser.add_argument("--runs", type=Path, required=True, help="folder of the sweeps")
    parser.add_argument("--fsdd", help="the Free Spoken Digit Dataset: its folder or zip")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", choices=("demo", "fsdd", "statistics"))
    parser.add_argument("--as-they-are", action="store_true", help="do not refit the ensembles")
    args, more = parser.parse_known_args()
    arms = args.arms or (["demo", "fsdd"] if args.fsdd else ["demo"])
    if "fsdd" in arms and not args.fsdd:
        parser.error("the arm fsdd needs --fsdd FOLDER_OR_ZIP")
    args.runs.mkdir(parents=True, exist_ok=True)
    (args.runs / STATISTICS_FILE).write_text(STATISTICS)
    found = {}
    for seed in args.seeds:
        for arm in arms:
            sweep = Sweep(arm, seed)
            found[sweep] = run(
                sweep, runs=args.runs, fsdd=args.fsdd, refit=not args.as_they_are, more=more
            )
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
