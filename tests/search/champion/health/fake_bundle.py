"""A bundle without networks, whose manifest is all that watching its answers needs."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from chorale.search.bundle.bundle import MANIFEST_VERSION, Bundle, BundleManifest
from chorale.search.bundle.predictor import TrackPrediction
from chorale.search.champion.health.monitor import HealthMonitor
from chorale.search.paths import BundlePaths
from chorale.search.statistics.confidence_reference import ConfidenceReference

REFERENCE = ConfidenceReference(
    n_tracks=500, n_groups=100, confidence=0.9, confidence_std=0.1, confidence_margin=0.01,
    overconfidence=0.05, overconfidence_margin=0.02, flagged=0.01, confidence_correlation=0.0,
    group_correlation=0.1,
    group_size=5.0,
)  # fmt: skip

MANIFEST = BundleManifest(
    version=MANIFEST_VERSION, study="s", labels=("a", "b"), kind="soft_vote", members=("0",),
    architectures=("cnn",), networks=(), features={}, temperature=1.0, coverage=0.9,
    least_proba=0.1, most_disagreement=0.2, about={"headline": ""}, files={},
    confidence=REFERENCE,
)  # fmt: skip


def bundle(*, reference: ConfidenceReference | None = REFERENCE) -> Bundle:
    """The bundle; without a reference, as older versions made it."""
    return Bundle(BundlePaths(Path("b")), replace(MANIFEST, confidence=reference), "ab" * 32)


def prediction(confidence: float, *, outside: bool = False) -> TrackPrediction:
    """A prediction with a confidence."""
    proba = np.array([confidence, 1 - confidence])
    return TrackPrediction(proba, proba > 0.5, 0.05, outside, similarity_margin=0.2)


def health_monitor() -> HealthMonitor:
    """A monitor that has one answer."""
    monitor = HealthMonitor(bundle())
    monitor.observe(prediction(0.8))
    return monitor
