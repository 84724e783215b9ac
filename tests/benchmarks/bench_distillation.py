"""Accuracy and latency of distilled students: `chorale compress` of several complete studies.

    python tests/benchmarks/bench_distillation.py STUDY [STUDY ...] --runs FOLDER [--target-ms 30]
        [--trials 12] [--cluster.address none]

An existing student is not trained again. Prints for each study the test accuracy of the ensemble
and of each variant, the paired difference with its 95 % interval, and the latency for 30 s of audio
on one thread, features included; then the mean difference of the chosen variants over all studies,
in percentage points. Other load on the machine increases latencies.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from chorale.search.champion.compress.run import student_name
from chorale.search.cli import main as chorale
from chorale.search.paths import Runs


def main() -> int:
    """Prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--runs", required=True)
    parser.add_argument("--target-ms", type=float, default=30.0)
    parser.add_argument("--trials", type=int, default=12)
    args, more = parser.parse_known_args()
    found = []
    for study in args.studies:
        options = ["--target-ms", f"{args.target_ms:g}", "--trials", f"{args.trials}"]
        if code := chorale(["compress", study, *options, "--runs", args.runs, *more]):
            return code
        paths = Runs(Path(args.runs)).study(student_name(study, args.target_ms))
        found.append(json.loads(paths.compress_json.read_text(encoding="utf-8")))
    print("| study | variant | test | less the ensemble | out of fold | p50 | p99 | CPU | MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in found:
        for line in one["variants"]:
            low, high = (100 * end for end in line["difference_ci95"])
            chosen = " (chosen)" if line["variant"] == one["chosen"] else ""
            out_of_fold = "" if line["out_of_fold"] is None else f"{line['out_of_fold']:.1%}"
            print(
                f"| {one['teacher']} | {line['variant']}{chosen} | {line['test']['accuracy']:.1%} "
                f"| {100 * line['difference']:+.1f} ({low:+.1f} to {high:+.1f}) | {out_of_fold} "
                f"| {line['p50_ms']:.1f} ms | {line['p99_ms']:.1f} ms "
                f"| {line['processor_ms']:.1f} ms | {line['size_mb']:.2f} |"
            )
    differences = [
        next(line["difference"] for line in one["variants"] if line["variant"] == one["chosen"])
        for one in found
    ]
    mean = 100 * np.mean(differences)
    print(
        f"\n{len(differences)} studies: mean difference of the chosen variants {mean:+.1f} points"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
