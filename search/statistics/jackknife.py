"""The delete-a-group jackknife: standard errors of statistics that are no mean of tracks.

`search.statistics.multi_label_scores` uses it for the mAP. Where there are many groups, blocks of
them are deleted at once.

Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 11; groups as in
Rust and Rao 1996, "Variance estimation for complex surveys using replication techniques",
doi:10.1177/096228029600500305.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from chorale.datasets.seeds import Purpose, random_generator
from chorale.search.statistics.arrays import Floats, Groups
from chorale.search.statistics.intervals import TAIL_PROBABILITY

MAX_BLOCKS = 60
"""Groups are joined at random to at most so many blocks: more change no interval visibly."""


@dataclass(frozen=True)
class Blocks:
    """The block of each row, (n,).

    `n_equal` is the number of blocks of equal size: few for one large and many small ones.
    """

    of_row: NDArray[np.int64]
    n: int
    n_equal: float

    def t(self, more: float = 0.0) -> float:
        """Student's t of a 95 % interval, with `more` degrees of freedom than the blocks have."""
        return float(stdtrit(max(1.0, self.n_equal - 1 + more), 1 - TAIL_PROBABILITY))

    def without_each(self) -> Floats:
        """The weight (n_blocks, n) of each row, 0 or 1, where each block in turn is deleted."""
        kept = self.of_row[None, :] != np.arange(self.n)[:, None]
        return np.asarray(kept, np.float64)


def deleted_blocks(groups: Groups) -> Blocks:
    """The blocks of some rows' groups (n,)."""
    _, group_of = np.unique(groups, return_inverse=True)
    n_groups = int(group_of.max()) + 1
    if n_groups > MAX_BLOCKS:
        block_of = random_generator(0, Purpose.JACKKNIFE).permutation(n_groups) % MAX_BLOCKS
        group_of = block_of[group_of]
    sizes = np.bincount(group_of)
    n_equal = len(group_of) ** 2 / float(np.sum(sizes.astype(np.float64) ** 2))
    return Blocks(group_of.astype(np.int64), len(sizes), n_equal)


def standard_error(without: Floats) -> float:
    """The standard error of a statistic, from its values (n_blocks,) without each block."""
    n = len(without)
    return float(np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2)))
