"""Measures inference latency: a clip of 30 s, features included, on one thread.

Candidates of a student study are measured before they are trained, and all variants again for the
report. The criterion is CPU time, which other work on the machine hardly affects.
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
    from chorale.search.training.trial_plan import TrialPlan

CLIP_S = 30.0
N_WARM_UP = 3
N_BLOCKS = 5
N_CANDIDATE_ROUNDS = 15
"""The number of measured predictions that decide whether a candidate is within the limit."""
N_REPORTED_ROUNDS = 60
"""The number of measured predictions behind a line of the report's table."""


class TooSlow(Exception):  # noqa: N818 - the outcome of a candidate
    """A network exceeds the latency limit; the text says by how much."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one prediction: median and 99th percentile of wall time.

    `processor_ms` is the median CPU time in the fastest of `N_BLOCKS` blocks of measurements.
    """

    p50_ms: float
    p99_ms: float
    processor_ms: float


def make_clip(sample_rate: int) -> NDArray[np.float32]:
    """Noise and a sweeping tone of `CLIP_S` seconds: float32 (n_samples,)."""
    rng = np.random.default_rng(0)
    n = round(CLIP_S * sample_rate)
    tone = 0.2 * np.sin(np.cumsum(np.linspace(0.02, 0.6, n)))
    return np.asarray(tone + 0.05 * rng.standard_normal(n), dtype=np.float32)


def measure_latency(call: Callable[[], object], rounds: int) -> Latency:
    """Measures `call` on one thread, after some warm-up calls."""
    wall, processor = [], []
    with one_thread():
        for i in range(N_WARM_UP + rounds):
            began, worked = time.perf_counter(), time.process_time()
            call()
            if i >= N_WARM_UP:
                wall.append(1e3 * (time.perf_counter() - began))
                processor.append(1e3 * (time.process_time() - worked))
    quiet = min(float(np.median(part)) for part in np.array_split(processor, N_BLOCKS))
    return Latency(float(np.median(wall)), float(np.percentile(wall, 99)), quiet)


def bundle_latency(folder: Path, rounds: int = N_REPORTED_ROUNDS) -> Latency:
    """The latency of the bundle in a folder."""
    predictor = Predictor(Bundle.open(folder))
    sample_rate = predictor_sample_rate(predictor)
    wave = make_clip(sample_rate)
    return measure_latency(lambda: predictor.predict_waveform(wave, sample_rate), rounds)


def predictor_sample_rate(predictor: Predictor) -> int:
    """The sample rate in Hz at which a predictor needs no resampling."""
    return int(next(iter(predictor.parts.configs.values())).sample_rate)


def features_latency_ms(name: str, config: Any) -> float:
    """The CPU time of a feature set's extraction alone, in milliseconds."""
    from chorale.datasets.features import load_feature_set

    extract = load_feature_set(name).extract
    wave = make_clip(int(config.sample_rate))
    return measure_latency(lambda: extract(wave, config), N_CANDIDATE_ROUNDS).processor_ms


def refuse_slow_network(plan: "TrialPlan", data: "FoldData", *, limit_ms: float) -> float:
    """Measures an untrained candidate in a bundle of its own, before any training.

    Returns:
        Its CPU time in milliseconds.

    Raises:
        TooSlow: it exceeds the limit.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _write_untrained(plan, data, Path(scratch) / "bundle")
        found = bundle_latency(Path(scratch) / "bundle", N_CANDIDATE_ROUNDS).processor_ms
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
    from chorale.search.bundle.single_network import (
        UNCALIBRATED,
        SingleNetwork,
        write_single_network_bundle,
    )

    train_config = TrainConfig(**plan.train)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = classifier_class(plan.architecture)(
            architecture=plan.architecture,
            config=load_architecture(plan.architecture).Config(**plan.config),
            train_config=train_config,
            input_shape=data.input_shape(train_config.crop_s),
            n_classes=len(plan.class_names),
            multi_label=plan.labels.ndim == 2,
        )
    card: Mapping[str, Any] = {
        "labels": list(plan.class_names),
        "features": plan.features,
        "features_config": dict(plan.features_config),
    }
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint.save_checkpoint(Path(scratch) / "weights", module, card)
        write_single_network_bundle(
            to,
            SingleNetwork("untrained", Path(scratch) / "weights", UNCALIBRATED),
            copy_encoder=False,
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block PyTorch computes on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
