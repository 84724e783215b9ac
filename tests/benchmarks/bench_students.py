"""Whether students keep what their ensembles know: `chorale compress` of several finished studies.

    python tests/benchmarks/bench_students.py STUDY [STUDY ...] --runs FOLDER [--target-ms 30]
        [--trials 12] [--cluster.address none]

A student that is there is not made again. For each study it prints what the ensemble and each
variant name rightly of the locked-away tracks, the paired difference with its 95 % interval, and
the latency of 30 s of sound on one thread, features included; then, over all studies, the mean
difference of the chosen ones in points. Other work on the machine lengthens latencies.
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
    """Prints the table; gives the exit code."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("studies", nargs="+")
    words.add_argument("--runs", required=True)
    words.add_argument("--target-ms", type=float, default=30.0)
    words.add_argument("--trials", type=int, default=12)
    given, more = words.parse_known_args()
    found = []
    for study in given.studies:
        options = ["--target-ms", f"{given.target_ms:g}", "--trials", f"{given.trials}"]
        if code := chorale(["compress", study, *options, "--runs", given.runs, *more]):
            return code
        paths = Runs(Path(given.runs)).study(student_name(study, given.target_ms))
        found.append(json.loads(paths.compress_json.read_text(encoding="utf-8")))
    print(
        "| study | variant | test | less the ensemble | out of fold | p50 | p99 | processor | MB |"
    )
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
    lost = [
        next(line["difference"] for line in one["variants"] if line["variant"] == one["chosen"])
        for one in found
    ]
    print(f"\n{len(lost)} studies: the chosen ones are {100 * np.mean(lost):+.1f} points off")
    return 0


if __name__ == "__main__":
    sys.exit(main())
