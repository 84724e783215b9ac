"""The accuracy to expect of served answers whose true classes nobody knows.

It is the mean confidence of the answers minus the model's overconfidence on held-out tracks. An
answer that is flagged as out of distribution counts as wrong: where recordings change, confidence
alone falls far less than the accuracy (`tests/benchmarks/bench_health.py`). For the few tracks that
are flagged anyway, their expected share is added.

The 95 % interval is of the share of these very answers that is right. It combines the chance of
each answer with the error of the overconfidence, which was measured on few groups, and of the share
that is flagged anyway.

Assumptions: confidence means the same on served recordings that are not flagged as on held-out
tracks. Where that fails (a class that now sounds like another one, a label that now means something
else, recordings of no class that are not flagged) the accuracy falls and the confidence stays, and
no statistic without labels notices. As many answers are of one group (speaker, artist) as held-out
tracks were.

Source: confidence-based performance estimation of NannyML,
https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html; Guillory et al.
2021, "Predicting with Confidence on Unseen Distributions", arXiv:2107.03315 (the overconfidence
subtracted); Kish 1965, "Survey Sampling" (the design effect).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.confidence import Z_TWO_SIDED
from chorale.search.statistics.confidence_reference import ConfidenceReference


@dataclass(frozen=True)
class ExpectedShare:
    """The share of `n` answers that is expected to be right, and its 95 % interval."""

    accuracy: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def estimate_accuracy(credit: Floats, reference: ConfidenceReference) -> ExpectedShare | None:
    """The share of answers that is right; None without any.

    Args:
        credit: (n,) the confidence of each, 0 where it is flagged as out of distribution.
        reference: the bundle's.
    """
    n = len(credit)
    if not n:
        return None
    each = np.clip(credit - np.where(credit > 0, reference.overconfidence, 0.0), 0.0, 1.0)
    accuracy = min(1.0, float(each.mean()) + reference.flagged * reference.accuracy)
    design = 1 + (min(reference.group_size, n) - 1) * reference.group_correlation
    by_chance = Z_TWO_SIDED**2 * float(np.mean(each * (1 - each))) * max(1.0, design) / n
    fixed = reference.overconfidence_margin**2 + reference.flagged**2
    half = float(np.sqrt(by_chance + fixed))
    return ExpectedShare(accuracy, max(0.0, accuracy - half), min(1.0, accuracy + half), n)
