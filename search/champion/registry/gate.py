"""The gate: whether a candidate is really better than the champion, or nobody can tell yet.

Both have said what the same locked test tracks are. `search.nightly` asks after each night.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import norm

from chorale.datasets.config import config
from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models.metrics import correct
from chorale.search.statistics.arrays import Groups, Labels, Proba, check_rows
from chorale.search.statistics.scores import group_draws, per_class
from chorale.search.statistics.selection import group_error

N_DRAWS = 2_000
POWER = 0.8
"""How often the number of tracks that is called for would be enough."""

EXACT_GROUPS = 14
"""With so many groups or fewer all signs are tried, with more some are drawn."""


@config
class Gate:
    """What a candidate must be to become the champion."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """how sure it must be that the candidate is better by more than `min_gain`; of so many nights
    in which it is not, at most the rest promotes one"""
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """the smallest gain in accuracy that is worth a new champion: 0.01 is one point"""
    class_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """the recall that no class may fall below"""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """of one prediction: time of the processor on one thread, features included, decoding not"""
    max_size_mb: Annotated[float, Field(gt=0)] | None = None
    """of the bundle"""
    beat_baseline: bool = True
    """a first champion is held back where the baseline that was best out of fold is better on the
    same tracks by more than a standard error"""


class Verdict(Enum):
    """What a night ends with."""

    PROMOTED = "PROMOTED"
    KEPT = "KEPT"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Contender:
    """What one of the two said of the test tracks, (n, n_classes), and what it costs to ask it."""

    proba: Proba
    latency_ms: float | None = None
    size_mb: float | None = None


@dataclass(frozen=True)
class Decision:
    """A verdict, a sentence that says why, and the figures behind it.

    `difference` is by how much the candidate's accuracy is higher, `lower` what it is at least,
    with the gate's confidence; both None without a champion. `p_value` is how likely so large a
    difference is where neither is better. `n_tracks_needed` is given where it is inconclusive.
    """

    verdict: Verdict
    reason: str
    difference: float | None = None
    lower: float | None = None
    p_value: float | None = None
    n_tracks_needed: int | None = None


def decide(
    candidate: Contender,
    champion: Contender | None,
    labels: Labels,
    groups: Groups,
    names: tuple[str, ...],
    gate: Gate,
    *,
    baseline: tuple[str, Proba] | None = None,
    seed: int = 0,
) -> Decision:
    """Decides; the same arguments give the same decision.

    Two tests must agree that the candidate is better: a bootstrap over groups, which is a little
    too sure where there are few of them, and the signs of the groups' differences, which is not.

    Args:
        candidate: what the night found.
        champion: what is in use; None where nothing is.
        labels: (n,) class indices of the test tracks.
        groups: (n,) what is drawn.
        names: of the classes.
        gate: the rules.
        baseline: the name of the baseline that was best out of fold, and what it said of the
            tracks: it was chosen without them, so it is not flattered by being the best of several.
        seed: of the draws.

    Raises:
        UserError: the shapes do not fit, or a value is no probability.

    Source: the paired bootstrap of Koehn 2004, "Statistical Significance Tests for Machine
    Translation Evaluation", https://aclanthology.org/W04-3250; sign changes of whole groups after
    Fisher 1935, "The Design of Experiments", section 21.
    """
    check_rows(candidate.proba, labels, groups, n_dims=2)
    if broken := _broken_limits(candidate, labels, names, gate):
        return Decision(Verdict.KEPT, f"the candidate is out of the question: {broken}")
    right = correct(candidate.proba, labels)
    if champion is None and gate.beat_baseline and baseline is not None:
        name, proba = baseline
        check_rows(proba, labels, groups, n_dims=2)
        behind = correct(proba, labels) - right
        if behind.mean() > group_error(behind, groups):
            reason = (
                f"there is no champion yet, and this one names {right.mean():.1%} rightly where "
                f"the baseline {name} names {right.mean() + behind.mean():.1%}; let baselines into "
                f"the ensemble (ensemble.baselines: auto), search longer, or write "
                f"gate.beat_baseline: false"
            )
            return Decision(Verdict.KEPT, reason)
    if champion is None:
        reason = f"there was no champion; this one names {right.mean():.1%} rightly"
        return Decision(Verdict.PROMOTED, reason)
    check_rows(champion.proba, labels, groups, n_dims=2)
    gain = right - correct(champion.proba, labels)
    difference, level = float(gain.mean()), 1 - gate.confidence
    lower = _lower(gain, groups, level=level, seed=seed)
    p_value = sign_test(gain - gate.min_gain, groups, seed=seed)
    told = f"{100 * difference:+.1f} points, at least {100 * lower:+.1f} ({gate.confidence:.0%})"
    if lower > gate.min_gain and p_value <= level:
        reason = f"the candidate is better: {told}"
        return Decision(Verdict.PROMOTED, reason, difference, lower, p_value)
    if difference <= gate.min_gain:
        wanted = f" by more than {100 * gate.min_gain:g} points" if gate.min_gain else ""
        reason = f"the candidate is not better{wanted}: {100 * difference:+.1f} points"
        return Decision(Verdict.KEPT, reason, difference, lower, p_value)
    needed = tracks_needed(gain - gate.min_gain, groups, confidence=gate.confidence)
    reason = (
        f"the candidate may be better, but {len(gain)} tracks of {len(np.unique(groups))} groups "
        f"cannot tell: {told}, p = {p_value:.3f}; about {needed:,} tracks could"
    )
    return Decision(Verdict.INCONCLUSIVE, reason, difference, lower, p_value, needed)


def sign_test(gain: NDArray[np.float64], groups: Groups, *, seed: int) -> float:
    """How likely a sum as large as that of `gain` (n,) is where each group's sign is by chance."""
    return sign_flips(gain, groups, level=0.0, seed=seed)[0]


def sign_flips(
    gain: NDArray[np.float64],
    groups: Groups,
    *,
    level: float,
    seed: int,
    n_draws: int = N_DRAWS,
) -> tuple[float, float | None]:
    """As `sign_test`; and the smallest mean gain that is more than chance at `level`.

    That is None where no gain would be: a few groups have a few signs.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_of, weights=gain)
    sums = sums[np.abs(sums) > 1e-12]  # a group in which both are equal has no sign
    if len(sums) <= EXACT_GROUPS:
        signs, own = np.array(list(product((1.0, -1.0), repeat=len(sums)))), 0
    else:
        drawn = generator(seed, Purpose.SIGNS).integers(
            0, 256, size=(n_draws, -(-len(sums) // 8)), dtype=np.uint8
        )  # a bit a sign
        signs, own = 1.0 - 2.0 * np.unpackbits(drawn, axis=1, count=len(sums)), 1
    by_chance = signs @ sums
    p_value = (own + np.sum(by_chance >= sums.sum() - 1e-9)) / (own + len(signs))
    allowed = int(level * (own + len(signs))) - own  # so many by chance may be as large
    if allowed < 1 - own:
        return float(p_value), None
    return float(p_value), float(np.sort(by_chance)[-(allowed + own)]) / len(gain)


def tracks_needed(gain: NDArray[np.float64], groups: Groups, *, confidence: float) -> int:
    """How many tracks, of as many groups more, would tell a mean like that of `gain` from 0.

    At least those that there are, and twice as many where nothing is known of how groups differ.
    """
    n = len(gain)
    error = group_error(gain, groups)
    if error == 0:
        return 2 * n
    times = ((norm.ppf(confidence) + norm.ppf(POWER)) * error / gain.mean()) ** 2
    return int(np.ceil(max(n + 1, n * times)))


def _lower(gain: NDArray[np.float64], groups: Groups, *, level: float, seed: int) -> float:
    """What the mean gain is at least; -1 for a single group, which says nothing of others."""
    if len(np.unique(groups)) == 1:
        return -1.0
    means = group_draws(gain[:, None], groups, seed=seed, n_boot=N_DRAWS)
    return float(np.quantile(means, level))


def _broken_limits(candidate: Contender, labels: Labels, names: tuple[str, ...], gate: Gate) -> str:
    """What keeps the candidate out whatever its accuracy; empty where nothing does."""
    found = []
    latency_ms, size_mb = candidate.latency_ms or 0.0, candidate.size_mb or 0.0
    if gate.max_latency_ms is not None and latency_ms > gate.max_latency_ms:
        found.append(f"a prediction takes {latency_ms:.1f} ms, allowed are {gate.max_latency_ms:g}")
    if gate.max_size_mb is not None and size_mb > gate.max_size_mb:
        found.append(f"it has {size_mb:.1f} MB, allowed are {gate.max_size_mb:g}")
    for name, one in per_class(candidate.proba, labels, names).items():
        if one["recall"] is not None and one["recall"] < gate.class_floor:
            found.append(
                f"it finds {one['recall']:.1%} of '{name}', but the floor is {gate.class_floor:.0%}"
            )
    return "; ".join(found)
