"""Several labels at once: the sweep on polyphonic corpora of several seeds, beside one-vs-rest.

    python tests/benchmarks/bench_multi_label.py --work FOLDER [--seeds 5] [--minutes 5]

Each seed is another corpus, by other artists, and no model was trained on its test artists. Prints
the test mAP with its 95 % interval of one-vs-rest logistic regression on the same features (tuned
out of fold by the sweep), of the best single network and of every ensemble; the chosen one's gain
over logistic regression (goal: 5 points on average), the coverage of its sets, the calibration
error of each label, and the time. A seed that is finished in FOLDER is not run again.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from chorale.search.paths import Runs

LINEAR = "logistic_regression"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("set", nargs="*", help="further keys of the sweep: --search.sampler random")
    options, more = parser.parse_known_args()
    found = []
    for seed in range(options.seeds):
        report = _swept(options.work, seed, options.minutes, [*options.set, *more])
        found.append(report)
        _print_seed(seed, report)
    _print_all(found)
    return 0


def _swept(work: Path, seed: int, minutes: float, more: list[str]) -> dict[str, Any]:
    """The report of one corpus's sweep, with `took_s`."""
    name = f"seed-{seed}-{minutes:g}"
    file = Runs(work / "runs").study(name).root / "report.json"
    took = work / f"{name}.seconds"
    if not took.is_file():
        command = [sys.executable, "-m", "chorale.search", "sweep", "polyphonic", "--name", name]
        command += ["--runs", f"{work}/runs", "--dataset.root", f"{work}/audio"]
        command += ["--dataset.seed", str(seed), "--search.seed", str(seed)]
        command += ["--budget.minutes", str(minutes), *more]
        # composed before: that is no part of what is measured
        subprocess.run([*command[:3], "data", "check", "polyphonic", *command[9:13]], check=False)
        began = time.perf_counter()
        with (work / f"{name}.log").open("w") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
        took.write_text(str(time.perf_counter() - began))
    return {**json.loads(file.read_text()), "took_s": float(took.read_text())}


def _print_seed(seed: int, report: dict[str, Any]) -> None:
    test = report["ensemble"]["test"]
    gain = report["gains"][LINEAR]
    low, high = (100 * one for one in gain["ci95"])
    calibration, conformal = report["calibration"]["test"], report["conformal"]
    print(
        f"\nseed {seed}: {test['n']} test clips of {test['n_groups']} artists, "
        f"{report['took_s']:.0f} s"
    )
    for name, one in [(LINEAR, report["baselines"][LINEAR]), *report["ensembles"].items()]:
        ends = " to ".join(f"{100 * end:.1f}" for end in one["test"]["ci95"])
        star = " *" if name == report["ensemble"]["kind"] else ""
        print(
            f"  {name:<20} mAP {100 * one['test']['mAP']:5.1f} ({ends}), lwlrap "
            f"{one['test']['lwlrap']:.3f}, macro-F1 {one['test']['macro_f1']:.3f}{star}"
        )
    errors = [one["ece"] for one in report["per_class"].values()]
    print(
        f"  gain {100 * gain['difference']:+.1f} ({low:+.1f} to {high:+.1f}); "
        f"calibration error {calibration['before']['ece']:.3f} -> {calibration['after']['ece']:.3f}"
        f", by label {min(errors):.3f} to {max(errors):.3f}; sets hold "
        f"{conformal['coverage']:.1%} of {conformal['wanted']:.0%}, {conformal['mean_size']:.1f} "
        f"labels"
    )


def _print_all(found: list[dict[str, Any]]) -> None:
    def column(*keys: str) -> np.ndarray:
        values = []
        for report in found:
            value: Any = report
            for key in keys:
                value = value[key]
            values.append(float(value))
        return np.array(values)

    print(f"\n{len(found)} seeds: mean (95 % interval over seeds)")
    rows = {
        f"{LINEAR}, mAP": column("baselines", LINEAR, "test", "mAP"),
        "best single network, mAP": column("best_single", "test", "mAP"),
        "chosen ensemble, mAP": column("ensemble", "test", "mAP"),
        "gain over logistic regression": column("gains", LINEAR, "difference"),
        "coverage of sets": column("conformal", "coverage"),
        "calibration error": column("calibration", "test", "after", "ece"),
        "seconds": column("took_s") / 100,
    }
    for name, values in rows.items():
        mean, n = 100 * values.mean(), len(values)
        reach = (
            100 * student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        )
        print(f"  {name:<32} {mean:6.1f} ({mean - reach:.1f} to {mean + reach:.1f})")


if __name__ == "__main__":
    sys.exit(main())
