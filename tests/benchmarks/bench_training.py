"""Training throughput, compared with PyTorch's and Lightning's defaults. Prints a table.

    python tests/benchmarks/bench_training.py [--steps 24] [--processes 2] [--only cnn mlp]

Every arm trains in `--processes` processes at once, like the workers of a sweep; samples/s are
their sum, of the training steps alone, after a warm-up fit. The inputs are 64 x 128 crops for
`cnn`, 20 x 128 for `recurrent`, rows of 57 columns for `mlp` (with ten times the steps), in batches
of 64. The default arms train the same LightningModule on the same data for the same steps with a
default Trainer and DataLoader: PyTorch's threads, allocator and layout, float32, AdamW, Lightning's
logger, checkpoints, progress bar and so on. Goals, on 2 cores: cnn 4 times, mlp 5 times the
defaults, less than 5 ms for a fit beyond its steps. The last lines are these fixed costs, of a tiny
network that is trained for one step.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 64
N_FRAMES = 128
N_CLASSES = 10
STEPS_PER_EPOCH = 4

CNN: dict[str, Any] = {"architecture": "cnn", "config": {}}
LSTM: dict[str, Any] = {"architecture": "recurrent", "config": {"cell": "lstm"}}
GRU: dict[str, Any] = {"architecture": "recurrent", "config": {"cell": "gru"}}
MLP: dict[str, Any] = {"architecture": "mlp", "config": {}}
ARMS: dict[str, dict[str, Any]] = {
    "cnn, defaults": {**CNN, "chorale": False},
    "cnn, chorale in float32": {**CNN, "bf16": False},
    "cnn, chorale": CNN,
    "mlp, defaults": {**MLP, "chorale": False},
    "mlp, chorale": MLP,
    "lstm, defaults": {**LSTM, "chorale": False},
    "lstm, chorale in float32": {**LSTM, "bf16": False},
    "lstm, chorale": LSTM,
    "gru, defaults": {**GRU, "chorale": False},
    "gru, chorale": GRU,
}
N_BINS = {"cnn": 64, "recurrent": 20, "mlp": 57}
TIMES_STEPS = {"mlp": 10}
"""An mlp's steps are so short that more of them are measured."""


def fold(*, n_bins: int, n_tracks: int, n_frames: int) -> Any:
    """A fold of random frames; the last quarter is for validation. One frame is a table."""
    from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames

    rng = np.random.default_rng(0)
    frames = rng.standard_normal((n_tracks * n_frames, n_bins)).astype(np.float32)
    offsets = np.arange(n_tracks + 1) * n_frames
    rows = np.arange(n_tracks)
    cut = n_tracks * 3 // 4
    return FoldData(
        store=MemoryFrames(frames, offsets, frame_rate_hz=100.0 if n_frames > 1 else 0.0),
        train_rows=rows[:cut],
        valid_rows=rows[cut:],
        labels=rows % N_CLASSES,
        n_classes=N_CLASSES,
    )


def samples_per_s(arm: dict[str, Any], *, steps: int) -> float:
    """Runs one arm in this process."""
    import torch

    from chorale.datasets import plugins
    from chorale.lightning_models import architectures
    from chorale.lightning_models.training import speed

    by_chorale, name = arm.get("chorale", True), arm["architecture"]
    if by_chorale:
        speed.prepare_process()
    if not arm.get("bf16", True) or not by_chorale:
        vars(speed)["precision"] = lambda kind: torch.float32
    plugin = plugins.load_plugin(architectures, name, kind="architecture")
    run = _train_by_chorale if by_chorale else _train_by_defaults
    steps_per_epoch = STEPS_PER_EPOCH * TIMES_STEPS.get(name, 1)
    n_frames = 1 if name == "mlp" else N_FRAMES
    data = fold(n_bins=N_BINS[name], n_tracks=steps_per_epoch * BATCH * 4 // 3, n_frames=n_frames)
    config = plugin.Config(**arm["config"])
    run(name, config, data, 1)
    epochs = steps // STEPS_PER_EPOCH
    return epochs * steps_per_epoch * BATCH / run(name, config, data, epochs)


def _train_by_chorale(architecture: str, config: Any, data: Any, epochs: int) -> float:
    from chorale.lightning_models.train_config import TrainConfig
    from chorale.lightning_models.training.fit import train_network

    settings = TrainConfig(max_epochs=epochs, batch_size=BATCH, crop_s=N_FRAMES / 100)
    return train_network(
        architecture=architecture,
        config=config,
        train_config=settings,
        data=data,
        seed=0,
        keep="best",
        on_epoch=lambda epoch, scores: False,
        log_dir=None,
    ).train_s


def _train_by_defaults(architecture: str, config: Any, data: Any, epochs: int) -> float:
    import pytorch_lightning as pl
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from chorale.lightning_models.data.batches import CropSource
    from chorale.lightning_models.train_config import TrainConfig
    from chorale.lightning_models.training.module import GenreClassifier

    class Plain(GenreClassifier):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            pass

    class Clock(pl.Callback):
        seconds = 0.0
        started = 0.0

        def on_train_epoch_start(self, *_: object) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self, *_: object) -> None:
            self.seconds += time.perf_counter() - self.started

    n_frames = data.input_shape(N_FRAMES / 100)[2]
    module = Plain(
        architecture=architecture,
        config=config,
        train_config=TrainConfig(),
        input_shape=(1, data.store.n_bins, n_frames),
        n_classes=N_CLASSES,
        statistics=data.statistics(center=False),
    )
    module.network.to(memory_format=torch.contiguous_format)
    rows = torch.from_numpy(data.train_rows)
    pad, cpu = torch.zeros(data.store.n_bins), torch.device("cpu")
    source = CropSource(data, n_frames=n_frames, pad=pad, center=False, device=cpu)
    x = source.gather(rows, torch.zeros_like(rows)).contiguous()
    loader = DataLoader(
        TensorDataset(x, torch.from_numpy(data.labels)[rows]), batch_size=BATCH, shuffle=True
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=epochs, accelerator="cpu", default_root_dir=folder, callbacks=[clock]
        )
        trainer.fit(module, loader)
    return clock.seconds


def fixed_costs() -> dict[str, float]:
    """Milliseconds of a fit of a tiny network, by part."""
    from chorale.lightning_models.training import speed

    speed.prepare_process()

    import torch

    from chorale.lightning_models.architectures import cnn
    from chorale.lightning_models.data.batches import TrainBatches
    from chorale.lightning_models.train_config import TrainConfig
    from chorale.lightning_models.training.fit import predict, train_network
    from chorale.lightning_models.training.module import GenreClassifier

    data = fold(n_bins=16, n_tracks=8, n_frames=20)
    config = cnn.Config(n_layers=2, width=4, dense=8)

    def fit(epochs: int) -> Any:
        return train_network(
            architecture="cnn",
            config=config,
            train_config=TrainConfig(max_epochs=epochs, crop_s=0.2),
            data=data,
            seed=0,
            keep="best",
            on_epoch=lambda epoch, scores: False,
            log_dir=None,
        )

    def build() -> GenreClassifier:
        return GenreClassifier(
            architecture="cnn",
            config=config,
            train_config=TrainConfig(),
            input_shape=(1, 16, 20),
            n_classes=N_CLASSES,
            statistics=data.statistics(center=False),
        )

    module = build().train()
    optimizer = module.configure_optimizers()
    batches = TrainBatches(data, TrainConfig(), n_frames=20, seed=0)

    def bare_epoch() -> None:
        for batch in batches:
            optimizer.zero_grad()
            module.training_step(batch).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
        predict(module, data, data.valid_rows)

    one, bare, built, eleven = _medians_ms(lambda: fit(1), bare_epoch, build, lambda: fit(11))
    return {
        "a fit of 1 epoch of 1 step": one,
        "  of which: step and validation": bare,
        "  of which: building the network": built,
        "  of which: fixed cost of a fit": one - bare - built,
        "a further epoch, beyond step and validation": (eleven - one) / 10 - bare,
    }


def _medians_ms(*works: Callable[[], Any], times: int = 40) -> list[float]:
    """The median time of each function; they run in turn, so that other load affects all alike."""
    seconds: list[list[float]] = [[] for _ in works]
    for i in range(times + 1):
        for work, taken in zip(works, seconds, strict=True):
            started = time.perf_counter()
            work()
            if i:  # the first round is a warm-up
                taken.append(time.perf_counter() - started)
    return [1000 * statistics.median(taken) for taken in seconds]


def in_processes(n: int, *arguments: str) -> list[Any]:
    """Runs this script `n` times at once; returns the last line of each, parsed as JSON."""
    command = [sys.executable, __file__, *arguments]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(n)
    ]
    answers = []
    for process in processes:
        out, err = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(err)
        answers.append(json.loads(out.splitlines()[-1]))
    return answers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--processes", type=int, default=2)
    names = sorted({name.split(",")[0] for name in ARMS})
    parser.add_argument("--only", nargs="+", choices=names, help="networks; default: all")
    parser.add_argument("--arm", choices=[*ARMS, "fixed"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.arm == "fixed":
        print(json.dumps(fixed_costs()))
        return 0
    if args.arm:
        print(json.dumps(samples_per_s(ARMS[args.arm], steps=args.steps)))
        return 0
    print(f"{'arm':<24} {'samples/s':>10} {'x defaults':>10}   ({args.processes} processes)")
    defaults: dict[str, float] = {}
    for name in ARMS:
        if args.only and name.split(",")[0] not in args.only:
            continue
        arguments = ("--arm", name, "--steps", str(args.steps))
        rate = sum(in_processes(args.processes, *arguments))
        base = defaults.setdefault(name.split(",")[0], rate)
        print(f"{name:<24} {rate:>10.0f} {rate / base:>10.1f}", flush=True)
    print()
    for name, cost_ms in in_processes(1, "--arm", "fixed")[0].items():
        print(f"{name:<46} {cost_ms:>6.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
