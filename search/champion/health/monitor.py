"""Watches the answers of one server: the latest in memory, all in its ring, and the alarm.

A server calls `observe` with each answer, and reads `health` where `/metrics` is scraped.
"""

import logging
import math
import time
from collections import deque
from pathlib import Path

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import TrackPrediction
from chorale.search.champion.health.alarm import N_RECENT, ConfidenceAlarm
from chorale.search.champion.health.health import Health, confidence_of, health_of
from chorale.search.champion.health.ring import Answer, Answers, RingWriter

LOG = logging.getLogger(__name__)


class HealthMonitor:
    """The statistics of one server's answers. Not for several threads at once."""

    def __init__(self, bundle: Bundle, folder: Path | None = None) -> None:
        """With a folder, answers are also written to a ring there.

        Raises:
            UserError: the folder cannot be written to.
        """
        self.manifest, self.folder = bundle.manifest, folder
        self._recent: deque[Answer] = deque(maxlen=N_RECENT)
        self._n = 0
        reference = bundle.manifest.confidence
        self._alarm = None if reference is None else ConfidenceAlarm(reference)
        self._ring = None if folder is None else RingWriter(folder, bundle.digest)
        self.n_lost = 0
        """Answers that could not be written."""

    def observe(self, prediction: TrackPrediction) -> None:
        """Takes an answer; a ring that cannot be written is reported once, and refuses nothing."""
        margin = prediction.similarity_margin
        answer = Answer(
            time.time(),
            confidence_of(prediction),
            prediction.disagreement,
            math.nan if margin is None else margin,
            prediction.out_of_distribution,
        )
        self._n += 1
        self._recent.append(answer)
        if self._alarm is not None:
            self._alarm.observe(answer.time_s, answer.credit)
        if self._ring is None:
            return
        try:
            self._ring.append(answer)
        except OSError as error:
            if not self.n_lost:
                LOG.warning("statistics of answers are not written: %s", error)
            self.n_lost += 1

    def health(self) -> Health:
        """The health by this server's latest answers."""
        state = None if self._alarm is None else self._alarm.state
        return health_of(Answers.of(self._recent), self.manifest, n_answers=self._n, alarm=state)

    def close(self) -> None:
        """Closes the ring."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
