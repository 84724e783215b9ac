"""Measures inference latency: a clip of 30 s, features included, on one thread.

Where a sweep limits the cost of its model, and in a student study, networks are measured before
they are trained; the variants of students are measured again for the report. The criterion is CPU
time, which other work on the machine hardly affects.
"""

import functools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from chorale.lightning_models.base import load_architecture
from chorale.lightning_models.data.datamodule import Tracks
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.classifier import Classifier
from chorale.lightning_models.training.module import classifier_class
from chorale.lightning_models.training.predict import predict
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.encoder_copy import with_bundled_encoder
from chorale.search.bundle.loading import extract_all, load_extractor, with_parts
from chorale.search.bundle.predictor import Predictor
from chorale.search.config.limit_config import LimitConfig
from chorale.search.paths import BundlePaths, folder_bytes
from chorale.search.training.model_cost import NetworkCost

if TYPE_CHECKING:
    from chorale.lightning_models.data.datamodule import FoldData
    from chorale.search.training.trial_plan import TrialPlan

CLIP_S = 30.0
N_WARM_UP = 3
N_BLOCKS = 5
N_CANDIDATE_ROUNDS = 15
"""The number of measured predictions of a network that is not trained yet."""
N_REPORTED_ROUNDS = 60
"""The number of measured predictions behind a line of the report's table."""


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


def exceeded_limit(folder: Path, limit: LimitConfig) -> str:
    """What the bundle in a folder exceeds of a sweep's limit; "" where it keeps to it."""
    found = []
    if limit.latency_ms is not None:
        takes_ms = bundle_latency(folder).processor_ms
        if takes_ms > limit.latency_ms:
            found.append(
                f"predicting {CLIP_S:.0f} s of audio takes {takes_ms:.1f} ms, and limit.latency_ms "
                f"is {limit.latency_ms:g}"
            )
    size_mb = folder_bytes(folder) / 1e6
    if limit.size_mb is not None and size_mb > limit.size_mb:
        found.append(f"it has {size_mb:.1f} MB, and limit.size_mb is {limit.size_mb:g}")
    return "; ".join(found)


def predictor_sample_rate(predictor: Predictor) -> int:
    """The sample rate in Hz at which a predictor needs no resampling."""
    return int(next(iter(predictor.parts.configs.values())).sample_rate)


def measure_cost(plan: "TrialPlan", data: "FoldData") -> NetworkCost:
    """Measures the network of a plan before it is trained; its features once in a process.

    Args:
        plan: its input; of ready-made features, which no recording gives, only the network counts.
        data: the fold, for the shape of the input.

    Raises:
        UserError: its encoder cannot be read, or its licence forbids to pass on what it gives.
    """
    module = _untrained(plan, data)
    rows = np.zeros(1, np.int64)
    if plan.features_config:
        clip = features_of_clip(plan.features, json.dumps(dict(plan.features_config)))
    else:
        clip, rows = FeaturesOfClip(data, 0.0, 0.0), data.valid_rows[:1]  # not one of the test set
    found = measure_latency(lambda: predict(module, clip.tracks, rows), N_CANDIDATE_ROUNDS)
    state = module.state_dict().values()
    n_bytes = sum(value.numel() * value.element_size() for value in state)
    return NetworkCost(
        plan.features, clip.latency_ms, found.processor_ms, clip.size_mb, n_bytes / 1e6
    )


@dataclass(frozen=True)
class FeaturesOfClip:
    """The features of a clip as the tracks of a network, and what they cost."""

    tracks: Tracks
    latency_ms: float
    size_mb: float


@functools.cache  # a process trains many networks on one feature set
def features_of_clip(name: str, config_json: str) -> FeaturesOfClip:
    """Extracts the features of a clip, and measures that; its config is given as JSON.

    The size is that of the encoders that a bundle would hold.
    """
    config = json.loads(config_json)
    extractor = load_extractor(name, config, Path())
    extractors = with_parts({name: extractor})
    rate = int(extractor.config.sample_rate)
    wave = make_clip(rate)
    found = measure_latency(lambda: extract_all(extractors, wave, rate), N_CANDIDATE_ROUNDS)
    with tempfile.TemporaryDirectory() as scratch:
        with_bundled_encoder(name, config, BundlePaths(Path(scratch)))
        size_mb = folder_bytes(Path(scratch)) / 1e6
    features = extract_all(extractors, wave, rate)[name]
    return FeaturesOfClip(extractor.tracks([features]), found.processor_ms, size_mb)


def _untrained(plan: "TrialPlan", data: "FoldData") -> Classifier:
    """The network of a plan with random weights, and statistics as of standardized features."""
    train_config = TrainConfig(**plan.train)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return classifier_class(plan.architecture)(
            architecture=plan.architecture,
            config=load_architecture(plan.architecture).Config(**plan.config),
            train_config=train_config,
            input_shape=data.input_shape(train_config.crop_s),
            n_classes=len(plan.class_names),
            multi_label=plan.labels.ndim == 2,
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
