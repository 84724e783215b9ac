"""What saving a training's state costs, with and without waiting for the disk. Prints a table.

    python tests/benchmarks/bench_resume.py [--width 32] [--folder .]

The state is that of a cnn of three layers on 64 bins, the demo's, with AdamW's moments, a running
average and the best epoch's weights: the most that a state can hold.
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
from chorale.lightning_models.training.fit import train


def state_of(width: int) -> resume.State:
    """A state as a training writes it."""
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
        train(
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
        state = resume.load(Path(folder))
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
    parser.add_argument("--folder", default=None, help="where to write; the disk that counts")
    options = parser.parse_args()
    speed.prepare()
    state = state_of(options.width)
    size = sum(value.numel() * value.element_size() for value in state.tensors.values())
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        whole_ms = median_ms(lambda: resume.save(folder, state))
        load_ms = median_ms(lambda: resume.load(folder))
        with mock.patch("os.fsync"):
            rest_ms = median_ms(lambda: resume.save(folder, state))
    print(f"{'a state of':<28} {size / 2**20:>8.2f} MB")
    print(f"{'a save':<28} {whole_ms:>8.2f} ms")
    print(f"{'  but for fsync':<28} {rest_ms:>8.2f} ms")
    print(f"{'a load':<28} {load_ms:>8.2f} ms")


if __name__ == "__main__":
    main()
