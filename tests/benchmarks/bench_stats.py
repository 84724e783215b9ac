"""The two published feature tables from audio: our time beside librosa's, in one run.

    python tests/benchmarks/bench_stats.py [--rounds 3] [--duration 30]

One thread, processor time of a clip, the better of the rounds, which take turns. "deviation" is
the largest of all values and signals, relative to the value or, where that is smaller: to the
spread of what it is a mean, median or extreme of; to 1 for skewness and kurtosis.
"""

import argparse
import importlib.util
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SIGNALS = ("noise", "beats", "quiet")


def definitions() -> ModuleType:
    """The plain librosa code, which is what the tests certify against."""
    path = Path(__file__).parents[1] / "datasets" / "features" / "test_stats_features.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cpu_ms(work: Callable[[], Any]) -> float:
    began_s = time.process_time()
    work()
    return 1e3 * (time.process_time() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description="stats57 and stats518: our time beside librosa's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of a clip")
    asked = parser.parse_args()
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # before numpy is imported
    warnings.simplefilter("ignore")

    from chorale.datasets.features import stats57, stats518

    plain = definitions()
    rate = plain.RATE_HZ
    clips = [plain.signal(kind, duration_s=asked.duration) for kind in SIGNALS]
    contenders = {
        "stats57": (stats57, plain.gtzan_by_librosa, plain.floor57),
        "stats518": (stats518, plain.fma_by_librosa, plain.floor518),
    }
    print(f"{'':9} librosa ms  chorale ms  ratio  deviation   ({asked.duration:g} s a clip)")
    for name, (ours, by_librosa, floor) in contenders.items():
        config = ours.Config()
        deviation = 0.0
        for clip in clips:  # warms up, too
            expected = by_librosa(clip, rate)
            got = ours.extract(clip, config)
            deviation = max(deviation, plain.deviations(got, expected, floor(expected)).max())
        theirs_ms, ours_ms = [], []
        for _ in range(asked.rounds):
            theirs_ms.append(cpu_ms(partial(by_librosa, clips[1], rate)))
            ours_ms.append(cpu_ms(partial(ours.extract, clips[1], config)))
        ratio = min(theirs_ms) / min(ours_ms)
        print(
            f"{name:9} {min(theirs_ms):10.1f} {min(ours_ms):11.1f} {ratio:6.2f} {deviation:10.1e}"
        )


if __name__ == "__main__":
    main()
