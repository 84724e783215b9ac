"""95 % confidence intervals of proportions and of their differences, for clustered tracks.

Tracks of one group (artist, speaker) are correlated, so n of them carry the information of fewer
independent tracks: the effective sample size. The interval is the exact binomial one for that size.
`search.statistics.scores` calls this; `tests/benchmarks/bench_statistics.py` measures the coverage.

Assumptions: groups are drawn independently, and the scored tracks are a representative sample of
the tracks that the figure is about.

Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of
positive counts estimated from survey data", Survey Methodology 24(2), 193-201 (the effective sample
size and its degrees of freedom); Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404 (exact
limits); Zou and Donner 2008, "Construction of confidence limits about effect measures: a general
approach", doi:10.1002/sim.3095 (the difference, from the limits of both shares).
"""

import numpy as np
from scipy.special import betaincinv, stdtrit

from chorale.search.statistics.arrays import Floats, Groups

Interval = tuple[float, float]

TAIL_PROBABILITY = 0.025
"""The probability outside a 95 % interval, on either side."""

FEW_GROUPS = 10
"""With fewer groups an interval is wide whatever the predictions, and a report says so."""

USUAL_ICC = 0.3
"""The intraclass correlation assumed where the tracks are too few to estimate it: the highest one
for which the coverage was simulated."""

EXTRA_GROUPS = 4
"""Degrees of freedom that the prior on the design effect is worth: this many groups, but at most
twice the groups beyond the first. Without it intervals of three groups covered 0.997 and more, and
were a third wider."""


def proportion_interval(values: Floats, groups: Groups) -> Interval:
    """The 95 % interval of the mean of `values`, which are 0 or 1.

    It has a width even where all values are equal. A single group carries no information about
    others, so then it is 0 to 1.

    Args:
        values: (n,) 0 or 1.
        groups: (n,) clusters of correlated tracks.
    """
    sums, sizes = sums_by_group(values, groups)
    if len(sizes) == 1:
        return 0.0, 1.0
    mean = float(sums.sum() / sizes.sum())
    # groups with the rarer outcome are informative about the variance between groups
    n_informative = min(np.count_nonzero(sums), np.count_nonzero(sums < sizes))
    n = effective_sample_size(
        sums - mean * sizes, sizes, variance=mean * (1 - mean), n_informative=int(n_informative)
    )
    return _clopper_pearson(mean, n)


def difference_interval(values: Floats, groups: Groups) -> Interval:
    """The 95 % interval of a paired difference of two proportions: the mean of `values`.

    It has a width even where both are right on the same tracks. A single group carries no
    information about others, so then it is -1 to 1.

    Args:
        values: (n,) 1 (only the first is right), -1 (only the second) or 0.
        groups: (n,) clusters of correlated tracks.
    """
    sums, sizes = sums_by_group(values, groups)
    if len(sizes) == 1:
        return -1.0, 1.0
    ups, _ = sums_by_group((values > 0).astype(np.float64), groups)
    downs, _ = sums_by_group((values < 0).astype(np.float64), groups)
    n_tracks = sizes.sum()
    up, down = float(ups.sum() / n_tracks), float(downs.sum() / n_tracks)
    mean = up - down
    n = effective_sample_size(
        sums - mean * sizes,
        sizes,
        variance=up + down - mean**2,
        n_informative=int(np.count_nonzero(ups + downs)),
    )
    (least_up, most_up), (least_down, most_down) = (
        _clopper_pearson(share, n) for share in (up, down)
    )
    odds = (1 - up) * (1 - down)
    # the correlation of two multinomial counts
    correlation = -min(1.0, np.sqrt(up * down / odds)) if odds > 0 else -1.0

    def reach(first: float, second: float) -> float:
        return float(np.sqrt(max(0.0, first**2 + second**2 - 2 * correlation * first * second)))

    low = mean - reach(up - least_up, most_down - down)
    high = mean + reach(most_up - up, down - least_down)
    return max(-1.0, low), min(1.0, high)


def sums_by_group(values: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """The sum of the values of each group, and the number of them: (n_groups,) each."""
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_of, weights=values).astype(np.float64)
    return sums, np.bincount(group_of).astype(np.float64)


def effective_sample_size(
    residuals: Floats, sizes: Floats, *, variance: float, n_informative: int
) -> float:
    """The number of independent tracks of equal information, with Student's t for few groups.

    The design effect (variance of the mean over that of independent tracks) is estimated poorly
    from few informative groups, so it is shrunk towards that of `USUAL_ICC` with the weight
    1 / sqrt(1 + `n_informative`), at which all cells of the simulation were covered. For the
    degrees of freedom this prior is worth up to `EXTRA_GROUPS` groups.

    Args:
        residuals: (n_groups,) the sum of each group minus the one expected of its size.
        sizes: (n_groups,) tracks of each group.
        variance: of one independent track.
        n_informative: groups with any of the rarer outcome.
    """
    n = float(sizes.sum())
    design = design_effect(residuals, sizes, variance=variance, n_informative=n_informative)
    n_equal = n**2 / float(np.sum(sizes**2))  # the effective number of groups of equal size
    degrees = n_equal + min(EXTRA_GROUPS, 2 * (n_equal - 1))
    t_ratio = stdtrit(max(1.0, n - 1), 1 - TAIL_PROBABILITY) / stdtrit(
        degrees, 1 - TAIL_PROBABILITY
    )
    return float(n / design * min(1.0, t_ratio**2))


def design_effect(
    residuals: Floats, sizes: Floats, *, variance: float, n_informative: int
) -> float:
    """The variance of the mean of grouped tracks over that of independent ones, 1 or more.

    Arguments are those of `effective_sample_size`, which states how it is shrunk; two groups or
    more.
    """
    n_groups, n = len(sizes), float(sizes.sum())
    estimate = 1.0
    if variance > 0:
        of_mean = n_groups / (n_groups - 1) * float(np.sum(residuals**2)) / n**2
        estimate = max(1.0, of_mean * n / variance)
    usual = 1 + (float(np.sum(sizes**2)) / n - 1) * USUAL_ICC
    weight = 1 / np.sqrt(1 + n_informative)
    return float(max(estimate, weight * usual + (1 - weight) * estimate))


def _clopper_pearson(share: float, n: float) -> Interval:
    """The exact limits of `share` of `n` tracks; `n` need not be an integer."""
    hits, misses = share * n, (1 - share) * n
    low = float(betaincinv(hits, misses + 1, TAIL_PROBABILITY)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - TAIL_PROBABILITY)) if misses > 0 else 1.0
    return min(low, share), max(high, share)
