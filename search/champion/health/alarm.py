"""A sequential test that raises an alarm where served answers become less confident.

Quiet means: whatever came before, the next answer's confidence is on average no lower than m0, the
confidence on held-out tracks minus the margin of its error. While it is quiet, the factor
1 + bet * (m0 - confidence) of an answer has a mean of at most 1. The evidence

    evidence = factor * (evidence + days since the last answer)

is then at most the days that have passed, on average (a Shiryaev-Roberts sum: one bet that begins
at every moment). The alarm is raised, and the evidence set to 0, where it reaches `QUIET_DAYS`.
So evidence + QUIET_DAYS * alarms - days is a supermartingale, and in D quiet days at most
D / QUIET_DAYS alarms are expected, at any rate of requests, for any distribution of confidence.

The bet is the one of Kelly that wins fastest where the mean falls by `LOSS`; it decides how soon an
alarm comes, not how often a false one does.

What voids the guarantee: answers of one hard recording or client in a row (runs of alike requests),
as then the next answer is expected to be below m0 though the mix is the usual one. Then an alarm
states correctly that recent answers are less confident, yet nothing need have changed.

Source: Shin, Ramdas and Rinaldo 2022, "E-detectors: a nonparametric framework for sequential change
detection", arXiv:2203.03532; the bet on a bounded mean, Waudby-Smith and Ramdas 2020, "Estimating
means of bounded random variables by betting", arXiv:2010.09686.
"""

from dataclasses import dataclass

from chorale.search.statistics.confidence_reference import ConfidenceReference

QUIET_DAYS = 30.0
"""In so many quiet days at most one false alarm is expected."""

LOSS = 0.1
"""The fall of the mean confidence at which the alarm comes soonest."""

N_RECENT = 1_000
"""An alarm ends where so many answers have passed without a further one. The accuracy is estimated
of the same number of answers."""

MAX_PAUSE_DAYS = 1.0
"""A longer pause between two answers counts as this."""

MOST_STAKED = 0.9
"""The most that one answer can take of the evidence."""

DAY_S = 86_400.0


@dataclass(frozen=True)
class AlarmState:
    """Whether there is an alarm, since when (UTC, seconds), and how many were raised in all."""

    active: bool
    since_s: float | None
    n_alarms: int


class ConfidenceAlarm:
    """The sequential test; `observe` each answer in the order of time."""

    def __init__(self, reference: ConfidenceReference) -> None:
        self.least_mean = max(0.0, reference.confidence - reference.confidence_margin)
        """m0: with a mean confidence from here on it is quiet."""
        fall = max(LOSS - reference.confidence_margin, LOSS / 2)
        kelly = fall / (reference.confidence_std**2 + fall**2)
        self.bet = min(kelly, MOST_STAKED / max(1.0 - self.least_mean, 1e-9))
        self.evidence = 0.0
        self._last_s: float | None = None
        self._n = self._n_alarms = self._latest = 0
        self._since_s: float | None = None

    def observe(self, time_s: float, confidence: float) -> bool:
        """Takes an answer's time (UTC, seconds) and its confidence; whether it raises the alarm."""
        days = 0.0
        if self._last_s is not None:
            days = min(MAX_PAUSE_DAYS, max(0.0, time_s - self._last_s) / DAY_S)
        self._last_s = time_s
        self._n += 1
        factor = 1 + self.bet * (self.least_mean - confidence)
        self.evidence = factor * (self.evidence + days)
        if self.evidence < QUIET_DAYS:
            return False
        if not self._is_active:
            self._since_s = time_s
        self.evidence, self._latest = 0.0, self._n
        self._n_alarms += 1
        return True

    @property
    def state(self) -> AlarmState:
        """The state after the latest answer."""
        active = self._is_active
        return AlarmState(active, self._since_s if active else None, self._n_alarms)

    @property
    def _is_active(self) -> bool:
        return self._n_alarms > 0 and self._n - self._latest <= N_RECENT
