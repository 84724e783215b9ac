"""Speed of the two published feature tables, stats57 and stats518, compared with librosa.

    python tests/benchmarks/bench_feature_tables.py [--rounds 3] [--duration 30]

One thread, CPU time per clip, minimum over the rounds, which alternate. "deviation" is the largest
over all values and signals, relative to the value or, where that is larger, to the spread of the
series that it is a mean, median or extreme of; to 1 for skewness and kurtosis.
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


def reference_module() -> ModuleType:
    """The test module with the reference implementations by librosa."""
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
    parser = argparse.ArgumentParser(
        description="speed of stats57 and stats518, compared with librosa"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of a clip")
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # before numpy is imported
    warnings.simplefilter("ignore")

    from chorale.datasets.features import stats57, stats518

    reference = reference_module()
    rate = reference.RATE_HZ
    clips = [reference.signal(kind, duration_s=args.duration) for kind in SIGNALS]
    contenders = {
        "stats57": (stats57, reference.gtzan_by_librosa, reference.floor57),
        "stats518": (stats518, reference.fma_by_librosa, reference.floor518),
    }
    print(f"{'':9} librosa ms  chorale ms  ratio  deviation   ({args.duration:g} s a clip)")
    for name, (feature, by_librosa, floor) in contenders.items():
        config = feature.Config()
        deviation = 0.0
        for clip in clips:  # also warms up
            expected = by_librosa(clip, rate)
            got = feature.extract(clip, config)
            deviation = max(deviation, reference.deviations(got, expected, floor(expected)).max())
        librosa_ms, chorale_ms = [], []
        for _ in range(args.rounds):
            librosa_ms.append(cpu_ms(partial(by_librosa, clips[1], rate)))
            chorale_ms.append(cpu_ms(partial(feature.extract, clips[1], config)))
        ratio = min(librosa_ms) / min(chorale_ms)
        print(
            f"{name:9} {min(librosa_ms):10.1f} {min(chorale_ms):11.1f} {ratio:6.2f} "
            f"{deviation:10.1e}"
        )


if __name__ == "__main__":
    main()
