"""95 % intervals of shares, and of differences of shares, where the tracks of a group are alike.

Tracks of one group (artist, speaker) hang together, so n of them say as much as fewer independent
ones: the effective sample. Exact binomial limits of that many are the interval.
`search.statistics.scores` asks here; `tests/benchmarks/bench_statistics.py` measures the coverage.

Assumptions: groups are drawn independently, and the tracks that were scored are a fair share of
those that the figure is about.

Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of
positive counts estimated from survey data", Survey Methodology 24(2), 193-201 (the effective sample
and its degrees of freedom); Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404 (exact limits);
Zou and Donner 2008, "Construction of confidence limits about effect measures: a general approach",
doi:10.1002/sim.3095 (the difference, from the limits of both shares).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from chorale.search.statistics.arrays import Groups

Interval = tuple[float, float]
Floats = NDArray[np.float64]

TAIL = 0.025
"""What a 95 % interval leaves out on either side."""

USUAL_ICC = 0.3
"""How much the tracks of a group are taken to hang together where the tracks themselves hardly say
it: as an intraclass correlation, the highest of those that the coverage was simulated for."""

WORTH = 4
"""So many more groups, but at most twice those beside the first, would tell as much of how groups
differ. Without it three groups' intervals covered 0.997 and more, and were a third wider."""


def of_share(values: Floats, groups: Groups) -> Interval:
    """Of the mean of `values` (n,) that are 0 or 1.

    It has a width even where all are right or all are wrong. One group says nothing of others, so
    then it is 0 to 1.

    Args:
        values: (n,) 0 or 1.
        groups: (n,) whose tracks are alike.
    """
    sums, sizes = _by_group(values, groups)
    if len(sizes) == 1:
        return 0.0, 1.0
    mean = float(sums.sum() / sizes.sum())
    # the rarer outcome tells how groups differ, as far as there are groups that have it
    telling = min(np.count_nonzero(sums), np.count_nonzero(sums < sizes))
    n = _effective(sums - mean * sizes, sizes, variance=mean * (1 - mean), telling=int(telling))
    return _clopper_pearson(mean, n)


def of_difference(values: Floats, groups: Groups) -> Interval:
    """Of the mean of `values` (n,) that are 1 (only the first is right), -1 (only the second) or 0.

    It has a width even where both are right on the same tracks. One group says nothing of others,
    so then it is -1 to 1.

    Args:
        values: (n,) 1, 0 or -1.
        groups: (n,) whose tracks are alike.
    """
    sums, sizes = _by_group(values, groups)
    if len(sizes) == 1:
        return -1.0, 1.0
    ups, _ = _by_group((values > 0).astype(np.float64), groups)
    downs, _ = _by_group((values < 0).astype(np.float64), groups)
    n_tracks = sizes.sum()
    up, down = float(ups.sum() / n_tracks), float(downs.sum() / n_tracks)
    mean = up - down
    n = _effective(
        sums - mean * sizes,
        sizes,
        variance=up + down - mean**2,
        telling=int(np.count_nonzero(ups + downs)),
    )
    (least_up, most_up), (least_down, most_down) = (
        _clopper_pearson(share, n) for share in (up, down)
    )
    odds = (1 - up) * (1 - down)
    alike = -min(1.0, np.sqrt(up * down / odds)) if odds > 0 else -1.0  # of a multinomial's counts

    def reach(first: float, second: float) -> float:
        return float(np.sqrt(max(0.0, first**2 + second**2 - 2 * alike * first * second)))

    low = mean - reach(up - least_up, most_down - down)
    high = mean + reach(most_up - up, down - least_down)
    return max(-1.0, low), min(1.0, high)


def _by_group(values: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """The sum of the values of each group, and how many there are."""
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_of, weights=values).astype(np.float64)
    return sums, np.bincount(group_of).astype(np.float64)


def _effective(off: Floats, sizes: Floats, *, variance: float, telling: int) -> float:
    """So many independent tracks would say as much, Student's t for few groups counted in.

    The design effect (variance of the mean over that of independent tracks) is not known well
    where few groups hold anything that tells, so there it is drawn towards that of `USUAL_ICC`, by
    1 / sqrt(1 + `telling`): the weight at which all cells of the simulation were covered. For the
    degrees of freedom that knowledge is worth up to `WORTH` groups.

    Args:
        off: (n_groups,) by how much the sum of each group is off what its size would give.
        sizes: (n_groups,).
        variance: of one independent track.
        telling: groups with any of the rarer outcome.
    """
    n_groups, n = len(sizes), float(sizes.sum())
    seen = 1.0
    if variance > 0:
        of_mean = n_groups / (n_groups - 1) * float(np.sum(off**2)) / n**2
        seen = max(1.0, of_mean * n / variance)
    usual = 1 + (float(np.sum(sizes**2)) / n - 1) * USUAL_ICC
    weight = 1 / np.sqrt(1 + telling)
    design = max(seen, weight * usual + (1 - weight) * seen)
    n_like = n**2 / float(np.sum(sizes**2))  # so many groups of equal size
    degrees = n_like + min(WORTH, 2 * (n_like - 1))
    few = stdtrit(max(1.0, n - 1), 1 - TAIL) / stdtrit(degrees, 1 - TAIL)
    return float(n / design * min(1.0, few**2))


def _clopper_pearson(share: float, n: float) -> Interval:
    """The exact limits of `share` of `n` tracks; `n` need not be whole."""
    hits, misses = share * n, (1 - share) * n
    low = float(betaincinv(hits, misses + 1, TAIL)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - TAIL)) if misses > 0 else 1.0
    return min(low, share), max(high, share)
