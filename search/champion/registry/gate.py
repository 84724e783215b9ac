"""Promotion gate: a significance test of a candidate's accuracy against the champion's.

Both are compared on the same locked test tracks; where tracks have several labels, by their mAP.
`search.nightly` calls it after each night.
"""

from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtri

from chorale.datasets.config import config
from chorale.datasets.label_sets import is_present
from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.statistics.arrays import Groups, Labels, Proba, check_rows
from chorale.search.statistics.scores import group_bootstrap, paired_gains, per_class_scores
from chorale.search.statistics.selection import group_standard_error
from chorale.search.statistics.thresholds import labels_above

N_RESAMPLES = 2_000
POWER = 0.8
"""Statistical power that `tracks_needed` plans for."""

MAX_EXACT_GROUPS = 14
"""Up to this many groups the sign test is exact; above, `N_RESAMPLES` sign patterns are drawn."""


@config
class Gate:
    """The requirements that a candidate must meet to become the champion."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """confidence level of the test that the candidate is better by more than `min_gain`; where it
    is not better, at most a share of 1 - confidence of the nights promotes it"""
    min_gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """the smallest gain in accuracy (or mAP, where tracks have several labels) that is worth a new
    champion: 0.01 is one point"""
    class_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """the recall that no class (or label, at its threshold) may fall below"""
    max_latency_ms: Annotated[float, Field(gt=0)] | None = None
    """of one prediction: CPU time on one thread, including features, excluding decoding"""
    max_size_mb: Annotated[float, Field(gt=0)] | None = None
    """of the bundle"""
    beat_baseline: bool = True
    """a first champion is not promoted where the baseline that was best out of fold is better on
    the same tracks by more than a standard error"""


class Verdict(Enum):
    """The outcome of a night."""

    PROMOTED = "PROMOTED"
    KEPT = "KEPT"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Contender:
    """Candidate or champion: its predictions for the test tracks (n, n_classes), and its cost.

    `predicted` (n, n_classes) are the labels that it predicts, where tracks have several.
    `over_limit` is what it exceeds of its sweep's `limit`.
    """

    proba: Proba
    latency_ms: float | None = None
    size_mb: float | None = None
    predicted: NDArray[np.bool_] | None = None
    over_limit: str = ""


@dataclass(frozen=True)
class GateDecision:
    """A verdict, a sentence that gives its reason, and the figures behind it.

    `difference` is the candidate's accuracy (or mAP) minus the champion's, `lower` its lower
    confidence bound at the gate's confidence; both None without a champion. `p_value` is the
    probability of a difference at least as large where neither is better. `n_tracks_needed` is
    given where the verdict is INCONCLUSIVE.
    """

    verdict: Verdict
    reason: str
    difference: float | None = None
    lower: float | None = None
    p_value: float | None = None
    n_tracks_needed: int | None = None


def decide_promotion(
    candidate: Contender,
    champion: Contender | None,
    labels: Labels,
    groups: Groups,
    names: tuple[str, ...],
    gate: Gate,
    *,
    baseline: tuple[str, Proba] | None = None,
    seed: int = 0,
) -> GateDecision:
    """Gives the verdict; it is deterministic for given arguments.

    Two tests must agree that the candidate is better: a bootstrap over groups, whose interval is a
    little too narrow where there are few groups, and a sign-flip permutation test over groups,
    which keeps its level then.

    Args:
        candidate: the ensemble of the night's study.
        champion: the model in use; None where there is none.
        labels: (n,) class indices of the test tracks, or (n, n_classes) of 0 and 1.
        groups: (n,) the units that are resampled.
        names: of the classes.
        gate: the rules.
        baseline: the name of the baseline that was best out of fold, and its predictions for the
            test tracks. It was chosen without them, so its score has no selection bias.
        seed: of the resampling.

    Raises:
        UserError: the shapes do not match, or a value is not a probability.

    Source: the paired bootstrap of Koehn 2004, "Statistical Significance Tests for Machine
    Translation Evaluation", https://aclanthology.org/W04-3250; sign changes of whole groups after
    Fisher 1935, "The Design of Experiments", section 21.
    """
    check_rows(candidate.proba, labels, groups, n_dims=2)
    if broken := _broken_limits(candidate, labels, names, gate):
        return GateDecision(Verdict.KEPT, f"the candidate exceeds a limit: {broken}")
    metric, value = "mAP" if labels.ndim == 2 else "accuracy", main_score(candidate.proba, labels)
    if champion is None and gate.beat_baseline and baseline is not None:
        name, proba = baseline
        check_rows(proba, labels, groups, n_dims=2)
        behind, units = paired_gains(proba, candidate.proba, labels, groups)
        if behind.mean() > group_standard_error(behind, units):
            reason = (
                f"there is no champion yet, and the candidate's test {metric} is {value:.1%}, that "
                f"of the baseline {name} {value + behind.mean():.1%}; allow baselines in the "
                f"ensemble (ensemble.baselines: auto), search longer, or write "
                f"gate.beat_baseline: false"
            )
            return GateDecision(Verdict.KEPT, reason)
    if champion is None:
        reason = f"there was no champion; the candidate's test {metric} is {value:.1%}"
        return GateDecision(Verdict.PROMOTED, reason)
    check_rows(champion.proba, labels, groups, n_dims=2)
    gain, units = paired_gains(candidate.proba, champion.proba, labels, groups)
    difference, level = float(gain.mean()), 1 - gate.confidence
    lower = _lower(gain, units, level=level, seed=seed)
    p_value = sign_test(gain - gate.min_gain, units, seed=seed)
    points = "points" if metric == "accuracy" else f"points of {metric}"
    gained = (
        f"{100 * difference:+.1f} {points}, at least {100 * lower:+.1f} ({gate.confidence:.0%})"
    )
    if lower > gate.min_gain and p_value <= level:
        reason = f"the candidate is better: {gained}"
        return GateDecision(Verdict.PROMOTED, reason, difference, lower, p_value)
    if difference <= gate.min_gain:
        required = f" by more than {100 * gate.min_gain:g} points" if gate.min_gain else ""
        reason = f"the candidate is not better{required}: {100 * difference:+.1f} {points}"
        return GateDecision(Verdict.KEPT, reason, difference, lower, p_value)
    needed = tracks_needed(
        gain - gate.min_gain, units, confidence=gate.confidence, n_tracks=len(labels)
    )
    reason = (
        f"the candidate may be better, but {len(labels)} tracks of {len(np.unique(groups))} groups "
        f"are too few to decide: {gained}, p = {p_value:.3f}; about {needed:,} tracks are needed"
    )
    return GateDecision(Verdict.INCONCLUSIVE, reason, difference, lower, p_value, needed)


def sign_test(gain: NDArray[np.float64], groups: Groups, *, seed: int) -> float:
    """The p-value of the sum of `gain` (n,) where the sign of each group is random."""
    return sign_flips(gain, groups, level=0.0, seed=seed)[0]


def sign_flips(
    gain: NDArray[np.float64],
    groups: Groups,
    *,
    level: float,
    seed: int,
    n_draws: int = N_RESAMPLES,
) -> tuple[float, float | None]:
    """The p-value as `sign_test`, and the smallest mean gain that is significant at `level`.

    The latter is None where no gain would be significant: few groups have few sign patterns.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_of, weights=gain)
    sums = sums[np.abs(sums) > 1e-12]  # a group in which both are equal has no sign
    if len(sums) <= MAX_EXACT_GROUPS:
        signs, own = np.array(list(product((1.0, -1.0), repeat=len(sums)))), 0
    else:
        drawn = random_generator(seed, Purpose.SIGN_FLIPS).integers(
            0, 256, size=(n_draws, -(-len(sums) // 8)), dtype=np.uint8
        )  # one bit per sign
        signs, own = 1.0 - 2.0 * np.unpackbits(drawn, axis=1, count=len(sums)), 1
    by_chance = signs @ sums
    p_value = (own + np.sum(by_chance >= sums.sum() - 1e-9)) / (own + len(signs))
    allowed = int(level * (own + len(signs))) - own  # number of random sums that may be as large
    if allowed < 1 - own:
        return float(p_value), None
    return float(p_value), float(np.sort(by_chance)[-(allowed + own)]) / len(gain)


def tracks_needed(
    gain: NDArray[np.float64], groups: Groups, *, confidence: float, n_tracks: int | None = None
) -> int:
    """Sample size: how many tracks, in groups of the same size, show a mean like that of `gain`.

    At least one more than the `n_tracks` (by default one for each value of `gain`) that there are;
    twice as many where all groups have the same mean.
    """
    n = len(gain) if n_tracks is None else n_tracks
    error = group_standard_error(gain, groups)
    if error == 0:
        return 2 * n
    times = ((ndtri(confidence) + ndtri(POWER)) * error / gain.mean()) ** 2
    return int(np.ceil(max(n + 1, n * times)))


def _lower(gain: NDArray[np.float64], groups: Groups, *, level: float, seed: int) -> float:
    """The lower confidence bound of the mean gain; -1 for a single group, which gives none."""
    if len(np.unique(groups)) == 1:
        return -1.0
    means = group_bootstrap(gain[:, None], groups, seed=seed, n_boot=N_RESAMPLES)
    return float(np.quantile(means, level))


def _broken_limits(candidate: Contender, labels: Labels, names: tuple[str, ...], gate: Gate) -> str:
    """The limits that the candidate exceeds, whatever its accuracy; empty where it keeps all."""
    found = [candidate.over_limit] if candidate.over_limit else []
    latency_ms, size_mb = candidate.latency_ms or 0.0, candidate.size_mb or 0.0
    if gate.max_latency_ms is not None and latency_ms > gate.max_latency_ms:
        found.append(
            f"a prediction takes {latency_ms:.1f} ms, at most {gate.max_latency_ms:g} are allowed"
        )
    if gate.max_size_mb is not None and size_mb > gate.max_size_mb:
        found.append(f"it has {size_mb:.1f} MB, at most {gate.max_size_mb:g} are allowed")
    for name, recall in _recalls(candidate, labels, names).items():
        if recall is not None and recall < gate.class_floor:
            found.append(
                f"its recall of '{name}' is {recall:.1%}, below the minimum of "
                f"{gate.class_floor:.0%}"
            )
    return "; ".join(found)


def _recalls(
    candidate: Contender, labels: Labels, names: tuple[str, ...]
) -> dict[str, float | None]:
    """The recall of each class or label by name; None for one that no track has."""
    if labels.ndim == 1:
        scores = per_class_scores(candidate.proba, labels, names)
        return {name: one["recall"] for name, one in scores.items()}
    predicted = (
        labels_above(candidate.proba) if candidate.predicted is None else candidate.predicted
    )
    present = is_present(labels)
    hits, n = (predicted & present).sum(axis=0).tolist(), present.sum(axis=0).tolist()
    return {name: h / k if k else None for name, h, k in zip(names, hits, n, strict=True)}
