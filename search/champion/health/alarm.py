"""A sequential test that raises an alarm where served answers become less confident.

The credit of an answer is its confidence, 0 where it is flagged as out of distribution. Quiet
means: whatever came before, the next answer's credit is on average no lower than m0, that of
held-out tracks minus the margin of its error (twice as many as expected may be flagged). While it
is quiet, the factor 1 + bet * (m0 - credit) of an answer has a mean of at most 1. The evidence

    evidence = factor * (evidence + days since the last answer)

is then at most the days that have passed, on average (a Shiryaev-Roberts sum: one bet that begins
at every moment). The alarm is raised, and the evidence set to 0, where it reaches `QUIET_DAYS`.
So evidence + QUIET_DAYS * alarms - days is a supermartingale, and in D quiet days at most
D / QUIET_DAYS alarms are expected, at any rate of requests, for any distribution of credit.

The bet is the one of Kelly that wins fastest where the mean falls by `LOSS`; it decides how soon an
alarm comes, not how often a false one does.

Answers for one client in a row are alike: after a hard one the next is expected to be hard, though
the mix is the usual one. So each factor is also lowered by

    exp(-bet**2 * variance * (design - 1) / 2)

where `design` is the variance of a mean of such runs over that of independent answers: runs as long
as the groups of held-out tracks, at most `MAX_RUN`, and as alike. That is by the normal
approximation, and longer runs raise more false alarms. Where the usual mix is a harder one than the
held-out tracks, the alarm is right though nothing has changed.

Source: Shin, Ramdas and Rinaldo 2022, "E-detectors: a nonparametric framework for sequential change
detection", arXiv:2203.03532; the bet on a bounded mean, Waudby-Smith and Ramdas 2020, "Estimating
means of bounded random variables by betting", arXiv:2010.09686.
"""

import math
from dataclasses import dataclass

from chorale.search.statistics.confidence_reference import ConfidenceReference

QUIET_DAYS = 30.0
"""In so many quiet days at most one false alarm is expected."""

LOSS = 0.1
"""The fall of the mean credit at which the alarm comes soonest."""

N_RECENT = 1_000
"""An alarm ends where so many answers have passed without a further one. The accuracy is estimated
of the same number of answers."""

MAX_PAUSE_DAYS = 1.0
"""A longer pause between two answers counts as this."""

MOST_FLAGGED = 2.0
"""So many times the expected share may be flagged while it is quiet."""

MAX_RUN = 20.0
"""The longest run of alike answers that is allowed for."""

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
        level = reference.confidence - reference.confidence_margin
        self.least_mean = max(0.0, level * (1 - MOST_FLAGGED * reference.flagged))
        """m0: with a mean credit from here on it is quiet."""
        usual = reference.confidence * (1 - reference.flagged)
        fall = max(LOSS - (usual - self.least_mean), LOSS / 2)
        variance = reference.confidence_std**2 + reference.flagged * reference.confidence**2
        run = min(MAX_RUN, max(1.0, reference.group_size))
        design = 1 + (run - 1) * reference.confidence_correlation
        kelly = fall / (variance * design + fall**2)
        self.bet = min(kelly, MOST_STAKED / max(1.0 - self.least_mean, 1e-9))
        self._discount = math.exp(-(self.bet**2) * variance * (design - 1) / 2)
        self.evidence = 0.0
        self._last_s: float | None = None
        self._n = self._n_alarms = self._latest = 0
        self._since_s: float | None = None

    def observe(self, time_s: float, credit: float) -> bool:
        """Takes an answer's time (UTC, seconds) and its credit; whether it raises the alarm."""
        days = 0.0
        if self._last_s is not None:
            days = min(MAX_PAUSE_DAYS, max(0.0, time_s - self._last_s) / DAY_S)
        self._last_s = time_s
        self._n += 1
        factor = (1 + self.bet * (self.least_mean - credit)) * self._discount
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
