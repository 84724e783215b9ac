"""Cost of each architecture: parameters, training speed, memory, latency. Prints a table.

    python tests/benchmarks/bench_architectures.py [--names cnn crnn] [--epochs 3]

Each is built from its first default config, the one for small data sets, and gets the first of its
feature sets: crops of 3 s of 96 mel bands, of an image of 128 rows, ..., or rows of a table. It
trains in its own process, on the GPU where there is one, else on one thread, as a worker does. The
prediction is of all windows of a 30-s track; architectures slower than 30 ms are named.
"""

import argparse
import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

CROP_S = 3.0
TRACK_S = 30.0
LIMIT_MS = 30.0
N_CLASSES = 10
STEPS_AN_EPOCH = 3

FRAME_RATE_HZ = 22_050 / 512
SHAPES: dict[str, tuple[int, int, float]] = {
    "mel": (1, 96, FRAME_RATE_HZ),
    "mfcc": (1, 20, FRAME_RATE_HZ),
    "stft": (1, 513, FRAME_RATE_HZ),
    "spectrogram_image": (1, 128, 432 / 30),
    "encoder": (1, 768, 50.0),
    "stats57": (1, 57, 0.0),
    "stats518": (1, 518, 0.0),
    "table": (1, 57, 0.0),
}
"""n_channels, n_bins and frames per second (0: a table) of each feature set at its defaults."""


def measure(name: str, *, epochs: int) -> dict[str, Any]:
    """Trains one architecture in this process, and times its prediction."""
    import numpy as np
    import torch

    from chorale.datasets import plugins
    from chorale.datasets.config import read_config
    from chorale.datasets.features import with_layouts
    from chorale.lightning_models import architectures
    from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames, Tracks
    from chorale.lightning_models.train_config import TrainConfig
    from chorale.lightning_models.training import speed
    from chorale.lightning_models.training.fit import predict, train_network

    speed.prepare_process()
    on_gpu = torch.cuda.is_available()
    plugin = plugins.load_plugin(architectures, name, kind="architecture")
    default = plugin.DEFAULTS[0]
    own = {key: value for key, value in default.items() if not key.startswith("train.")}
    if own.get("weights", "none") != "none":
        own["weights"] = "none"  # the same network, without a download
    train_values = {key[6:]: value for key, value in default.items() if key.startswith("train.")}
    settings = TrainConfig(**{**train_values, "crop_s": CROP_S})
    features = with_layouts(plugin.LAYOUTS)[0]
    n_channels, n_bins, rate_hz = SHAPES[features]
    n_frames = round(CROP_S * rate_hz) or 1
    n_train = STEPS_AN_EPOCH * settings.batch_size
    rng = np.random.default_rng(0)

    def store(n_tracks: int, length: int) -> MemoryFrames:
        frames = rng.standard_normal((n_tracks * length, n_channels * n_bins), np.float32)
        return MemoryFrames(frames, np.arange(n_tracks + 1) * length, rate_hz, n_channels)

    rows = np.arange(n_train + N_CLASSES)
    data = FoldData(
        store=store(len(rows), n_frames),
        train_rows=rows[:n_train],
        valid_rows=rows[n_train:],
        labels=rows % N_CLASSES,
        n_classes=N_CLASSES,
    )
    before_mb = _rss_mb()
    config = read_config(plugin.Config, own, where=name)

    def fit(n_epochs: int) -> Any:
        return train_network(
            architecture=name,
            config=config,
            train_config=dataclasses.replace(settings, max_epochs=n_epochs),
            data=data,
            seed=0,
            keep="last",
            on_epoch=lambda epoch, scores: False,
            log_dir=None,
        )

    fit(1)
    trained = fit(epochs)
    memory_mb = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak_rss_mb() - before_mb
    track = Tracks(store(1, round(TRACK_S * rate_hz) or 1))
    seconds = []
    for _ in range(12):
        started = time.perf_counter()
        predict(trained.module, track, np.array([0]))
        seconds.append(time.perf_counter() - started)
    return {
        "features": f"{features} {n_channels}x{n_bins}x{n_frames}",
        "n_parameters": trained.n_parameters,
        "batch": settings.batch_size,
        "samples_s": epochs * n_train / trained.train_s,
        "memory_mb": memory_mb,
        "predict_ms": 1000 * statistics.median(seconds[2:]),
    }


def _rss_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def _peak_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # Linux counts in kB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--names", nargs="+", default=None, help="default: all")
    parser.add_argument("--epochs", type=int, default=3, help=f"of {STEPS_AN_EPOCH} steps each")
    parser.add_argument("--arm", default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.arm:
        print(json.dumps(measure(args.arm, epochs=args.epochs)))
        return 0
    from chorale.datasets import plugins
    from chorale.lightning_models import architectures

    print(
        f"{'architecture':<24} {'input':<28} {'parameters':>11} {'batch':>5} {'samples/s':>10} "
        f"{'memory MB':>9} {'predict ms':>10}"
    )
    slow, failed = [], []
    for name in args.names or plugins.plugin_names(architectures):
        command = [sys.executable, __file__, "--arm", name, "--epochs", str(args.epochs)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            failed.append(name)
            print(f"{name:<24} {(done.stderr.splitlines() or ['failed'])[-1][:100]}", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{name:<24} {found['features']:<28} "
            f"{found['n_parameters']:>11,} {found['batch']:>5} {found['samples_s']:>10.0f} "
            f"{found['memory_mb']:>9.0f} {found['predict_ms']:>10.1f}",
            flush=True,
        )
        if found["predict_ms"] > LIMIT_MS:
            slow.append(name)
    print(f"\nslower than {LIMIT_MS:.0f} ms a track: {', '.join(slow) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
