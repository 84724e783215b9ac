"""The health of a bundle in use, in figures and as one sentence, from its answers."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from chorale.search.bundle.bundle import Bundle, BundleManifest
from chorale.search.bundle.predictor import TrackPrediction
from chorale.search.champion.health.alarm import N_RECENT, AlarmState, ConfidenceAlarm
from chorale.search.champion.health.estimate import ExpectedShare, estimate_accuracy
from chorale.search.champion.health.ring import Answers, read_rings
from chorale.search.statistics.confidence_reference import ConfidenceReference


@dataclass(frozen=True)
class Health:
    """What is known of a bundle's answers without their true classes.

    The shares and means are of the latest `n_recent` of `n_answers`, from `first_s` to `last_s`
    (UTC, seconds); None without answers. `not_estimated` states why there is no accuracy.
    `similarity_margin` is the mean, None for bundles that do not measure it.
    """

    n_answers: int
    n_recent: int
    first_s: float | None
    last_s: float | None
    accuracy: ExpectedShare | None
    reference: ConfidenceReference | None
    not_estimated: str
    confidence: float | None
    disagreement: float | None
    out_of_distribution: float | None
    similarity_margin: float | None
    alarm: AlarmState | None

    @property
    def has_alarm(self) -> bool:
        """Whether the alarm is raised."""
        return self.alarm is not None and self.alarm.active

    def sentence(self) -> str:
        """The health as one sentence."""
        if not self.n_answers:
            return "no answers yet"
        found = self.accuracy
        if found is None or self.reference is None:
            text = f"{self.n_recent:,} answers; {self.not_estimated}"
        else:
            text = (
                f"about {found.accuracy:.1%} of the last {found.n:,} answers are expected to be "
                f"right (95 % interval {found.low:.1%} to {found.high:.1%}), and on tracks like "
                f"those of the study {self.reference.accuracy:.1%}"
            )
        if self.alarm is None:
            return text
        if self.alarm.active:
            return f"{text}; ALARM since {utc_text(self.alarm.since_s)}: less confident than usual"
        return f"{text}; no alarm"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        reference = self.reference
        return {
            "n_answers": self.n_answers,
            "n_recent": self.n_recent,
            "first_utc": utc_text(self.first_s),
            "last_utc": utc_text(self.last_s),
            "expected_accuracy": None if self.accuracy is None else self.accuracy.as_dict(),
            "reference_accuracy": None if reference is None else reference.accuracy,
            "not_estimated": self.not_estimated,
            "confidence": self.confidence,
            "reference_confidence": None if reference is None else reference.confidence,
            "disagreement": self.disagreement,
            "out_of_distribution": self.out_of_distribution,
            "similarity_margin": self.similarity_margin,
            "alarm": None
            if self.alarm is None
            else asdict(self.alarm) | {"since_utc": utc_text(self.alarm.since_s)},
            "sentence": self.sentence(),
        }


def confidence_of(prediction: TrackPrediction) -> float:
    """The probability of the predicted class; of several labels the mean certainty of each."""
    proba = prediction.proba
    if prediction.predicted is None:
        return float(proba.max())
    return float(np.maximum(proba, 1 - proba).mean())


def health_of(
    recent: Answers, manifest: BundleManifest, *, n_answers: int, alarm: AlarmState | None
) -> Health:
    """The health by the latest answers of a bundle.

    Args:
        recent: the latest ones.
        manifest: the bundle's.
        n_answers: the number of all.
        alarm: after all of them; None where the bundle has no reference.
    """
    reference, n = manifest.confidence, len(recent)
    margins = recent.similarity_margin[~np.isnan(recent.similarity_margin)]

    def mean(values: np.ndarray) -> float | None:
        return float(values.mean()) if len(values) else None

    return Health(
        n_answers=n_answers,
        n_recent=n,
        first_s=float(recent.time_s[0]) if n else None,
        last_s=float(recent.time_s[-1]) if n else None,
        accuracy=None if reference is None else estimate_accuracy(recent.credit, reference),
        reference=reference,
        not_estimated=_why_not(manifest),
        confidence=mean(recent.confidence),
        disagreement=mean(recent.disagreement),
        out_of_distribution=mean(recent.out_of_distribution),
        similarity_margin=mean(margins),
        alarm=alarm,
    )


def read_health(folder: Path, bundle: Bundle, *, last: int = N_RECENT) -> tuple[Health, int, int]:
    """The health of a bundle by the rings of all its servers.

    Args:
        folder: of the rings.
        bundle: whose answers they are.
        last: the number of latest answers of which the accuracy is estimated.

    Returns:
        the health; the number of answers of other bundles; the number of damaged records.

    Raises:
        UserError: a ring cannot be opened.
    """
    rings, reference = read_rings(folder, bundle.digest), bundle.manifest.confidence
    answers, state = rings.answers, None
    if reference is not None:
        alarm = ConfidenceAlarm(reference)
        for time_s, credit in zip(answers.time_s, answers.credit, strict=True):
            alarm.observe(float(time_s), float(credit))
        state = alarm.state
    found = health_of(answers.latest(last), bundle.manifest, n_answers=len(answers), alarm=state)
    return found, rings.n_other, rings.n_damaged


def utc_text(time_s: float | None) -> str | None:
    """A time in seconds as text, to the second: 2026-12-01 03:12:05 UTC."""
    if time_s is None:
        return None
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _why_not(manifest: BundleManifest) -> str:
    """Why the accuracy is not estimated; "" where it is."""
    if manifest.multi_label:
        return "the mAP of a bundle of several labels is not estimated without labels"
    if manifest.confidence is None:
        return (
            "the accuracy is not estimated, as the bundle does not know its confidence on held-out "
            "tracks; make it again: chorale export STUDY, or chorale champion promote STUDY"
        )
    return ""
