"""How honest and how good ensembles are, in real sweeps on spoken digits and on composed music.

    python tests/benchmarks/bench_honest.py --runs FOLDER --fsdd FOLDER_OR_ZIP [--seeds 0 1 2 3 4]
        [--arms demo fsdd statistics] [--as-they-are] [--key.sub value ...]

`demo` (artists disjoint) and `fsdd` (speakers disjoint) are the shipped sweeps, `statistics` trains
perceptrons on 57 statistics of a track, in about a minute; each has a seed and a test set of its
own, music also a corpus. FOLDER keeps them: a sweep that is there is not run again, one that was
broken off goes on, and the ensembles of all are made anew from the bank, unless they are to be read
`--as-they-are`. Prints test accuracies, whether they are what was expected, and how often conformal
sets hold the true class; means have a 95 % interval of Student's t over the sweeps.
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
from chorale.search.report.report import read

KINDS = ("best_single", "soft_vote", "weighted_vote", "greedy", "stacking", "fusion")
SPEAKERS = (
    ("theo", "nicolas"),
    ("george", "jackson"),
    ("lucas", "yweweler"),
    ("george", "theo"),
    ("jackson", "lucas"),
)
"""Who is locked away, seed by seed: everybody at least once."""

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
    """One of them."""

    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.seed}"

    def words(self, *, runs: Path, fsdd: str | None, more: Sequence[str]) -> list[str]:
        """What is typed after `chorale`."""
        seed = str(self.seed)
        words = ["--name", self.name, "--runs", str(runs), "--search.seed", seed, *more]
        if self.arm == "fsdd":
            pair = ", ".join(SPEAKERS[self.seed % len(SPEAKERS)])
            words += ["--dataset.root", str(fsdd), "--split.test_groups", f"[{pair}]"]
            return ["sweep", "fsdd", *words]
        words += ["--dataset.root", str(runs / f"corpus-{seed}"), "--dataset.seed", seed]
        words += ["--split.seed", seed]
        if self.arm == "demo":
            return ["sweep", "demo", *words]
        return ["sweep", str(runs / STATISTICS_FILE), *words]


def run(
    sweep: Sweep, *, runs: Path, fsdd: str | None, anew: bool, more: Sequence[str]
) -> dict[str, Any]:
    """The report of the sweep, its ensembles made `anew` where it was there already."""
    paths = Runs(runs).study(sweep.name)
    code = 0
    if paths.report_json.exists():
        if anew:
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
                expected = [float(r["expected"]["accuracy"]) for r in reports]
                beside += ", test - expected "
                beside += interval([a - b for a, b in zip(right, expected, strict=True)])
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
    parser.add_argument("--arms", nargs="+", choices=("demo", "fsdd", "statistics"))
    parser.add_argument("--as-they-are", action="store_true", help="makes no ensembles anew")
    given, more = parser.parse_known_args()
    arms = given.arms or (["demo", "fsdd"] if given.fsdd else ["demo"])
    if "fsdd" in arms and not given.fsdd:
        parser.error("the arm fsdd needs --fsdd FOLDER_OR_ZIP")
    given.runs.mkdir(parents=True, exist_ok=True)
    (given.runs / STATISTICS_FILE).write_text(STATISTICS)
    found = {}
    for seed in given.seeds:
        for arm in arms:
            sweep = Sweep(arm, seed)
            found[sweep] = run(
                sweep, runs=given.runs, fsdd=given.fsdd, anew=not given.as_they_are, more=more
            )
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
