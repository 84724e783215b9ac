"""How long a prediction takes: a clip of 30 seconds, features included, on one thread.

Candidates of a student study are timed here before they are trained, all variants again for the
table. What decides is the time of the processor, which other work on the machine hardly lengthens.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor

if TYPE_CHECKING:
    from chorale.lightning_models.data.datamodule import FoldData
    from chorale.search.training.run_trial import TrialPlan

CLIP_S = 30.0
N_WARM = 3
N_PARTS = 5
N_TIMES = 15
"""So many predictions say whether a candidate keeps to the limit;"""
N_ROUNDS = 60
"""and so many stand behind a line of the table."""


class TooSlow(Exception):  # noqa: N818 - it is what is wrong with a candidate
    """A network takes longer than it may; the text says how long."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one prediction: median and 99th percentile by the clock on the wall.

    `processor_ms` is the median of the processor's time, in the least disturbed fifth of the times.
    """

    p50_ms: float
    p99_ms: float
    processor_ms: float


def clip(sample_rate: int) -> NDArray[np.float32]:
    """Noise and a gliding tone, `CLIP_S` long: float32 (n_samples,)."""
    rng = np.random.default_rng(0)
    n = round(CLIP_S * sample_rate)
    tone = 0.2 * np.sin(np.cumsum(np.linspace(0.02, 0.6, n)))
    return np.asarray(tone + 0.05 * rng.standard_normal(n), dtype=np.float32)


def measure(ask: Callable[[], object], rounds: int) -> Latency:
    """Times `ask` on one thread, after a few times that warm up."""
    wall, processor = [], []
    with one_thread():
        for i in range(N_WARM + rounds):
            began, worked = time.perf_counter(), time.process_time()
            ask()
            if i >= N_WARM:
                wall.append(1e3 * (time.perf_counter() - began))
                processor.append(1e3 * (time.process_time() - worked))
    quiet = min(float(np.median(part)) for part in np.array_split(processor, N_PARTS))
    return Latency(float(np.median(wall)), float(np.percentile(wall, 99)), quiet)


def of_bundle(folder: Path, rounds: int = N_ROUNDS) -> Latency:
    """The latency of the bundle in `folder`."""
    predictor = Predictor(Bundle.open(folder))
    sample_rate = rate_of(predictor)
    wave = clip(sample_rate)
    return measure(lambda: predictor.of_waveform(wave, sample_rate), rounds)


def rate_of(predictor: Predictor) -> int:
    """The rate, in Hz, at which a predictor hears without resampling."""
    return int(next(iter(predictor.parts.configs.values())).sample_rate)


def features_ms(name: str, config: Any) -> float:
    """What a feature set alone takes, in milliseconds of the processor."""
    from chorale.datasets import features, plugins

    extract = plugins.load(features, name, kind="feature set").extract
    wave = clip(int(config.sample_rate))
    return measure(lambda: extract(wave, config), N_TIMES).processor_ms


def refuse_slow(plan: "TrialPlan", data: "FoldData", *, limit_ms: float) -> float:
    """Times a candidate as it would be used, untrained and alone, before anything is spent on it.

    Gives its milliseconds.

    Raises:
        TooSlow: it is over the limit.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _write_untrained(plan, data, Path(scratch) / "bundle")
        found = of_bundle(Path(scratch) / "bundle", N_TIMES).processor_ms
    if found > limit_ms:
        raise TooSlow(
            f"{found:.2f} ms for {CLIP_S:.0f} s of sound on one thread, where {limit_ms:g} ms are "
            f"allowed ({plan.architecture}); nothing was trained"
        )
    return found


def _write_untrained(plan: "TrialPlan", data: "FoldData", to: Path) -> None:
    from chorale.lightning_models.base import load_architecture
    from chorale.lightning_models.train_config import TrainConfig
    from chorale.lightning_models.training import checkpoint
    from chorale.lightning_models.training.module import classifier_class
    from chorale.search.bundle.single_network import PLAIN, One, write_one

    train_config = TrainConfig(**plan.train)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = classifier_class(plan.architecture)(
            architecture=plan.architecture,
            config=load_architecture(plan.architecture).Config(**plan.config),
            train_config=train_config,
            input_shape=data.input_shape(train_config.crop_s),
            n_classes=len(plan.class_names),
        )
    card: Mapping[str, Any] = {
        "labels": list(plan.class_names),
        "features": plan.features,
        "features_config": dict(plan.features_config),
    }
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint.save(Path(scratch) / "weights", module, card)
        write_one(to, One("untrained", Path(scratch) / "weights", PLAIN), copy_encoder=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block torch computes on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
