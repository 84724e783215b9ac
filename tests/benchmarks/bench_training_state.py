"""Time to save and load a training state, with and without fsync. Prints a table.

    python tests/benchmarks/bench_training_state.py [--width 32] [--folder .]

The state is that of the demo's CNN of three layers on 64 bins, with AdamW's moments, an EMA and the
best epoch's weights: all that a state can contain.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from chorale.lightning_models.architectures import cnn
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import resume, speed
from chorale.lightning_models.training.fit import train_network


def training_state(width: int) -> resume.TrainingState:
    """A state as a training run writes it."""
    rng = np.random.default_rng(0)
    rows = np.arange(16)
    data = FoldData(
        store=MemoryFrames(
            rng.standard_normal((16 * 60, 64)).astype(np.float32), np.arange(17) * 60, 100.0
        ),
        train_rows=rows[:12],
        valid_rows=rows[12:],
        labels=rows % 8,
        n_classes=8,
    )

    with tempfile.TemporaryDirectory() as folder:
        train_network(
            architecture="cnn",
            config=cnn.Config(width=width),
            train_config=TrainConfig(max_epochs=2, crop_s=0.5, ema_decay=0.9),
            data=data,
            seed=0,
            keep="best",
            on_epoch=lambda epoch, scores: False,
            log_dir=None,
            save_to=Path(folder),
            save_every=1,
        )
        state = resume.load_state(Path(folder))
    if state is None:
        raise RuntimeError("nothing was saved")
    return state


def median_ms(work: Callable[[], Any], *, times: int = 15) -> float:
    work()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--width", type=int, default=32, help="filters of the cnn")
    parser.add_argument("--folder", default=None, help="a folder on the disk to measure")
    args = parser.parse_args()
    speed.prepare_process()
    state = training_state(args.width)
    size = sum(value.numel() * value.element_size() for value in state.tensors.values())
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        save_ms = median_ms(lambda: resume.save_state(folder, state))
        load_ms = median_ms(lambda: resume.load_state(folder))
        with mock.patch("os.fsync"):
            no_fsync_ms = median_ms(lambda: resume.save_state(folder, state))
    print(f"{'size of the state':<28} {size / 2**20:>8.2f} MB")
    print(f"{'save':<28} {save_ms:>8.2f} ms")
    print(f"{'  without fsync':<28} {no_fsync_ms:>8.2f} ms")
    print(f"{'load':<28} {load_ms:>8.2f} ms")


if __name__ == "__main__":
    main()
